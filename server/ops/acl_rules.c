/* acl_rules.c - see acl_rules.h. */
#include "server/ops/acl_rules.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/ops/acl_commands.h"

/* What a word is applied to. */
struct rule {
  const struct users *users;
  struct user *user;
  struct span text; /* what stands after the word's sign */
  char *error;      /* REFUSAL_BYTES */
};

static bool refuse_memory(struct rule *rule) { return refusal_write(rule->error, "out of memory"); }

/* ---- on, off, reset ---- */

static bool switch_on(struct rule *rule) {
  rule->user->on = true;
  return true;
}

static bool switch_off(struct rule *rule) {
  rule->user->on = false;
  return true;
}

static bool reset(struct rule *rule) {
  struct user *user = rule->user, *fresh = users_new(rule->users, user_name(user));
  if (fresh == NULL) return refuse_memory(rule);
  user_exchange(user, fresh);
  user_destroy(fresh);
  return true;
}

static bool take(struct rule *rule) {
  (void)rule;
  return true;
}

/* ---- passwords ---- */

static bool reset_passwords(struct rule *rule) {
  rule->user->password_count = 0;
  rule->user->nopass = false;
  return true;
}

static bool need_none(struct rule *rule) {
  reset_passwords(rule);
  rule->user->nopass = true;
  return true;
}

/* The place of a password; password_count: the user has it not. */
static size_t place_of(const struct user *user, const struct digest *digest) {
  size_t i = 0;
  while (i < user->password_count && !digest_equal(&user->passwords[i].digest, digest)) i++;
  return i;
}

static bool add_digest(struct rule *rule, const struct digest *digest) {
  struct user *user = rule->user;
  user->nopass = false;
  if (place_of(user, digest) < user->password_count) return true;
  if (user->password_count == USER_PASSWORDS_MAX)
    return refusal_write(rule->error, "A user may have %u passwords", USER_PASSWORDS_MAX);
  return user_add_password(user, digest) || refuse_memory(rule);
}

static bool remove_digest(struct rule *rule, const struct digest *digest) {
  struct user *user = rule->user;
  size_t place = place_of(user, digest);
  if (place == user->password_count)
    return refusal_write(rule->error,
                         "The password you are trying to remove from the user does not exist");
  user->password_count--;
  memmove(&user->passwords[place], &user->passwords[place + 1],
          (user->password_count - place) * sizeof *user->passwords);
  return true;
}

static bool hash(struct rule *rule, struct digest *digest) {
  if (rule->text.len > USER_PASSWORD_MAX)
    return refusal_write(rule->error, "A password has at most %u bytes", USER_PASSWORD_MAX);
  return digest_of(rule->text, digest) || refusal_write(rule->error, "SHA-256 cannot be had");
}

static bool parse_digest(struct rule *rule, struct digest *digest) {
  return digest_parse(rule->text, digest) ||
         refusal_write(rule->error,
                       "The password hash must be exactly 64 characters and contain only lowercase "
                       "hexadecimal characters");
}

static bool add_password(struct rule *rule) {
  struct digest digest;
  return hash(rule, &digest) && add_digest(rule, &digest);
}

static bool remove_password(struct rule *rule) {
  struct digest digest;
  return hash(rule, &digest) && remove_digest(rule, &digest);
}

static bool add_hash(struct rule *rule) {
  struct digest digest;
  return parse_digest(rule, &digest) && add_digest(rule, &digest);
}

static bool remove_hash(struct rule *rule) {
  struct digest digest;
  return parse_digest(rule, &digest) && remove_digest(rule, &digest);
}

/* ---- patterns ---- */

static void drop_patterns(struct user_patterns *patterns) {
  for (size_t i = 0; i < patterns->count; i++) free(patterns->all[i].text);
  patterns->count = 0;
  patterns->any = false;
}

static bool has_blank(struct span text) {
  for (size_t i = 0; i < text.len; i++) {
    unsigned char byte = (unsigned char)text.data[i];
    if (byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == '\0') return true;
  }
  return false;
}

static bool pattern_is_new(const struct user_patterns *patterns, struct span text) {
  for (size_t i = 0; i < patterns->count; i++) {
    struct span known = {patterns->all[i].text, patterns->all[i].len};
    if (span_equal(known, text)) return false;
  }
  return true;
}

