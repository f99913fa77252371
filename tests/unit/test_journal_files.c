/* test_journal_files.c - the directory: who may have it, what it is made like, why it is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/journal/files.h"

struct place {
  char above[64], directory[128];
};

static int make(void **state) {
  struct place *place = calloc(1, sizeof *place);
  snprintf(place->above, sizeof place->above, "/tmp/idem-files-XXXXXX");
  assert_non_null(mkdtemp(place->above));
  snprintf(place->directory, sizeof place->directory, "%s/data", place->above);
  *state = place;
  return 0;
}

static int clean(void **state) {
  struct place *place = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", place->above);
  assert_int_equal(system(command), 0);
  free(place);
  return 0;
}

static struct journal_files *expect_open(const char *directory, bool write) {
  char error[FILES_ERROR_BYTES] = "";
  struct journal_files *files = files_open(directory, write, error);
  assert_string_equal(error, "");
  assert_non_null(files);
  return files;
}

static void expect_refused(const char *directory, const char *says) {
  char error[FILES_ERROR_BYTES] = "";
  assert_null(files_open(directory, true, error));
  if (strstr(error, says) == NULL) fail_msg("'%s' does not say '%s'", error, says);
  assert_non_null(strstr(error, directory));
}

static unsigned mode_of(const char *path) {
  struct stat about;
  assert_int_equal(stat(path, &about), 0);
  return about.st_mode & 0777;
}

static void it_is_made_for_its_owner_alone(void **state) {
  struct place *place = *state;
  static const mode_t masks[] = {0, 022, 0277, 0777};
  char path[160];
  for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
    mode_t former = umask(masks[i]);
    struct journal_files *files = expect_open(place->directory, true);
    int file = files->open(files->context, "one", true);
    umask(former);
    assert_true(file >= 0);
    assert_int_equal(mode_of(place->directory), 0700);
    snprintf(path, sizeof path, "%s/one", place->directory);
    assert_int_equal(mode_of(path), 0600);
    snprintf(path, sizeof path, "%s/LOCK", place->directory);
    assert_int_equal(mode_of(path), 0600);
    assert_false(files->group_may_enter);
    assert_int_equal(files->close(files->context, file), 0);
    files_close(files);
    clean(state);
    make(state);
    place = *state;
  }
}

static void one_server_at_a_time(void **state) {
  struct place *place = *state;
  char text[256];
  struct journal_files *files = expect_open(place->directory, true);
  snprintf(text, sizeof text, "dir %s is in use by another server (LOCK)", place->directory);
  expect_refused(place->directory, text);
  struct journal_files *reader = expect_open(place->directory, false);
  files_close(reader);
  expect_refused(place->directory, text);
  files_close(files);
  files_close(expect_open(place->directory, true));
}

static void what_every_user_may_enter_is_refused(void **state) {
  struct place *place = *state;
  assert_int_equal(mkdir(place->directory, 0700), 0);
  assert_int_equal(chmod(place->directory, 0755), 0);
  expect_refused(place->directory, "may be entered by every user (mode 755): chmod 700");
  assert_int_equal(chmod(place->directory, 0750), 0);
  struct journal_files *files = expect_open(place->directory, true);
  assert_true(files->group_may_enter);
  files_close(files);
}

static void what_is_no_directory_is_refused(void **state) {
  struct place *place = *state;
  FILE *file = fopen(place->directory, "w");
  fclose(file);
  expect_refused(place->directory, "Not a directory");
  snprintf(place->directory, sizeof place->directory, "%s/not/there", place->above);
  expect_refused(place->directory, "cannot be made: No such file or directory");
}

static void a_reader_changes_nothing(void **state) {
  struct place *place = *state;
  char error[FILES_ERROR_BYTES] = "";
  assert_null(files_open(place->directory, false, error));
  assert_non_null(strstr(error, "No such file or directory"));
  files_close(expect_open(place->directory, true));
  char path[160];
  snprintf(path, sizeof path, "%s/LOCK", place->directory);
  assert_int_equal(unlink(path), 0);
  struct journal_files *files = expect_open(place->directory, false);
  assert_int_equal(files->write(files->context, files->open(files->context, "x", false), "", 1, 0),
                   -EBADF);
  files_close(files);
  assert_int_equal(access(path, F_OK), -1);
}

static void note(void *context, const char *name) {
  if (strcmp(name, "one") == 0) ++*(int *)context;
}

static void a_file_is_what_was_written(void **state) {
  struct place *place = *state;
  struct journal_files *files = expect_open(place->directory, true);
  void *context = files->context;
  char back[8] = "";
  int seen = 0;
  assert_int_equal(files->open(context, "one", false), -ENOENT);
  int file = files->open(context, "one", true);
  assert_int_equal(files->write(context, file, "hello", 5, 3), 5);
  assert_int_equal(files->size(context, file), 8);
  assert_int_equal(files->read(context, file, back, 8, 0), 8);
  assert_memory_equal(back, "\0\0\0hello", 8);
  int allocated = files->allocate(context, file, 8, 4096);
  if (allocated == 0) assert_int_equal(files->size(context, file), 4104);
  if (allocated != 0) assert_int_equal(allocated, -EOPNOTSUPP);
  assert_int_equal(files->sync(context, file), 0);
  assert_int_equal(files->links(context, file), 1);
  assert_int_equal(files->list(context, note, &seen), 0);
  assert_int_equal(files->list(context, note, &seen), 0); /* from the beginning each time */
  assert_int_equal(seen, 2);
  assert_int_equal(files->rename(context, "one", "two"), 0);
  assert_int_equal(files->sync_directory(context), 0);
  assert_int_equal(files->remove(context, "one"), -ENOENT);
  assert_int_equal(files->remove(context, "two"), 0);
  assert_int_equal(files->close(context, file), 0);
  files_close(files);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, clean)
  const struct CMUnitTest tests[] = {
      TEST(it_is_made_for_its_owner_alone),
      TEST(one_server_at_a_time),
      TEST(what_every_user_may_enter_is_refused),
      TEST(what_is_no_directory_is_refused),
      TEST(a_reader_changes_nothing),
      TEST(a_file_is_what_was_written),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
