/* test_journal.c - the log: what was committed is there after a crash, whole batches only; what is
 * torn is cut, what is rotten is refused. */
#include "server/journal/load.h"
#include "tests/unit/journal_rig.h"

#define HEAD_SPACE (FORMAT_SEGMENT_BYTES + FORMAT_BATCH_BYTES + 64) /* with a head of the rig's */
#define BATCH (FORMAT_BATCH_BYTES + RIG_RECORD)                     /* of one record */

static void expect_refusal(struct rig *rig, enum journal_result expected, const char *says) {
  char error[JOURNAL_ERROR_BYTES];
  enum journal_result result = rig_try(rig, error);
  if (strstr(error, says) == NULL) fail_msg("'%s' does not say '%s'", error, says);
  assert_int_equal(result, expected);
}

/* ---- committed is committed ---- */

static void a_new_log_is_empty(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  assert_int_equal(rig->heads_asked, 1);
  rig_crash(rig);
  rig_start(rig);
  assert_int_equal(rig->heads, 1);
  rig_expect(rig, 0, 0);
}

static void what_was_committed_is_there_after_a_crash(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  for (uint32_t i = 0; i < 100; i++) rig_put(rig, i);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, 100);
  for (uint32_t i = 100; i < 200; i++) rig_put(rig, i);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, 200);
  assert_int_equal(rig_figures(rig).recovered_records, 200);
}

static void what_was_only_appended_is_not(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_put(rig, 0);
  assert_false(journal_is_behind(rig->journal));
  rig_append(rig, 1);
  assert_true(journal_is_behind(rig->journal));
  assert_int_equal(journal_pending_bytes(rig->journal), RIG_RECORD);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, 1);
}

static void one_append_of_many_records_is_one_batch(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  uint32_t records[10][4];
  for (uint32_t i = 0; i < 10; i++) {
    records[i][0] = sizeof records[i];
    records[i][1] = i;
  }
  struct journal_append append = {
      .records = {(const char *)records, sizeof records}, .count = 10, .moment = rig->moment};
  journal_append(rig->journal, &append);
  int writes = rig->writes, syncs = rig->syncs;
  rig_commit(rig);
  assert_int_equal(rig->writes - writes, 1);
  assert_int_equal(rig->syncs - syncs, 1);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, 10);
  assert_int_equal(rig->batches, 2); /* with the head */
}

static void a_commit_of_nothing_does_nothing(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  int calls = rig->calls;
  rig_commit(rig);
  assert_int_equal(rig->calls, calls);
}

static void the_newest_moment_comes_back(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig->moment = (struct journal_moment){
      .engine_ms = 2000, .wall_ms = 7000, .largest_ms = 5500, .next_token = 77};
  rig_put(rig, 0);
  rig->moment = (struct journal_moment){
      .engine_ms = 1900, .wall_ms = 6000, .largest_ms = 4500, .next_token = 70};
  rig_put(rig, 1); /* by a loop that read its clock before */
  rig_crash(rig);
  char error[JOURNAL_ERROR_BYTES];
  rig->real = files_open(rig->directory, true, error);
  assert_int_equal(journal_open(&rig->options, &rig->journal, error), JOURNAL_OK);
  struct journal_moment newest = journal_newest(rig->journal);
  assert_int_equal(newest.engine_ms, 2000);
  assert_int_equal(newest.wall_ms, 6000);
  assert_int_equal(newest.largest_ms, 5500);
  assert_int_equal(newest.next_token, 77);
  struct span head = journal_newest_head(rig->journal);
  assert_int_equal(head.len, sizeof rig->head);
  assert_memory_equal(head.data, rig->head, head.len);
}

/* ---- segments ---- */

static void a_full_segment_is_followed_by_another(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 4);
  assert_int_equal(rig_segments(rig), 4);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, end);
  assert_int_equal(rig->heads, 4);
  assert_int_equal(rig_figures(rig).segments, 4);
}

