/* wakeup.c - see wakeup.h. */
#include "client/wakeup.h"

#include <stddef.h>

#include "client/clock.h"

bool wakeup_init(struct wakeup *wakeup, const struct idem_loop *loop, void (*fire)(void *context),
                 void *context) {
  *wakeup = (struct wakeup){.loop = loop, .at_ms = CLOCK_NEVER};
  wakeup->timer = loop->timer(loop->loop, fire, context);
  return wakeup->timer != NULL;
}

void wakeup_deinit(struct wakeup *wakeup) {
  if (wakeup->timer != NULL) wakeup->loop->timer_free(wakeup->timer);
  wakeup->timer = NULL;
}

void wakeup_at(struct wakeup *wakeup, int64_t ms) {
  if (wakeup->timer == NULL || ms >= wakeup->at_ms) return;
  int64_t now = clock_ms();
  int64_t left_ms = clock_min(clock_max(0, ms - now), CLOCK_SLEEP_MAX_MS);
  if (now + left_ms >= wakeup->at_ms) return;
  if (wakeup->loop->timer_start(wakeup->timer, left_ms) == 0) wakeup->at_ms = now + left_ms;
}

void wakeup_fired(struct wakeup *wakeup) { wakeup->at_ms = CLOCK_NEVER; }
