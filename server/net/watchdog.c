/* watchdog.c - see watchdog.h. */
#include "server/net/watchdog.h"

#include <stdlib.h>
#include <unistd.h>

/* A number in the environment; 0: there is none. */
static unsigned long long number_of(const char *name) {
  const char *text = getenv(name);
  return text != NULL ? strtoull(text, NULL, 10) : 0;
}

/* Another process may be meant, whose environment we have inherited. */
static int64_t half_of_period_ms(void) {
  unsigned long long pid = number_of("WATCHDOG_PID"), period_us = number_of("WATCHDOG_USEC");
  if (pid != 0 && pid != (unsigned long long)getpid()) return 0;
  if (period_us == 0 || period_us / 2000 > INT64_MAX) return 0;
  return period_us < 2000 ? 1 : (int64_t)(period_us / 2000);
}

void watchdog_init(struct watchdog *watchdog, const struct notify *notify, unsigned loops,
                   int64_t now_ms) {
  watchdog->notify = notify;
  watchdog->every_ms = half_of_period_ms();
  watchdog->fed_ms = now_ms;
  watchdog->loops = loops;
  for (unsigned i = 0; i < loops; i++) watchdog_note(watchdog, i, now_ms);
}

static bool all_turn(const struct watchdog *watchdog, int64_t now_ms) {
  for (unsigned i = 0; i < watchdog->loops; i++) {
    int64_t turned_ms = atomic_load_explicit(&watchdog->turned_ms[i], memory_order_relaxed);
    if (turned_ms < now_ms - watchdog->every_ms) return false;
  }
  return true;
}

void watchdog_feed(struct watchdog *watchdog, int64_t now_ms) {
  if (watchdog->every_ms == 0 || now_ms - watchdog->fed_ms < watchdog->every_ms) return;
  if (!all_turn(watchdog, now_ms)) return;
  watchdog->fed_ms = now_ms;
  notify_send(watchdog->notify, "WATCHDOG=1");
}
