/* test_journal_room.c - room ahead: a full disk is told in time and is no end; segments that may go
 * do go, and their files are used again. */
#include "tests/unit/journal_rig.h"

#define MIB (1 << 20)
#define NEVER ((struct journal_ends){.last_ms = INT64_MAX})

static void help(struct rig *rig) {
  for (int i = 0; journal_help(rig->journal); i++) assert_in_range(i, 0, 1000);
}

static const char *word(enum journal_room room) {
  static const char *const words[] = {"enough", "low", "last", "none"};
  return words[room];
}
#define expect_room(rig, bytes, expected) \
  assert_string_equal(word(journal_room((rig)->journal, bytes)), expected)

static void put_sized(struct rig *rig, uint32_t number, uint32_t bytes) {
  rig_append_sized(rig, number, bytes, NEVER);
  rig_commit(rig);
}

/* ---- a full disk ---- */

static void a_full_disk_is_told_in_time_and_resumes(void **state) {
  struct rig *rig = *state;
  rig->options.segment_bytes = 16 * MIB;
  rig->disk_bytes = 12 * MIB;
  rig_start(rig);
  help(rig);
  assert_int_equal(rig_figures(rig).room_bytes / MIB, 8); /* 4 in each file */
  put_sized(rig, 0, 3 * MIB);
  help(rig);
  assert_int_equal(journal_room_error(rig->journal), 0);
  put_sized(rig, 1, 4 * MIB + MIB / 2);
  help(rig);
  assert_int_equal(journal_room_error(rig->journal), ENOSPC);
  assert_true(rig_figures(rig).failed);
  expect_room(rig, 8, "low"); /* less than 4 MiB in the spare */
  expect_room(rig, 2 * MIB, "low");
  expect_room(rig, 3 * MIB, "last");
  expect_room(rig, 4 * MIB, "none");
  put_sized(rig, 2, 3 * MIB);
  put_sized(rig, 3, MIB / 2);
  expect_room(rig, 8, "last");
  expect_room(rig, MIB, "none");
  assert_int_equal(rig->times_failed, 0);
  rig->disk_bytes = 64 * MIB; /* somebody has made room */
  expect_room(rig, 8, "last");
  help(rig);
  expect_room(rig, 2 * MIB, "enough");
  assert_int_equal(journal_room_error(rig->journal), 0);
  put_sized(rig, 4, 2 * MIB);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, 5);
}

/* Deleted keys make no room before the oldest segment was written again, which may all be live. */
static void on_a_full_disk_the_oldest_segment_can_still_be_written_again(void **state) {
  struct rig *rig = *state;
  rig->options.segment_bytes = 8 * MIB;
  rig->disk_bytes = 64 * MIB;
  rig_start(rig);
  uint32_t number = 0;
  for (; journal_room(rig->journal, MIB) == JOURNAL_ROOM_ENOUGH; number++) {
    assert_in_range(number, 0, 64);
    put_sized(rig, number, MIB);
    help(rig);
  }
  assert_int_equal(journal_room_error(rig->journal), ENOSPC);
  expect_room(rig, MIB, "low");
  uint32_t piece = MIB / 16, pieces = 0;
  for (; journal_carries(rig->journal, piece); pieces++) {
    put_sized(rig, number++, piece);
    help(rig);
  }
  assert_in_range(pieces, 16 * 4, 16 * 10); /* half a segment at least */
  expect_room(rig, MIB / 2, "low");         /* owners go on */
  assert_int_equal(rig->times_failed, 0);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, number);
}

