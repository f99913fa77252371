/*
 * process.h - whether this is still the process that made the mark: what was opened before fork
 * cannot be used in the child.
 *
 * A page that the kernel fills with zeros in a child answers without a system call (getpid is one,
 * a fiftieth of a whole call to the server). Where there is no such page, getpid answers.
 */
#ifndef IDEM_CLIENT_PROCESS_H
#define IDEM_CLIENT_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process_mark {
  volatile char *page; /* NULL: none to be had */
  pid_t pid;
};

/* Never fails: without a page it uses getpid. */
void process_mark_init(struct process_mark *mark);
void process_mark_deinit(struct process_mark *mark);
/* True in the process that made the mark, false in its children. */
bool process_mark_holds(const struct process_mark *mark);

#endif
