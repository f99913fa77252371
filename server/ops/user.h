/*
 * user.h - a user: its name, what it may do, its passwords, its quotas.
 *
 * Commands are bits, by the row's index in the table of commands that users.h was given; this file
 * knows none of them. A key or channel is allowed when one of the user's patterns matches it.
 *
 * Threads. A user changes only while all other loops are paused; any loop reads it. A user that is
 * deleted is freed while they are paused, after its sessions have let go of it
 * (commands/accounts.c).
 */
#ifndef IDEM_SERVER_OPS_USER_H
#define IDEM_SERVER_OPS_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/span.h"
#include "server/ops/digest.h"

#define USER_COMMANDS_MAX 320u /* rows of the table of commands */
#define USER_COMMAND_WORDS (USER_COMMANDS_MAX / 64)
#define USER_NAME_MAX 512u      /* bytes, as of a pattern */
#define USER_PATTERNS_MAX 1024u /* of keys, and as many of channels */
#define USER_PATTERN_MAX 1024u
#define USER_PASSWORDS_MAX 64u
#define USER_PASSWORD_MAX 512u /* bytes */
#define USER_DEFAULT_NUMBER 0u

struct user_pattern {
  char *text; /* owned */
  size_t len;
};

struct user_patterns {
  struct user_pattern *all; /* owned, in the order in which they came; no two are the same */
  size_t count;
  bool any; /* "*": allkeys, allchannels; there are no others then */
};

/* A password, as its digest. A session keeps the id of the one that it showed; an id is given again
 * only after the sessions of its former password were closed. */
struct user_password {
  struct digest digest;
  uint8_t id; /* 1 .. USER_PASSWORDS_MAX */
};
#define USER_NO_PASSWORD 0u /* the id of a session whose user needed none */

struct user {
  char *name; /* owned, with a NUL after name_len bytes */
  size_t name_len;
  uint16_t number; /* user_number */
  bool on, nopass;
  bool unrestricted;         /* all commands, keys and channels: nothing needs to be asked */
  bool lost_keys;            /* user_change took a key pattern away */
  struct user *next_deleted; /* the caller's of users_remove */
  bool deleted;              /* is in no table any more, and its sessions are about to be closed */
  uint64_t commands[USER_COMMAND_WORDS];
  char *command_rules; /* owned: "+@all -flushall", as ACL LIST shows them */
  struct user_patterns keys, channels;
  struct user_password *passwords; /* owned */
  size_t password_count;
  uint64_t quota_claims, quota_waiters; /* 0: none */
};

/* off, without passwords, commands, keys and channels. NULL: memory is short. */
struct user *user_create(struct span name);
void user_destroy(struct user *user); /* takes NULL */
/* A copy with the same name and number. NULL: memory is short. */
struct user *user_copy(const struct user *user);
/* A password that the user has not yet; there is room for it. False: memory is short. */
bool user_add_password(struct user *user, const struct digest *digest);
/* Gives `user` what `from` may and knows, and `from` what `user` had; names and numbers stay.
 * Passwords that both have keep the ids that they have in `user`. */
void user_exchange(struct user *user, struct user *from);
/* user_exchange for a user that may have sessions: notes whether they lost keys. */
void user_change(struct user *user, struct user *to);

static inline bool user_allows_command(const struct user *user, size_t row) {
  return (user->commands[row / 64] >> (row % 64) & 1) != 0;
}
static inline bool user_allows_all_keys(const struct user *user) { return user->keys.any; }

/* Whether a pattern of the user matches the key. Costs at most the sum of its patterns' lengths
 * times the key's. */
bool user_allows_key(const struct user *user, struct span key);
bool user_allows_channel(const struct user *user, struct span channel);
/* A pattern of PSUBSCRIBE: as Redis, it has to be one of the user's, byte for byte. */
bool user_allows_channel_pattern(const struct user *user, struct span pattern);

/* 16 bits that stand for the user in records and in the journal: the same as long as the user
 * lives, and after a restart as long as no two names have the same (users.c). The default user's
 * is USER_DEFAULT_NUMBER. */
static inline uint16_t user_number(const struct user *user) { return user->number; }

/* The most HELD claims, and waiters, that it may have at a time; 0: no quota. */
static inline uint64_t user_quota_claims(const struct user *user) { return user->quota_claims; }
static inline uint64_t user_quota_waiters(const struct user *user) { return user->quota_waiters; }

static inline struct span user_name(const struct user *user) {
  return (struct span){user->name, user->name_len};
}

/* Whether both know the same passwords, or need none. */
bool user_has_passwords_of(const struct user *user, const struct user *other);
/* Whether a session that showed the password of that id is still let in. */
bool user_keeps(const struct user *user, uint8_t password_id);
/* Whether the password is one of the user's; sets its id. The time does not depend on which one,
 * nor on where they differ. */
bool user_knows_password(const struct user *user, struct span password, uint8_t *id);

#endif
