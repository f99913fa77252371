/*
 * test_disk.c - the simulated disk itself: what is open after which calls, and what an image of a
 * choice reads.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/crash/image.h"

static struct image_pieces pieces;
static struct image image;

static int begin(void **state) {
  *state = disk_create();
  return 0;
}

static int end(void **state) {
  disk_destroy(*state);
  return 0;
}

static int make(struct disk *disk, const char *name) {
  int file = disk->files.open(disk, name, true);
  assert_true(file >= 0);
  return file;
}

static void put(struct disk *disk, int file, const char *text, uint64_t at) {
  assert_int_equal(disk->files.write(disk, file, text, strlen(text), at), strlen(text));
}

static void all(struct disk *disk, uint8_t choice) {
  image_pieces(disk, &pieces);
  for (unsigned i = 0; i < pieces.count; i++)
    pieces.choice[i] = choice < pieces.most[i] ? choice : pieces.most[i];
  image_make(&image, disk, &pieces);
}

static void assert_reads(const char *name, const char *text) {
  char bytes[4096] = "";
  int file = image.files.open(&image, name, false);
  assert_true(file >= 0);
  int64_t got = image.files.read(&image, file, bytes, sizeof bytes - 1, 0);
  assert_int_equal(got, strlen(text));
  assert_string_equal(bytes, text);
  image.files.close(&image, file);
}

static void assert_missing(const char *name) {
  assert_int_equal(image.files.open(&image, name, false), -ENOENT);
}

static void unsynced_is_kept_or_lost(void **state) {
  struct disk *disk = *state;
  put(disk, make(disk, "a"), "hello", 0);
  all(disk, 0);
  assert_missing("a");
  all(disk, 1);
  assert_reads("a", "hello");
  assert_int_equal(image_choices(&pieces, 100), 8); /* the name, the size, a sector */
}

static void a_file_is_durable_without_its_name(void **state) {
  struct disk *disk = *state;
  int file = make(disk, "a");
  put(disk, file, "hello", 0);
  disk->files.sync(disk, file);
  all(disk, 0);
  assert_missing("a");
  disk->files.sync_directory(disk);
  all(disk, 0);
  assert_reads("a", "hello");
  assert_true(disk_is_durable(disk));
}

static void a_name_may_come_without_its_bytes(void **state) {
  struct disk *disk = *state;
  put(disk, make(disk, "a"), "hello", 0);
  disk->files.sync_directory(disk);
  all(disk, 0);
  assert_reads("a", "");
}

static void each_version_of_a_sector_may_be_left(void **state) {
  struct disk *disk = *state;
  int file = make(disk, "a");
  put(disk, file, "aaaa", 0);
  disk->files.sync(disk, file);
  disk->files.sync_directory(disk);
  put(disk, file, "bb", 0);
  put(disk, file, "cc", 2);
  all(disk, 0);
  assert_reads("a", "aaaa");
  all(disk, 1);
  assert_reads("a", "bbaa");
  all(disk, 2);
  assert_reads("a", "bbcc");
  assert_int_equal(image_choices(&pieces, 100), 3);
}

static void a_sector_is_torn_between_two_versions(void **state) {
  struct disk *disk = *state;
  int file = make(disk, "a");
  put(disk, file, "aaaa", 0);
  disk->files.sync(disk, file);
  disk->files.sync_directory(disk);
  put(disk, file, "bbbb", 0);
  all(disk, 1);
  pieces.torn[pieces.first[file]] = 3;
  assert_reads("a", "bbba");
}

static void sectors_are_kept_each_by_itself(void **state) {
  struct disk *disk = *state;
  char bytes[1024];
  int file = make(disk, "a");
  memset(bytes, 'x', sizeof bytes);
  disk->files.write(disk, file, bytes, sizeof bytes, 0);
  disk->files.sync(disk, file);
  disk->files.sync_directory(disk);
  put(disk, file, "yyyy", 510);
  all(disk, 0);
  pieces.choice[pieces.first[file] + 1] = 1;
  image_make(&image, disk, &pieces);
  image.files.read(&image, file, bytes, sizeof bytes, 0);
  assert_memory_equal(bytes + 508, "xxxxyyxx", 8);
}

