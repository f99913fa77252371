/* test_machine_memory.c - how much memory a process may have: machines, containers and units that
 * are made of files; and a percentage of it. */
#include "server/base/machine_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/ops/options_memory.h"

#define KB UINT64_C(1024)
#define GB (UINT64_C(1) << 30)

struct file {
  const char *path, *text;
};

#define MEMINFO "/proc/meminfo"
#define CGROUP "/proc/self/cgroup"
#define MACHINE \
  { MEMINFO, "MemTotal:       16777216 kB\nMemFree:            12 kB\n" } /* 16 GB */

static const struct {
  const char *what;
  struct file files[6];
  uint64_t bytes;
} cases[] = {
    {"nothing is known", {{"/etc/none", ""}}, 0},
    {"a machine without groups", {MACHINE}, 16 * GB},
    {"a group without a limit",
     {MACHINE, {CGROUP, "0::/\n"}, {"/sys/fs/cgroup/memory.max", "max\n"}},
     16 * GB},
    {"version 2, a container",
     {MACHINE, {CGROUP, "0::/\n"}, {"/sys/fs/cgroup/memory.max", "1073741824\n"}},
     GB},
    {"version 2, a unit",
     {MACHINE,
      {CGROUP, "0::/system.slice/idem.service\n"},
      {"/sys/fs/cgroup/system.slice/idem.service/memory.max", "2147483648\n"},
      {"/sys/fs/cgroup/system.slice/memory.max", "max\n"}},
     2 * GB},
    {"version 2, the slice above it has less",
     {MACHINE,
      {CGROUP, "0::/system.slice/idem.service\n"},
      {"/sys/fs/cgroup/system.slice/idem.service/memory.max", "2147483648\n"},
      {"/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"}},
     GB},
    {"more than the machine has",
     {MACHINE, {CGROUP, "0::/a\n"}, {"/sys/fs/cgroup/a/memory.max", "1099511627776\n"}},
     16 * GB},
    {"version 1, a unit",
     {MACHINE,
      {CGROUP, "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/\n"},
      {"/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"},
      {"/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"}},
     GB},
    {"version 1, a container, whose path is the host's",
     {MACHINE,
      {CGROUP, "4:memory:/docker/0123456789\n"},
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"}},
     GB},
    {"another controller",
     {MACHINE,
      {CGROUP, "4:memoryless:/a\n"},
      {"/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1\n"}},
     16 * GB},
    {"no sense", {MACHINE, {CGROUP, "\n:\n4\n4:memory\n0::\n"}}, 16 * GB},
};

static void make(const char *root, const struct file *file) {
  char command[512], path[256];
  snprintf(path, sizeof path, "%s%s", root, file->path);
  snprintf(command, sizeof command, "mkdir -p $(dirname %s)", path);
  assert_int_equal(system(command), 0);
  FILE *out = fopen(path, "w");
  assert_non_null(out);
  fputs(file->text, out);
  fclose(out);
}

static void the_least_of_all_counts(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char root[] = "/tmp/idem-test-XXXXXX", command[64];
    assert_non_null(mkdtemp(root));
    for (const struct file *file = cases[i].files; file->path != NULL; file++) make(root, file);
    uint64_t bytes = machine_memory_bytes(root);
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
    if (bytes != cases[i].bytes)
      fail_msg("%s: %llu bytes", cases[i].what, (unsigned long long)bytes);
  }
}

static void of_this_machine(void **state) {
  (void)state;
  assert_true(machine_memory_bytes("") >= GB / 16);
}

static void a_percentage(void **state) {
  (void)state;
  int64_t percent = 0, bytes = 0;
  char error[REFUSAL_BYTES];
  assert_true(options_memory_parse(SPAN_LITERAL("75%"), 16 * GB, &percent, &bytes, error));
  assert_int_equal(percent, 75);
  assert_int_equal(bytes, 12 * GB);
  assert_true(
      options_memory_parse(SPAN_LITERAL("100%"), 16 * GB + 7 * KB, &percent, &bytes, error));
  assert_int_equal(bytes, 16 * GB + 7 * KB);
  assert_true(
      options_memory_parse(SPAN_LITERAL("100%"), UINT64_C(1) << 62, &percent, &bytes, error));
  assert_int_equal(bytes, UINT64_C(1) << 62);
}

static void what_is_no_percentage(void **state) {
  (void)state;
  static const char *const texts[] = {"%", "0%", "101%", "-1%", "7.5%", "x%", "75 %", "75%%"};
  int64_t percent, bytes;
  char error[REFUSAL_BYTES];
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    assert_false(options_memory_parse(span_of(texts[i]), GB, &percent, &bytes, error));
    assert_non_null(strstr(error, "expected 1% to 100%"));
  }
  assert_false(options_memory_parse(SPAN_LITERAL("50%"), 31 << 20, &percent, &bytes, error));
  assert_string_equal(error, "maxmemory 50% of 31 mb is less than 16 mb: name a size");
  assert_false(options_memory_parse(SPAN_LITERAL("50%"), 0, &percent, &bytes, error));
  assert_non_null(strstr(error, "nothing says how much memory"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_least_of_all_counts),
      cmocka_unit_test(of_this_machine),
      cmocka_unit_test(a_percentage),
      cmocka_unit_test(what_is_no_percentage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
