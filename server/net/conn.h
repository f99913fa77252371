/*
 * conn.h - one connection: its state, its output, its end. What arrives is run in serve.h.
 *
 *     phase   OPEN ---------> CLOSING -------------> LINGERING ------------> CLOSED -> freed
 *               |  QUIT, EOF,   |  all is sent         |  the client closed    ^
 *               |  broken bytes |  (and no end came)   |  too, or took long    |
 *               +---------------+----------------------+-----------------------+
 *                                    killed, broken, stuck, idle
 *
 * An open connection may run commands while nothing is in its set conn_blocked_by.
 *
 * Between its events and the end of the turn a connection that has something to do is in one list,
 * by session.unsent:
 *
 *     anything happens -> worker.unsent -> conn_group_send: sends, moves the phase, reads or rests
 *     commands left, may run -> group.runnable -> serve_resume, in the next turn -> worker.unsent
 *
 * Invariants:
 *  - output leaves in conn_group_send only;
 *  - a settled connection that has commands left (unrun) and may run is in group.runnable;
 *  - an idle connection owns no buffer: input exists only while a command is incomplete or has to
 *    wait, output only until it is sent.
 *
 * All belongs to the thread of the group's loop.
 */
#ifndef IDEM_SERVER_NET_CONN_H
#define IDEM_SERVER_NET_CONN_H

#include "proto/resp_read.h"
#include "server/base/clock.h"
#include "server/commands/output_limit.h"
#include "server/net/batch.h"
#include "server/net/gate.h"
#include "server/net/handed.h"
#include "server/net/input.h"
#include "server/net/proxied.h"
#include "server/net/stream.h"

/* A connection whose one command has arrived: it is in group.batch, at the same place. */
struct conn_queued {
  struct conn *conn;
  struct span bytes; /* in group.read_buffer */
};

/* The connections of one loop, and what they share. */
struct conn_group {
  struct worker worker;
  struct gate *gate; /* entered before anything here is touched */
  struct input_budget budget;
  struct list runnable; /* struct session.unsent, see above */
  struct list
      *next_check; /* in worker.sessions, whose time-outs cron checks next; NULL: the first */
  struct resp_reader reader; /* for input that arrives whole */
  struct resp_reader idle;   /* stays so: for commands that were read without one */
  size_t gathered_bytes;     /* approximate, in outputs that were not sent yet; see conn_gather */
  unsigned looked_appends;   /* of those that wait for a commit, before the last look; 0: none */
  uint64_t unsent_ns;        /* when the first bytes were read since output last left; 0: none */
  uint64_t stamp_ns;         /* when the clock was read last, in this batch; 0: not yet */
  uint64_t part_ns;          /* when this part of the turn began; 0: nothing has been read yet */
  _Atomic unsigned connections;         /* and those that were handed over and not yet taken */
  _Atomic uint64_t *connections_of_all; /* loops */
  struct batch batch;
  struct conn_queued queued[BATCH_COMMANDS]; /* see serve.h */
  unsigned queued_count;
  size_t queued_bytes;     /* of read_buffer, from its start */
  struct proxied *proxied; /* borrowed; NULL: no load balancers */
  char read_buffer[INPUT_READ_BYTES];
};

enum conn_phase {
  CONN_OPEN,
  CONN_CLOSING,   /* takes no more commands, and has replies to send */
  CONN_LINGERING, /* all was sent, the end too: waits for the client to close */
  CONN_CLOSED,    /* the stream is about to give it back; also before it begins */
};

/* What keeps the next command from running: a set. */
enum conn_block {
  CONN_BLOCKED_BY_WAIT = 1,          /* a command that waits */
  CONN_BLOCKED_BY_GRANT = 2,         /* one whose reply is not known to be written */
  CONN_BLOCKED_BY_TASK = 4,          /* a command that runs in slices */
  CONN_BLOCKED_BY_DELAYED_ERROR = 8, /* the error of a failed AUTH */
  CONN_BLOCKED_BY_OUTPUT = 16,       /* it has more unread replies than it may */
  CONN_BLOCKED_BY_PAUSE = 32,        /* CLIENT PAUSE */
  CONN_BLOCKED_BY_END = 64,          /* QUIT, or killed; the phase follows when it is settled */
};

enum conn_incoming { CONN_RESTS, CONN_READS, CONN_ENDED };

/* With its stream it is all that an idle connection costs. */
struct conn {
  struct session session;
  struct conn_group *group;
  struct input *input;     /* NULL when there is nothing */
  uint32_t left_count;     /* outputs that were left to the stream */
  uint32_t progress_ms;    /* when something was last taken, output was first left to the stream, or
                             lingering began; see conn_note_progress */
  uint32_t unacknowledged; /* bytes that the kernel held for it at the last timeouts_check */
  enum conn_phase phase : 8;
  enum conn_incoming incoming : 8;
  bool unrun : 1; /* input begins with what was not run: blocked, or its share was used */
  bool paused : 1;
  bool queued : 1;         /* in group.queued */
  bool grant_gathered : 1; /* the reply to a hand-over lies in session.out */
  struct stream stream;    /* of its kind, see conn_create */
};