static void a_batch_larger_than_a_segment_has_one_of_its_size(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_put(rig, 0);
  assert_int_equal(journal_room(rig->journal, 5 * RIG_SEGMENT), JOURNAL_ROOM_ENOUGH);
  rig_append_sized(rig, 1, 5 * RIG_SEGMENT, (struct journal_ends){0});
  rig_commit(rig);
  rig_put(rig, 2);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, 3);
  rig_fill(rig, 3, rig_segments(rig) + 1);
}

static void without_memory_the_former_head_is_written_again(void **state) {
  struct rig *rig = *state;
  rig->head[3] = 4711;
  rig_start(rig);
  rig->no_head = true;
  uint32_t end = rig_fill(rig, 0, 3);
  rig->head[3] = 0;
  rig_crash(rig);
  char error[JOURNAL_ERROR_BYTES];
  rig->real = files_open(rig->directory, true, error);
  assert_int_equal(journal_open(&rig->options, &rig->journal, error), JOURNAL_OK);
  struct span head = journal_newest_head(rig->journal);
  assert_int_equal(head.len, sizeof rig->head);
  assert_int_equal(((const uint32_t *)(const void *)head.data)[3], 4711);
  journal_close(rig->journal);
  files_close(rig->real);
  rig_start(rig);
  rig_expect(rig, 0, end);
}

/* ---- torn ---- */

static void expect_cut(struct rig *rig, uint32_t records) {
  rig_start(rig);
  rig_expect(rig, 0, records);
  rig_put(rig, records); /* and the log goes on from there */
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, records + 1);
}

static void a_torn_last_batch_is_cut_whole(void **state) {
  struct rig *rig = *state;
  char path[160];
  for (long torn = 0; torn < (long)BATCH; torn += 7) {
    rig_start(rig);
    for (uint32_t i = 0; i < 3; i++) rig_put(rig, i);
    rig_crash(rig);
    rig_segment(rig, 0, path);
    rig_flip(path, (long)(HEAD_SPACE + 2 * BATCH) + torn, 0x40);
    expect_cut(rig, 2);
    rig_clean(rig);
    rig_make(rig);
  }
}

static void what_was_cut_is_counted(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  for (uint32_t i = 0; i < 3; i++) rig_put(rig, i);
  rig_crash(rig);
  rig_start(rig);
  assert_int_equal(rig_figures(rig).cut_bytes, 0);
  rig_crash(rig);
  rig_segment(rig, 0, path);
  rig_flip(path, HEAD_SPACE + 2 * BATCH + FORMAT_BATCH_BYTES, 1);
  rig_start(rig);
  assert_int_equal(rig_figures(rig).cut_bytes, BATCH);
}

static void a_file_that_was_cut_short_loads(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  for (uint32_t i = 0; i < 3; i++) rig_put(rig, i);
  rig_crash(rig);
  rig_segment(rig, 0, path);
  assert_int_equal(truncate(path, HEAD_SPACE + 3 * BATCH - 1), 0);
  expect_cut(rig, 2);
}

static void a_file_with_zeros_after_it_loads(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  for (uint32_t i = 0; i < 3; i++) rig_put(rig, i);
  rig_crash(rig);
  rig_segment(rig, 0, path);
  assert_int_equal(truncate(path, 3 * RIG_SEGMENT + 5), 0);
  expect_cut(rig, 3);
}

/* ---- rotten ---- */

static void a_rotten_batch_before_the_last_is_refused(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  for (uint32_t i = 0; i < 3; i++) rig_put(rig, i);
  rig_crash(rig);
  rig_segment(rig, 0, path);
  for (size_t at = HEAD_SPACE; at < HEAD_SPACE + 2 * BATCH; at++) {
    rig_flip(path, (long)at, 1);
    expect_refusal(rig, JOURNAL_CORRUPT, "nothing was changed; see --check-journal, --salvage");
    rig_flip(path, (long)at, 1);
  }
  rig_start(rig);
  rig_expect(rig, 0, 3);
}

