/* The line is rewritten in place. */
#include "bench/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define INTERVAL_NS UINT64_C(500000000)

void progress_begin(struct progress *progress, uint64_t now_ns) {
  *progress = (struct progress){
      .off = !isatty(STDERR_FILENO), .begin_ns = now_ns, .next_ns = now_ns + INTERVAL_NS};
}

void progress_update(struct progress *progress, const char *what, uint64_t done, uint64_t total,
                     uint64_t now_ns) {
  if (progress->off || now_ns < progress->next_ns) return;
  progress->next_ns = now_ns + INTERVAL_NS;
  progress->shown = true;
  double seconds = (double)(now_ns - progress->begin_ns) / 1e9;
  fprintf(stderr, "\r\x1b[K%s: %" PRIu64, what, done);
  if (total > 0) fprintf(stderr, " of %" PRIu64, total);
  fprintf(stderr, ", %.0f per second", (double)done / seconds);
  fflush(stderr);
}

void progress_end(struct progress *progress) {
  if (progress->shown) fprintf(stderr, "\r\x1b[K");
  progress->shown = false;
}
