/*
 * journal_rig.h - a journal in a directory of its own, over the real files with a thin layer in
 * between that can fail a call, do less than it was asked, and have a disk of limited size.
 *
 * Records are numbers, padded to what size the test likes; what a recovery brings back is listed.
 */
#ifndef IDEM_TESTS_UNIT_JOURNAL_RIG_H
#define IDEM_TESTS_UNIT_JOURNAL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/journal/format.h"
#include "server/journal/journal.h"
#include "server/journal/segment.h"

#define RIG_SEGMENT (64u << 10)
#define RIG_MOST 200000
#define RIG_RECORD 64 /* bytes, unless a test says otherwise */

enum rig_call {
  RIG_NONE,
  RIG_WRITE,
  RIG_SYNC,
  RIG_ALLOCATE,
  RIG_RENAME,
  RIG_REMOVE,
  RIG_LIST,
  RIG_READ,
  RIG_OPEN,
  RIG_SYNC_DIRECTORY
};

struct rig {
  char directory[64];
  struct journal_files *real;
  struct journal_files files; /* ours, over the real ones */
  struct journal_options options;
  struct journal *journal;

  _Atomic enum rig_call fails; /* this call, */
  _Atomic int after, error;    /* after so many that succeed, with this errno; it goes on failing */
  bool short_writes, interrupted;
  int64_t disk_bytes; /* so many more can be allocated; negative: no limit */
  _Atomic int writes, syncs, calls;

  char failed[JOURNAL_ERROR_BYTES]; /* what hooks.failed was told */
  _Atomic int times_failed;
  int times_unreadable;
  size_t largest_read;
  uint32_t head[16];  /* what heads are made of: a record with this number in it */
  struct span larger; /* or this, if it is there */
  bool no_head;
  int heads_asked;
  int64_t as_of_ms;
  struct journal_moment moment;

  uint32_t *got; /* what a recovery has brought back */
  size_t got_count, heads, batches;
  int64_t restored_end_ms;
  unsigned lasts;      /* batches that were the last of their segment */
  const char *lent;    /* the first record of a segment that is borrowed, */
  uint32_t lent_first; /* and its number */
};

/* ---- the layer ---- */

static inline int rig_fails(struct rig *rig, enum rig_call call) {
  rig->calls++;
  if (rig->fails != call) return 0;
  return rig->after-- > 0 ? 0 : -rig->error;
}

#define RIG_OF(context) struct rig *rig = (context)
#define RIG_REAL rig->real->context

