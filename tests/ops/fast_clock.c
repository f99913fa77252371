/*
 * fast_clock.c - preloaded: the monotonic clock goes FACTOR times as fast, from its first reading on.
 * So ten minutes of a server pass in half a minute, for a picture.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define FACTOR 20
#define NS INT64_C(1000000000)

static struct {
  pthread_once_t once;
  int (*real)(clockid_t, struct timespec *);
  int64_t begun_ns;
} fast = {.once = PTHREAD_ONCE_INIT};

static int64_t real_ns(clockid_t clock) {
  struct timespec now;
  fast.real(clock, &now);
  return (int64_t)now.tv_sec * NS + now.tv_nsec;
}

static void begin(void) {
  *(void **)&fast.real = dlsym(RTLD_NEXT, "clock_gettime");
  fast.begun_ns = real_ns(CLOCK_MONOTONIC);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  pthread_once(&fast.once, begin);
  if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE) return fast.real(clock, now);
  int64_t ns = fast.begun_ns + (real_ns(CLOCK_MONOTONIC) - fast.begun_ns) * FACTOR;
  *now = (struct timespec){.tv_sec = ns / NS, .tv_nsec = ns % NS};
  return 0;
}
