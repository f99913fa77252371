/*
 * idem_event.h - libidem in a libevent loop: an adapter, all of it in this header. Link with
 * -levent_core.
 *
 *     struct idem_loop loop = idem_event_loop(base);
 *     idem_async_open(url, NULL, &loop, &async, NULL);
 */
#ifndef IDEM_EVENT_H
#define IDEM_EVENT_H

#include <event2/event.h>
#include <stdlib.h>
#include <sys/time.h>

#include <idem.h>

struct idem_event_watch {
  struct event *read, *write;
  void (*ready)(void *arg, int events);
  void *arg;
};

struct idem_event_timer {
  struct event *event;
  void (*fire)(void *arg);
  void *arg;
};

static inline void idem_event_on_read(evutil_socket_t descriptor, short what, void *arg) {
  struct idem_event_watch *watch = (struct idem_event_watch *)arg;
  (void)descriptor;
  (void)what;
  watch->ready(watch->arg, IDEM_READABLE);
}

static inline void idem_event_on_write(evutil_socket_t descriptor, short what, void *arg) {
  struct idem_event_watch *watch = (struct idem_event_watch *)arg;
  (void)descriptor;
  (void)what;
  watch->ready(watch->arg, IDEM_WRITABLE);
}

/* event_free makes a pending event not pending, so no callback comes after it. */
static inline void idem_event_unwatch(void *handle) {
  struct idem_event_watch *watch = (struct idem_event_watch *)handle;
  if (watch->read != NULL) event_free(watch->read);
  if (watch->write != NULL) event_free(watch->write);
  free(watch);
}

static inline void *idem_event_watch(void *loop, int descriptor,
                                     void (*ready)(void *arg, int events), void *arg) {
  struct event_base *base = (struct event_base *)loop;
  struct idem_event_watch *watch = (struct idem_event_watch *)malloc(sizeof *watch);
  if (watch == NULL) return NULL;
  watch->ready = ready;
  watch->arg = arg;
  watch->read = event_new(base, descriptor, EV_READ | EV_PERSIST, idem_event_on_read, watch);
  watch->write = event_new(base, descriptor, EV_WRITE | EV_PERSIST, idem_event_on_write, watch);
  if (watch->read != NULL && watch->write != NULL) return watch;
  idem_event_unwatch(watch);
  return NULL;
}

static inline int idem_event_want(void *handle, int events) {
  struct idem_event_watch *watch = (struct idem_event_watch *)handle;
  int read = events & IDEM_READABLE ? event_add(watch->read, NULL) : event_del(watch->read);
  int write = events & IDEM_WRITABLE ? event_add(watch->write, NULL) : event_del(watch->write);
  return read != 0 || write != 0;
}

static inline void idem_event_on_timer(evutil_socket_t descriptor, short what, void *arg) {
  struct idem_event_timer *timer = (struct idem_event_timer *)arg;
  (void)descriptor;
  (void)what;
  timer->fire(timer->arg);
}

static inline void *idem_event_timer(void *loop, void (*fire)(void *arg), void *arg) {
  struct idem_event_timer *timer = (struct idem_event_timer *)malloc(sizeof *timer);
  if (timer == NULL) return NULL;
  timer->fire = fire;
  timer->arg = arg;
  timer->event = evtimer_new((struct event_base *)loop, idem_event_on_timer, timer);
  if (timer->event != NULL) return timer;
  free(timer);
  return NULL;
}

static inline int idem_event_timer_start(void *handle, int64_t ms) {
  struct idem_event_timer *timer = (struct idem_event_timer *)handle;
  struct timeval left;
  left.tv_sec = (time_t)(ms / 1000);
  left.tv_usec = (suseconds_t)(ms % 1000 * 1000);
  return evtimer_add(timer->event, &left);
}

static inline void idem_event_timer_free(void *handle) {
  struct idem_event_timer *timer = (struct idem_event_timer *)handle;
  event_free(timer->event);
  free(timer);
}

/* base must live until idem_async_close. */
static inline struct idem_loop idem_event_loop(struct event_base *base) {
  struct idem_loop adapter;
  adapter.size = sizeof adapter;
  adapter.loop = base;
  adapter.watch = idem_event_watch;
  adapter.want = idem_event_want;
  adapter.unwatch = idem_event_unwatch;
  adapter.timer = idem_event_timer;
  adapter.timer_start = idem_event_timer_start;
  adapter.timer_free = idem_event_timer_free;
  return adapter;
}

#endif