static inline int rig_list(void *context, files_visitor *visit, void *visit_context) {
  RIG_OF(context);
  int error = rig_fails(rig, RIG_LIST);
  return error != 0 ? error : rig->real->list(RIG_REAL, visit, visit_context);
}
static inline int rig_open_file(void *context, const char *name, bool create) {
  RIG_OF(context);
  int error = rig_fails(rig, RIG_OPEN);
  return error != 0 ? error : rig->real->open(RIG_REAL, name, create);
}
static inline int rig_close_file(void *context, int file) {
  RIG_OF(context);
  return rig->real->close(RIG_REAL, file);
}
static inline int64_t rig_size(void *context, int file) {
  RIG_OF(context);
  return rig->real->size(RIG_REAL, file);
}
static inline int64_t rig_read(void *context, int file, void *to, size_t count, uint64_t at) {
  RIG_OF(context);
  int error = rig_fails(rig, RIG_READ);
  if (error != 0) return error;
  if (count > rig->largest_read) rig->largest_read = count;
  return rig->real->read(RIG_REAL, file, to, rig->short_writes ? count / 2 + 1 : count, at);
}
static inline int64_t rig_write(void *context, int file, const void *from, size_t count,
                                uint64_t at) {
  RIG_OF(context);
  int error = rig_fails(rig, RIG_WRITE);
  if (error != 0) return error;
  int number = rig->writes++;
  if (rig->interrupted && number % 2 == 0) return -EINTR;
  return rig->real->write(RIG_REAL, file, from, rig->short_writes ? count / 2 + 1 : count, at);
}
static inline int rig_allocate(void *context, int file, uint64_t at, uint64_t count) {
  RIG_OF(context);
  int error = rig_fails(rig, RIG_ALLOCATE);
  if (error != 0) return error;
  int64_t size = rig->real->size(RIG_REAL, file);
  bool there = (int64_t)(at + count) <= size;
  if (rig->disk_bytes >= 0 && !there) {
    if (rig->disk_bytes < (int64_t)count) return -ENOSPC;
    rig->disk_bytes -= (int64_t)count;
  }
  return rig->real->allocate(RIG_REAL, file, at, count);
}
/* A crash here is a copy of the files: waiting for a disk would show nothing. */
static inline int rig_sync(void *context, int file) {
  RIG_OF(context);
  int error = rig_fails(rig, RIG_SYNC);
  rig->syncs++;
  (void)file;
  return error;
}
static inline int rig_links(void *context, int file) {
  RIG_OF(context);
  return rig->real->links(RIG_REAL, file);
}
static inline int rig_rename(void *context, const char *from, const char *to) {
  RIG_OF(context);
  int error = rig_fails(rig, RIG_RENAME);
  return error != 0 ? error : rig->real->rename(RIG_REAL, from, to);
}
static inline int rig_remove(void *context, const char *name) {
  RIG_OF(context);
  int error = rig_fails(rig, RIG_REMOVE);
  return error != 0 ? error : rig->real->remove(RIG_REAL, name);
}
static inline int rig_sync_directory(void *context) {
  RIG_OF(context);
  return rig_fails(rig, RIG_SYNC_DIRECTORY);
}

/* ---- hooks ---- */

static inline void rig_failed(void *context, const char *text) {
  RIG_OF(context);
  snprintf(rig->failed, sizeof rig->failed, "%s", text);
  rig->times_failed++;
}

/* The same way, since there is one text for each. */
static inline void rig_unreadable(void *context, const char *text) {
  RIG_OF(context);
  snprintf(rig->failed, sizeof rig->failed, "%s", text);
  rig->times_unreadable++;
}

static inline struct span rig_head(void *context, void *caller, int64_t *as_of_ms) {
  RIG_OF(context);
  (void)caller;
  rig->heads_asked++;
  if (rig->no_head) return SPAN_ABSENT;
  *as_of_ms = rig->as_of_ms;
  if (span_present(rig->larger)) return rig->larger;
  rig->head[0] = sizeof rig->head;
  return (struct span){(const char *)rig->head, sizeof rig->head};
}

/* What was borrowed stays as it was until the last batch of its segment. */
static inline void rig_expect_lent(struct rig *rig, const struct journal_batch *batch) {
  uint32_t record[2];
  if (rig->lent == NULL && batch->records.len > 0 && !batch->head) {
    rig->lent = batch->records.data;
    memcpy(record, rig->lent, sizeof record);
    rig->lent_first = record[1];
  }
  if (rig->lent != NULL) {
    memcpy(record, rig->lent, sizeof record);
    assert_int_equal(record[1], rig->lent_first);
  }
  rig->lasts += batch->last;
  if (batch->last) rig->lent = NULL;
}

static inline void rig_expect_lasts(struct rig *rig) {
  struct journal_figures figures;
  journal_figures(rig->journal, &figures);
  assert_int_equal(rig->lasts, figures.segments);
}

static inline bool rig_restore(void *context, const struct journal_batch *batch,
                               struct journal_ends *ends) {
  RIG_OF(context);
  *ends = (struct journal_ends){.last_ms = rig->restored_end_ms};
  rig->batches++;
  rig_expect_lent(rig, batch);
  if (batch->head) {
    rig->heads++;
    return true;
  }
  size_t before = rig->got_count;
  for (size_t at = 0; at < batch->records.len;) {
    uint32_t record[2];
    memcpy(record, batch->records.data + at, sizeof record);
    assert_true(rig->got_count < RIG_MOST);
    rig->got[rig->got_count++] = record[1];
    at += record[0];
  }
  assert_int_equal(rig->got_count - before, batch->count);
  return true;
}

