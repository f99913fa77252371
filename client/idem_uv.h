/*
 * idem_uv.h - libidem in a libuv loop: an adapter, all of it in this header. Link with -luv.
 *
 *     struct idem_loop loop = idem_uv_loop(uv_default_loop());
 *     idem_async_open(url, NULL, &loop, &async, NULL);
 *
 * hiredis' own adapter for libuv is not used: it ignores errors of the descriptor, which then burn
 * the processor, and has no timers. After idem_async_close the loop has to run once more, so that
 * libuv closes its handles.
 */
#ifndef IDEM_UV_H
#define IDEM_UV_H

#include <stdlib.h>
#include <uv.h>

#include <idem.h>

struct idem_uv_watch {
  uv_poll_t poll;
  void (*ready)(void *arg, int events);
  void *arg;
};

struct idem_uv_timer {
  uv_timer_t timer;
  void (*fire)(void *arg);
  void *arg;
};

static inline void idem_uv_free(uv_handle_t *handle) { free(handle->data); }

static inline void idem_uv_on_poll(uv_poll_t *poll, int status, int events) {
  struct idem_uv_watch *watch = (struct idem_uv_watch *)poll->data;
  int what = 0;
  /* An error is something to read: reading finds out what it is. */
  if (status < 0 || (events & UV_READABLE)) what |= IDEM_READABLE;
  if (events & UV_WRITABLE) what |= IDEM_WRITABLE;
  watch->ready(watch->arg, what);
}

static inline void *idem_uv_watch(void *loop, int descriptor, void (*ready)(void *arg, int events),
                                  void *arg) {
  struct idem_uv_watch *watch = (struct idem_uv_watch *)malloc(sizeof *watch);
  if (watch == NULL) return NULL;
  watch->ready = ready;
  watch->arg = arg;
  if (uv_poll_init((uv_loop_t *)loop, &watch->poll, descriptor) != 0) {
    free(watch);
    return NULL;
  }
  watch->poll.data = watch;
  return watch;
}

static inline int idem_uv_want(void *handle, int events) {
  struct idem_uv_watch *watch = (struct idem_uv_watch *)handle;
  int what = 0;
  if (events == 0) return uv_poll_stop(&watch->poll);
  if (events & IDEM_READABLE) what |= UV_READABLE;
  if (events & IDEM_WRITABLE) what |= UV_WRITABLE;
  return uv_poll_start(&watch->poll, what, idem_uv_on_poll);
}

static inline void idem_uv_unwatch(void *handle) {
  struct idem_uv_watch *watch = (struct idem_uv_watch *)handle;
  uv_poll_stop(&watch->poll);
  uv_close((uv_handle_t *)&watch->poll, idem_uv_free);
}

static inline void idem_uv_on_timer(uv_timer_t *handle) {
  struct idem_uv_timer *timer = (struct idem_uv_timer *)handle->data;
  timer->fire(timer->arg);
}

static inline void *idem_uv_timer(void *loop, void (*fire)(void *arg), void *arg) {
  struct idem_uv_timer *timer = (struct idem_uv_timer *)malloc(sizeof *timer);
  if (timer == NULL) return NULL;
  timer->fire = fire;
  timer->arg = arg;
  if (uv_timer_init((uv_loop_t *)loop, &timer->timer) != 0) {
    free(timer);
    return NULL;
  }
  timer->timer.data = timer;
  return timer;
}

static inline int idem_uv_timer_start(void *handle, int64_t ms) {
  struct idem_uv_timer *timer = (struct idem_uv_timer *)handle;
  uv_update_time(timer->timer.loop);
  return uv_timer_start(&timer->timer, idem_uv_on_timer, (uint64_t)ms, 0);
}

static inline void idem_uv_timer_free(void *handle) {
  struct idem_uv_timer *timer = (struct idem_uv_timer *)handle;
  uv_timer_stop(&timer->timer);
  uv_close((uv_handle_t *)&timer->timer, idem_uv_free);
}

/* loop must live until idem_async_close, and then until it has closed its handles. */
static inline struct idem_loop idem_uv_loop(uv_loop_t *loop) {
  struct idem_loop adapter;
  adapter.size = sizeof adapter;
  adapter.loop = loop;
  adapter.watch = idem_uv_watch;
  adapter.want = idem_uv_want;
  adapter.unwatch = idem_uv_unwatch;
  adapter.timer = idem_uv_timer;
  adapter.timer_start = idem_uv_timer_start;
  adapter.timer_free = idem_uv_timer_free;
  return adapter;
}

#endif