static inline struct conn *conn_of(struct session *session) {
  return LIST_ENTRY(session, struct conn, session);
}
static inline struct conn *conn_of_stream(struct stream *stream) {
  return LIST_ENTRY(stream, struct conn, stream);
}

/* ---- the group ---- */

/* group is zero. False: memory is short. gate and connections_of_all are borrowed. */
bool conn_group_init(struct conn_group *group, struct instance *instance, struct gate *gate,
                     _Atomic uint64_t *connections_of_all);
/* All connections have been closed, and their streams have given them back. */
void conn_group_deinit(struct conn_group *group);
/* From any thread: counts a connection that is on its way to the group, or gone. */
void conn_group_count(struct conn_group *group);
void conn_group_forget(struct conn_group *group);

/* Reads the clocks, once for each batch of commands: a lease must not begin in the past because the
 * turn had much to do. Returns the nanoseconds of the monotonic one. */
static inline uint64_t conn_group_see_time(struct conn_group *group) {
  struct worker *worker = &group->worker;
  struct served_clock_view view = served_clock_look(&worker->instance->clock);
  uint64_t now_ns = clock_monotonic_ns();
  worker->monotonic_ms = (int64_t)(now_ns / 1000000);
  worker->now_ms = served_clock_at(view, worker->monotonic_ms);
  return now_ns;
}

/* ---- state ---- */

static inline bool conn_output_over(const struct conn *conn) {
  return !output_limit_small(&conn->session) &&
         output_limit_over(&conn->session, &conn->group->worker, 0);
}

/* It gets pushes, which are written whatever it takes. */
static inline bool conn_is_subscribed(const struct conn *conn) {
  return session_subscriptions(&conn->session) != NULL || conn->session.monitors;
}

/* What keeps its next command from running: enum conn_block, a set. */
unsigned conn_blocked_by(const struct conn *conn);
/* Whether it may run its next command: it is open, and nothing is in that set. Called after every
 * command, so it takes a few instructions. */
static inline bool conn_may_run(const struct conn *conn) {
  const struct session *session = &conn->session;
  bool blocked = session->waiter != NULL || session_blocked(session) || session->close_when_sent ||
                 session->close_now || conn->paused;
  return conn->phase == CONN_OPEN && !blocked && !conn_output_over(conn);
}

/* ---- life ---- */

/* A connection, and room for a stream of so many bytes with the struct stream in it. It is not
 * there yet: the stream's `closed` gives it back. NULL: memory is short. */
struct conn *conn_create(struct conn_group *group, size_t stream_bytes);
/* Its stream is open: it is served; over TLS once its handshake is done (strangers_secured). May
 * close. */
void conn_begin(struct conn *conn, enum handed_kind kind);
/* Takes no more commands, and closes once the replies of those that ran are sent. A wait ends
 * without an answer: its client has gone, or is being closed. Its input, if any, is dropped. The
 * caller marks it (conn_mark), unless it is marked already. */
void conn_end(struct conn *conn);
/* At once. A grant whose reply is not known to be written is taken back. Can be repeated. */
void conn_close(struct conn *conn);
/* What it was created with is given back; its stream is closed. */
void conn_destroy(struct conn *conn);

/* Something has happened that may have to be sent, or changes what it may do: it is settled at the
 * end of the turn. */
static inline void conn_mark(struct conn *conn) {
  struct list *node = &conn->session.unsent;
  if (list_empty(node) && conn->phase != CONN_CLOSED)
    list_append(&conn->group->worker.unsent, node);
}
/* The same after replies were written to it. When many bytes are gathered they are sent now, so
 * that it is known what readers do not take before more is written for them: which may close this
 * connection, and others. */
void conn_gather(struct conn *conn);
/* The one place at which output leaves: at the end of a turn, and when much is gathered. First all
 * that it may tell of is made durable, if there is a journal. Settles
 * what is marked: sends, then moves the phase and the reading on, or closes. What it has no time
 * for (3 ms) is left for the next turn. */
void conn_group_send(struct conn_group *group);
/* Reads on or stops, as its state now says. Called before the end of the turn for a connection that
 * has to stop. */
void conn_adjust_reading(struct conn *conn);
/* The lower half of the clock's bits is enough: the longest time to measure is a day (the cap of
 * client-output-timeout), and they wrap around after 49 days. */
static inline void conn_note_progress(struct conn *conn) {
  conn->progress_ms = (uint32_t)conn->group->worker.monotonic_ms;
}
static inline int64_t conn_since_progress_ms(const struct conn *conn) {
  return (uint32_t)conn->group->worker.monotonic_ms - conn->progress_ms;
}

/* CLIENT PAUSE has ended. */
void conn_unpause(struct conn *conn);

/* From its stream. The client sends no more; orderly: it has shut its side down, else the
 * connection is broken. May close. */
void conn_note_end(struct conn *conn, bool orderly);
/* From its stream: the kernel has taken some of what was left to the stream. out: an output that is
 * done with, taken whole, or lost when error is not 0; it is given back. NULL: none is. May close.
 */
void conn_note_written(struct conn *conn, struct resp_output *out, int error);

/* instance_describe */
void conn_describe(const struct session *session, struct session_address *address);

#endif
