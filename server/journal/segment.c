/* segment.c - see segment.h. */
#include "server/journal/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ZEROS_BYTES (64u << 10)

void segment_name(uint64_t first_lsn, char name[SEGMENT_NAME_BYTES]) {
  snprintf(name, SEGMENT_NAME_BYTES, "idem-%016" PRIx64 ".log", first_lsn);
}

bool segment_has_name(const char *name, uint64_t *first_lsn) {
  char back[SEGMENT_NAME_BYTES];
  if (sscanf(name, "idem-%16" SCNx64 ".log", first_lsn) != 1) return false;
  segment_name(*first_lsn, back);
  return strcmp(name, back) == 0;
}

/* Whether to make the call again that has returned `error`. *interruptions: 0 before the first. */
static bool again(int64_t error, unsigned *interruptions) {
  if (error == -EINTR) return ++*interruptions <= SEGMENT_INTERRUPTIONS;
  *interruptions = 0;
  return false;
}

int segment_sync(struct journal_files *files, int file) {
  unsigned interruptions = 0;
  int error;
  do error = files->sync(files->context, file);
  while (again(error, &interruptions));
  return error;
}

int segment_allocate(struct journal_files *files, int file, uint64_t at, uint64_t count) {
  unsigned interruptions = 0;
  int error;
  do error = files->allocate(files->context, file, at, count);
  while (again(error, &interruptions));
  return error;
}

int segment_write(struct journal_files *files, int file, const void *from, size_t count,
                  uint64_t at) {
  const char *rest = from;
  unsigned interruptions = 0;
  while (count > 0) {
    int64_t written = files->write(files->context, file, rest, count, at);
    if (again(written, &interruptions)) continue;
    if (written <= 0) return written == 0 ? -EIO : (int)written;
    rest += written;
    at += (uint64_t)written;
    count -= (size_t)written;
  }
  return 0;
}

int segment_write_zeros(struct journal_files *files, int file, uint64_t count, uint64_t at) {
  static const char zeros[ZEROS_BYTES];
  int error = 0;
  while (count > 0 && error == 0) {
    size_t part = count < sizeof zeros ? (size_t)count : sizeof zeros;
    error = segment_write(files, file, zeros, part, at);
    at += part;
    count -= part;
  }
  return error;
}

int64_t segment_read(struct journal_files *files, int file, void *to, size_t count, uint64_t at) {
  size_t have = 0;
  unsigned interruptions = 0;
  while (have < count) {
    int64_t got = files->read(files->context, file, (char *)to + have, count - have, at + have);
    if (again(got, &interruptions)) continue;
    if (got < 0) return got;
    if (got == 0) break;
    have += (size_t)got;
  }
  return (int64_t)have;
}
