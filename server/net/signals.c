/* signals.c - see signals.h. */
#include "server/net/signals.h"

#include <signal.h>

static void on_end(uv_signal_t *signal, int number) {
  const struct signals *signals = signal->data;
  signals->calls.end(signals->calls.context, number == SIGTERM ? "SIGTERM" : "SIGINT");
}

static void on_reload(uv_signal_t *signal, int number) {
  const struct signals *signals = signal->data;
  (void)number;
  signals->calls.reload(signals->calls.context);
}

int signals_open(struct signals *signals, uv_loop_t *loop, const struct signals_calls *calls) {
  const struct {
    uv_signal_t *handle;
    uv_signal_cb hear;
    int number;
  } all[] = {
      {&signals->terminate, on_end, SIGTERM},
      {&signals->interrupt, on_end, SIGINT},
      {&signals->hang_up, on_reload, SIGHUP},
  };
  int error = 0;
  signals->calls = *calls;
  for (unsigned i = 0; i < sizeof all / sizeof all[0] && error == 0; i++) {
    error = uv_signal_init(loop, all[i].handle);
    all[i].handle->data = signals;
    if (error == 0) error = uv_signal_start(all[i].handle, all[i].hear, all[i].number);
  }
  return error;
}
