/*
 * output_limit.h - how much a reader may leave untaken: client-output-limit and
 * client-output-total.
 *
 * A session may have client-output-limit bytes of replies to take; before AUTH, OUTPUT_LIMIT_LEAST.
 * All together may have client-output-total, at most a quarter of maxmemory. From half of that on
 * they are crowded: an equal part of the other half, at most OUTPUT_LIMIT_SHARE, is the share of
 * each.
 *
 * A session that sends commands is read no further while it is over its limit (net/); one that gets
 * pushes, from pub/sub or MONITOR, is closed (output_limit_allows_push). How long a reader may take
 * nothing is client-output-timeout, in net/timeouts.h.
 *
 * It must not know what the replies are, nor who sends them. It counts no bytes itself: net/ keeps
 * session.sending_bytes and instance.sending_bytes. The functions that take a session are called by
 * its worker's own thread, those about crowding by any worker's, except while CONFIG SET runs.
 */
#ifndef IDEM_SERVER_COMMANDS_OUTPUT_LIMIT_H
#define IDEM_SERVER_COMMANDS_OUTPUT_LIMIT_H

#include "server/commands/session.h"

#define OUTPUT_LIMIT_SHARE (64u * 1024)
#define OUTPUT_LIMIT_LEAST 1024u /* no limit is below it */

/* Whether it is within every limit. Called after every command; most sessions have next to nothing
 * to take. */
static inline bool output_limit_small(const struct session *session) {
  size_t unsent = session->out != NULL ? resp_output_size(session->out) : 0;
  return session->sending_bytes == 0 && unsent <= OUTPUT_LIMIT_LEAST;
}

/* Whether the session, with `more` bytes to come, has more to take than it may. */
bool output_limit_over(const struct session *session, const struct worker *worker, size_t more);

/* Whether the outputs are crowded; whether so many bytes would crowd them. */
bool output_limit_crowded(const struct worker *worker);
bool output_limit_crowds(const struct worker *worker, uint64_t bytes);

/* Call before `bytes` of a push are written to a session. False when it takes no more, because it
 * is closing or because they would exceed its limit, which closes it. */
bool output_limit_allows_push(struct worker *worker, struct session *session, size_t bytes);
/* Closes a session as one over its limit: its unsent replies are dropped, it is counted in
 * counters.closed_for_unread_replies (with those that client-output-timeout closes), and the
 * network closes it at the end of the turn (session_close). Not twice for one session: each call
 * counts. */
void output_limit_close(struct worker *worker, struct session *session);

#endif
