/*
 * hugepages.h - memory in pages of 2 MiB: mapped, filled with zeros, given back, and a thread that
 * does this, because a page takes 0.3 to 6 ms.
 *
 *     owner    lock, use what is ready, wake the helper when there is something to do, unlock
 *     helper   lock, step, step, ... until a step finds nothing to do; then it sleeps
 *
 * A step decides what to do next and does one thing. It unlocks around the slow calls, so that the
 * owner never waits for the system. The thread is started at once, since memory for it may be short
 * later. A system without huge pages uses small ones.
 *
 * Knows nothing of what lies in a page, nor how many are wanted.
 */
#ifndef IDEM_SERVER_BASE_HUGEPAGES_H
#define IDEM_SERVER_BASE_HUGEPAGES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define HUGEPAGES_BYTES ((size_t)2 << 20) /* of a page, and what it is aligned to */

/* A page, all of it resident; NULL when memory is short. Thread-safe, like the next two. */
char *hugepages_map(void);
void hugepages_unmap(char *page);
/* Gives part of a page back to the system; the page is no longer a huge page. The bytes may be used
 * again and are undefined. part and bytes are multiples of the small page size. */
void hugepages_give_back(char *part, size_t bytes);

/* Called in the thread of the helper, with the lock held; returns with the lock held. False: there
 * was nothing to do, and the lock was not released. It may then set again_ms, to be called again
 * when nobody has woken the helper for so long. */
typedef bool hugepages_step(void *owner);

struct hugepages {
  pthread_mutex_t lock; /* protects what the owner and its steps share */
  pthread_cond_t work;
  pthread_t thread;
  bool started; /* false: no thread could be made, and no step is ever called */
  bool ending;
  bool busy;         /* a step is running, or the thread has been woken for one */
  bool rested;       /* for the step: it is called because again_ms have passed */
  unsigned again_ms; /* 0: it sleeps until it is woken */
  hugepages_step *step;
  void *owner;
};

/* Starts the helper; step may be called before it returns. */
void hugepages_start(struct hugepages *helper, hugepages_step *step, void *owner);
/* Ends the thread after the current step. Called without the lock, when no other thread uses the
 * helper. */
void hugepages_stop(struct hugepages *helper);

void hugepages_lock(struct hugepages *helper);
void hugepages_unlock(struct hugepages *helper);
/* Wakes the helper because there is something to do. The caller holds the lock. */
void hugepages_wake(struct hugepages *helper);

#endif
