/* hugepages.c - see hugepages.h. */
#include "server/base/hugepages.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/base/thread.h"

#define PAGE_BYTES 4096u /* the smallest page size that Linux has */

/* ---- pages ---- */

static char *map(size_t bytes) {
  char *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return base != MAP_FAILED ? base : NULL;
}

/* From Linux 6.7 on, a mapping as large as a huge page is aligned to it. */
static char *map_aligned(void) {
  char *base = map(HUGEPAGES_BYTES);
  if (base == NULL || (uintptr_t)base % HUGEPAGES_BYTES == 0) return base;
  munmap(base, HUGEPAGES_BYTES);
  base = map(2 * HUGEPAGES_BYTES);
  if (base == NULL) return NULL;
  size_t after = (uintptr_t)base % HUGEPAGES_BYTES;
  size_t before = HUGEPAGES_BYTES - after;
  munmap(base, before);
  if (after > 0) munmap(base + before + HUGEPAGES_BYTES, after);
  return base + before;
}

/* Touches every small page. MADV_POPULATE_WRITE would hold the lock of all mappings until the end:
 * on a virtual machine a loop whose allocator mapped memory waited 5 ms, of the 8 that a page
 * took. */
static void populate(char *page) {
  madvise(page, HUGEPAGES_BYTES, MADV_HUGEPAGE);
  for (size_t at = 0; at < HUGEPAGES_BYTES; at += PAGE_BYTES) *(volatile char *)(page + at) = 0;
}

char *hugepages_map(void) {
  char *page = map_aligned();
  if (page != NULL) populate(page);
  return page;
}

void hugepages_unmap(char *page) { munmap(page, HUGEPAGES_BYTES); }

void hugepages_give_back(char *part, size_t bytes) { madvise(part, bytes, MADV_DONTNEED); }

/* ---- the helper ---- */

void hugepages_lock(struct hugepages *helper) { pthread_mutex_lock(&helper->lock); }

void hugepages_unlock(struct hugepages *helper) { pthread_mutex_unlock(&helper->lock); }

void hugepages_wake(struct hugepages *helper) {
  if (!helper->started || helper->busy) return;
  helper->busy = true;
  pthread_cond_signal(&helper->work);
}

static struct timespec after_ms(unsigned ms) {
  uint64_t ns = clock_monotonic_ns() + ms * UINT64_C(1000000);
  return (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
}

static void rest(struct hugepages *helper) {
  if (helper->again_ms == 0) {
    pthread_cond_wait(&helper->work, &helper->lock);
    return;
  }
  const struct timespec until = after_ms(helper->again_ms);
  helper->rested = pthread_cond_timedwait(&helper->work, &helper->lock, &until) == ETIMEDOUT;
}

static void *run(void *argument) {
  struct hugepages *helper = argument;
  hugepages_lock(helper);
  while (!helper->ending) {
    helper->again_ms = 0;
    helper->busy = helper->step(helper->owner);
    helper->rested = false;
    if (!helper->busy) rest(helper);
  }
  hugepages_unlock(helper);
  return NULL;
}

void hugepages_start(struct hugepages *helper, hugepages_step *step, void *owner) {
  *helper = (struct hugepages){.step = step, .owner = owner};
  pthread_mutex_init(&helper->lock, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&helper->work, &monotonic);
  pthread_condattr_destroy(&monotonic);
  hugepages_lock(helper);
  helper->started = thread_start(&helper->thread, run, helper) == 0;
  hugepages_unlock(helper);
}

void hugepages_stop(struct hugepages *helper) {
  if (helper->started) {
    hugepages_lock(helper);
    helper->ending = true;
    pthread_cond_signal(&helper->work);
    hugepages_unlock(helper);
    pthread_join(helper->thread, NULL);
  }
  pthread_cond_destroy(&helper->work);
  pthread_mutex_destroy(&helper->lock);
}
