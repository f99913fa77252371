/*
 * segment.h - one file of the log: its name, reading and writing all that was asked for, and what
 * the table of segments keeps of it.
 *
 * It must not know batches. A position in a file and one in the log differ by a constant:
 * file = FORMAT_SEGMENT_BYTES + lsn - first_lsn.
 */
#ifndef IDEM_SERVER_JOURNAL_SEGMENT_H
#define IDEM_SERVER_JOURNAL_SEGMENT_H

#include "server/journal/format.h"

#define SEGMENT_NAME_BYTES 32u
#define SEGMENT_SPARE "spare" /* the next segment, before it has its name */

/* Where a segment is in the log and when its records have ended. */
struct segment {
  uint64_t first_lsn, end_lsn;
  int64_t last_ms;  /* when its records have ended by themselves */
  int64_t older_ms; /* those in it and before it whose end was moved by a record in it */
  /* read: to its end, and what still counts was appended again: when so much had been appended, and
   * so many heads had been asked for. It counts until all that is durable, and a later head. */
  bool read;
  uint64_t read_appended, read_heads;
};

static inline uint64_t segment_offset(uint64_t first_lsn, uint64_t lsn) {
  return FORMAT_SEGMENT_BYTES + (lsn - first_lsn);
}
/* What its batches take, with the header. */
static inline uint64_t segment_used(const struct segment *segment) {
  return segment_offset(segment->first_lsn, segment->end_lsn);
}

void segment_name(uint64_t first_lsn, char name[SEGMENT_NAME_BYTES]);
bool segment_has_name(const char *name, uint64_t *first_lsn);

/* A call that a signal has interrupted is made again, so many times in a row. Then the signals are
 * no accident (a file system in user space may answer so for ever), and it has failed. */
#define SEGMENT_INTERRUPTIONS 1000u

/* All of it, however often the layer has to be asked: 0, or a negative errno. */
int segment_write(struct journal_files *files, int file, const void *from, size_t count,
                  uint64_t at);
int segment_write_zeros(struct journal_files *files, int file, uint64_t count, uint64_t at);
int segment_sync(struct journal_files *files, int file);
int segment_allocate(struct journal_files *files, int file, uint64_t at, uint64_t count);
/* As many bytes as there are: less than count only at the end of the file. */
int64_t segment_read(struct journal_files *files, int file, void *to, size_t count, uint64_t at);

#endif
