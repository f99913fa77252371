/* test_journal_salvage.c - a log is looked at without changing it, and what is left of one with
 * faults is copied into a new one. */
#include "tests/unit/journal_rig.h"

#include "server/journal/check.h"
#include "server/journal/salvage.h"

#define HEAD_SPACE (FORMAT_SEGMENT_BYTES + FORMAT_BATCH_BYTES + 64)
#define BATCH (FORMAT_BATCH_BYTES + RIG_RECORD)

struct said {
  char text[4096];
  enum journal_result result;
};

static void expect_said(const struct said *said, const char *text) {
  if (strstr(said->text, text) == NULL) fail_msg("'%s' does not say '%s'", said->text, text);
}

static struct said check(const struct rig *rig) {
  struct said said = {.text = ""};
  char error[FILES_ERROR_BYTES];
  FILE *out = fmemopen(said.text, sizeof said.text, "w");
  struct journal_files *files = files_open(rig->directory, false, error);
  assert_non_null(files);
  said.result = check_journal(files, out);
  files_close(files);
  fclose(out);
  return said;
}

/* Into a directory of its own, with which the rig goes on. */
static struct said salvage(struct rig *rig) {
  static const unsigned char new_id[JOURNAL_ID_BYTES] = "the new log's id";
  struct said said = {.text = ""};
  char error[FILES_ERROR_BYTES] = "", to[64], command[128];
  rig_directory(to);
  FILE *out = fmemopen(said.text, sizeof said.text, "w");
  struct journal_files *files = files_open(rig->directory, false, error);
  struct journal_files *new_files = files_open(to, true, error);
  assert_string_equal(error, "");
  said.result = salvage_journal(files, new_files, new_id, out);
  files_close(new_files);
  files_close(files);
  fclose(out);
  snprintf(command, sizeof command, "rm -r %s", rig->directory);
  assert_int_equal(system(command), 0);
  memcpy(rig->directory, to, sizeof to);
  return said;
}

/* The sum of all bytes of the segments: whether anything was written. */
static uint64_t sum(const struct rig *rig) {
  char path[160];
  uint64_t sum = 0;
  for (unsigned i = 0; i < rig_segments(rig); i++) {
    rig_segment(rig, i, path);
    FILE *file = fopen(path, "r");
    for (int byte; (byte = fgetc(file)) != EOF;) sum = sum * 31 + (uint64_t)byte;
    fclose(file);
  }
  return sum;
}

static void a_good_log_is_fine(void **state) {
  struct rig *rig = *state;
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 3);
  rig_crash(rig);
  uint64_t before = sum(rig);
  struct said said = check(rig);
  char text[64];
  assert_int_equal(said.result, JOURNAL_OK);
  snprintf(text, sizeof text, "segments 3, batches %u, records %u,", end + 3, end);
  expect_said(&said, text);
  expect_said(&said, "idem-0000000000000000.log: ");
  expect_said(&said, "not clean");
  expect_said(&said, "\nfine\n");
  assert_int_equal(sum(rig), before);
  rig_start(rig);
  rig_stop(rig);
  said = check(rig);
  expect_said(&said, "end clean");
}

static void a_fault_is_told(void **state) {
  struct rig *rig = *state;
  char path[160];
  rig_start(rig);
  rig_fill(rig, 0, 3);
  rig_crash(rig);
  rig_segment(rig, 1, path);
  rig_flip(path, HEAD_SPACE + 10, 1);
  uint64_t before = sum(rig);
  struct said said = check(rig);
  assert_int_equal(said.result, JOURNAL_CORRUPT);
  expect_said(&said, "offset 224: no valid batch header; nothing was changed");
  assert_int_equal(sum(rig), before);
}

static void no_log_is_told(void **state) {
  struct rig *rig = *state;
  struct said said = check(rig);
  assert_int_equal(said.result, JOURNAL_OK);
  expect_said(&said, "there is no log\n");
}

static void of_a_good_log_everything_is_saved(void **state) {
  struct rig *rig = *state;
  rig->moment.next_token = 500;
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 4);
  rig_crash(rig);
  struct said said = salvage(rig);
  assert_int_equal(said.result, JOURNAL_OK);
  expect_said(&said, "lost: 0 bytes");
  rig->moment.next_token = 1;
  rig_start(rig);
  rig_expect(rig, 0, end);
  rig_stop(rig);
  char error[JOURNAL_ERROR_BYTES];
  rig->real = files_open(rig->directory, true, error);
  assert_int_equal(journal_open(&rig->options, &rig->journal, error), JOURNAL_OK);
  assert_int_equal(journal_newest(rig->journal).next_token, 500 + SALVAGE_TOKENS);
}

static void what_is_valid_is_saved_and_what_is_lost_is_told(void **state) {
  struct rig *rig = *state;
  char path[160], text[200];
  rig->head[5] = 42;
  rig_start(rig);
  uint32_t end = rig_fill(rig, 0, 5);
  rig_crash(rig);
  rig_segment(rig, 0, path); /* the second record */
  rig_flip(path, HEAD_SPACE + BATCH + 3, 1);
  rig_segment(rig, 1, path); /* the header of a segment: its batches are there */
  rig_flip(path, 12, 1);
  rig_segment(rig, 2, path);
  assert_int_equal(unlink(path), 0); /* a whole segment */
  char missing[64];
  snprintf(missing, sizeof missing, "lost: all from %.21s", strrchr(path, '/') + 1);
  struct said said = salvage(rig);
  expect_said(&said, missing);
  assert_int_equal(said.result, JOURNAL_OK);
  snprintf(text, sizeof text, "lost: idem-0000000000000000.log offset %zu..%zu\n",
           (size_t)(HEAD_SPACE + BATCH), (size_t)(HEAD_SPACE + 2 * BATCH));
  expect_said(&said, text);
  rig_start(rig);
  uint32_t each = (RIG_SEGMENT - HEAD_SPACE) / BATCH;
  assert_int_equal(rig->got_count, end - each - 1);
  assert_int_equal(rig->got[0], 0);
  assert_int_equal(rig->got[1], 2);
  assert_int_equal(rig->got[2 * each - 2], 2 * each - 1);
  assert_int_equal(rig->got[2 * each - 1], 3 * each);
  assert_int_equal(rig->got[rig->got_count - 1], end - 1);
}

static void a_log_is_not_written_over(void **state) {
  struct rig *rig = *state;
  static const unsigned char new_id[JOURNAL_ID_BYTES] = "the new log's id";
  char error[FILES_ERROR_BYTES], text[512] = "";
  rig_start(rig);
  rig_put(rig, 0);
  rig_stop(rig);
  uint64_t before = sum(rig);
  FILE *out = fmemopen(text, sizeof text, "w");
  struct journal_files *from = files_open(rig->directory, false, error);
  struct journal_files *to = files_open(rig->directory, true, error);
  assert_int_equal(salvage_journal(from, to, new_id, out), JOURNAL_REFUSED);
  fclose(out);
  assert_non_null(strstr(text, "has a log already"));
  files_close(to);
  files_close(from);
  assert_int_equal(sum(rig), before);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
  const struct CMUnitTest tests[] = {
      TEST(a_good_log_is_fine),
      TEST(a_fault_is_told),
      TEST(no_log_is_told),
      TEST(of_a_good_log_everything_is_saved),
      TEST(what_is_valid_is_saved_and_what_is_lost_is_told),
      TEST(a_log_is_not_written_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
