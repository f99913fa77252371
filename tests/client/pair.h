/*
 * pair.h - a client of one half of idem.h, synchronous or asynchronous, in the same words: a test
 * asks both halves the same, and they have to say the same.
 */
#ifndef IDEM_TESTS_CLIENT_PAIR_H
#define IDEM_TESTS_CLIENT_PAIR_H

#include "client/idem.h"
#include "tests/client/harness.h"
#include "tests/client/stranger.h"
#include "tests/client/world.h"

enum half { SYNC, ASYNC, HALVES };

/* A server, and a client of one half. */
struct pair {
  enum half half;
  struct stranger *stranger; /* NULL: another server */
  struct idem_client *client;
  struct world world;
};

/* "sync", "async". */
const char *pair_name(enum half half);

/* With patient_options. */
void pair_open(struct pair *pair, enum half half, stranger_fn *answer, void *context,
               const struct idem_options *options);
void pair_open_port(struct pair *pair, enum half half, int port,
                    const struct idem_options *options);
void pair_open_url(struct pair *pair, enum half half, const char *url,
                   const struct idem_options *options);
void pair_close(struct pair *pair);

/* Each makes the call, and runs it to its end. Clear the answers. */
enum idem_status pair_begin(struct pair *pair, const struct idem_request *request,
                            struct idem_claim **claim, struct idem_answer *answer);
enum idem_status pair_fetch_key(struct pair *pair, const char *key, struct idem_answer *answer);
enum idem_status pair_wait_key(struct pair *pair, const char *key, int64_t wait_ms,
                               struct idem_answer *answer);
/* Of the key "x". */
enum idem_status pair_fetch(struct pair *pair, struct idem_answer *answer);
enum idem_status pair_wait(struct pair *pair, int64_t wait_ms, struct idem_answer *answer);
/* A claim without a renewal, or the test fails. */
struct idem_claim *pair_must_begin(struct pair *pair, const char *key);
/* One that is renewed. */
struct idem_claim *pair_must_hold(struct pair *pair, const char *key);
enum idem_status pair_store(struct pair *pair, struct idem_claim *claim,
                            const struct idem_result *result);
/* Stores "b"; uncached as in struct idem_result. */
enum idem_status pair_finish(struct pair *pair, struct idem_claim *claim, int uncached);
enum idem_status pair_stage(struct pair *pair, struct idem_claim *claim, const char *stage);
enum idem_status pair_abandon(struct pair *pair, struct idem_claim *claim, enum idem_release how);

#define CHECK_STATUS(pair, status, wanted)                                                         \
  CHECK((status) == (wanted), "%s: %s, not %s", pair_name((pair)->half), idem_status_name(status), \
        idem_status_name(wanted))

#endif