/* The blocks of the spare were promised to the batch; the directory's own block is full. */
static void a_segment_without_room_for_its_name_begins_as_the_spare(void **state) {
  struct rig *rig = *state;
  rig->options.segment_bytes = 8 * MIB;
  rig_start(rig);
  help(rig);
  put_sized(rig, 0, 7 * MIB);
  help(rig);
  rig->error = ENOSPC;
  rig->fails = RIG_RENAME;
  expect_room(rig, 2 * MIB, "enough");
  put_sized(rig, 1, 2 * MIB);
  assert_int_equal(rig->times_failed, 0);
  assert_int_equal(rig_segments(rig), 1);
  assert_true(rig_has(rig, "spare"));
  help(rig); /* no other spare: what fits in this segment is all that is promised */
  assert_int_equal(journal_room_error(rig->journal), ENOSPC);
  expect_room(rig, 7 * MIB, "none");
  expect_room(rig, 5 * MIB + MIB / 2, "last");
  expect_room(rig, 4 * MIB, "low");
  put_sized(rig, 2, 3 * MIB);
  rig_crash(rig);
  rig_start(rig); /* it is no leftover, and the directory is still full */
  rig_expect(rig, 0, 3);
  put_sized(rig, 3, MIB);
  help(rig);
  assert_int_equal(journal_room_error(rig->journal), ENOSPC);
  assert_true(rig_has(rig, "spare"));
  rig->fails = RIG_NONE; /* somebody has made room */
  help(rig);
  assert_int_equal(journal_room_error(rig->journal), 0);
  assert_int_equal(rig_segments(rig), 2);
  expect_room(rig, 4 * MIB, "enough");
  put_sized(rig, 4, 4 * MIB);
  assert_int_equal(rig->times_failed, 0);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, 5);
}

/* The horizon has been touched since the last head, in many places. */
static void a_head_that_has_grown_takes_nothing_from_what_was_promised(void **state) {
  struct rig *rig = *state;
  rig->options.segment_bytes = 8 * MIB;
  rig->disk_bytes = 12 * MIB;
  rig_start(rig);
  help(rig);
  for (uint32_t i = 0; i < 7; i++) {
    put_sized(rig, i, MIB);
    help(rig);
  }
  static uint32_t head[3 * MIB / sizeof(uint32_t)];
  head[0] = sizeof head;
  rig->larger = (struct span){(const char *)head, sizeof head};
  expect_room(rig, 2 * MIB, "low"); /* in the spare, with a head like the former */
  put_sized(rig, 7, 2 * MIB);
  assert_int_equal(rig->times_failed, 0);
  assert_int_equal(rig_segments(rig), 2);
  rig->disk_bytes = 64 * MIB;
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, 8);
}

static void room_is_made_at_once_when_the_helper_is_late(void **state) {
  struct rig *rig = *state;
  rig->options.segment_bytes = 16 * MIB;
  rig_start(rig);
  for (uint32_t i = 0; i < 40; i++) {
    expect_room(rig, MIB, "enough");
    put_sized(rig, i, MIB);
  }
  assert_true(rig_segments(rig) >= 3);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, 40);
}

static void without_allocation_zeros_are_written(void **state) {
  struct rig *rig = *state;
  rig->fails = RIG_ALLOCATE;
  rig->error = EOPNOTSUPP;
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 3);
  help(rig);
  assert_int_equal(journal_room_error(rig->journal), 0);
  rig_crash(rig);
  rig_start(rig);
  rig_expect(rig, 0, end);
}

static void other_shortages_are_no_end_either(void **state) {
  struct rig *rig = *state;
  static const int errors[] = {ENOSPC, EDQUOT, EFBIG};
  rig_start(rig);
  help(rig);
  rig->fails = RIG_ALLOCATE;
  for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
    rig->error = errors[i];
    expect_room(rig, 10 * RIG_SEGMENT, "none");
    assert_int_equal(journal_room_error(rig->journal), errors[i]);
    rig->fails = RIG_NONE;
    help(rig);
    assert_int_equal(journal_room_error(rig->journal), 0);
    rig->fails = RIG_ALLOCATE;
  }
  assert_int_equal(rig->times_failed, 0);
  rig->fails = RIG_NONE;
  rig_put(rig, 0);
}

