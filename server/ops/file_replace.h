/*
 * file_replace.h - a file that is replaced as a whole: written beside it, synced, renamed.
 *
 * Keeps: a crash in the middle leaves the old file or the new one; the new one is on the disk when
 * file_replace_end returns true.
 */
#ifndef IDEM_SERVER_OPS_FILE_REPLACE_H
#define IDEM_SERVER_OPS_FILE_REPLACE_H

#include <stdio.h>
#include <sys/stat.h>

#include "server/ops/refusal.h"

struct file_replace {
  FILE *out; /* what the new file is to hold is written here */
  const char *path;
  char *beside; /* where it is written; owned */
};

/* path is borrowed, without links. False with the reason. */
bool file_replace_begin(struct file_replace *replace, const char *path, char error[REFUSAL_BYTES]);
/* Puts the new file in the place of the old one, with this owner, group and mode. False with the
 * reason: what was written could not be, and the old file stays. */
bool file_replace_end(struct file_replace *replace, const struct stat *stat,
                      char error[REFUSAL_BYTES]);
/* Instead of file_replace_end: the old file stays. */
void file_replace_drop(struct file_replace *replace);

#endif
