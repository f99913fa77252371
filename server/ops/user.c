/* user.c - see user.h. */
#include "server/ops/user.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/glob.h"

/* ---- making ---- */

static void patterns_deinit(struct user_patterns *patterns) {
  for (size_t i = 0; i < patterns->count; i++) free(patterns->all[i].text);
  free(patterns->all);
}

static bool patterns_copy(struct user_patterns *to, const struct user_patterns *from) {
  to->any = from->any;
  if (from->count == 0) return true;
  to->all = calloc(from->count, sizeof *to->all);
  if (to->all == NULL) return false;
  for (; to->count < from->count; to->count++) {
    const struct user_pattern *pattern = &from->all[to->count];
    char *text = malloc(pattern->len + 1);
    if (text == NULL) return false;
    memcpy(text, pattern->text, pattern->len + 1);
    to->all[to->count] = (struct user_pattern){text, pattern->len};
  }
  return true;
}

struct user *user_create(struct span name) {
  struct user *user = calloc(1, sizeof *user);
  if (user == NULL) return NULL;
  user->name = malloc(name.len + 1);
  user->command_rules = strdup("-@all");
  if (user->name == NULL || user->command_rules == NULL) {
    user_destroy(user);
    return NULL;
  }
  if (name.len > 0) memcpy(user->name, name.data, name.len);
  user->name[name.len] = '\0';
  user->name_len = name.len;
  return user;
}

void user_destroy(struct user *user) {
  if (user == NULL) return;
  free(user->name);
  free(user->command_rules);
  free(user->passwords);
  patterns_deinit(&user->keys);
  patterns_deinit(&user->channels);
  free(user);
}

static bool passwords_copy(struct user *to, const struct user *from) {
  if (from->password_count == 0) return true;
  to->passwords = malloc(from->password_count * sizeof *to->passwords);
  if (to->passwords == NULL) return false;
  memcpy(to->passwords, from->passwords, from->password_count * sizeof *to->passwords);
  to->password_count = from->password_count;
  return true;
}

struct user *user_copy(const struct user *user) {
  struct user *copy = user_create(user_name(user));
  if (copy == NULL) return NULL;
  char *rules = strdup(user->command_rules);
  if (rules != NULL) {
    free(copy->command_rules);
    copy->command_rules = rules;
  }
  copy->number = user->number;
  copy->on = user->on;
  copy->nopass = user->nopass;
  copy->unrestricted = user->unrestricted;
  copy->quota_claims = user->quota_claims;
  copy->quota_waiters = user->quota_waiters;
  memcpy(copy->commands, user->commands, sizeof copy->commands);
  if (rules != NULL && patterns_copy(&copy->keys, &user->keys) &&
      patterns_copy(&copy->channels, &user->channels) && passwords_copy(copy, user))
    return copy;
  user_destroy(copy);
  return NULL;
}

static const struct user_password *find_digest(const struct user *user,
                                               const struct digest *digest) {
  for (size_t i = 0; i < user->password_count; i++) {
    if (digest_equal(&user->passwords[i].digest, digest)) return &user->passwords[i];
  }
  return NULL;
}

static bool id_is_used(const struct user *user, size_t count, uint8_t id) {
  for (size_t i = 0; i < count; i++) {
    if (user->passwords[i].id == id) return true;
  }
  return false;
}

/* The smallest that neither has. */
static uint8_t unused_id(const struct user *former, const struct user *user) {
  uint8_t id = USER_NO_PASSWORD + 1;
  while (id_is_used(former, former->password_count, id) ||
         id_is_used(user, user->password_count, id))
    id++;
  return id;
}

bool user_add_password(struct user *user, const struct digest *digest) {
  struct user_password *all =
      realloc(user->passwords, (user->password_count + 1) * sizeof *user->passwords);
  if (all == NULL) return false;
  user->passwords = all;
  const struct user_password password = {*digest, unused_id(user, user)};
  all[user->password_count++] = password;
  return true;
}

/* A new password's id is none that either of the two has: sessions of the former passwords are
 * still to be told from those of the new. */
static void give_ids(const struct user *former, struct user *user) {
  _Static_assert(2 * USER_PASSWORDS_MAX < UINT8_MAX, "an id for each password of both");
  for (size_t i = 0; i < user->password_count; i++) {
    const struct user_password *same = find_digest(former, &user->passwords[i].digest);
    user->passwords[i].id = same != NULL ? same->id : USER_NO_PASSWORD;
  }
  for (size_t i = 0; i < user->password_count; i++) {
    if (user->passwords[i].id == USER_NO_PASSWORD) user->passwords[i].id = unused_id(former, user);
  }
}

static struct span pattern_at(const struct user_patterns *patterns, size_t index) {
  return (struct span){patterns->all[index].text, patterns->all[index].len};
}

static bool has_pattern(const struct user_patterns *patterns, struct span pattern) {
  if (patterns->any) return true;
  for (size_t i = 0; i < patterns->count; i++) {
    if (span_equal(pattern_at(patterns, i), pattern)) return true;
  }
  return false;
}

static bool lacks_pattern(const struct user_patterns *before, const struct user_patterns *now) {
  if (now->any) return false;
  if (before->any) return true;
  for (size_t i = 0; i < before->count; i++) {
    if (!has_pattern(now, pattern_at(before, i))) return true;
  }
  return false;
}

void user_exchange(struct user *user, struct user *from) {
  give_ids(user, from);
  struct user former = *user;
  *user = *from;
  *from = former;
  from->name = user->name;
  from->name_len = user->name_len;
  from->number = user->number;
  user->name = former.name;
  user->name_len = former.name_len;
  user->number = former.number;
}

void user_change(struct user *user, struct user *to) {
  bool lost_keys = user->lost_keys || lacks_pattern(&user->keys, &to->keys);
  user_exchange(user, to);
  user->lost_keys = lost_keys;
}

/* ---- what it may ---- */

static bool matches(const struct user_patterns *patterns, struct span text) {
  if (patterns->any) return true;
  for (size_t i = 0; i < patterns->count; i++) {
    if (glob_match(pattern_at(patterns, i), text, false)) return true;
  }
  return false;
}

bool user_allows_key(const struct user *user, struct span key) { return matches(&user->keys, key); }

bool user_allows_channel(const struct user *user, struct span channel) {
  return matches(&user->channels, channel);
}

bool user_allows_channel_pattern(const struct user *user, struct span pattern) {
  return has_pattern(&user->channels, pattern);
}

/* ---- passwords ---- */

bool user_has_passwords_of(const struct user *user, const struct user *other) {
  if (user->nopass != other->nopass || user->password_count != other->password_count) return false;
  for (size_t i = 0; i < user->password_count; i++) {
    if (find_digest(other, &user->passwords[i].digest) == NULL) return false;
  }
  return true;
}

bool user_keeps(const struct user *user, uint8_t password_id) {
  if (user->deleted || !user->on) return false;
  return user->nopass || id_is_used(user, user->password_count, password_id);
}

bool user_knows_password(const struct user *user, struct span password, uint8_t *id) {
  struct digest digest;
  bool found = false, fits = password.len <= USER_PASSWORD_MAX;
  if (!fits) password.len = USER_PASSWORD_MAX;
  if (!digest_of(password, &digest)) return false;
  for (size_t i = 0; i < user->password_count; i++) {
    bool same = digest_equal(&user->passwords[i].digest, &digest);
    if (same) *id = user->passwords[i].id;
    found |= same;
  }
  return found && fits;
}
