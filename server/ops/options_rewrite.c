/*
 * options_rewrite.c - see options_rewrite.h. Keeps: a crash in the middle leaves the old file or
 * the new one, whole; a password is written only into a file that no other user can read.
 */
#include "server/ops/options_rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/ops/acl_file.h"
#include "server/ops/acl_rules.h"
#include "server/ops/acl_text.h"
#include "server/ops/file_replace.h"
#include "server/ops/options_file.h"
#include "server/ops/options_users.h"
#include "server/ops/options_words.h"

#define REWRITE_MARK "# Written by CONFIG REWRITE"

/* What a rewrite has to do with. */
struct rewrite {
  FILE *out;
  const struct options *options;
  const struct users *users; /* NULL: they have a file of their own */
  const struct options_file *old;
  struct options_file_seen seen;
  struct users *told; /* those of the `user` lines of the old file */
  bool told_default;
  bool untold_password; /* of requirepass: the new file cannot have it */
  bool marked;
  char *error; /* REFUSAL_BYTES */
};

static void mark(struct rewrite *rewrite) {
  if (!rewrite->marked) fputs(REWRITE_MARK "\n", rewrite->out);
  rewrite->marked = true;
}

/* ---- rows ---- */

/* A password that came from its own file stays there. */
static bool has_own_file(const struct options_row *row, const struct options *options) {
  return row->kind == OPTIONS_ROW_PASSWORD && options->requirepass_file[0] != '\0';
}

/* A password is not known as text: unless the file has it already, a `user` line has its SHA-256.
 */
static bool is_untold(const struct options_row *row, const struct options *options) {
  return row->kind == OPTIONS_ROW_PASSWORD && options->requirepass[0] != '\0' &&
         options->requirepass_file[0] == '\0';
}

/* The value that the file should have for the row. */
static void text_for_file(const struct options_row *row, const struct options *options,
                          char text[OPTIONS_VALUE_BYTES]) {
  text[0] = '\0';
  if (!has_own_file(row, options)) options_value_text(row, options, text);
}

/* Writes "name value" and a newline; false when the line is too long to be read back, or the write
 * failed. A list is several words. */
static bool write_setting(FILE *out, const struct options_row *row, const char *text) {
  struct span value = span_of(text);
  bool quotes = options_row_is_list(row->kind) ? value.len == 0
                                               : text[0] == '#' || options_words_need_quotes(value);
  fprintf(out, "%s ", row->name);
  size_t len = strlen(row->name) + 1 + options_words_write(out, value, quotes);
  fputc('\n', out);
  return len <= OPTIONS_FILE_LINE_MAX && !ferror(out);
}

static bool write_row(struct rewrite *rewrite, const struct options_row *row) {
  char text[OPTIONS_VALUE_BYTES];
  if (is_untold(row, rewrite->options)) {
    rewrite->untold_password = true;
    return true;
  }
  text_for_file(row, rewrite->options, text);
  bool done = write_setting(rewrite->out, row, text);
  explicit_bzero(text, sizeof(text));
  return done ||
         refusal_write(
             rewrite->error,
             "cannot write %s: its line would have more than %d bytes, or the disk refused it",
             row->name, OPTIONS_FILE_LINE_MAX);
}

static bool is_same(const struct options_row *row, const struct options *options,
                    const struct options_value *value) {
  if (has_own_file(row, options)) return value->text[0] == '\0';
  return options_value_equal(row, options, value);
}

static bool append_rows(struct rewrite *rewrite) {
  for (size_t i = 0; i < options_count(); i++) {
    const struct options_row *row = options_row(i);
    struct options_value initial;
    if (rewrite->seen.line[i] != 0) continue;
    if (!options_value_parse(row, span_of(row->initial), &initial, rewrite->error)) return false;
    bool same = is_same(row, rewrite->options, &initial);
    options_value_deinit(&initial);
    if (same) continue;
    if (!is_untold(row, rewrite->options)) mark(rewrite);
    if (!write_row(rewrite, row)) return false;
  }
  return true;
}

/* ---- users ---- */

static bool refuse_memory(struct rewrite *rewrite) {
  return refusal_write(rewrite->error, "no memory to write the users");
}

/* "user NAME words..." and a newline. */
static bool write_user(struct rewrite *rewrite, const struct user *user) {
  size_t len = 0, line = strlen("user");
  char *text = acl_text_of(acl_text_write, user, &len);
  if (text == NULL) return refuse_memory(rewrite);
  fputs("user", rewrite->out);
  for (size_t at = 0; at < len;) {
    const char *end = memchr(text + at, ' ', len - at);
    struct span word = {text + at, end != NULL ? (size_t)(end - text) - at : len - at};
    fputc(' ', rewrite->out);
    line += 1 + options_words_write(rewrite->out, word, options_words_need_quotes(word));
    at += word.len + 1;
  }
  fputc('\n', rewrite->out);
  free(text);
  return line <= OPTIONS_USERS_LINE_MAX ||
         refusal_write(rewrite->error, "cannot write user %.100s: its line would be too long",
                       user->name);
}

/* Whether two users are described alike; unknown when memory is short, which is no. */
static bool is_alike(const struct user *a, const struct user *b) {
  size_t a_len = 0, b_len = 0;
  char *a_text = acl_text_of(acl_text_write, a, &a_len);
  char *b_text = acl_text_of(acl_text_write, b, &b_len);
  bool alike =
      a_text != NULL && b_text != NULL && a_len == b_len && memcmp(a_text, b_text, a_len) == 0;
  free(a_text);
  free(b_text);
  return alike;
}

