/* A wall clock that is wrong by as many seconds as the file $IDEM_TEST_SKEW has, a long, which may change while it
 * runs; preloaded into a node by nodes.py. The other clocks are the system's. (libfaketime does not come up together
 * with jemalloc.) */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long *skew;

static long skew_now(void) {
  const char *path = getenv("IDEM_TEST_SKEW");
  if (skew == NULL && path != NULL) {
    int fd = open(path, O_RDONLY);
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) abort();
    close(fd);
    skew = mapped;
  }
  return skew != NULL ? *skew : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int status = (int)syscall(SYS_clock_gettime, clock, now);
  if (clock == CLOCK_REALTIME) now->tv_sec += skew_now();
  return status;
}

int gettimeofday(struct timeval *now, void *zone) {
  (void)zone;
  struct timespec exact;
  int status = clock_gettime(CLOCK_REALTIME, &exact);
  *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
  return status;
}