static void a_beat_does_not_take_the_last_room(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  help(rig);
  rig->disk_bytes = 0;
  uint32_t number = 0;
  while (journal_room(rig->journal, RIG_RECORD) < JOURNAL_ROOM_LAST) {
    rig_append(rig, number++);
    rig_commit(rig);
  }
  uint64_t batches = rig_figures(rig).batches;
  for (int64_t s = 1; s < 100; s++) {
    assert_true(journal_beat(rig->journal, NULL, &rig->moment, true, s * 1000000000));
  }
  assert_int_equal(rig_figures(rig).batches, batches);
  while (journal_room(rig->journal, RIG_RECORD) < JOURNAL_ROOM_NONE) {
    rig_append(rig, number++);
    rig_commit(rig);
  }
  rig_stop(rig); /* without room for the seal */
  assert_int_equal(rig->times_failed, 0);
  rig_start(rig);
  rig_expect(rig, 0, number);
}

static void a_huge_demand_is_refused(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  expect_room(rig, (size_t)JOURNAL_BATCH_BYTES + 8, "none");
  help(rig);
  rig_put(rig, 0);
}

/* ---- trimming ---- */

static bool ignore(void *caller, uint64_t segment, struct span record) {
  (void)caller;
  (void)segment;
  (void)record;
  return true;
}

static bool trim(struct rig *rig) {
  return journal_trim(rig->journal, UINT64_MAX / 4, ignore, rig);
}

static uint32_t fill_ending(struct rig *rig, uint32_t from, unsigned segments, int64_t last_ms) {
  do {
    assert_int_equal(journal_room(rig->journal, RIG_RECORD), JOURNAL_ROOM_ENOUGH);
    rig_append_sized(rig, from++, RIG_RECORD, (struct journal_ends){.last_ms = last_ms});
    rig_commit(rig);
  } while (rig_figures(rig).segments < segments);
  return from;
}

static void what_has_ended_goes_unread(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig->as_of_ms = 4999;
  fill_ending(rig, 0, 4, 5000);
  help(rig);
  assert_false(trim(rig)); /* the newest head was asked a moment too early */
  assert_int_equal(rig_segments(rig), 4);
  rig->as_of_ms = 5000;
  uint32_t number = fill_ending(rig, 1000, 5, 9000);
  assert_false(trim(rig));
  help(rig);
  assert_int_equal(rig_segments(rig), 5); /* no header says so yet */
  rig_put(rig, number++);
  help(rig);
  assert_int_equal(rig_segments(rig), 2); /* with the one that also has a record of 9000 */
  assert_int_equal(rig_figures(rig).removed_unread, 3);
  assert_int_equal(rig_figures(rig).removed_segments, 3);
  rig_crash(rig);
  rig_start(rig);
  assert_int_equal(rig->got[rig->got_count - 1], number - 1);
  assert_true(rig->got_count < number);
}

static void everysec_it_goes_once_the_header_is_durable(void **state) {
  struct rig *rig = *state;
  rig->options.sync = JOURNAL_SYNC_EVERYSEC;
  rig_start(rig);
  rig->as_of_ms = 5000;
  fill_ending(rig, 0, 4, 5000);
  trim(rig);
  rig->fails = RIG_SYNC; /* only to see that nothing goes without one */
  rig->after = 1000000;
  rig_put(rig, 5000);
  assert_int_equal(rig_segments(rig), 4);
  help(rig); /* syncs, and removes afterwards */
  assert_int_equal(rig_segments(rig), 1);
}

static void an_end_that_was_moved_holds_older_segments(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  fill_ending(rig, 0, 3, 5000);
  rig_append_sized(rig, 1000, RIG_RECORD, (struct journal_ends){.last_ms = 8000, .of_older = true});
  rig->as_of_ms = 7999;
  trim(rig); /* it is only pending */
  fill_ending(rig, 1001, 4, 5000);
  trim(rig);
  rig_put(rig, 2000);
  help(rig);
  assert_int_equal(rig_segments(rig), 4);
  rig->as_of_ms = 8000;
  fill_ending(rig, 3000, 5, 9000);
  trim(rig);
  rig_put(rig, 4000);
  help(rig);
  assert_int_equal(rig_segments(rig), 2);
}