static void copy_line(struct rewrite *rewrite, struct span raw) {
  fwrite(raw.data, 1, raw.len, rewrite->out);
  fputc('\n', rewrite->out);
}

/* The line of a user that is as it says is copied; of one that is gone it is left out. */
static bool rewrite_user(struct rewrite *rewrite, const struct options_file_line *line) {
  char reason[REFUSAL_BYTES];
  struct user *told = NULL;
  if (!acl_file_take_user(rewrite->told, line->user->argv, line->user->argc, &told, reason))
    return refusal_write(rewrite->error, "%.100s:%zu: %.300s", rewrite->old->path, line->number,
                         reason);
  const struct user *user = users_find(rewrite->users, user_name(told));
  if (told == rewrite->told->initial) rewrite->told_default = true;
  if (user == NULL) return true;
  if (!is_alike(user, told)) return write_user(rewrite, user);
  copy_line(rewrite, line->raw);
  return true;
}

/* Whether the default user is as the settings say without a line of its own. */
static bool is_plain(const struct options *options, const struct users *users) {
  struct users *fresh = users_create_beside(users);
  bool plain = fresh != NULL && acl_rules_set_passwords(fresh->initial, options->requirepass) &&
               is_alike(fresh->initial, users->initial);
  users_destroy(fresh);
  return plain;
}

static bool needs_no_line(const struct rewrite *rewrite) {
  return rewrite->told_default ||
         (!rewrite->untold_password && is_plain(rewrite->options, rewrite->users));
}

static bool append_users(struct rewrite *rewrite) {
  if (rewrite->users == NULL) return true;
  for (size_t i = 0; i < rewrite->users->count; i++) {
    const struct user *user = rewrite->users->all[i];
    bool is_default = user == rewrite->users->initial;
    bool told = is_default ? needs_no_line(rewrite)
                           : users_find(rewrite->told, user_name(user)) != NULL;
    if (told) continue;
    mark(rewrite);
    if (!write_user(rewrite, user)) return false;
  }
  return true;
}

/* ---- the file ---- */

/* A line whose value still holds is copied as it stands ("60s" stays "60s"). */
static bool rewrite_line(struct rewrite *rewrite, const struct options_file_line *line) {
  if (line->user != NULL && rewrite->users != NULL) return rewrite_user(rewrite, line);
  bool same = line->row == NULL || is_same(line->row, rewrite->options, &line->value);
  if (!same) return write_row(rewrite, line->row);
  if (span_equal(line->raw, SPAN_LITERAL(REWRITE_MARK))) rewrite->marked = true;
  copy_line(rewrite, line->raw);
  return true;
}

static bool rewrite_lines(struct rewrite *rewrite) {
  struct options_file_line line = {.number = 0};
  size_t offset = 0;
  while (options_file_next_line(rewrite->old, &offset, &line)) {
    if (!options_file_parse_line(rewrite->old, &rewrite->seen, &line, rewrite->error)) return false;
    bool done = rewrite_line(rewrite, &line);
    options_value_deinit(&line.value);
    options_users_destroy(line.user);
    if (!done) return false;
  }
  return true;
}

static bool write_all(struct rewrite *rewrite) {
  if (!rewrite_lines(rewrite) || !append_rows(rewrite) || !append_users(rewrite)) return false;
  if (ftell(rewrite->out) <= (long)OPTIONS_FILE_MAX) return true;
  return refusal_write(rewrite->error, "the new file would have more than %u bytes",
                       OPTIONS_FILE_MAX);
}

static bool replace_file(struct rewrite *rewrite) {
  struct file_replace replace;
  if (!file_replace_begin(&replace, rewrite->old->path, rewrite->error)) return false;
  rewrite->out = replace.out;
  if (write_all(rewrite)) return file_replace_end(&replace, &rewrite->old->stat, rewrite->error);
  file_replace_drop(&replace);
  return false;
}

/* Whether a password, or its SHA-256, may stand in the new file. */
static bool has_secret(const struct options *options, const struct users *users) {
  bool secret = (options->requirepass[0] != '\0' && options->requirepass_file[0] == '\0') ||
                options->tls_key_file_pass[0] != '\0';
  for (size_t i = 0; users != NULL && i < users->count; i++) {
    bool in_own_file = users->all[i] == users->initial && options->requirepass_file[0] != '\0' &&
                       is_plain(options, users);
    secret |= users->all[i]->password_count > 0 && !in_own_file;
  }
  return secret;
}

bool options_rewrite_file(const struct options *options, const struct users *users,
                          char error[REFUSAL_BYTES]) {
  struct options_file file;
  if (options->config_file[0] == '\0') {
    return refusal_write(
        error, "the server was started without a configuration file that could be rewritten");
  }
  if (options->aclfile[0] != '\0') users = NULL;
  if (!options_file_read(options->config_file, &file, error)) return false;
  struct rewrite rewrite = {.options = options, .users = users, .old = &file, .error = error};
  if (users != NULL) rewrite.told = users_create_beside(users);
  bool done = users == NULL || rewrite.told != NULL || refuse_memory(&rewrite);
  done = done && (!has_secret(options, users) || options_file_check_private(&file, error)) &&
         replace_file(&rewrite);
  users_destroy(rewrite.told);
  options_file_deinit(&file);
  return done;
}