static void a_refusal_says_where(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  for (uint32_t i = 0; i < 3; i++) rig_put(rig, i);
  rig_crash(rig);
  rig_segment(rig, 0, path);
  rig_flip(path, (long)(HEAD_SPACE + BATCH + FORMAT_BATCH_BYTES + 20), 1);
  expect_refusal(
      rig, JOURNAL_CORRUPT,
      "journal: idem-0000000000000000.log: offset 384: the checksum of a batch is wrong");
}

static void after_a_seal_the_last_batch_too(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  for (uint32_t i = 0; i < 3; i++) rig_put(rig, i);
  rig_stop(rig);
  rig_segment(rig, 0, path);
  rig_flip(path, (long)(HEAD_SPACE + 2 * BATCH + 100), 1);
  expect_refusal(rig, JOURNAL_CORRUPT, "offset 544");
}

static void a_missing_segment_is_refused(void **state) {
  struct rig *rig = *state;
  char path[160], away[200];
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 4);
  rig_crash(rig);
  for (unsigned i = 0; i < 3; i++) {
    rig_segment(rig, i, path);
    snprintf(away, sizeof away, "%s/away", rig->directory);
    assert_int_equal(rename(path, away), 0);
    expect_refusal(rig, JOURNAL_CORRUPT,
                   i == 0 ? "the oldest segment is missing" : "no valid batch");
    assert_int_equal(rename(away, path), 0);
  }
  rig_start(rig);
  rig_expect(rig, 0, end);
}

static void a_shortened_older_segment_is_refused(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  rig_fill(rig, 0, 3);
  rig_crash(rig);
  rig_segment(rig, 1, path);
  assert_int_equal(truncate(path, HEAD_SPACE + 5 * BATCH), 0);
  expect_refusal(rig, JOURNAL_CORRUPT, "no valid batch header");
}

static void a_newer_version_is_refused(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  rig_put(rig, 0);
  rig_crash(rig);
  rig_segment(rig, 0, path);
  rig_flip(path, 8, 3); /* 1 becomes 2 */
  expect_refusal(rig, JOURNAL_CORRUPT, "the format version 2, newer than this server reads (1)");
}

static void of_another_log_is_refused(void **state) {
  struct rig *rig = *state;
  char path[160], other[160], command[400];
  struct rig second;
  static const unsigned char other_id[JOURNAL_ID_BYTES] = "another log's id";
  rig_start(rig);
  rig_fill(rig, 0, 3);
  rig_crash(rig);
  rig_make(&second);
  second.options.log_id = other_id;
  rig_start(&second);
  rig_fill(&second, 0, 3);
  rig_crash(&second);
  rig_segment(rig, 1, path);
  rig_segment(&second, 1, other);
  snprintf(command, sizeof command, "cp %s %s", other, path);
  assert_int_equal(system(command), 0);
  expect_refusal(rig, JOURNAL_CORRUPT, "it belongs to another log");
  rig_clean(&second);
}

/* As from a backup of another time: the same log, the same position, another history. */
static void a_segment_of_another_history_is_refused(void **state) {
  struct rig *rig = *state;
  char path[160], other[160], command[400];
  struct rig second;
  rig_start(rig);
  rig_fill(rig, 0, 3);
  rig_crash(rig);
  rig_make(&second);
  rig_start(&second);
  rig_fill(&second, 5000, 3);
  rig_crash(&second);
  rig_segment(rig, 1, path);
  rig_segment(&second, 1, other);
  snprintf(command, sizeof command, "cp %s %s", other, path);
  assert_int_equal(system(command), 0);
  expect_refusal(rig, JOURNAL_CORRUPT, "offset 64: a batch does not follow the one before it");
  rig_clean(&second);
}

