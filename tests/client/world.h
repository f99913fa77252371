/*
 * world.h - the asynchronous half of idem.h in a libuv loop of the test's own: calls are started,
 * the loop is run until they have ended, and what each ended with is written down.
 */
#ifndef IDEM_TESTS_CLIENT_WORLD_H
#define IDEM_TESTS_CLIENT_WORLD_H

#include <uv.h>

#include "client/idem.h"

struct world {
  uv_loop_t loop;
  struct idem_async *async;
  int open; /* calls that have not ended */
};

/* What one call ended with. */
struct seen {
  struct world *world;
  int times;
  enum idem_status status;
  struct idem_claim *claim;
  struct idem_answer answer;
};

/* The idem_done_fn of all calls here; context is a struct seen. */
void world_on_done(struct idem_answer *answer, struct idem_claim *claim, void *context);

/* With patient_options. */
void world_open(struct world *world, int port, const struct idem_options *options);
void world_open_url(struct world *world, const char *url, const struct idem_options *options);
/* What is left of the calls ends; the loop as well. */
void world_close(struct world *world);

/* Runs the loop until all calls have ended. */
void world_finish_all(struct world *world);
void world_run_for(struct world *world, uint64_t ms);

void world_begin(struct world *world, const struct idem_request *request, struct seen *seen,
                 struct idem_call **call);
void world_finish(struct world *world, struct idem_claim *claim, const char *body, int uncached,
                  struct seen *seen);
/* Looks, and runs the loop until that has ended. */
void world_fetch(struct world *world, const char *key, struct seen *seen);
/* A claim, or the test fails. */
struct idem_claim *world_must_begin(struct world *world, const struct idem_request *request);

#endif
