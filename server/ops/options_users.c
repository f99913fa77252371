/* options_users.c - see options_users.h. */
#include "server/ops/options_users.h"

#include <stdlib.h>
#include <strings.h>

#include "server/ops/options_value.h"
#include "server/ops/options_words.h"

static bool is_blank(char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

bool options_users_is_line(struct span line) {
  const struct span word = SPAN_LITERAL("user");
  size_t at = 0;
  while (at < line.len && is_blank(line.data[at])) at++;
  if (line.len - at < word.len || strncasecmp(line.data + at, word.data, word.len) != 0)
    return false;
  at += word.len;
  return at == line.len || is_blank(line.data[at]);
}

/* A word takes at least two bytes of the line, but for the last. */
struct options_user *options_users_parse(struct span line, size_t number,
                                         char reason[REFUSAL_BYTES]) {
  if (line.len > OPTIONS_USERS_LINE_MAX) {
    refusal_write(reason, "the line has more than %u bytes", OPTIONS_USERS_LINE_MAX);
    return NULL;
  }
  size_t most = line.len / 2 + 1, room = sizeof(struct options_user) + most * sizeof(struct span);
  struct options_user *user = malloc(room + line.len);
  if (user == NULL) {
    refusal_write(reason, "no memory for the line");
    return NULL;
  }
  struct options_words words = {.argv = user->argv, .most = most, .bytes = (char *)user + room};
  *user = (struct options_user){.number = number, .bytes = room + line.len};
  const char *wrong = options_words_split(line, &words);
  user->argc = words.argc;
  if (wrong == NULL) return user;
  refusal_write(reason, "%s", wrong);
  options_users_destroy(user);
  return NULL;
}

bool options_users_has_password(const struct options_user *user) {
  for (size_t i = 2; i < user->argc; i++) {
    if (user->argv[i].len > 0 && (user->argv[i].data[0] == '>' || user->argv[i].data[0] == '#'))
      return true;
  }
  return false;
}

void options_users_destroy(struct options_user *user) {
  options_value_wipe((char *)user, user != NULL ? user->bytes : 0);
}

void options_users_add(struct options_user **chain, struct options_user *user) {
  struct options_user **last = chain;
  while (*last != NULL) last = &(*last)->next;
  *last = user;
}

void options_users_clear(struct options_user **chain) {
  for (struct options_user *next, *user = *chain; user != NULL; user = next) {
    next = user->next;
    options_users_destroy(user);
  }
  *chain = NULL;
}
