/* files.c - see files.h. */
#include "server/net/files.h"

#include <stdio.h>
#include <sys/resource.h>

/* Descriptors that are not connections: listeners, the loop's own, the log, and a few to spare; and
 * those of each further loop. */
#define OTHER_DESCRIPTORS 32
#define LOOP_DESCRIPTORS 8

/* *limit: the most descriptors that connections and all others may take. */
static int64_t connections_that_fit(const struct files *files, int64_t wanted, rlim_t *limit) {
  struct rlimit system;
  rlim_t others =
      OTHER_DESCRIPTORS + files->others + LOOP_DESCRIPTORS * ((rlim_t)files->loops - 1);
  rlim_t needed = (rlim_t)wanted + others;
  *limit = needed;
  if (getrlimit(RLIMIT_NOFILE, &system) != 0) return wanted;
  if (system.rlim_cur < needed) {
    system.rlim_cur = system.rlim_max > needed ? needed : system.rlim_max;
    setrlimit(RLIMIT_NOFILE, &system);
    getrlimit(RLIMIT_NOFILE, &system);
  }
  if (system.rlim_cur >= needed) return wanted;
  *limit = system.rlim_cur;
  return system.rlim_cur > others ? (int64_t)(system.rlim_cur - others) : 1;
}

int64_t files_init(struct files *files, int64_t wanted, unsigned loops) {
  rlim_t limit = 0;
  files->loops = loops;
  files->fits = connections_that_fit(files, wanted, &limit);
  files->count = (int)limit;
  return files->fits;
}

bool files_allow(struct files *files, int64_t wanted, char error[REFUSAL_BYTES]) {
  if (wanted <= files->fits) return true;
  rlim_t limit = 0;
  int64_t fits = connections_that_fit(files, wanted, &limit);
  if (fits == wanted) {
    files->fits = wanted;
    return true;
  }
  snprintf(error, REFUSAL_BYTES,
           "The operating system is not able to handle the specified number of clients, try with "
           "%lld: the limit of open files is %llu",
           (long long)fits, (unsigned long long)limit);
  return false;
}
