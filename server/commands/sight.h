/*
 * sight.h - what a session sees of what others do: with a user that may not touch every key, no
 * byte of a key, a channel, a name or an address that its own patterns do not cover.
 *
 *     keys        a pattern of the user matches (session_allows_key)
 *     messages    their channel is allowed; one that tells of a key: that key too
 *     sessions    those of the same user
 *
 * Whether a command may run at all, on the keys and channels that it names, was checked before
 * (check.h). This is for what a command, or a message, shows besides. A user that may touch every
 * key sees every session. It must not know commands; nor what is said about it: each is told what
 * it sees as if there were nothing else.
 *
 * By the thread of the viewer, or while all other loops are paused.
 */
#ifndef IDEM_SERVER_COMMANDS_SIGHT_H
#define IDEM_SERVER_COMMANDS_SIGHT_H

#include "server/commands/session.h"

/* Of a walk through keys. */
static inline bool sight_key(const struct session *viewer, struct span key) {
  return session_allows_key(viewer, key);
}

/* Not inlined: few sessions are restricted. */
bool sight_channel_restricted(const struct session *viewer, struct span channel);
/* Whether it may know of the channel, of who listens to it, and of what is said there. */
static inline bool sight_channel(const struct session *viewer, struct span channel) {
  return !viewer->restricted || sight_channel_restricted(viewer, channel);
}

/* All keys, and so everything that is told of other users: every session, every slow command. */
static inline bool sight_all(const struct session *viewer) {
  return session_allows_all_keys(viewer);
}

/* Whether it may know of the other session, which may be itself. */
bool sight_session(const struct session *viewer, const struct session *other);
/* The same of what a user of that name did. */
bool sight_user(const struct session *viewer, struct span name);

#endif