static void what_cannot_be_read_never_starts_empty(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_put(rig, 0);
  rig_crash(rig);
  static const enum rig_call calls[] = {RIG_LIST, RIG_OPEN, RIG_READ};
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    rig->fails = calls[i];
    rig->after = 0;
    rig->error = EIO;
    expect_refusal(rig, JOURNAL_REFUSED, "Input/output error; nothing was changed");
    rig->fails = RIG_NONE;
  }
  rig_start(rig);
  rig_expect(rig, 0, 1);
}

/* A segment is read in steps. */
static void what_cannot_be_read_on_is_refused(void **state) {
  struct rig *rig = *state;
  rig->options.segment_bytes = 2 << 20;
  rig_start(rig);
  for (uint32_t i = 0; i < 48; i++) {
    rig_append_sized(rig, i, 64 << 10, (struct journal_ends){.last_ms = INT64_MAX});
    rig_commit(rig);
  }
  assert_true(rig_segments(rig) > 1);
  rig_crash(rig);
  char error[JOURNAL_ERROR_BYTES];
  rig->error = EIO;
  for (rig->after = 0;; rig->after++) {
    int after = rig->after;
    rig->fails = RIG_READ;
    enum journal_result result = rig_try(rig, error);
    rig->fails = RIG_NONE;
    rig->after = after;
    if (result == JOURNAL_OK) break;
    assert_int_equal(result, JOURNAL_REFUSED);
    assert_non_null(strstr(error, "cannot be read: Input/output error; nothing was changed"));
  }
  assert_true(rig->after > 8);
  rig_expect(rig, 0, 48);
}

struct pieces {
  unsigned count, most;
  struct journal_step last;
};

static bool next_piece(void *context, struct journal_step step) {
  struct pieces *pieces = context;
  if (step.whole > 0) {
    assert_true(step.done <= step.whole);
    assert_true(step.done - pieces->last.done <= 2 * JOURNAL_STEP_BYTES);
    pieces->last = step;
  }
  return ++pieces->count < pieces->most;
}

/* Each piece may be the last: while the newest segment is read, looked at, and all are taken in. */
static void a_recovery_ends_after_any_piece(void **state) {
  struct rig *rig = *state;
  rig->options.segment_bytes = 2 << 20;
  rig_start(rig);
  for (uint32_t i = 0; i < 60; i++) {
    rig_append_sized(rig, i, 64 << 10, (struct journal_ends){.last_ms = INT64_MAX});
    rig_commit(rig);
  }
  rig_crash(rig);
  struct pieces pieces;
  char error[JOURNAL_ERROR_BYTES];
  rig->options.steps = (struct journal_steps){.next = next_piece, .context = &pieces};
  unsigned stopped = 0;
  for (unsigned most = 1;; most++) {
    pieces = (struct pieces){.most = most};
    int writes = rig->writes;
    enum journal_result result = rig_try(rig, error);
    if (result == JOURNAL_OK) break;
    assert_int_equal(result, JOURNAL_STOPPED);
    assert_non_null(strstr(error, "stopped while it was read; nothing was changed"));
    assert_int_equal(rig->writes, writes);
    stopped++;
  }
  assert_in_range(stopped, 16, 64);
  assert_true(pieces.last.done > pieces.last.whole - 2 * JOURNAL_STEP_BYTES);
  rig_expect(rig, 0, 60);
}

static void other_names_are_no_empty_log(void **state) {
  struct rig *rig = *state;
  char path[160], other[200];
  rig_start(rig);
  rig_put(rig, 0);
  rig_crash(rig);
  rig_segment(rig, 0, path);
  snprintf(other, sizeof other, "%s.bak", path);
  assert_int_equal(rename(path, other), 0);
  expect_refusal(rig, JOURNAL_REFUSED, "under other names");
}

static void an_unfinished_salvage_is_no_log(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_put(rig, 0);
  rig_stop(rig);
  char path[160];
  snprintf(path, sizeof path, "%s/%s", rig->directory, LOAD_UNFINISHED);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fclose(file);
  expect_refusal(rig, JOURNAL_REFUSED, "a salvage into it was cut off");
}

/* ---- failure ---- */

