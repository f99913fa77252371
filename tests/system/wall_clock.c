/* A wall clock that is set wrong, preloaded into a server by test_process.py: $IDEM_TEST_UNIX_S is
 * the unix time that it stands at. The other clocks are the system's. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
  const char *wrong = getenv("IDEM_TEST_UNIX_S");
  if (clock != CLOCK_REALTIME || wrong == NULL) return (int)syscall(SYS_clock_gettime, clock, time);
  *time = (struct timespec){atoll(wrong), 0};
  return 0;
}
