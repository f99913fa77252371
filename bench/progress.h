/* One line on the terminal for work that takes long. Silent when stderr is no terminal. */
#ifndef IDEM_BENCH_PROGRESS_H
#define IDEM_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
  bool shown;
  bool off;
  uint64_t begin_ns;
  uint64_t next_ns;
};

void progress_begin(struct progress *progress, uint64_t now_ns);

/* `total` 0: not known. Prints at most twice a second, and nothing in the first half second. */
void progress_update(struct progress *progress, const char *what, uint64_t done, uint64_t total,
                     uint64_t now_ns);

/* Clears the line. */
void progress_end(struct progress *progress);

#endif