static bool append_pattern(struct rule *rule, struct user_patterns *patterns) {
  struct span text = rule->text;
  struct user_pattern *all = realloc(patterns->all, (patterns->count + 1) * sizeof *patterns->all);
  if (all == NULL) return refuse_memory(rule);
  patterns->all = all;
  char *copy = malloc(text.len + 1);
  if (copy == NULL) return refuse_memory(rule);
  if (text.len > 0) memcpy(copy, text.data, text.len);
  copy[text.len] = '\0';
  all[patterns->count++] = (struct user_pattern){copy, text.len};
  return true;
}

static bool add_pattern(struct rule *rule, struct user_patterns *patterns) {
  if (has_blank(rule->text)) return refusal_write(rule->error, "Syntax error");
  if (rule->text.len > USER_PATTERN_MAX)
    return refusal_write(rule->error, "A pattern has at most %u bytes", USER_PATTERN_MAX);
  if (!pattern_is_new(patterns, rule->text)) return true;
  if (patterns->count == USER_PATTERNS_MAX)
    return refusal_write(rule->error, "A user may have %u patterns", USER_PATTERNS_MAX);
  return append_pattern(rule, patterns);
}

static bool allow_all_keys(struct rule *rule) {
  drop_patterns(&rule->user->keys);
  rule->user->keys.any = true;
  return true;
}

static bool reset_keys(struct rule *rule) {
  drop_patterns(&rule->user->keys);
  return true;
}

static bool add_key(struct rule *rule) {
  if (span_equal(rule->text, SPAN_LITERAL("*"))) return allow_all_keys(rule);
  if (!rule->user->keys.any) return add_pattern(rule, &rule->user->keys);
  return refusal_write(rule->error,
                       "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid "
                       "and does not have any effect. Try 'resetkeys' to start with an empty list "
                       "of patterns");
}

/* %RW~pattern; %R~ and %W~ are keys that may be read or written only. */
static bool add_key_for(struct rule *rule) {
  bool may_read = false, may_write = false;
  size_t at = 0;
  for (; at < rule->text.len && rule->text.data[at] != '~'; at++) {
    char letter = rule->text.data[at];
    may_read |= letter == 'R' || letter == 'r';
    may_write |= letter == 'W' || letter == 'w';
    if (strchr("RrWw", letter) == NULL || letter == '\0') break;
  }
  bool named = at < rule->text.len && rule->text.data[at] == '~' && at > 0;
  if (!named) return refusal_write(rule->error, "Syntax error");
  if (!may_read || !may_write)
    return refusal_write(rule->error,
                         "Keys to read or write only are not supported: ~pattern allows both");
  rule->text = (struct span){rule->text.data + at + 1, rule->text.len - at - 1};
  return add_key(rule);
}

static bool allow_all_channels(struct rule *rule) {
  drop_patterns(&rule->user->channels);
  rule->user->channels.any = true;
  return true;
}

static bool reset_channels(struct rule *rule) {
  drop_patterns(&rule->user->channels);
  return true;
}

static bool add_channel(struct rule *rule) {
  if (span_equal(rule->text, SPAN_LITERAL("*"))) return allow_all_channels(rule);
  if (!rule->user->channels.any) return add_pattern(rule, &rule->user->channels);
  return refusal_write(rule->error,
                       "Adding a pattern after the * pattern (or the 'allchannels' flag) is not "
                       "valid and does not have any effect. Try 'resetchannels' to start with an "
                       "empty list of channels");
}

/* ---- commands ---- */

static bool allow_command(struct rule *rule) {
  return acl_commands_set(rule->users, rule->user, rule->text, true, rule->error);
}
static bool deny_command(struct rule *rule) {
  return acl_commands_set(rule->users, rule->user, rule->text, false, rule->error);
}
static bool allow_all_commands(struct rule *rule) {
  return acl_commands_set(rule->users, rule->user, SPAN_LITERAL("@all"), true, rule->error);
}
static bool deny_all_commands(struct rule *rule) {
  return acl_commands_set(rule->users, rule->user, SPAN_LITERAL("@all"), false, rule->error);
}

/* ---- words ---- */

