/*
 * eras.h - unix times of a clock that stands while the process is away: it goes on where it was, so
 * its difference from unix time grows with each start.
 *
 *     this clock   0 ----- era 0 -----|----- era 1 -----|--- the present era --->
 *     unix time    ------------|  away |------------| away |----->
 *
 * An era has the largest difference that was seen in it. A time that has passed becomes the latest
 * unix time that it can have been, and a unix time the earliest on this clock: so a horizon in unix
 * time is never early. A unix time at which the process was away becomes the begin of the next era.
 *
 * It must not know clocks, nor where eras are kept. Invariants: eras rise, and so do their
 * differences. When there are too many, the oldest becomes part of the next: later than it was.
 */
#ifndef IDEM_SERVER_BASE_ERAS_H
#define IDEM_SERVER_BASE_ERAS_H

#include <stdbool.h>
#include <stdint.h>

#define ERAS_MOST 32u

struct era {
  int64_t from_ms;   /* on this clock */
  int64_t offset_ms; /* unix time - this clock; of the present era: as of when it was set */
};

struct eras {
  unsigned count;
  struct era of[ERAS_MOST]; /* the last is the present one */
};

/* A new era begins, and the one before it has this difference. */
void eras_begin(struct eras *eras, int64_t from_ms, int64_t former_offset_ms);

/* offset_ms: of the present era. Without any era all times are of the present one. */
int64_t eras_unix_ms(const struct eras *eras, int64_t offset_ms, int64_t ms);
int64_t eras_clock_ms(const struct eras *eras, int64_t offset_ms, int64_t unix_ms);

#endif
