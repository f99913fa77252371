/* What the load sends and what it must get back: one table row per scenario. It knows the bytes of
 * the commands and nothing of sockets, time or counting.
 */
#ifndef IDEM_BENCH_SCENARIO_H
#define IDEM_BENCH_SCENARIO_H

#include "bench/step.h"

#include <stddef.h>
#include <stdint.h>

enum { SCENARIO_STEPS_MAX = 3 };

enum scenario_keys { SCENARIO_KEYS_NEW, SCENARIO_KEYS_LOADED };

struct scenario {
  struct step steps[SCENARIO_STEPS_MAX];
  size_t step_count;
  enum scenario_keys key_source;
  const char *preload; /* the scenario that makes the loaded keys; NULL when there are none */
  const char *setup;   /* the scenario that a fresh server needs once; NULL when there is none */
};

/* Builds the scenario `name`; `like` is wanted by echo and by no other. NULL on success, otherwise
 * the reason why not. Must be undone by scenario_deinit in either case. */
const char *scenario_init(struct scenario *scenario, const char *name, const char *like,
                          const struct step_sizes *sizes);
void scenario_deinit(struct scenario *scenario);

/* The most that one request and one reply can take, over all steps; grows, never shrinks. */
void scenario_widen(const struct scenario *scenario, size_t *request_bytes, size_t *reply_bytes);

/* The list for --help, on stdout. */
void scenario_print_list(void);

#endif
