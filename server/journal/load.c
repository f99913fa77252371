/* load.c - see load.h. */
#include "server/journal/load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BEGINS "idem-"

enum journal_result load_corrupt(char error[JOURNAL_ERROR_BYTES], uint64_t first_lsn,
                                 uint64_t offset, const char *format, ...) {
  char name[SEGMENT_NAME_BYTES], reason[JOURNAL_ERROR_BYTES / 2];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  segment_name(first_lsn, name);
  snprintf(error, JOURNAL_ERROR_BYTES,
           "journal: %s: offset %" PRIu64
           ": %s; nothing was changed; see --check-journal, --salvage",
           name, offset, reason);
  return JOURNAL_CORRUPT;
}

enum journal_result load_refused(char error[JOURNAL_ERROR_BYTES], struct journal_files *files,
                                 const char *format, ...) {
  char reason[JOURNAL_ERROR_BYTES / 2];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  snprintf(error, JOURNAL_ERROR_BYTES, "journal: dir %s: %s; nothing was changed", files->directory,
           reason);
  return JOURNAL_REFUSED;
}

enum journal_result load_unread(char error[JOURNAL_ERROR_BYTES], struct journal_files *files,
                                uint64_t first_lsn, int failed) {
  char name[SEGMENT_NAME_BYTES];
  segment_name(first_lsn, name);
  return load_refused(error, files, "%s cannot be read: %s", name, strerror(-failed));
}

/* ---- which there are ---- */

static void add_segment(struct load_list *list, uint64_t first_lsn) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity * 2 + 16;
    uint64_t *grown = realloc(list->lsns, capacity * sizeof *grown);
    if (grown == NULL) {
      list->no_memory = true;
      return;
    }
    list->lsns = grown;
    list->capacity = capacity;
  }
  list->lsns[list->count++] = first_lsn;
}

static void note_name(void *context, const char *name) {
  struct load_list *list = context;
  uint64_t first_lsn;
  if (strcmp(name, LOAD_UNFINISHED) == 0) list->unfinished = true;
  if (strcmp(name, SEGMENT_SPARE) == 0) list->spare = true;
  if (strncmp(name, NAME_BEGINS, sizeof NAME_BEGINS - 1) != 0) return;
  if (segment_has_name(name, &first_lsn)) {
    add_segment(list, first_lsn);
  } else {
    list->strangers = true;
  }
}

void load_free_list(struct load_list *list) {
  free(list->lsns);
  *list = (struct load_list){0};
}

/* ---- one of them ---- */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static int make_room(struct load_file *loaded, size_t size) {
  loaded->size = size;
  if (loaded->capacity > size) return 0;
  free(loaded->bytes);
  loaded->bytes = malloc(size + 1);
  loaded->capacity = loaded->bytes != NULL ? size + 1 : 0;
  return loaded->bytes != NULL ? 0 : -ENOMEM;
}

static int open_name(struct journal_files *files, const char *name, struct load_file *loaded) {
  int file = files->open(files->context, name, false);
  if (file < 0) return file;
  int64_t size = files->size(files->context, file);
  int error = size < 0 ? (int)size : make_room(loaded, (size_t)size);
  loaded->there = 0;
  loaded->file = file;
  loaded->files = files;
  if (error != 0) load_close(loaded);
  return error;
}

static int open_file(struct journal_files *files, uint64_t first_lsn, struct load_file *loaded) {
  char name[SEGMENT_NAME_BYTES];
  segment_name(first_lsn, name);
  int error = open_name(files, name, loaded);
  return error == -ENOENT ? open_name(files, SEGMENT_SPARE, loaded) : error;
}

int load_reach(void *context, size_t end) {
  struct load_file *loaded = context;
  if (end <= loaded->there) return 0;
  size_t count = end - loaded->there;
  if (count < LOAD_STEP_BYTES) count = least(LOAD_STEP_BYTES, loaded->size - loaded->there);
  int64_t got = segment_read(loaded->files, loaded->file, loaded->bytes + loaded->there, count,
                             loaded->there);
  if (got < 0) return (int)got;
  loaded->there += (size_t)got;
  return (size_t)got == count ? 0 : -EIO; /* it was cut while it was read */
}

void load_close(struct load_file *loaded) {
  if (loaded->files != NULL) loaded->files->close(loaded->files->context, loaded->file);
  loaded->files = NULL;
}

