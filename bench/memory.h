/* Memory of another process, from /proc/PID/status (Linux only). It knows nothing of the load. */
#ifndef IDEM_BENCH_MEMORY_H
#define IDEM_BENCH_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

struct memory {
  uint64_t rss_bytes;
  uint64_t peak_bytes; /* highest rss since the start, or since memory_reset_peak */
};

/* 0 or -errno. */
int memory_read(pid_t pid, struct memory *memory);

/* Needs the right to write /proc/PID/clear_refs (the same user has it). 0 or -errno. */
int memory_reset_peak(pid_t pid);

#endif