static void ends_that_are_delayed_hold_their_segments(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig->as_of_ms = 5000;
  fill_ending(rig, 0, 3, 5000);
  journal_delay_ends(rig->journal, 1);
  trim(rig);
  rig_put(rig, 1000);
  help(rig);
  assert_int_equal(rig_segments(rig), 3);
}

static void after_a_start_a_new_head_is_awaited(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig->as_of_ms = 5000;
  fill_ending(rig, 0, 4, 5000);
  rig_crash(rig);
  rig->restored_end_ms = 5000;
  rig_start(rig);
  trim(rig); /* what the heads on the disk count is not known */
  rig_put(rig, 1000);
  help(rig);
  assert_int_equal(rig_segments(rig), 4);
  fill_ending(rig, 2000, 5, 9000);
  trim(rig);
  rig_put(rig, 3000);
  help(rig);
  assert_int_equal(rig_segments(rig), 2);
}

static void leftovers_of_a_crash_are_removed(void **state) {
  struct rig *rig = *state;
  char path[160], away[200], command[400];
  rig_start(rig);
  rig->as_of_ms = 5000;
  fill_ending(rig, 0, 3, 5000);
  rig_segment(rig, 0, path);
  snprintf(away, sizeof away, "%s.away", path);
  snprintf(command, sizeof command, "cp -p %s %s", path, away);
  assert_int_equal(system(command), 0);
  trim(rig);
  rig_put(rig, 1000);
  help(rig);
  assert_int_equal(rig_segments(rig), 1);
  rig_crash(rig);
  snprintf(away, sizeof away, "%s/%s.away", rig->directory, strrchr(path, '/') + 1);
  snprintf(command, sizeof command, "mv %s %s/%s", away, rig->directory, strrchr(path, '/') + 1);
  assert_int_equal(system(command), 0);
  assert_int_equal(rig_segments(rig), 2);
  rig_start(rig);
  assert_int_equal(rig_segments(rig), 1);
  assert_int_equal(rig->heads, 1);
}

/* ---- files that are used again ---- */

static uint64_t inode_of(const struct rig *rig, const char *name) {
  char path[160];
  struct stat about;
  snprintf(path, sizeof path, "%s/%s", rig->directory, name);
  return stat(path, &about) == 0 ? about.st_ino : 0;
}

/* The oldest of three segments has ended, and no spare is there to take the place of its file. */
static uint64_t let_one_go(struct rig *rig) {
  char path[160];
  rig_start(rig);
  rig->as_of_ms = 5000;
  fill_ending(rig, 0, 2, 5000);
  fill_ending(rig, 1000, 3, INT64_MAX);
  rig_segment(rig, 0, path);
  uint64_t inode = inode_of(rig, strrchr(path, '/') + 1);
  trim(rig);
  rig_put(rig, 2000);
  return inode;
}

static void a_file_is_used_again_with_stale_batches_in_it(void **state) {
  struct rig *rig = *state;
  uint64_t inode = let_one_go(rig);
  help(rig);
  assert_int_equal(inode_of(rig, "spare"), inode);
  rig->as_of_ms = INT64_MIN;
  fill_ending(rig, 3000, 3, INT64_MAX);
  assert_false(rig_has(rig, "spare")); /* it is the newest segment */
  for (uint32_t i = 0; i < 20; i++) {  /* at each position stale batches come after the last */
    rig_put(rig, 4000 + i);
    rig_crash(rig);
    rig_start(rig);
    assert_int_equal(rig->got[rig->got_count - 1], 4000 + i);
  }
}

static void a_file_with_another_name_is_not(void **state) {
  struct rig *rig = *state;
  char path[160], backup[200];
  rig_start(rig);
  rig_segment(rig, 0, path);
  snprintf(backup, sizeof backup, "%s/backup", rig->directory);
  assert_int_equal(link(path, backup), 0);
  rig_stop(rig);
  uint64_t inode = let_one_go(rig);
  help(rig);
  assert_int_equal(inode_of(rig, "backup"), inode);
  assert_int_not_equal(inode_of(rig, "spare"), inode);
  assert_int_equal(access(path, F_OK), -1);
}