static void a_failed_call_ends_it(void **state, enum rig_call call, int error, const char *says) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_put(rig, 0);
  rig->fails = call;
  rig->error = error;
  rig->after = 0;
  rig_append(rig, 1);
  assert_false(journal_commit(rig->journal, NULL));
  if (strstr(rig->failed, says) == NULL) fail_msg("'%s' does not say '%s'", rig->failed, says);
  assert_non_null(strstr(rig->failed, "idem-0000000000000000.log"));
  rig->fails = RIG_NONE;
  int calls = rig->calls;
  assert_false(journal_commit(rig->journal, NULL)); /* never again, though it would succeed now */
  rig_append(rig, 2);
  assert_false(journal_commit(rig->journal, NULL));
  assert_false(journal_beat(rig->journal, NULL, &rig->moment, true, INT64_MAX / 2));
  assert_int_equal(journal_room(rig->journal, 8), JOURNAL_ROOM_NONE);
  assert_int_equal(rig->calls, calls);
  assert_int_equal(rig->times_failed, 1);
}

static void a_failed_write_ends_it(void **state) {
  a_failed_call_ends_it(state, RIG_WRITE, EIO, "write: Input/output error");
}

static void a_failed_sync_ends_it(void **state) {
  a_failed_call_ends_it(state, RIG_SYNC, EIO, "sync: Input/output error");
}

static void a_sync_that_is_interrupted_for_ever_ends_it(void **state) {
  a_failed_call_ends_it(state, RIG_SYNC, EINTR, "sync: Interrupted system call");
}

static void a_write_that_is_interrupted_for_ever_ends_it(void **state) {
  a_failed_call_ends_it(state, RIG_WRITE, EINTR, "write: Interrupted system call");
}

static void no_space_on_a_write_ends_it(void **state) {
  a_failed_call_ends_it(state, RIG_WRITE, ENOSPC, "write: No space left on device");
}

static void short_and_interrupted_writes_go_on(void **state) {
  struct rig *rig = *state;
  rig->short_writes = rig->interrupted = true;
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 3);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, end);
}

/* Every call in turn, until none is left that could fail: what was committed is there afterwards.
 */
static void whatever_fails_nothing_committed_is_lost(void **state) {
  struct rig *rig = *state;
  static const enum rig_call calls[] = {RIG_WRITE, RIG_SYNC, RIG_RENAME, RIG_SYNC_DIRECTORY};
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    for (int after = 0, failed = 1; failed; after += 37) {
      rig_clean(rig);
      rig_make(rig);
      rig_start(rig);
      rig->fails = calls[i];
      rig->error = EIO;
      rig->after = after;
      uint32_t committed = 0;
      while (committed < 700) {
        rig_append(rig, committed);
        if (!journal_commit(rig->journal, NULL)) break;
        committed++;
      }
      failed = rig->times_failed;
      assert_true(failed || committed == 700);
      rig->fails = RIG_NONE;
      rig_crash(rig);
      rig_start(rig);
      assert_in_range(rig->got_count, committed, committed + 1);
    }
  }
}

/* ---- clean ends, and syncs that are not awaited ---- */

static bool may_have_lost(struct rig *rig) {
  char error[JOURNAL_ERROR_BYTES];
  rig->real = files_open(rig->directory, true, error);
  assert_int_equal(journal_open(&rig->options, &rig->journal, error), JOURNAL_OK);
  bool may = journal_may_have_lost(rig->journal);
  rig_stop(rig);
  return may;
}

static void a_log_says_whether_its_end_may_be_lost(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_put(rig, 0);
  rig_crash(rig);
  assert_false(may_have_lost(rig));
  rig->options.sync = JOURNAL_SYNC_NO;
  rig_start(rig);
  int syncs = rig->syncs;
  rig_put(rig, 1); /* the first is awaited: or nothing durable would say that the others are not */
  assert_int_equal(rig->syncs, syncs + 1);
  rig_put(rig, 2);
  assert_int_equal(rig->syncs, syncs + 1);
  rig_crash(rig);
  assert_true(may_have_lost(rig));
  rig_start(rig);
  rig_expect(rig, 0, 3);
  syncs = rig->syncs;
  rig_stop(rig);
  assert_int_equal(rig->syncs, syncs + 1);
  assert_false(may_have_lost(rig));
}

