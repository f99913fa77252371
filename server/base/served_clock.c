/* served_clock.c - see served_clock.h. */
#include "server/base/served_clock.h"

#include <assert.h>

void served_clock_init(struct served_clock *clock) {
  atomic_init(&clock->cut_ms, 0);
  atomic_init(&clock->limit_ms, INT64_MAX);
  atomic_init(&clock->paused_until_ms, INT64_MIN);
  atomic_init(&clock->renewing, false);
  clock->count = 0;
}

void served_clock_begin(struct served_clock *clock, int64_t monotonic_ms, int64_t now_ms) {
  assert(clock->count == 0);
  atomic_store(&clock->cut_ms, monotonic_ms - now_ms);
}

unsigned served_clock_add(struct served_clock *clock, int64_t monotonic_ms) {
  assert(clock->count < SERVED_CLOCK_LOOPS);
  int64_t limit_ms = monotonic_ms - atomic_load(&clock->cut_ms) + SERVED_CLOCK_MOST_MS;
  if (limit_ms < atomic_load(&clock->limit_ms)) atomic_store(&clock->limit_ms, limit_ms);
  atomic_init(&clock->loops[clock->count].ended_ms, monotonic_ms);
  return clock->count++;
}

void served_clock_leave(struct served_clock *clock, unsigned loop) {
  atomic_store_explicit(&clock->loops[loop].ended_ms, INT64_MAX, memory_order_relaxed);
}

/* ---- turns ---- */

static int64_t earliest_turn(const struct served_clock *clock) {
  int64_t earliest_ms = INT64_MAX;
  for (unsigned i = 0; i < clock->count; i++) {
    int64_t ended_ms = atomic_load_explicit(&clock->loops[i].ended_ms, memory_order_relaxed);
    if (ended_ms < earliest_ms) earliest_ms = ended_ms;
  }
  return earliest_ms;
}

/* While a loop is late the limit stays, and what is over it is cut. The caller may have read its
 * time before another loop renewed: then it finds nothing to cut, and no later limit. */
static void renew(struct served_clock *clock, int64_t monotonic_ms) {
  if (monotonic_ms < atomic_load(&clock->paused_until_ms)) return;
  struct served_clock_view view = served_clock_look(clock);
  int64_t over_ms = monotonic_ms - view.cut_ms - view.limit_ms;
  if (over_ms > 0) {
    view.cut_ms += over_ms;
    atomic_store_explicit(&clock->cut_ms, view.cut_ms, memory_order_release);
  }
  int64_t limit_ms = earliest_turn(clock) - view.cut_ms + SERVED_CLOCK_MOST_MS;
  if (limit_ms > view.limit_ms)
    atomic_store_explicit(&clock->limit_ms, limit_ms, memory_order_release);
}

/* A loop that finds another one renewing has nothing to add: it turns again soon. */
void served_clock_renew(struct served_clock *clock, int64_t monotonic_ms) {
  if (atomic_exchange_explicit(&clock->renewing, true, memory_order_acquire)) return;
  renew(clock, monotonic_ms);
  atomic_store_explicit(&clock->renewing, false, memory_order_release);
}

/* ---- pausing ---- */

void served_clock_pause(struct served_clock *clock, int64_t monotonic_ms, int64_t until_ms) {
  if (clock->count == 0) return;
  int64_t now_ms = served_clock_at(served_clock_look(clock), monotonic_ms);
  atomic_store(&clock->paused_until_ms, until_ms);
  atomic_store_explicit(&clock->limit_ms, now_ms, memory_order_release);
}

void served_clock_resume(struct served_clock *clock) {
  atomic_store(&clock->paused_until_ms, INT64_MIN);
}