int load_bytes(struct journal_files *files, uint64_t first_lsn, struct load_file *loaded) {
  int error = open_file(files, first_lsn, loaded);
  if (error == 0) error = load_reach(loaded, loaded->size);
  load_close(loaded);
  return error;
}

static enum journal_result check_header(struct load_file *loaded, uint64_t first_lsn,
                                        char error[JOURNAL_ERROR_BYTES]) {
  unsigned version = 0;
  if (loaded->size < FORMAT_SEGMENT_BYTES) {
    return load_corrupt(error, first_lsn, loaded->size, "the file ends within its header");
  }
  switch (format_get_segment(loaded->bytes, &loaded->header, &version)) {
    case FORMAT_NEWER:
      return load_corrupt(error, first_lsn, 0,
                          "it has the format version %u, newer than this server reads (%u)",
                          version, FORMAT_VERSION);
    case FORMAT_INVALID: return load_corrupt(error, first_lsn, 0, "no valid segment header");
    case FORMAT_VALID: break;
  }
  if (loaded->header.first_lsn == first_lsn) return JOURNAL_OK;
  return load_corrupt(error, first_lsn, 0, "its header says that it is another segment");
}

enum journal_result load_open(struct journal_files *files, uint64_t first_lsn,
                              struct load_file *loaded, char error[JOURNAL_ERROR_BYTES]) {
  int failed = open_file(files, first_lsn, loaded);
  if (failed == 0) failed = load_reach(loaded, least(loaded->size, FORMAT_SEGMENT_BYTES));
  enum journal_result result = failed == 0 ? check_header(loaded, first_lsn, error)
                                           : load_unread(error, files, first_lsn, failed);
  if (result != JOURNAL_OK) load_close(loaded);
  return result;
}

enum journal_result load_file(struct journal_files *files, uint64_t first_lsn,
                              struct load_file *loaded, char error[JOURNAL_ERROR_BYTES]) {
  enum journal_result result = load_open(files, first_lsn, loaded, error);
  if (result != JOURNAL_OK) return result;
  int failed = load_reach(loaded, loaded->size);
  load_close(loaded);
  return failed == 0 ? JOURNAL_OK : load_unread(error, files, first_lsn, failed);
}

void load_free_file(struct load_file *loaded) {
  load_close(loaded);
  free(loaded->bytes);
  *loaded = (struct load_file){0};
}

/* ---- all of them ---- */

/* Whether the file begins as a segment does; then *first_lsn. Or a negative errno. */
static int begins_segment(struct load_file *loaded, uint64_t *first_lsn) {
  unsigned version;
  struct scan scan;
  struct format_batch batch;
  struct span records;
  int error = load_reach(loaded, least(loaded->size, FORMAT_SEGMENT_BYTES));
  if (error != 0 || loaded->size < FORMAT_SEGMENT_BYTES) return error;
  if (format_get_segment(loaded->bytes, &loaded->header, &version) != FORMAT_VALID) return 0;
  *first_lsn = loaded->header.first_lsn;
  scan_open(&scan, (struct span){loaded->bytes, loaded->size}, *first_lsn,
            format_key(loaded->header.log_id), NULL);
  scan.source = (struct scan_source){load_reach, loaded};
  if (scan_next(&scan, &batch, &records)) return (batch.flags & FORMAT_HEAD) != 0;
  return scan.stop == SCAN_UNREAD ? scan.error : 0;
}

static int note_spare(struct journal_files *files, struct load_list *list) {
  struct load_file loaded = {0};
  uint64_t first_lsn = 0;
  int begins = open_name(files, SEGMENT_SPARE, &loaded);
  if (begins == 0) begins = begins_segment(&loaded, &first_lsn);
  bool later = list->count == 0 || first_lsn > list->lsns[list->count - 1];
  if (begins > 0 && later) add_segment(list, first_lsn);
  load_free_file(&loaded);
  return begins < 0 ? begins : 0;
}

static int by_number(const void *a, const void *b) {
  const uint64_t *one = a, *other = b;
  return (*one > *other) - (*one < *other);
}

int load_segments(struct journal_files *files, struct load_list *list) {
  *list = (struct load_list){0};
  int error = files->list(files->context, note_name, list);
  if (error < 0) return error;
  if (list->no_memory) return -ENOMEM;
  if (list->count > 0) qsort(list->lsns, list->count, sizeof *list->lsns, by_number);
  if (list->spare) error = note_spare(files, list);
  return error != 0 ? error : list->no_memory ? -ENOMEM : 0;
}
