/* acl_file.c - see acl_file.h. */
#include "server/ops/acl_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ops/acl_rules.h"
#include "server/ops/acl_text.h"
#include "server/ops/file_replace.h"
#include "server/ops/options_file.h"

/* ---- a user ---- */

static bool refuse_word(struct span word, const char *why, char reason[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  bool secret = word.len > 0 && (word.data[0] == '>' || word.data[0] == '<');
  if (secret) word.len = 1;
  return refusal_write(reason, "bad rule '%s%s': %s", refusal_show(word, shown),
                       secret ? "..." : "", why);
}

static bool refuse_name(struct span name, const char *why, char reason[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  return refusal_write(reason, "user '%s' %s", refusal_show(name, shown), why);
}

static bool refuse_duplicate(struct span name, char reason[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  return refusal_write(reason, "Duplicate user '%s' found", refusal_show(name, shown));
}

/* The default user as its line says, and not as it is without one. */
static bool begin_default(const struct users *staged, char reason[REFUSAL_BYTES]) {
  struct user *initial = staged->initial, *fresh = users_new(staged, user_name(initial));
  if (fresh == NULL) return refusal_write(reason, "out of memory");
  user_exchange(initial, fresh);
  user_destroy(fresh);
  return true;
}

static bool begin_user(struct users *staged, struct span name, struct user **user,
                       char reason[REFUSAL_BYTES]) {
  *user = staged->initial;
  if (span_equal(name, user_name(staged->initial))) return begin_default(staged, reason);
  if (!acl_rules_name_fits(name))
    return refuse_name(name, "is no name: at most 512 bytes, without blanks", reason);
  if (users_find(staged, name) != NULL) return refuse_duplicate(name, reason);
  *user = users_new(staged, name);
  if (*user != NULL && users_add(staged, *user)) return true;
  user_destroy(*user);
  return refuse_name(name, "finds no room: there are 10000 users, or memory is short", reason);
}

bool acl_file_take_user(struct users *staged, const struct span *words, size_t count,
                        struct user **user, char reason[REFUSAL_BYTES]) {
  char why[REFUSAL_BYTES];
  size_t bad = 0;
  if (count < 2 || !span_is(words[0], "user"))
    return refusal_write(reason, "a line is: user NAME and how the user is");
  if (!begin_user(staged, words[1], user, reason)) return false;
  if (acl_rules_apply(staged, *user, words + 2, count - 2, &bad, why)) return true;
  return refuse_word(words[2 + bad], why, reason);
}

/* ---- the file ---- */

static bool is_blank(char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

/* Writes the words, unless `words` is NULL; returns how many there are. */
static size_t split(struct span line, struct span *words) {
  size_t count = 0, at = 0;
  for (;;) {
    while (at < line.len && is_blank(line.data[at])) at++;
    if (at == line.len) return count;
    size_t start = at;
    while (at < line.len && !is_blank(line.data[at])) at++;
    if (words != NULL) words[count] = (struct span){line.data + start, at - start};
    count++;
  }
}

static bool take_line(struct users *staged, struct span line, bool *has_default,
                      char reason[REFUSAL_BYTES]) {
  struct user *user = NULL;
  size_t count = split(line, NULL);
  if (count == 0) return true;
  struct span *words = calloc(count, sizeof *words);
  if (words == NULL) return refusal_write(reason, "out of memory");
  split(line, words);
  bool done = true;
  if (words[0].data[0] != '#') {
    done = acl_file_take_user(staged, words, count, &user, reason);
    bool is_default = done && user == staged->initial;
    if (is_default && *has_default) done = refuse_duplicate(words[1], reason);
    *has_default |= is_default;
  }
  free(words);
  return done;
}

static bool take_lines(const struct options_file *file, struct users *staged, bool *has_default,
                       char error[REFUSAL_BYTES]) {
  char reason[REFUSAL_BYTES], shown[REFUSAL_SHOWN_BYTES];
  struct options_file_line line = {.number = 0};
  size_t offset = 0;
  while (options_file_next_line(file, &offset, &line)) {
    if (take_line(staged, line.raw, has_default, reason)) continue;
    return refusal_write(error, "%s:%zu: %.300s", refusal_show(span_of(file->path), shown),
                         line.number, reason);
  }
  return true;
}

bool acl_file_load(const char *path, struct users *staged, bool *has_default,
                   char error[REFUSAL_BYTES]) {
  struct options_file file;
  *has_default = false;
  if (!options_file_read_at_most(path, ACL_FILE_MAX, &file, error)) return false;
  bool done =
      options_file_check_private(&file, error) && take_lines(&file, staged, has_default, error);
  options_file_deinit(&file);
  return done;
}

static bool write_users(struct file_replace *replace, const struct users *users) {
  for (size_t i = 0; i < users->count; i++) {
    fputs("user ", replace->out);
    acl_text_write(replace->out, users->all[i]);
    fputc('\n', replace->out);
  }
  return ftell(replace->out) <= (long)ACL_FILE_MAX;
}

bool acl_file_save(const char *path, const struct users *users, char error[REFUSAL_BYTES]) {
  struct file_replace replace;
  struct stat mode = {.st_mode = 0600, .st_uid = geteuid(), .st_gid = getegid()}, old;
  char *target = realpath(path, NULL); /* not a link to the file */
  if (target == NULL && (target = strdup(path)) == NULL)
    return refusal_write(error, "out of memory");
  if (stat(target, &old) == 0) {
    mode.st_uid = old.st_uid;
    mode.st_gid = old.st_gid;
  }
  bool done = file_replace_begin(&replace, target, error);
  if (done && !write_users(&replace, users)) {
    file_replace_drop(&replace);
    done = refusal_write(error, "the users take more than %u bytes", ACL_FILE_MAX);
  } else if (done) {
    done = file_replace_end(&replace, &mode, error);
  }
  free(target);
  return done;
}
