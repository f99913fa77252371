/* /proc/PID/io and /proc/PID/task/TID/status. */
#include "bench/calls.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 256, PATH_BYTES = 512 };

/* Adds the number after `name` in each line of the file that begins with it. */
static void add_field(const char *path, const char *name, uint64_t *sum) {
  char line[LINE_BYTES];
  size_t bytes = strlen(name);
  FILE *file = fopen(path, "re");
  if (file == NULL) return;
  while (fgets(line, sizeof line, file) != NULL) {
    uint64_t value = 0;
    if (strncmp(line, name, bytes) == 0 && sscanf(line + bytes, "%" SCNu64, &value) == 1)
      *sum += value;
  }
  fclose(file);
}

static uint64_t sleeps_of(pid_t pid) {
  char path[PATH_BYTES];
  uint64_t sleeps = 0;
  snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
  DIR *directory = opendir(path);
  if (directory == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%ld/task/%s/status", (long)pid, entry->d_name);
    add_field(path, "voluntary_ctxt_switches:", &sleeps);
  }
  closedir(directory);
  return sleeps;
}

void calls_read(pid_t pid, struct calls *calls) {
  char path[PATH_BYTES];
  *calls = (struct calls){.sleeps = sleeps_of(pid)};
  snprintf(path, sizeof path, "/proc/%ld/io", (long)pid);
  add_field(path, "syscr:", &calls->reads);
  add_field(path, "syscw:", &calls->writes);
}
