/* CPU time of another process, in nanoseconds, from /proc/PID/task/TID/schedstat (Linux only).
 * It knows nothing of the load. The time of a thread that has ended is lost: servers that end
 * threads during a run cannot be measured with it, and the sum then falls, which the caller can
 * see.
 */
#ifndef IDEM_BENCH_CPU_H
#define IDEM_BENCH_CPU_H

#include <stdint.h>
#include <sys/types.h>

struct cpu_time {
  uint64_t run_ns;  /* on a CPU */
  uint64_t wait_ns; /* ready to run while something else had the CPU: shows a disturbed run */
};

/* Sums over all threads, once they stand still: the kernel brings the figures of a running thread
 * up to date only at a tick or when it sleeps, so a reading is exact only while the server is idle.
 * Waits for that up to 100 ms; a server that never sleeps is read as it is. Returns 0 or -errno. */
int cpu_read(pid_t pid, struct cpu_time *time);

/* CPU time that this process has taken, in nanoseconds. */
uint64_t cpu_own_ns(void);

#endif
