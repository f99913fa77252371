/* How often another process asked the kernel to read and to write, and how often it slept (Linux
 * only). It knows nothing of the load.
 *
 * Reads and writes are those of /proc/PID/io: read, readv, write, writev and their kin on sockets,
 * event descriptors and files. recv and send, sendmsg and io_uring are not in it: a server that
 * uses them shows none.
 */
#ifndef IDEM_BENCH_CALLS_H
#define IDEM_BENCH_CALLS_H

#include <stdint.h>
#include <sys/types.h>

struct calls {
  uint64_t reads, writes;
  uint64_t sleeps; /* voluntary context switches of all threads that live */
};

/* Zeros where the system does not say: they are no reason to give up a run. */
void calls_read(pid_t pid, struct calls *calls);

#endif