/* ---- reading the oldest ---- */

/* Of the records that it is shown it appends every third again. */
static bool keep_every_third(void *caller, uint64_t segment, struct span record) {
  (void)segment;
  struct rig *rig = caller;
  uint32_t number;
  memcpy(&number, record.data + 4, sizeof number);
  if (number % 3 != 0) return true;
  struct journal_append append = {
      .records = record, .count = 1, .ends = NEVER, .moment = rig->moment, .again = true};
  assert_int_equal(journal_room(rig->journal, record.len), JOURNAL_ROOM_ENOUGH);
  journal_append(rig->journal, &append);
  return true;
}

static void a_log_that_is_too_large_is_read(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 6);
  bool *seen = calloc(end + 1, sizeof *seen);
  for (uint32_t extra = end; extra < end + 2000; extra++) {
    rig_put(rig, extra * 3 + 1); /* to be dropped, when its turn comes */
    for (int i = 0;
         i < 100 && journal_trim(rig->journal, 3 * RIG_SEGMENT / 2, keep_every_third, rig); i++) {
      rig_commit(rig);
    }
    help(rig);
  }
  struct journal_figures figures = rig_figures(rig);
  assert_true(figures.removed_segments >= 4);
  assert_int_equal(figures.removed_unread, 0);
  assert_true(figures.again_bytes > 0);
  assert_true(figures.live_segment_bytes <= (2 * 3 / 2 + 2 + 4 + 2) * RIG_SEGMENT);
  rig_crash(rig);
  rig_start(rig);
  for (size_t i = 0; i < rig->got_count; i++) {
    if (rig->got[i] < end) seen[rig->got[i]] = true;
  }
  for (uint32_t i = 0; i < end; i += 3) assert_true(seen[i]);
  free(seen);
}

/* Refuses every other record once. */
struct hesitant {
  struct rig *rig;
  uint32_t last;
  unsigned refused, shown;
};

static bool hesitate(void *caller, uint64_t segment, struct span record) {
  struct hesitant *hesitant = caller;
  uint32_t number;
  assert_int_equal(segment, 0);
  memcpy(&number, record.data + 4, sizeof number);
  if (number % 2 == 0 && number != hesitant->last) {
    hesitant->last = number;
    hesitant->refused++;
    return false;
  }
  assert_int_equal(number, hesitant->shown++);
  return true;
}

static void what_was_not_taken_is_shown_again(void **state) {
  struct rig *rig = *state;
  struct hesitant hesitant = {.rig = rig, .last = UINT32_MAX};
  rig_start(rig);
  rig_fill(rig, 0, 3);
  unsigned in_first = (RIG_SEGMENT - 224) / (FORMAT_BATCH_BYTES + RIG_RECORD);
  for (unsigned i = 0; i < 100000 && hesitant.shown < in_first; i++) {
    journal_trim(rig->journal, 0, hesitate, &hesitant);
  }
  assert_int_equal(hesitant.shown, in_first);
  assert_int_equal(hesitant.refused, (in_first + 1) / 2);
}

static bool keep_all(void *caller, uint64_t segment, struct span record) {
  struct rig *rig = caller;
  struct journal_append append = {
      .records = record, .count = 1, .ends = NEVER, .moment = rig->moment, .again = true};
  (void)segment;
  journal_room(rig->journal, record.len);
  journal_append(rig->journal, &append);
  return true;
}

/* The batch with what was appended again begins a segment: its head is durable, it is not. */
static void what_was_read_counts_until_its_copy_is_durable(void **state) {
  struct rig *rig = *state;
  rig->options.sync = JOURNAL_SYNC_NO;
  rig_start(rig);
  uint32_t number = rig_fill(rig, 0, 3);
  for (unsigned i = 0; i < 300; i++) rig_put(rig, number++);
  for (unsigned i = 0; i < 100000 && rig_figures(rig).again_bytes < 408 * RIG_RECORD; i++) {
    journal_trim(rig->journal, 0, keep_all, rig);
  }
  rig_commit(rig);
  assert_int_equal(rig_figures(rig).segments, 4);
  journal_trim(rig->journal, UINT64_MAX / 4, keep_all, rig);
  rig_put(rig, number);
  rig_crash(rig);
  rig_start(rig);
  assert_int_equal(rig->heads, 4);
}

