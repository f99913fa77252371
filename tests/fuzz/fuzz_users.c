/*
 * fuzz_users.c - the language of users on arbitrary bytes: as words of ACL SETUSER, as lines of an
 * ACL file's user and of the configuration file.
 *
 * What is taken, written and read again has to be the same user.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands/accounts.h"
#include "server/commands/command_table.h"
#include "server/ops/acl_file.h"
#include "server/ops/acl_rules.h"
#include "server/ops/acl_text.h"
#include "server/ops/options_users.h"

#define ROWS ((struct accounts_rows){command_table_commands, command_table_command_count})

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS_MAX 256

/* Cut at this byte. */
static size_t words_of(struct span text, char blank, struct span words[WORDS_MAX]) {
  size_t count = 0, at = 0;
  while (at <= text.len && count < WORDS_MAX) {
    const char *end = at < text.len ? memchr(text.data + at, blank, text.len - at) : NULL;
    size_t len = end != NULL ? (size_t)(end - text.data) - at : text.len - at;
    words[count++] = (struct span){text.data + at, len};
    at += len + 1;
  }
  return count;
}

static char *text_of(const struct user *user, size_t *len) {
  char *text = acl_text_of(acl_text_write, user, len);
  assert(text != NULL);
  return text;
}

/* Writes the user and reads it again, as the words after its name. */
static void read_again(const struct users *users, const struct user *user) {
  char error[REFUSAL_BYTES];
  static struct span words[4 * USER_PATTERNS_MAX];
  size_t len, again_len, bad, count = 0;
  char *text = text_of(user, &len);
  for (size_t at = user->name_len + 1; at < len && count < 4 * USER_PATTERNS_MAX; count++) {
    const char *end = memchr(text + at, ' ', len - at);
    size_t word = end != NULL ? (size_t)(end - text) - at : len - at;
    words[count] = (struct span){text + at, word};
    at += word + 1;
  }
  struct user *again = user_create(user_name(user));
  assert(again != NULL && acl_rules_apply(users, again, words, count, &bad, error));
  char *again_text = text_of(again, &again_len);
  assert(again_len == len && memcmp(again_text, text, len) == 0);
  assert(memcmp(again->commands, user->commands, sizeof user->commands) == 0);
  assert(again->unrestricted == user->unrestricted && again->on == user->on);
  free(again_text);
  free(text);
  user_destroy(again);
}

static void set_user(const struct users *users, struct span text) {
  struct span words[WORDS_MAX];
  char error[REFUSAL_BYTES];
  size_t bad = 0, count = words_of(text, '\n', words);
  struct user *user = user_create(SPAN_LITERAL("u"));
  assert(user != NULL);
  bool taken = acl_rules_apply(users, user, words, count, &bad, error);
  assert(taken || bad < count);
  read_again(users, user);
  struct user *copy = user_copy(user);
  assert(copy != NULL);
  user_change(user, copy);
  assert(!user->lost_keys);
  user_destroy(copy);
  user_destroy(user);
}

/* A line of the configuration file. */
static void take_line(const struct users *users, struct span text) {
  char reason[REFUSAL_BYTES];
  struct user *user = NULL;
  if (!options_users_is_line(text)) return;
  struct options_user *line = options_users_parse(text, 1, reason);
  if (line == NULL) return;
  struct users *staged = users_create_beside(users);
  assert(staged != NULL);
  if (acl_file_take_user(staged, line->argv, line->argc, &user, reason)) read_again(users, user);
  users_destroy(staged);
  options_users_destroy(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct options options;
  options_init(&options);
  struct users *users = accounts_create(ROWS, &options);
  options_deinit(&options);
  assert(users != NULL);
  const struct span text = {(const char *)data, size};
  set_user(users, text);
  take_line(users, text);
  users_destroy(users);
  return 0;
}
