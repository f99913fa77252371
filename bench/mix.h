/* Several scenarios over one set of connections: each batch is of one of them, drawn by weight. It
 * knows nothing of sockets, time or counting.
 */
#ifndef IDEM_BENCH_MIX_H
#define IDEM_BENCH_MIX_H

#include "bench/scenario.h"

#include <stddef.h>

enum { MIX_PARTS_MAX = 3 };

struct mix {
  struct scenario parts[MIX_PARTS_MAX];
  unsigned weights[MIX_PARTS_MAX];
  size_t part_count;
  unsigned weight_sum;
};

/* Builds the mix `name`, or one of a single scenario (then as scenario_init). NULL on success,
 * otherwise the reason why not. mix_deinit undoes it in either case. */
const char *mix_init(struct mix *mix, const char *name, const char *like,
                     const struct step_sizes *sizes);
void mix_deinit(struct mix *mix);

/* The mixes for --help, on stdout. */
void mix_print_list(void);

#endif
