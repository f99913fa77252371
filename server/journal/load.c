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

/* ---- which there are ---- */

static void note_name(void *context, const char *name) {
  struct load_list *list = context;
  uint64_t first_lsn;
  if (strcmp(name, LOAD_UNFINISHED) == 0) list->unfinished = true;
  if (strncmp(name, NAME_BEGINS, sizeof NAME_BEGINS - 1) != 0) return;
  if (!segment_has_name(name, &first_lsn)) {
    list->strangers = true;
    return;
  }
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
  return 0;
}

void load_free_list(struct load_list *list) {
  free(list->lsns);
  *list = (struct load_list){0};
}

/* ---- one of them ---- */

int load_bytes(struct journal_files *files, uint64_t first_lsn, struct load_file *loaded) {
  char name[SEGMENT_NAME_BYTES];
  *loaded = (struct load_file){0};
  segment_name(first_lsn, name);
  int file = files->open(files->context, name, false);
  if (file < 0) return file;
  int64_t size = files->size(files->context, file), got = size;
  if (size >= 0) {
    loaded->bytes = malloc((size_t)size + 1);
    got =
        loaded->bytes == NULL ? -ENOMEM : segment_read(files, file, loaded->bytes, (size_t)size, 0);
  }
  files->close(files->context, file);
  if (got < 0) {
    load_free_file(loaded);
    return (int)got;
  }
  loaded->size = (size_t)got;
  return 0;
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

enum journal_result load_file(struct journal_files *files, uint64_t first_lsn,
                              struct load_file *loaded, char error[JOURNAL_ERROR_BYTES]) {
  char name[SEGMENT_NAME_BYTES];
  int failed = load_bytes(files, first_lsn, loaded);
  if (failed != 0) {
    segment_name(first_lsn, name);
    return load_refused(error, files, "%s cannot be read: %s", name, strerror(-failed));
  }
  enum journal_result result = check_header(loaded, first_lsn, error);
  if (result != JOURNAL_OK) load_free_file(loaded);
  return result;
}

void load_free_file(struct load_file *loaded) {
  free(loaded->bytes);
  *loaded = (struct load_file){0};
}
