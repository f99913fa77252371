/*
 * signals.h - what the first loop hears: SIGTERM and SIGINT end the server, SIGHUP has it read
 * again what others may have changed.
 */
#ifndef IDEM_SERVER_NET_SIGNALS_H
#define IDEM_SERVER_NET_SIGNALS_H

#include <uv.h>

/* Each begins a turn of the first loop, if none is under way. */
struct signals_calls {
  void (*end)(void *context, const char *name);
  void (*reload)(void *context);
  void *context;
};

struct signals {
  uv_signal_t terminate, interrupt, hang_up;
  struct signals_calls calls;
};

/* Hears them from here on, in the loop. Returns 0 or a libuv error; whoever closes the loop closes
 * the handles. */
int signals_open(struct signals *signals, uv_loop_t *loop, const struct signals_calls *calls);

#endif