static void a_small_log_is_not_read(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_fill(rig, 0, 4);
  assert_false(journal_trim(rig->journal, RIG_SEGMENT, keep_every_third, rig));
  assert_int_equal(rig_figures(rig).again_bytes, 0);
}

/* What the caller knows lives on: it is appended again, and the segments before it go. */
static void expect_replaced(struct rig *rig, uint32_t end) {
  assert_int_equal(rig->times_unreadable, 1);
  assert_non_null(strstr(rig->failed, "/idem-0000000000000000.log: it cannot be read again: "));
  assert_true(journal_wants_all(rig->journal));
  assert_false(journal_trim(rig->journal, 0, keep_all, rig));
  help(rig);
  assert_int_equal(rig_figures(rig).removed_segments, 0);
  for (uint32_t number = 0; number < 20; number++) rig_append(rig, number);
  journal_note_all(rig->journal);
  assert_false(journal_wants_all(rig->journal));
  for (int i = 0; i < 4; i++) {
    rig_put(rig, end);
    help(rig);
    journal_trim(rig->journal, UINT64_MAX / 4, keep_all, rig);
  }
  assert_int_equal(rig->times_failed + rig->times_unreadable, 1);
  assert_int_equal(rig_figures(rig).removed_segments, 3);
  assert_int_equal(rig_figures(rig).unreadable, 1);
  rig_crash(rig);
  rig_start(rig);
  for (uint32_t number = 0; number < 20; number++) {
    size_t at = 0;
    while (at < rig->got_count && rig->got[at] != number) at++;
    assert_true(at < rig->got_count);
  }
}

static void what_is_rotten_when_it_is_read_is_replaced(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 4);
  rig_segment(rig, 0, path);
  rig_flip(path, RIG_SEGMENT / 2, 1);
  while (journal_trim(rig->journal, 0, keep_every_third, rig)) continue;
  expect_replaced(rig, end);
}

static void what_the_disk_cannot_read_is_replaced(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 4);
  rig->error = EIO;
  rig->fails = RIG_READ;
  while (journal_trim(rig->journal, 0, keep_every_third, rig)) continue;
  rig->fails = RIG_NONE;
  expect_replaced(rig, end);
}

static void what_somebody_has_removed_is_replaced(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 4);
  rig_segment(rig, 0, path);
  assert_int_equal(unlink(path), 0);
  while (journal_trim(rig->journal, 0, keep_every_third, rig)) continue;
  expect_replaced(rig, end);
}

/* The newest, too, before a power cut or a restart finds that it is gone. */
static void the_newest_that_somebody_has_removed_is_replaced(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  uint32_t end = rig_fill(rig, 20, 2);
  for (uint32_t number = 0; number < 20; number++) rig_put(rig, number);
  help(rig);
  rig_segment(rig, 1, path);
  assert_int_equal(unlink(path), 0);
  for (int i = 0; i < 3 && !journal_wants_all(rig->journal); i++) {
    help(rig);
    journal_trim(rig->journal, UINT64_MAX / 4, keep_all, rig);
  }
  assert_true(journal_wants_all(rig->journal));
  assert_int_equal(rig->times_unreadable, 1);
  assert_non_null(strstr(rig->failed, "it cannot be read again: No such file or directory"));
  for (uint32_t number = 0; number < end; number++) rig_put(rig, number);
  journal_note_all(rig->journal);
  for (int i = 0; i < 4; i++) {
    rig_put(rig, end);
    help(rig);
    journal_trim(rig->journal, UINT64_MAX / 4, keep_all, rig);
  }
  assert_int_equal(rig->times_failed + rig->times_unreadable, 1);
  assert_int_equal(rig_figures(rig).removed_segments, 2);
  rig_crash(rig);
  rig_start(rig);
  assert_true(rig->got_count >= end);
  for (uint32_t number = 0; number < end; number++) assert_int_equal(rig->got[number], number);
}

