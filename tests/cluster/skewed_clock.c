/* A wall clock that is wrong by $IDEM_TEST_SKEW seconds, preloaded into a node by nodes.py. The other
 * clocks are the system's. (libfaketime does not come up together with jemalloc.) */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
  int status = (int)syscall(SYS_clock_gettime, clock, now);
  const char *skew = getenv("IDEM_TEST_SKEW");
  if (clock == CLOCK_REALTIME && skew != NULL) now->tv_sec += atol(skew);
  return status;
}

int gettimeofday(struct timeval *now, void *zone) {
  (void)zone;
  struct timespec exact;
  int status = clock_gettime(CLOCK_REALTIME, &exact);
  *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
  return status;
}
