/* Reading schedstat: "ns-on-cpu ns-waiting slices"; the third is not used. */
#include "bench/cpu.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

enum { SETTLE_READINGS_MAX = 50, SETTLE_PAUSE_NS = 2000000, PATH_BYTES = 512 };

static bool read_task(pid_t pid, const char *task, struct cpu_time *time) {
  char path[PATH_BYTES];
  snprintf(path, sizeof path, "/proc/%ld/task/%s/schedstat", (long)pid, task);
  FILE *file = fopen(path, "re");
  if (file == NULL) return false;
  bool found = fscanf(file, "%" SCNu64 " %" SCNu64, &time->run_ns, &time->wait_ns) == 2;
  fclose(file);
  return found;
}

static int read_all_tasks(pid_t pid, struct cpu_time *sum) {
  char path[PATH_BYTES];
  snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
  DIR *directory = opendir(path);
  if (directory == NULL) return -errno;

  bool found = false;
  *sum = (struct cpu_time){0, 0};
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    struct cpu_time task;
    if (entry->d_name[0] == '.' || !read_task(pid, entry->d_name, &task)) continue;
    sum->run_ns += task.run_ns;
    sum->wait_ns += task.wait_ns;
    found = true;
  }
  closedir(directory);
  return found ? 0 : -ENOTSUP;
}

int cpu_read(pid_t pid, struct cpu_time *time) {
  struct cpu_time before;
  int error = read_all_tasks(pid, time);
  for (int i = 0; error == 0 && i < SETTLE_READINGS_MAX; i++) {
    before = *time;
    nanosleep(&(struct timespec){.tv_nsec = SETTLE_PAUSE_NS}, NULL);
    error = read_all_tasks(pid, time);
    if (time->run_ns == before.run_ns) break;
  }
  return error;
}

uint64_t cpu_own_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
