/* user.c - see user.h. */
#include "server/ops/user.h"

#include "server/base/glob.h"

static struct span pattern_at(const struct user_patterns *patterns, size_t index) {
  return (struct span){patterns->all[index].text, patterns->all[index].len};
}

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
  if (user->channels.any) return true;
  for (size_t i = 0; i < user->channels.count; i++) {
    if (span_equal(pattern_at(&user->channels, i), pattern)) return true;
  }
  return false;
}

bool user_keeps(const struct user *user, uint8_t password_id) {
  if (!user->on) return false;
  if (user->nopass) return true;
  bool found = false;
  for (size_t i = 0; i < user->password_count; i++) found |= user->passwords[i].id == password_id;
  return found;
}

bool user_knows_password(const struct user *user, struct span password, uint8_t *id) {
  struct digest digest;
  bool found = false;
  if (!digest_of(password, &digest)) return false;
  for (size_t i = 0; i < user->password_count; i++) {
    bool same = digest_equal(&user->passwords[i].digest, &digest);
    if (same) *id = user->passwords[i].id;
    found |= same;
  }
  return found;
}
