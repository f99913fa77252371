/* process.c - see process.h. */
#include "client/process.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* At most a page; the kernel rounds it up. */
#define MARK_BYTES 1

void process_mark_init(struct process_mark *mark) {
  mark->pid = getpid();
  mark->page = NULL;
#ifdef MADV_WIPEONFORK
  char *page = mmap(NULL, MARK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (madvise(page, MARK_BYTES, MADV_WIPEONFORK) == 0) {
    *page = 1;
    mark->page = page;
  } else {
    munmap(page, MARK_BYTES);
  }
#endif
}

void process_mark_deinit(struct process_mark *mark) {
  if (mark->page != NULL) munmap((void *)(size_t)mark->page, MARK_BYTES);
  mark->page = NULL;
}

bool process_mark_holds(const struct process_mark *mark) {
  return mark->page != NULL ? *mark->page != 0 : mark->pid == getpid();
}