static void everysec_syncs_a_tail_that_rests(void **state) {
  struct rig *rig = *state;
  rig->options.sync = JOURNAL_SYNC_EVERYSEC;
  rig_start(rig);
  rig_put(rig, 0);
  while (journal_help(rig->journal)) continue;
  int syncs = rig->syncs;
  rig_put(rig, 1);
  assert_int_equal(rig->syncs, syncs);
  journal_help(rig->journal);
  assert_int_equal(rig->syncs, syncs + 1);
  journal_help(rig->journal); /* nothing new */
  assert_int_equal(rig->syncs, syncs + 1);
}

static void everysec_a_failed_sync_ends_it(void **state) {
  struct rig *rig = *state;
  rig->options.sync = JOURNAL_SYNC_EVERYSEC;
  rig_start(rig);
  rig_put(rig, 0);
  while (journal_help(rig->journal)) continue;
  rig_put(rig, 1);
  rig->fails = RIG_SYNC;
  rig->error = EIO;
  journal_help(rig->journal);
  assert_int_equal(rig->times_failed, 1);
  rig->fails = RIG_NONE;
  rig_append(rig, 2);
  assert_false(journal_commit(rig->journal, NULL));
}

/* A power cut may lose an early batch and keep a later one, when nobody awaited the syncs. */
static void a_hole_in_what_was_not_durable_is_cut(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig->options.sync = JOURNAL_SYNC_EVERYSEC;
  rig_start(rig);
  for (uint32_t i = 0; i < 5; i++) {
    rig_put(rig, i);
    if (i == 1) journal_help(rig->journal); /* 0 and 1 are durable from here on */
  }
  rig_crash(rig);
  rig_segment(rig, 0, path);
  rig_flip(path, HEAD_SPACE + BATCH, 1);
  expect_refusal(rig, JOURNAL_CORRUPT, "offset 384");
  rig_flip(path, HEAD_SPACE + BATCH, 1);
  rig_flip(path, HEAD_SPACE + 3 * BATCH, 1); /* 4 after it is valid */
  expect_cut(rig, 3);
  rig_segment(rig, 0, path);
  char magic[4] = "";
  FILE *file = fopen(path, "r");
  assert_int_equal(fseek(file, HEAD_SPACE + 4 * BATCH, SEEK_SET), 0);
  assert_int_equal(fread(magic, 1, sizeof magic, file), sizeof magic);
  fclose(file);
  assert_memory_equal(magic, "\0\0\0\0", sizeof magic); /* what was cut is not there any more */
}

/* ---- beats ---- */

static struct journal_figures beat(struct rig *rig, bool lease_runs, int64_t ms) {
  assert_true(journal_beat(rig->journal, NULL, &rig->moment, lease_runs, ms * 1000000));
  return rig_figures(rig);
}

static void a_resting_log_is_sealed_once(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_put(rig, 0);
  uint64_t batches = beat(rig, false, 1000).batches;
  assert_int_equal(beat(rig, false, 1049).batches, batches);
  assert_int_equal(beat(rig, false, 1050).batches, batches + 1);
  assert_int_equal(beat(rig, false, 1100).batches, batches + 1);
  assert_int_equal(beat(rig, false, 5000).batches, batches + 1);
  rig_put(rig, 1);
  assert_int_equal(beat(rig, false, 6000).batches, batches + 2);
  assert_int_equal(beat(rig, false, 6050).batches, batches + 3);
}

