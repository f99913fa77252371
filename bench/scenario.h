/* What the load sends and what it must get back: one table row per scenario. It knows the bytes of
 * the commands and nothing of sockets, time or counting.
 */
#ifndef IDEM_BENCH_SCENARIO_H
#define IDEM_BENCH_SCENARIO_H

#include "bench/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCENARIO_STEPS_MAX = 2 };

/* A step is one request and the only reply that is right. A second step is sent when the first one
 * of the whole batch is answered, with the tokens that came back. */
struct step {
  struct message request;
  struct message reply;
};

enum key_source { KEYS_NEW, KEYS_LOADED };

struct scenario {
  struct step steps[SCENARIO_STEPS_MAX];
  size_t step_count;
  enum key_source key_source;
  const char
      *preload; /* the scenario that makes the loaded keys; NULL when there are none to make */
};

struct scenario_sizes {
  uint64_t lease_ms;
  uint64_t ttl_ms;
  size_t body_bytes;
};

/* Builds the scenario `name`; `like` is wanted by echo and by no other. NULL on success, otherwise
 * the reason why not. Must be undone by scenario_deinit in either case. */
const char *scenario_init(struct scenario *scenario, const char *name, const char *like,
                          const struct scenario_sizes *sizes);
void scenario_deinit(struct scenario *scenario);

/* The list for --help, on stdout. */
void scenario_print_list(void);

#endif