static void renames_and_removes_are_not_ordered(void **state) {
  struct disk *disk = *state;
  disk_put(disk, "a", "A", 1);
  disk_put(disk, "b", "B", 1);
  disk->files.rename(disk, "a", "c");
  disk->files.remove(disk, "b");
  all(disk, 0);
  assert_reads("a", "A");
  assert_reads("b", "B");
  pieces.choice[pieces.count - 1] = 1;
  image_make(&image, disk, &pieces);
  assert_reads("a", "A");
  assert_missing("b");
  all(disk, 1);
  assert_missing("a");
  assert_reads("c", "A");
}

static void what_a_failed_sync_dropped_is_open_until_written_again(void **state) {
  struct disk *disk = *state;
  int file = make(disk, "a");
  disk->files.sync_directory(disk);
  put(disk, file, "hello", 0);
  disk->fault = (struct disk_fault){disk->calls + 1, disk->calls + 1, DISK_EIO};
  assert_int_equal(disk->files.sync(disk, file), -EIO);
  assert_int_equal(disk->files.sync(disk, file), 0);
  assert_false(disk_is_durable(disk));
  put(disk, file, "hello", 0);
  assert_int_equal(disk->files.sync(disk, file), 0);
  assert_true(disk_is_durable(disk));
}

static void calls_fail_when_they_are_told_to(void **state) {
  struct disk *disk = *state;
  int file = make(disk, "a");
  disk->fault = (struct disk_fault){disk->calls + 1, disk->calls + 1, DISK_SHORT};
  assert_int_equal(disk->files.write(disk, file, "hello", 5, 0), 3);
  disk->fault = (struct disk_fault){disk->calls + 1, disk->calls + 1, DISK_EINTR};
  assert_int_equal(disk->files.write(disk, file, "hello", 5, 0), -EINTR);
  disk->fault = (struct disk_fault){disk->calls + 1, disk->calls + 1, DISK_ENOSPC};
  assert_int_equal(disk->files.allocate(disk, file, 0, 4096), -ENOSPC);
  assert_int_equal(disk->files.allocate(disk, file, 0, 4096), 0);
  disk->allocates = false;
  assert_int_equal(disk->files.allocate(disk, file, 0, 4096), -EOPNOTSUPP);
}

static void a_full_disk_takes_what_fits(void **state) {
  struct disk *disk = *state;
  char bytes[2048] = "";
  int file = make(disk, "a");
  disk->limit_bytes = 1024;
  assert_int_equal(disk->files.write(disk, file, bytes, sizeof bytes, 0), 1024);
  assert_int_equal(disk->files.write(disk, file, bytes, 1, 1024), -ENOSPC);
  assert_int_equal(disk->files.write(disk, file, bytes, 1024, 0), 1024);
  disk->limit_bytes = 4096;
  assert_int_equal(disk->files.write(disk, file, bytes, 1024, 1024), 1024);
}

static void a_restart_has_what_the_image_had(void **state) {
  struct disk *disk = *state, *other = disk_create();
  int file = make(disk, "a");
  put(disk, file, "hello", 0);
  disk_name(disk, "b", file);
  all(disk, 1);
  image_restart(other, &image);
  assert_true(disk_is_durable(other));
  assert_int_equal(disk_checksum(other), disk_checksum(disk));
  assert_int_equal(other->files.open(other, "a", false), other->files.open(other, "b", false));
  assert_int_equal(other->files.links(other, disk_find(other, "a")), 2);
  disk_destroy(other);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(unsynced_is_kept_or_lost),
      TEST(a_file_is_durable_without_its_name),
      TEST(a_name_may_come_without_its_bytes),
      TEST(each_version_of_a_sector_may_be_left),
      TEST(a_sector_is_torn_between_two_versions),
      TEST(sectors_are_kept_each_by_itself),
      TEST(renames_and_removes_are_not_ordered),
      TEST(what_a_failed_sync_dropped_is_open_until_written_again),
      TEST(calls_fail_when_they_are_told_to),
      TEST(a_full_disk_takes_what_fits),
      TEST(a_restart_has_what_the_image_had),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
