/*
 * files.h - the files of one directory, as the journal sees them: a small virtual layer, so that a
 * test can put a disk of its own underneath that forgets, tears and fails.
 *
 * Names are within the directory. Every function returns 0 or more, or a negative errno. read and
 * write may do less than asked, and may say -EINTR; whoever calls goes on. What is written is
 * durable after `sync` of the file; that a name is there, or is not, after `sync_directory`.
 *
 * Thread-safe, for different files.
 */
#ifndef IDEM_SERVER_JOURNAL_FILES_H
#define IDEM_SERVER_JOURNAL_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void files_visitor(void *context, const char *name);

struct journal_files {
  void *context;
  const char *directory; /* for messages */
  bool group_may_enter;  /* other users of its group may read, write or enter it: to be logged */
  int (*list)(void *context, files_visitor *visit, void *visit_context);
  /* A number for the file. create: made if it is not there, mode 0600; else -ENOENT. */
  int (*open)(void *context, const char *name, bool create);
  int (*close)(void *context, int file);
  int64_t (*size)(void *context, int file);
  int64_t (*read)(void *context, int file, void *to, size_t count, uint64_t at);
  int64_t (*write)(void *context, int file, const void *from, size_t count, uint64_t at);
  /* Room for bytes that read as zeros, so that writing there needs none; -EOPNOTSUPP: write zeros.
   */
  int (*allocate)(void *context, int file, uint64_t at, uint64_t count);
  int (*sync)(void *context, int file);  /* fdatasync */
  int (*links)(void *context, int file); /* how many names it has */
  int (*rename)(void *context, const char *from, const char *to);
  int (*remove)(void *context, const char *name);
  int (*sync_directory)(void *context);
};

#define FILES_ERROR_BYTES 512u

/*
 * The real directory. write: makes it when it is not there (mode 0700, whatever the umask) and
 * locks its file LOCK (flock) until files_close; else nothing is written to. NULL with the reason
 * in error: not a directory, the world may enter it, read-only, in use by another server, ...
 */
struct journal_files *files_open(const char *directory, bool write, char error[FILES_ERROR_BYTES]);
void files_close(struct journal_files *files); /* takes NULL */

#endif