/* ---- life ---- */

/* A new directory of its own, where $TMPDIR says. */
static inline void rig_directory(char path[64]) {
  const char *above = getenv("TMPDIR");
  snprintf(path, 64, "%.40s/idem-journal-XXXXXX", above != NULL ? above : "/tmp");
  assert_non_null(mkdtemp(path));
}

static inline void rig_make(struct rig *rig) {
  static const unsigned char log_id[JOURNAL_ID_BYTES] = "sixteen bytes id";
  *rig = (struct rig){.disk_bytes = -1, .as_of_ms = INT64_MIN, .restored_end_ms = INT64_MAX};
  rig_directory(rig->directory);
  rig->files = (struct journal_files){.context = rig,
                                      .directory = rig->directory,
                                      .list = rig_list,
                                      .open = rig_open_file,
                                      .close = rig_close_file,
                                      .size = rig_size,
                                      .read = rig_read,
                                      .write = rig_write,
                                      .allocate = rig_allocate,
                                      .sync = rig_sync,
                                      .links = rig_links,
                                      .rename = rig_rename,
                                      .remove = rig_remove,
                                      .sync_directory = rig_sync_directory};
  rig->options = (struct journal_options){
      .files = &rig->files,
      .segment_bytes = RIG_SEGMENT,
      .log_id = log_id,
      .hooks = {
          .context = rig, .failed = rig_failed, .unreadable = rig_unreadable, .head = rig_head}};
  rig->moment = (struct journal_moment){.engine_ms = 1000, .wall_ms = 5000, .next_token = 1};
  rig->got = calloc(RIG_MOST, sizeof *rig->got);
}

/* Open, recover, start; what it says, and the text of a refusal. */
static inline enum journal_result rig_try(struct rig *rig, char error[JOURNAL_ERROR_BYTES]) {
  char files_error[FILES_ERROR_BYTES] = "";
  error[0] = 0;
  rig->got_count = rig->heads = rig->batches = 0;
  rig->real = files_open(rig->directory, true, files_error);
  assert_string_equal(files_error, "");
  enum journal_result result = journal_open(&rig->options, &rig->journal, error);
  if (result == JOURNAL_OK && !journal_is_new(rig->journal)) {
    rig->lent = NULL;
    rig->lasts = 0;
    result = journal_recover(rig->journal, rig_restore, rig, error);
    if (result == JOURNAL_OK) rig_expect_lasts(rig);
  }
  if (result == JOURNAL_OK) result = journal_start(rig->journal, NULL, &rig->moment, error);
  if (result == JOURNAL_OK) return result;
  journal_close(rig->journal);
  rig->journal = NULL;
  files_close(rig->real);
  return result;
}

static inline void rig_start(struct rig *rig) {
  char error[JOURNAL_ERROR_BYTES];
  enum journal_result result = rig_try(rig, error);
  assert_string_equal(error, "");
  assert_int_equal(result, JOURNAL_OK);
}

static inline void rig_stop(struct rig *rig) {
  journal_close(rig->journal);
  rig->journal = NULL;
  files_close(rig->real);
}

/* Copies the directory as it is now, as after kill -9, and goes on with the copy. */
static inline void rig_crash(struct rig *rig) {
  char command[256], copy[64];
  rig_directory(copy);
  snprintf(command, sizeof command, "cp -p %s/* %s/ && rm -r %s", rig->directory, copy,
           rig->directory);
  assert_int_equal(chmod(copy, 0700), 0);
  assert_int_equal(system(command), 0);
  journal_close(rig->journal);
  files_close(rig->real);
  memcpy(rig->directory, copy, sizeof copy);
  rig->journal = NULL;
}