static bool refuse_selector(struct rule *rule) {
  return refusal_write(rule->error, "Selectors are not supported: make a second user");
}

static const struct word {
  const char *text;
  bool (*apply)(struct rule *rule);
} words_alone[] = {
    {"on", switch_on},
    {"off", switch_off},
    {"nopass", need_none},
    {"resetpass", reset_passwords},
    {"allkeys", allow_all_keys},
    {"resetkeys", reset_keys},
    {"allchannels", allow_all_channels},
    {"resetchannels", reset_channels},
    {"allcommands", allow_all_commands},
    {"nocommands", deny_all_commands},
    {"reset", reset},
    {"sanitize-payload", take},
    {"skip-sanitize-payload", take},
    {"clearselectors", take},
};

static const struct sign {
  char sign;
  bool (*apply)(struct rule *rule);
} signs[] = {
    {'>', add_password}, {'<', remove_password}, {'#', add_hash},    {'!', remove_hash},
    {'~', add_key},      {'%', add_key_for},     {'&', add_channel}, {'+', allow_command},
    {'-', deny_command}, {'(', refuse_selector},
};

/* Words with a number after them. */
static const struct quota {
  const char *text;
  size_t offset; /* in struct user */
} quotas[] = {
    {"quota-claims", offsetof(struct user, quota_claims)},
    {"quota-waiters", offsetof(struct user, quota_waiters)},
};

static const struct quota *find_quota(struct span word) {
  for (size_t i = 0; i < sizeof quotas / sizeof quotas[0]; i++) {
    if (span_is(word, quotas[i].text)) return &quotas[i];
  }
  return NULL;
}

static bool set_quota(struct user *user, const struct quota *quota, struct span number,
                      char error[REFUSAL_BYTES]) {
  long long value;
  if (!span_present(number) || !span_to_i64(number, &value) || value < 0)
    return refusal_write(error, "%s needs a number, 0 for none", quota->text);
  if (value > 0 && span_equal(user_name(user), SPAN_LITERAL("default")))
    return refusal_write(error, "the default user has no quotas: give each tenant its own user");
  *(uint64_t *)(void *)((char *)user + quota->offset) = (uint64_t)value;
  return true;
}

static bool apply_word(struct rule *rule, struct span word) {
  if (word.len == 0) return true; /* as Redis */
  for (size_t i = 0; i < sizeof words_alone / sizeof words_alone[0]; i++) {
    if (span_is(word, words_alone[i].text)) return words_alone[i].apply(rule);
  }
  rule->text = (struct span){word.data + 1, word.len - 1};
  for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
    if (word.data[0] == signs[i].sign) return signs[i].apply(rule);
  }
  return refusal_write(rule->error, "Syntax error");
}

static bool may_everything(const struct users *users, const struct user *user) {
  if (!user->keys.any || !user->channels.any) return false;
  for (size_t i = 0; i < users->command_count; i++) {
    if (!user_allows_command(user, i)) return false;
  }
  return true;
}

bool acl_rules_apply(const struct users *users, struct user *user, const struct span *words,
                     size_t count, size_t *bad, char error[REFUSAL_BYTES]) {
  struct rule rule = {.users = users, .user = user, .error = error};
  bool done = true;
  for (size_t i = 0; done && i < count; i++) {
    const struct quota *quota = find_quota(words[i]);
    *bad = i;
    if (quota == NULL) {
      done = apply_word(&rule, words[i]);
    } else {
      done = set_quota(user, quota, i + 1 < count ? words[i + 1] : SPAN_ABSENT, error);
      i++;
    }
  }
  user->unrestricted = may_everything(users, user);
  return done;
}

bool acl_rules_set_passwords(struct user *user, const char *digests) {
  char error[REFUSAL_BYTES];
  struct rule rule = {.user = user, .error = error};
  if (digests[0] == '\0') return need_none(&rule);
  reset_passwords(&rule);
  for (size_t len; *digests != '\0'; digests += len + (digests[len] == ' ')) {
    len = strcspn(digests, " ");
    rule.text = (struct span){digests, len};
    if (!add_hash(&rule)) return false;
  }
  return true;
}

bool acl_rules_name_fits(struct span name) {
  return name.len > 0 && name.len <= USER_NAME_MAX && !has_blank(name);
}
