/*
 * wakeup.h - the one timer of an idem_async in the user's loop. Each part asks for the time at
 * which it has something to do; the earliest one counts.
 */
#ifndef IDEM_CLIENT_WAKEUP_H
#define IDEM_CLIENT_WAKEUP_H

#include <stdbool.h>
#include <stdint.h>

#include "client/idem.h"

struct wakeup {
  const struct idem_loop *loop;
  void *timer;   /* NULL: none, nothing fires */
  int64_t at_ms; /* when it fires; CLOCK_NEVER: it does not */
};

/* loop must outlive it. False: the loop has no timer to give. */
bool wakeup_init(struct wakeup *wakeup, const struct idem_loop *loop, void (*fire)(void *context),
                 void *context);
void wakeup_deinit(struct wakeup *wakeup);
/* Makes sure that it fires at ms at the latest (often earlier: the machine may be suspended). */
void wakeup_at(struct wakeup *wakeup, int64_t ms);
/* It has just fired. */
void wakeup_fired(struct wakeup *wakeup);

#endif