static inline void rig_clean(struct rig *rig) {
  char command[128];
  if (rig->journal != NULL) rig_stop(rig);
  snprintf(command, sizeof command, "rm -rf %s", rig->directory);
  assert_int_equal(system(command), 0);
  free(rig->got);
}

/* ---- use ---- */

/* For cmocka: a rig for each test. */
static inline int rig_set_up(void **state) {
  struct rig *rig = calloc(1, sizeof *rig);
  rig_make(rig);
  *state = rig;
  return 0;
}

static inline int rig_tear_down(void **state) {
  rig_clean(*state);
  free(*state);
  return 0;
}

static inline void rig_append_sized(struct rig *rig, uint32_t number, uint32_t bytes,
                                    struct journal_ends ends) {
  char *record = calloc(1, bytes);
  memcpy(record, &bytes, sizeof bytes);
  memcpy(record + sizeof bytes, &number, sizeof number);
  for (uint32_t i = 8; i < bytes; i++) record[i] = (char)(number + i);
  struct journal_append append = {
      .records = {record, bytes}, .count = 1, .ends = ends, .moment = rig->moment};
  journal_append(rig->journal, &append);
  free(record);
}

static inline void rig_append(struct rig *rig, uint32_t number) {
  rig_append_sized(rig, number, RIG_RECORD, (struct journal_ends){.last_ms = INT64_MAX});
}

static inline void rig_commit(struct rig *rig) {
  assert_true(journal_commit(rig->journal, NULL));
  assert_false(journal_is_behind(rig->journal));
}

static inline void rig_put(struct rig *rig, uint32_t number) {
  assert_int_equal(journal_room(rig->journal, RIG_RECORD), JOURNAL_ROOM_ENOUGH);
  rig_append(rig, number);
  rig_commit(rig);
}

/* One record a batch, until there are so many segments. */
static inline uint32_t rig_fill(struct rig *rig, uint32_t from, unsigned segments) {
  struct journal_figures figures;
  do {
    rig_put(rig, from++);
    journal_figures(rig->journal, &figures);
  } while (figures.segments < segments);
  return from;
}

static inline void rig_expect(const struct rig *rig, uint32_t from, uint32_t upto) {
  assert_int_equal(rig->got_count, upto - from);
  for (uint32_t i = from; i < upto; i++) assert_int_equal(rig->got[i - from], i);
}

static inline struct journal_figures rig_figures(const struct rig *rig) {
  struct journal_figures figures;
  journal_figures(rig->journal, &figures);
  return figures;
}

/* ---- the files ---- */

/* The path of the n-th segment, oldest first; how many there are. */
static inline unsigned rig_segment(const struct rig *rig, unsigned n, char path[160]) {
  struct dirent **entries;
  unsigned count = 0;
  uint64_t lsn;
  int all = scandir(rig->directory, &entries, NULL, alphasort);
  for (int i = 0; i < all; i++) {
    if (segment_has_name(entries[i]->d_name, &lsn) && count++ == n) {
      snprintf(path, 160, "%s/%.60s", rig->directory, entries[i]->d_name);
    }
    free(entries[i]);
  }
  free(entries);
  return count;
}

static inline unsigned rig_segments(const struct rig *rig) {
  char path[160];
  return rig_segment(rig, UINT32_MAX, path);
}

/* Changes one byte: the bits of the mask. */
static inline void rig_flip(const char *path, long offset, int mask) {
  FILE *file = fopen(path, "r+");
  assert_non_null(file);
  assert_int_equal(fseek(file, offset, SEEK_SET), 0);
  int byte = fgetc(file);
  assert_int_equal(fseek(file, offset, SEEK_SET), 0);
  fputc(byte ^ mask, file);
  assert_int_equal(fclose(file), 0);
}

static inline bool rig_has(const struct rig *rig, const char *name) {
  char path[160];
  snprintf(path, sizeof path, "%s/%s", rig->directory, name);
  return access(path, F_OK) == 0;
}

#endif
