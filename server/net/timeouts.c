/* timeouts.c - see timeouts.h. */
#include "server/net/timeouts.h"

#include "server/net/output.h"

/* The kernel holds less when the client takes some. The stream hears of it only once much of a
 * large buffer is free, for which a slow reader may need minutes. */
static void note_acknowledged(struct conn *conn) {
  int64_t unacknowledged = stream_ask(&conn->stream, STREAM_UNACKNOWLEDGED);
  if (unacknowledged < 0) return;
  if ((uint32_t)unacknowledged < conn->unacknowledged) conn_note_progress(conn);
  conn->unacknowledged = (uint32_t)unacknowledged;
}

/* Takes none of its replies, however few they are. A subscriber, which nothing else slows down, is
 * stuck as soon as it is over its limit. */
static bool is_stuck(const struct conn *conn, bool subscribed) {
  const struct options *options = conn->group->worker.options;
  bool settled = list_empty(&conn->session.unsent); /* else it was not offered all of it */
  if (subscribed && settled && conn_output_over(conn)) return true;
  return conn->left_count > 0 && conn_since_progress_ms(conn) >= options->client_output_timeout_ms;
}

/* No command comes. A connection that waits, is subscribed or has replies to take is not idle, nor
 * is one that has a HELD claim with BIND. */
static bool is_idle(struct conn *conn, bool subscribed) {
  struct worker *worker = &conn->group->worker;
  const struct session *session = &conn->session;
  int64_t timeout_ms = worker->options->timeout_s * 1000;
  return timeout_ms > 0 && worker->monotonic_ms - session->active_ms >= timeout_ms && !subscribed &&
         !session_blocked(session) && !conn->paused && conn->left_count == 0 &&
         !session_holds_bound(session, worker);
}

void timeouts_check(struct conn *conn) {
  struct session *session = &conn->session;
  struct worker *worker = &conn->group->worker;
  if (conn->left_count > 0) {
    if (output_note_taken(&conn->stream, session, worker, true)) conn_note_progress(conn);
    note_acknowledged(conn);
  }
  bool subscribed = conn_is_subscribed(conn);
  bool stuck = is_stuck(conn, subscribed);
  bool lingered =
      conn->phase == CONN_LINGERING && conn_since_progress_ms(conn) >= TIMEOUTS_LINGER_MS;
  if (stuck) worker->counters.closed_for_unread_replies++;
  if (stuck || lingered || is_idle(conn, subscribed)) conn_close(conn);
}