static void a_heart_beats_while_a_lease_runs(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_put(rig, 0);
  beat(rig, true, 1000);
  uint64_t batches = beat(rig, true, 1050).batches; /* the seal */
  beat(rig, true, 1060);
  assert_int_equal(beat(rig, true, 2059).batches, batches);
  assert_int_equal(beat(rig, true, 2060).batches, batches + 1);
  beat(rig, false, 2070);
  assert_int_equal(beat(rig, false, 62069).batches, batches + 1);
  rig->moment.engine_ms = 62000;
  assert_int_equal(beat(rig, false, 62070).batches, batches + 2);
  rig_crash(rig);
  char error[JOURNAL_ERROR_BYTES];
  rig->real = files_open(rig->directory, true, error);
  assert_int_equal(journal_open(&rig->options, &rig->journal, error), JOURNAL_OK);
  assert_int_equal(journal_newest(rig->journal).engine_ms, 62000);
}

/* ---- starts ---- */

static void a_start_needs_no_room(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_put(rig, 0);
  rig_crash(rig);
  rig->disk_bytes = 0;
  rig_start(rig);
  rig_expect(rig, 0, 1);
}

static void a_new_log_without_room_is_refused(void **state) {
  struct rig *rig = *state;
  rig->disk_bytes = 0;
  expect_refusal(rig, JOURNAL_REFUSED, "no log can be begun: spare: room: No space left on device");
  rig->disk_bytes = -1;
  rig_start(rig);
}

static void a_spare_that_was_left_is_removed(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  rig_put(rig, 0);
  while (journal_help(rig->journal)) continue;
  assert_true(rig_has(rig, "spare"));
  rig_crash(rig);
  rig_segment(rig, 0, path);
  rig_start(rig);
  assert_false(rig_has(rig, "spare"));
  rig_expect(rig, 0, 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_new_log_is_empty),
      TEST(what_was_committed_is_there_after_a_crash),
      TEST(what_was_only_appended_is_not),
      TEST(one_append_of_many_records_is_one_batch),
      TEST(a_commit_of_nothing_does_nothing),
      TEST(the_newest_moment_comes_back),
      TEST(a_full_segment_is_followed_by_another),
      TEST(a_batch_larger_than_a_segment_has_one_of_its_size),
      TEST(without_memory_the_former_head_is_written_again),
      TEST(a_torn_last_batch_is_cut_whole),
      TEST(what_was_cut_is_counted),
      TEST(a_file_that_was_cut_short_loads),
      TEST(a_file_with_zeros_after_it_loads),
      TEST(a_rotten_batch_before_the_last_is_refused),
      TEST(a_refusal_says_where),
      TEST(after_a_seal_the_last_batch_too),
      TEST(a_missing_segment_is_refused),
      TEST(a_shortened_older_segment_is_refused),
      TEST(a_newer_version_is_refused),
      TEST(of_another_log_is_refused),
      TEST(a_segment_of_another_history_is_refused),
      TEST(what_cannot_be_read_never_starts_empty),
      TEST(what_cannot_be_read_on_is_refused),
      TEST(a_recovery_ends_after_any_piece),
      TEST(other_names_are_no_empty_log),
      TEST(an_unfinished_salvage_is_no_log),
      TEST(a_failed_write_ends_it),
      TEST(a_failed_sync_ends_it),
      TEST(a_sync_that_is_interrupted_for_ever_ends_it),
      TEST(a_write_that_is_interrupted_for_ever_ends_it),
      TEST(no_space_on_a_write_ends_it),
      TEST(short_and_interrupted_writes_go_on),
      TEST(whatever_fails_nothing_committed_is_lost),
      TEST(a_log_says_whether_its_end_may_be_lost),
      TEST(everysec_syncs_a_tail_that_rests),
      TEST(everysec_a_failed_sync_ends_it),
      TEST(a_hole_in_what_was_not_durable_is_cut),
      TEST(a_resting_log_is_sealed_once),
      TEST(a_heart_beats_while_a_lease_runs),
      TEST(a_start_needs_no_room),
      TEST(a_new_log_without_room_is_refused),
      TEST(a_spare_that_was_left_is_removed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
