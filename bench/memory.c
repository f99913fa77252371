/* VmRSS and VmHWM; the kernel gives both in KiB. */
#include "bench/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { LINE_BYTES = 256, PATH_BYTES = 64 };

int memory_read(pid_t pid, struct memory *memory) {
  char path[PATH_BYTES], line[LINE_BYTES];
  snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
  FILE *file = fopen(path, "re");
  if (file == NULL) return -errno;
  int found = 0;
  uint64_t kib = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1) {
      memory->rss_bytes = kib << 10;
      found++;
    } else if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1) {
      memory->peak_bytes = kib << 10;
      found++;
    }
  }
  fclose(file);
  return found == 2 ? 0 : -ENOTSUP;
}

int memory_reset_peak(pid_t pid) {
  char path[PATH_BYTES];
  snprintf(path, sizeof path, "/proc/%ld/clear_refs", (long)pid);
  FILE *file = fopen(path, "we");
  if (file == NULL) return -errno;
  int error = fputs("5", file) < 0 ? -EIO : 0;
  if (fclose(file) != 0 && error == 0) error = -errno;
  return error;
}
