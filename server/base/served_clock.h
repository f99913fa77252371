/*
 * served_clock.h - a clock that counts the time in which loops serve: it advances with the
 * monotonic clock, but stands while a loop is stuck, and while it is paused.
 *
 *     monotonic   ----|---------------------------------|---------->
 *     a loop      turn| stopped, swapped out, a long turn |turn
 *     this clock  ----|---250 ms--->[ limit: it stands  ]|---------->
 *
 * All loops share one. Of the time between the ends of two turns of a loop it counts at most
 * SERVED_CLOCK_MOST_MS. A reading is the lesser of the monotonic clock without what was cut, and a
 * limit: the earliest of the loops' last turns + SERVED_CLOCK_MOST_MS. A loop that ends a turn and
 * finds the limit older than SERVED_CLOCK_RENEW_MS renews it; if the clock stood at the limit, what
 * passed meanwhile is cut, and the clock goes on from there. So no reading looks at all loops, and
 * one loop that is stuck makes the clock stand for all. A loop has to turn every 100 ms or so, even
 * with nothing to do; then nothing is ever cut.
 *
 * It must not know what a turn is, nor ask the system for the time: milliseconds of the monotonic
 * clock are arguments.
 *
 * Invariant: a reading is never less than one that happened before it, by whichever loop.
 * A view is taken before the monotonic clock is asked for the time that goes with it: who sees that
 * something was cut then has a time after the cut. What was cut is written before the limit and
 * read after it: who sees a limit sees the cuts before it.
 *
 * Thread-safe, except for init, add and pause.
 */
#ifndef IDEM_SERVER_BASE_SERVED_CLOCK_H
#define IDEM_SERVER_BASE_SERVED_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SERVED_CLOCK_LOOPS 64u
#define SERVED_CLOCK_MOST_MS 250 /* counted between the ends of two turns of a loop */
#define SERVED_CLOCK_RENEW_MS 50
#define SERVED_CLOCK_CACHE_LINE_BYTES 64

struct served_clock_loop {
  _Atomic int64_t ended_ms; /* its last turn; INT64_MAX: it has left */
  char apart[SERVED_CLOCK_CACHE_LINE_BYTES - sizeof(int64_t)]; /* others write their own */
};

struct served_clock {
  _Atomic int64_t cut_ms;          /* monotonic = this clock + cut; never falls; may be negative */
  _Atomic int64_t limit_ms;        /* on this clock */
  _Atomic int64_t paused_until_ms; /* on the monotonic clock */
  _Atomic bool renewing;           /* by one loop at a time */
  unsigned count;
  char apart[SERVED_CLOCK_CACHE_LINE_BYTES];
  struct served_clock_loop loops[SERVED_CLOCK_LOOPS];
};

/* Without loops it is the monotonic clock. */
void served_clock_init(struct served_clock *clock);
/* It goes on from now_ms, which it is at monotonic_ms. Before any loop is added. */
void served_clock_begin(struct served_clock *clock, int64_t monotonic_ms, int64_t now_ms);
/* One more loop, which has just ended a turn. Returns its number, from 0. Before any other thread
 * uses the clock. */
unsigned served_clock_add(struct served_clock *clock, int64_t monotonic_ms);
/* The loop has ended: nobody waits for its turns. */
void served_clock_leave(struct served_clock *clock, unsigned loop);

/* ---- reading ---- */

struct served_clock_view {
  int64_t cut_ms, limit_ms;
};

/* Before the monotonic clock is read. */
static inline struct served_clock_view served_clock_look(const struct served_clock *clock) {
  struct served_clock_view view;
  view.limit_ms = atomic_load_explicit(&clock->limit_ms, memory_order_acquire);
  view.cut_ms = atomic_load_explicit(&clock->cut_ms, memory_order_acquire);
  return view;
}

/* What this clock shows at a time that was read after the view was taken. */
static inline int64_t served_clock_at(struct served_clock_view view, int64_t monotonic_ms) {
  int64_t now_ms = monotonic_ms - view.cut_ms;
  return now_ms < view.limit_ms ? now_ms : view.limit_ms;
}

/* Whether a clock that shows this stands still until some loop ends a turn, or the pause ends. */
static inline bool served_clock_stands(const struct served_clock *clock, int64_t now_ms) {
  return now_ms >= atomic_load_explicit(&clock->limit_ms, memory_order_relaxed);
}

/* ---- turns ---- */

/* Tries to; for served_clock_end_turn. */
void served_clock_renew(struct served_clock *clock, int64_t monotonic_ms);

/* By the loop itself. monotonic_ms: the last time that it has read, at most the present. */
static inline void served_clock_end_turn(struct served_clock *clock, unsigned loop,
                                         int64_t monotonic_ms) {
  atomic_store_explicit(&clock->loops[loop].ended_ms, monotonic_ms, memory_order_relaxed);
  struct served_clock_view view = served_clock_look(clock);
  int64_t age_ms = monotonic_ms - view.cut_ms - (view.limit_ms - SERVED_CLOCK_MOST_MS);
  if (age_ms > SERVED_CLOCK_RENEW_MS) served_clock_renew(clock, monotonic_ms);
}

/* ---- pausing ---- */

/* It stands from now on until then, and until a loop ends a turn after that. All other loops are
 * between two turns. Another pause replaces the one before. */
void served_clock_pause(struct served_clock *clock, int64_t monotonic_ms, int64_t until_ms);
void served_clock_resume(struct served_clock *clock);

#endif
