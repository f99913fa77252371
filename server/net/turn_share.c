/* turn_share.c - see turn_share.h. */
#include "server/net/turn_share.h"

#include "proto/rare.h"
#include "server/commands/check.h"
#include "server/commands/execute.h"
#include "server/commands/measure.h"

struct share {
  unsigned commands;
  uint64_t end_ns;
  bool late;    /* short commands only, and one batch of them */
  bool used;    /* the other connections are next */
  bool starved; /* the next command is not whole */
};

/* Late in a long turn, each further connection runs one batch of short commands only: a short
 * command must not wait for the full shares of all connections before it. */
static struct share share_of(const struct conn_group *group) {
  uint64_t now_ns = group->stamp_ns;
  return (struct share){
      .commands = TURN_SHARE_COMMANDS,
      .end_ns = now_ns + TURN_SHARE_NS,
      .late = now_ns >= group->part_ns + TURN_SHARE_PART_NS,
  };
}

static bool must_come_later(const struct batch_item *item, const struct share *share) {
  return share->late && item->result == RESP_READ_COMMAND &&
         !command_is_short(item->request.command, item->request.argc);
}

/* Called after each command. The time is the last reading of the clock, which is read after each
 * batch, and after each command that may take long. */
static bool is_used(const struct conn *conn, struct share *share) {
  const struct resp_output *out = conn->session.out;
  if (out != NULL && resp_output_size(out) >= TURN_SHARE_BYTES) share->used = true;
  if (conn->group->stamp_ns >= share->end_ns) share->used = true;
  return share->used;
}

static bool run_command(struct conn *conn, struct request *request) {
  struct conn_group *group = conn->group;
  struct worker *worker = &conn->group->worker;
  if (worker->instance->pause_until_ms != 0 && check_postponed(worker, &conn->session, request)) {
    conn->paused = true;
    return false;
  }
  request->stamp_ns = group->stamp_ns;
  execute_request(worker, &conn->session, request);
  group->stamp_ns = request->stamp_ns;
  return true;
}

/* With the alert unexpected_message, which its client understands. */
RARE static void refuse_tls(struct worker *worker, struct session *session) {
  static const char alert[] = {21, 3, 1, 0, 2, 2, 10};
  struct resp_writer reply = session_writer(session, worker);
  log_happened(worker->log, LOG_HELLO, session->id, worker->monotonic_ms);
  resp_output_append(reply.out, alert, sizeof alert);
}

/* Takes one result of the reader. False: nothing more can be run from these bytes. */
static bool take_result(struct conn *conn, const struct resp_reader *reader,
                        struct batch_item *item, struct share *share) {
  struct worker *worker = &conn->group->worker;
  struct session *session = &conn->session;
  switch (item->result) {
    case RESP_READ_COMMAND: return run_command(conn, &item->request);
    case RESP_READ_TOOBIG:
      execute_toobig(worker, session, reader->toobig_name, reader->toobig_limit);
      return true;
    case RESP_READ_MORE: share->starved = true; return false;
    case RESP_READ_MALFORMED: execute_malformed(worker, session, reader->error); break;
    case RESP_READ_HTTP:
      log_happened(worker->log, LOG_HTTP, session->id, worker->monotonic_ms);
      break;
    case RESP_READ_TLS: refuse_tls(worker, session); break;
    case RESP_READ_NO_MEMORY:
    default: break;
  }
  session->close_when_sent = true;
  return false;
}

/* Runs a batch as far as it goes, and returns the bytes of what ran. What did not run is forgotten,
 * and is read once more later. *more: the commands after it may run now. */
static size_t run_batch(struct conn *conn, struct resp_reader *reader, struct share *share,
                        bool *more) {
  const struct batch *batch = &conn->group->batch;
  struct batch_item *item = &conn->group->batch.items[batch->first], *end = item + batch->count;
  do {
    share->used |= must_come_later(item, share);
    if (share->used) break;
    *more = take_result(conn, reader, item, share);
    if (conn->paused) break;
    item++;
  } while (item < end && conn_may_run(conn) && !is_used(conn, share));
  if (item == end) return end[-1].end;
  *more = false;
  resp_read_forget(reader);
  return item->start;
}

size_t turn_share_run(struct conn *conn, struct resp_reader *reader, struct span bytes,
                      struct received_body *body) {
  struct conn_group *group = conn->group;
  struct worker *worker = &group->worker;
  struct share share = share_of(group);
  size_t at = 0;
  bool more = true;
  while (more && at < bytes.len && conn_may_run(conn)) {
    if (group->batch.count == 0) {
      reader->unauthenticated = !conn->session.authenticated;
      batch_read(&group->batch, reader, worker, bytes.data + at, bytes.len - at, share.commands);
    }
    group->batch.items[group->batch.first].request.body = body;
    body = NULL;
    share.commands -= group->batch.count;
    at += run_batch(conn, reader, &share, &more);
    group->batch.first = group->batch.count = 0;
    if (at < bytes.len) group->stamp_ns = conn_group_see_time(group); /* running took time */
    if (share.commands == 0 || share.late || is_used(conn, &share)) share.used = true;
    more = more && !share.used;
  }
  if (group->batch.count > 0) { /* it may not run what was read before */
    resp_read_forget(reader);
    group->batch.first = group->batch.count = 0;
  }
  conn->unrun = at < bytes.len && (share.used || !share.starved);
  uint64_t now_ns = measure_end(worker);
  if (now_ns != 0) group->stamp_ns = now_ns;
  return at;
}
