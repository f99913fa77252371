/* sight.c - see sight.h. */
#include "server/commands/sight.h"

#include "server/commands/effects.h"

/* Of a channel for the effects on a key; absent: it is another channel. */
static struct span effect_key(struct span channel) {
  const struct span prefix = SPAN_LITERAL(EFFECTS_PREFIX);
  bool is_effect = channel.len >= prefix.len && memcmp(channel.data, prefix.data, prefix.len) == 0;
  if (!is_effect) return SPAN_ABSENT;
  return (struct span){channel.data + prefix.len, channel.len - prefix.len};
}

bool sight_channel_restricted(const struct session *viewer, struct span channel) {
  struct span key = effect_key(channel);
  return session_allows_channel(viewer, channel) &&
         (!span_present(key) || session_allows_key(viewer, key));
}

bool sight_session(const struct session *viewer, const struct session *other) {
  bool same = viewer == other || (other->authenticated && other->user == viewer->user);
  return same || sight_all(viewer);
}

bool sight_user(const struct session *viewer, struct span name) {
  return span_equal(user_name(viewer->user), name) || sight_all(viewer);
}
