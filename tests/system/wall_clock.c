/* A wall clock that is set wrong, preloaded into a server by test_process.py: it stands at the unix
 * time that the file $IDEM_TEST_CLOCK names. The other clocks are the system's. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
  const char *path = getenv("IDEM_TEST_CLOCK");
  if (clock != CLOCK_REALTIME || path == NULL) return (int)syscall(SYS_clock_gettime, clock, time);
  long long seconds = -1;
  FILE *file = fopen(path, "r");
  if (file == NULL || fscanf(file, "%lld", &seconds) != 1) abort();
  fclose(file);
  *time = (struct timespec){seconds, 0};
  return 0;
}