static void what_cannot_be_read_for_a_moment_is_read_later(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  rig_fill(rig, 0, 4);
  rig->error = EMFILE;
  rig->fails = RIG_OPEN;
  assert_false(journal_trim(rig->journal, 0, keep_every_third, rig));
  rig->fails = RIG_NONE;
  assert_int_equal(rig->times_failed + rig->times_unreadable, 0);
  assert_true(journal_trim(rig->journal, 0, keep_every_third, rig));
}

static bool expect_next(void *shown, uint64_t segment, struct span record) {
  uint32_t number;
  (void)segment;
  memcpy(&number, record.data + 4, sizeof number);
  assert_int_equal(number, (*(uint32_t *)shown)++);
  return true;
}

/* So that a slice stays short. */
static void a_large_batch_is_read_in_pieces(void **state) {
  struct rig *rig = *state;
  const uint32_t count = 20000;
  uint32_t shown = 0;
  rig_start(rig);
  assert_int_equal(journal_room(rig->journal, (size_t)count * RIG_RECORD), JOURNAL_ROOM_ENOUGH);
  for (unsigned i = 0; i < count; i++) rig_append(rig, i);
  rig_commit(rig);
  rig_fill(rig, count, rig_segments(rig) + 2);
  rig->largest_read = 0;
  while (shown < count && journal_trim(rig->journal, 0, expect_next, &shown)) continue;
  assert_true(shown >= count);
  assert_true(rig->largest_read > 0);
  assert_true(rig->largest_read <= 64 << 10);
}

/* Much is read at once, of which nothing counts: a segment begins early, for its head. */
static void a_flushed_log_shrinks_without_a_new_segments_worth(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  uint32_t number = rig_fill(rig, 0, 12);
  while (journal_trim(rig->journal, 0, ignore, rig)) continue;
  for (int i = 0; i < 5; i++) {
    help(rig);
    rig_put(rig, number++);
    journal_trim(rig->journal, 0, ignore, rig);
  }
  help(rig);
  assert_true(rig_segments(rig) <= 4);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_full_disk_is_told_in_time_and_resumes),
      TEST(on_a_full_disk_the_oldest_segment_can_still_be_written_again),
      TEST(a_segment_without_room_for_its_name_begins_as_the_spare),
      TEST(a_head_that_has_grown_takes_nothing_from_what_was_promised),
      TEST(room_is_made_at_once_when_the_helper_is_late),
      TEST(without_allocation_zeros_are_written),
      TEST(other_shortages_are_no_end_either),
      TEST(a_beat_does_not_take_the_last_room),
      TEST(a_huge_demand_is_refused),
      TEST(what_has_ended_goes_unread),
      TEST(everysec_it_goes_once_the_header_is_durable),
      TEST(an_end_that_was_moved_holds_older_segments),
      TEST(ends_that_are_delayed_hold_their_segments),
      TEST(after_a_start_a_new_head_is_awaited),
      TEST(leftovers_of_a_crash_are_removed),
      TEST(a_file_is_used_again_with_stale_batches_in_it),
      TEST(a_file_with_another_name_is_not),
      TEST(a_log_that_is_too_large_is_read),
      TEST(what_was_not_taken_is_shown_again),
      TEST(what_was_read_counts_until_its_copy_is_durable),
      TEST(a_small_log_is_not_read),
      TEST(what_is_rotten_when_it_is_read_is_replaced),
      TEST(what_the_disk_cannot_read_is_replaced),
      TEST(what_somebody_has_removed_is_replaced),
      TEST(the_newest_that_somebody_has_removed_is_replaced),
      TEST(what_cannot_be_read_for_a_moment_is_read_later),
      TEST(a_large_batch_is_read_in_pieces),
      TEST(a_flushed_log_shrinks_without_a_new_segments_worth),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
