/*
 * load.h - a directory as it was found: which segments there are, and one of them in memory, whole
 * or read as far as it is looked at. For recovery, the check and the salvage; changes nothing.
 */
#ifndef IDEM_SERVER_JOURNAL_LOAD_H
#define IDEM_SERVER_JOURNAL_LOAD_H

#include "server/journal/scan.h"
#include "server/journal/segment.h"

/* A file that is there while a salvage writes into a directory. */
#define LOAD_UNFINISHED "salvage-is-not-finished"

/* What is read at a time, unless more is asked for. */
#define LOAD_STEP_BYTES (256u << 10)

/* A segment that had no room for its own name is the spare (rotate.h): one that begins with a valid
 * header and head, later than the others. Its number is in the list; load_open finds it. */
struct load_list {
  uint64_t *lsns; /* first of each segment, in order */
  size_t count, capacity;
  bool no_memory;
  bool spare;      /* SEGMENT_SPARE is there */
  bool unfinished; /* LOAD_UNFINISHED is there */
  bool strangers;  /* files with the beginning of a segment's name and another end */
};

struct load_file {
  char *bytes;
  size_t size;
  struct format_segment header;
  size_t capacity;             /* of bytes */
  size_t there;                /* the bytes up to here have been read */
  struct journal_files *files; /* NULL: none is open */
  int file;
};

/* 0, or a negative errno. load_free_list in any case. */
int load_segments(struct journal_files *files, struct load_list *list);
void load_free_list(struct load_list *list);

/* Each takes {0}, or what was closed: the memory for its bytes is used again. */

/* All bytes of a segment, whatever they are: 0, or a negative errno. */
int load_bytes(struct journal_files *files, uint64_t first_lsn, struct load_file *loaded);
/* One segment, its header looked at. */
enum journal_result load_file(struct journal_files *files, uint64_t first_lsn,
                              struct load_file *loaded, char error[JOURNAL_ERROR_BYTES]);
/* The same, but only its beginning is read yet; after success, load_close. */
enum journal_result load_open(struct journal_files *files, uint64_t first_lsn,
                              struct load_file *loaded, char error[JOURNAL_ERROR_BYTES]);
/* A scan_source's: reads a step on, while what it reads is still in the processor's cache. */
int load_reach(void *loaded, size_t end);
void load_close(struct load_file *loaded);
void load_free_file(struct load_file *loaded); /* closes it too */

/* What is told of a log that is not taken. */
__attribute__((format(printf, 4, 5))) enum journal_result load_corrupt(
    char error[JOURNAL_ERROR_BYTES], uint64_t first_lsn, uint64_t offset, const char *format, ...);
__attribute__((format(printf, 3, 4))) enum journal_result load_refused(
    char error[JOURNAL_ERROR_BYTES], struct journal_files *files, const char *format, ...);
enum journal_result load_unread(char error[JOURNAL_ERROR_BYTES], struct journal_files *files,
                                uint64_t first_lsn, int failed);

#endif
