/* What the load sends and what it must get back: one table row per scenario. It knows the bytes of
 * the commands and nothing of sockets, time or counting.
 */
#ifndef IDEM_BENCH_SCENARIO_H
#define IDEM_BENCH_SCENARIO_H

#include "bench/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCENARIO_STEPS_MAX = 3, MIX_PARTS_MAX = 3 };

/* A step is one request and the only reply that is right. The next step is sent when this one of
 * the whole batch is answered, with the tokens that came back. */
struct step {
  struct message request;
  struct message reply;
};

enum key_source { KEYS_NEW, KEYS_LOADED };

struct scenario {
  struct step steps[SCENARIO_STEPS_MAX];
  size_t step_count;
  enum key_source key_source;
  const char *preload; /* the scenario that makes the loaded keys; NULL when there are none */
  const char *setup;   /* the scenario that a fresh server needs once; NULL when there is none */
};

/* Several scenarios over one set of connections; each batch is of one of them, drawn by weight. */
struct mix {
  struct scenario parts[MIX_PARTS_MAX];
  unsigned weights[MIX_PARTS_MAX];
  size_t part_count;
  unsigned weight_sum;
};

struct scenario_sizes {
  uint64_t lease_ms;
  uint64_t ttl_ms; /* 0: the TTL of a stored body is the subject's own, PIECE_TTL_BULK */
  size_t body_bytes;
};

/* Builds the scenario `name`; `like` is wanted by echo and by no other. NULL on success, otherwise
 * the reason why not. Must be undone by scenario_deinit in either case. */
const char *scenario_init(struct scenario *scenario, const char *name, const char *like,
                          const struct scenario_sizes *sizes);
void scenario_deinit(struct scenario *scenario);

/* As above; `name` is a mix or a single scenario. */
const char *mix_init(struct mix *mix, const char *name, const char *like,
                     const struct scenario_sizes *sizes);
void mix_deinit(struct mix *mix);

/* The most that one request and one reply can take, over all steps; grows, never shrinks. */
void scenario_widen(const struct scenario *scenario, size_t *request_bytes, size_t *reply_bytes);

/* The list for --help, on stdout. */
void scenario_print_list(void);

/* Pieces of requests that experiments with their own order of events are made of. */
void scenario_add_command(struct message *message, int arguments, const char *name);
void scenario_add_word(struct message *message, const char *word);
void scenario_add_number(struct message *message, uint64_t number);
void scenario_add_body(struct message *message, size_t bytes);
void scenario_claim_step(struct step *step, const struct scenario_sizes *sizes);
void scenario_store_step(struct step *step, const struct scenario_sizes *sizes);
void scenario_done_reply(struct message *message, size_t body_bytes);

#endif
