/* thread.h - a thread of the server: it handles no signals, and memory may be short once it runs.
 */
#ifndef IDEM_SERVER_BASE_THREAD_H
#define IDEM_SERVER_BASE_THREAD_H

#include <pthread.h>

/*
 * Starts a thread, with all signals blocked: the caller's threads handle them. Returns 0, or an
 * errno when none could be made. To be joined with pthread_join.
 *
 * When it returns, the allocator has set up its data for the thread. It does so at the thread's
 * first call, and jemalloc 5.3 ends the process if there is no memory for that; start all threads
 * before clients can take the memory.
 */
int thread_start(pthread_t *thread, void *(*run)(void *argument), void *argument);

#endif
