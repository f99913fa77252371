/*
 * options_rig.h - what tests of the options share: runs of the program's command line, and a
 * directory of its own under /tmp for each test that has files, which is removed.
 */
#ifndef IDEM_TESTS_UNIT_OPTIONS_RIG_H
#define IDEM_TESTS_UNIT_OPTIONS_RIG_H

#include "server/commands/accounts.h"
#include "server/commands/command_table.h"
#include "server/ops/acl_rules.h"
#include "server/ops/digest.h"
#include "server/ops/options_arguments.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/ops/log.h"
#include "server/ops/options_file.h"
#include "server/ops/options_live.h"
#include "server/ops/options_rewrite.h"
#include "server/ops/options_users.h"
#include "server/base/machine_memory.h"
#include "server/ops/version.h"

#define ROWS ((struct accounts_rows){command_table_commands, command_table_command_count})

#define MAX_ARGUMENTS 24
#define MAX_PATH 128

enum result { REFUSED, RUN, PRINTED };

/* A run of the program: its options, what it printed, why it refused. */
struct run {
  struct options options;
  enum result result;
  char *printed;
  char error[REFUSAL_BYTES];
};

/* `line` is the command line after the program's name, split at blanks; "_" stands for an empty
 * argument. */
static inline void run_line(struct run *run, const char *line) {
  char words[2048], program[] = "idem-server", *argv[MAX_ARGUMENTS + 1] = {program};
  int argc = 1;
  assert_true(strlen(line) < sizeof(words));
  strcpy(words, line);
  char *rest = words, *word;
  while ((word = strsep(&rest, " ")) != NULL) {
    if (*word == '\0') continue;
    assert_true(argc < MAX_ARGUMENTS);
    if (strcmp(word, "_") == 0) *word = '\0';
    argv[argc++] = word;
  }
  size_t size;
  FILE *out = open_memstream(&run->printed, &size);
  assert_non_null(out);
  options_init(&run->options);
  run->error[0] = '\0';
  run->result = PRINTED;
  if (!options_arguments_print(argc, argv, out))
    run->result = options_arguments_parse(&run->options, argc, argv, run->error) ? RUN : REFUSED;
  fclose(out);
}

static inline void run_deinit(struct run *run) {
  options_deinit(&run->options);
  free(run->printed);
}

static const struct options_row *row_of(const char *name) {
  const struct options_row *row = options_find(span_of(name));
  if (row == NULL) fail_msg("no option %s", name);
  return row;
}

static inline void assert_option(const struct options *options, const char *name,
                                 const char *expected) {
  char text[OPTIONS_VALUE_BYTES];
  options_text(options, row_of(name), text);
  if (strcmp(text, expected) != 0) fail_msg("%s is '%s', expected '%s'", name, text, expected);
}

static inline void assert_says(const char *text, const char *expected) {
  if (strstr(text, expected) == NULL) fail_msg("'%s' does not say '%s'", text, expected);
}

/* The line is refused, with both texts in the one line that says why. */
static inline void assert_line_refused(const char *line, const char *what, const char *advice) {
  struct run run;
  run_line(&run, line);
  if (run.result != REFUSED) fail_msg("not refused: %s", line);
  assert_says(run.error, what);
  assert_says(run.error, advice);
  assert_null(strchr(run.error, '\n'));
  assert_string_equal(run.printed, "");
  run_deinit(&run);
}

static inline void assert_line_gives(const char *line, const char *name, const char *expected) {
  struct run run;
  run_line(&run, line);
  if (run.result != RUN) fail_msg("%s: %s", line, run.error);
  assert_option(&run.options, name, expected);
  run_deinit(&run);
}

/* --- files --- */

struct place {
  char directory[32];
  char config[MAX_PATH];
  char secret[MAX_PATH];
};

static inline int make_place(void **state) {
  struct place *place = calloc(1, sizeof(*place));
  if (place == NULL) return -1;
  strcpy(place->directory, "/tmp/idem-options-XXXXXX");
  if (mkdtemp(place->directory) == NULL) return -1;
  snprintf(place->config, MAX_PATH, "%s/idem.conf", place->directory);
  snprintf(place->secret, MAX_PATH, "%s/password", place->directory);
  *state = place;
  return 0;
}

static inline int remove_place(void **state) {
  struct place *place = *state;
  DIR *directory = opendir(place->directory);
  struct dirent *entry;
  while (directory != NULL && (entry = readdir(directory)) != NULL) {
    if (entry->d_name[0] != '.') unlinkat(dirfd(directory), entry->d_name, 0);
  }
  if (directory != NULL) closedir(directory);
  int removed = rmdir(place->directory);
  free(place);
  return removed;
}

static inline void write_bytes(const char *path, const char *bytes, size_t len, mode_t mode) {
  unlink(path); /* it may be read-only */
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, len, file), len);
  assert_int_equal(fchmod(fileno(file), mode), 0);
  fclose(file);
}

static inline void write_text(const char *path, const char *text, mode_t mode) {
  write_bytes(path, text, strlen(text), mode);
}

static inline void assert_file(const char *path, const char *expected) {
  char text[8192];
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
  fclose(file);
  assert_string_equal(text, expected);
}

static inline size_t count_files(const struct place *place) {
  size_t count = 0;
  DIR *directory = opendir(place->directory);
  assert_non_null(directory);
  struct dirent *entry;
  while ((entry = readdir(directory)) != NULL) count += entry->d_name[0] != '.' ? 1 : 0;
  closedir(directory);
  return count;
}

/* The file with that text is refused at that line, with that reason. */
static inline void assert_file_refused(struct place *place, const char *text, int line,
                                       const char *reason) {
  char where[MAX_PATH + 16];
  write_text(place->config, text, 0600);
  snprintf(where, sizeof(where), "%s:%d: ", place->config, line);
  assert_line_refused(place->config, where, reason);
}

/* What is kept of a password; of two with a blank between them. */
static inline void assert_kept(const struct options *options, const char *first,
                               const char *second) {
  char expected[2 * (DIGEST_HEX + 1)] = "";
  struct digest digest;
  assert_true(digest_of(span_of(first), &digest));
  digest_text(&digest, expected);
  if (second != NULL) {
    assert_true(digest_of(span_of(second), &digest));
    expected[DIGEST_HEX] = ' ';
    digest_text(&digest, expected + DIGEST_HEX + 1);
  }
  assert_string_equal(options->requirepass, expected);
}

#define WITH_TLS "--tls-port 7000 --tls-cert-file c --tls-key-file k --tls-auth-clients no "

#define PLACE_TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

#endif
