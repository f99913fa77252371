/*
 * watchdog.h - the supervisor's watchdog ($WATCHDOG_USEC, sd_watchdog_enabled(3)): fed by the first
 * loop while every loop makes turns. One that hangs, for example on a disk that does not answer,
 * stops it, and the supervisor starts the server again.
 */
#ifndef IDEM_SERVER_NET_WATCHDOG_H
#define IDEM_SERVER_NET_WATCHDOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/engine/keyspace.h"
#include "server/ops/notify.h"

struct watchdog {
  const struct notify *notify; /* borrowed */
  int64_t every_ms;            /* half of what the supervisor waits; 0: it does not watch */
  int64_t fed_ms;              /* the first loop's */
  unsigned loops;
  _Atomic int64_t turned_ms[KEYSPACE_MAX_LOOPS]; /* INT64_MAX: it has ended */
};

/* All times are monotonic. */
void watchdog_init(struct watchdog *watchdog, const struct notify *notify, unsigned loops,
                   int64_t now_ms);
/* Each loop's, at least every 100 ms. */
static inline void watchdog_note(struct watchdog *watchdog, unsigned loop, int64_t now_ms) {
  atomic_store_explicit(&watchdog->turned_ms[loop], now_ms, memory_order_relaxed);
}
/* The first loop's, as often: feeds it when that is due. */
void watchdog_feed(struct watchdog *watchdog, int64_t now_ms);

#endif
