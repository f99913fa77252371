/*
 * session.h - one peer, as the commands see it: who it is, how it wants to be answered, what it
 * waits for.
 *
 * The connection that carries it belongs to net/, which embeds this struct; a command never sees a
 * socket. What a client costs while it idles is this struct: everything that most clients never use
 * lies in `details`, made on first use.
 */
#ifndef IDEM_SERVER_COMMANDS_SESSION_H
#define IDEM_SERVER_COMMANDS_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/resp_write.h"
#include "server/engine/engine.h"
#include "server/base/list.h"

struct command;
struct guard;
struct worker;
struct transaction;
struct subscriptions;
struct task;

#define SESSION_ADDRESS_BYTES                                                                  \
  128                         /* "[v6]:port", or a socket path, which is shorter than sun_path \
                               */
#define SESSION_NAME_MAX 1024 /* bytes of a name, library name or version */

enum session_replies {
  SESSION_REPLIES_ON,
  SESSION_REPLIES_OFF,
  SESSION_REPLIES_SKIP_NEXT,
  SESSION_REPLIES_SKIP
};

/* NULL, or owned. */
struct session_details {
  char *name, *library_name, *library_version;
  struct engine_binding **bindings;    /* one for each shard that has any; from the first BIND on */
  struct transaction *transaction;     /* between MULTI and EXEC */
  struct subscriptions *subscriptions; /* while it listens to something */
  struct task *task;                   /* while it works */
  struct guard *guard;                 /* while it is a stranger, or delayed */
};

struct session {
  struct list link;        /* in worker.clients */
  struct list unsent;      /* in worker.unsent while there is something to send */
  struct resp_output *out; /* replies not yet handed to the connection; NULL when there are none */
  size_t sending_bytes;    /* handed to it and not yet taken by the kernel; the connection counts */
  struct engine_waiter
      *waiter; /* waits; or was granted, and the reply is not yet known to be written */
  struct session_details *details; /* NULL until the first of them */
  uint64_t id;
  int64_t connected_ms, active_ms;
  uint16_t last_row; /* of the table, its last command's; SESSION_NO_ROW: there was none yet */
  uint8_t version;   /* of RESP: 2 or 3 */
  uint8_t replies;   /* enum session_replies */
  uint8_t shard;     /* the number of the waiter's */
  uint8_t errors;    /* that it was told as a stranger */
  bool authenticated : 1;
  bool local : 1;    /* over a unix socket */
  bool stranger : 1; /* has little time to authenticate (strangers.h) */
  bool delayed : 1;  /* the error of its AUTH is not sent yet; commands after it have to wait */
  uint8_t auth_failures : 2;
  bool waiting : 1;         /* commands after the present one have to wait */
  bool close_when_sent : 1; /* takes no more commands */
  bool close_now : 1;       /* killed: what is unsent is dropped */
  bool monitors : 1;
  bool working : 1; /* its command runs in slices (task.h); those after it have to wait */
  bool silent : 1;  /* CLIENT REPLY covers the command under way, whose reply comes later */
};
#define SESSION_NO_ROW UINT16_MAX

/* Whether a command is under way whose reply comes later: those after it have to wait. */
static inline bool session_blocked(const struct session *session) {
  return session->waiting || session->working || session->delayed;
}

/* Registers with the host; gives it the next id. */
void session_init(struct session *session, struct worker *worker);
/* Everything that the client holds in engine and host is given up: waits, bound claims,
 * subscriptions. */
void session_deinit(struct session *session, struct worker *worker);

/* A wait ends without an answer; a grant whose reply is not yet known to be written is taken back.
 */
void session_cancel_wait(struct session *session, struct worker *worker);
/* Whether it has a HELD claim with BIND. */
bool session_holds_bound(const struct session *session, struct worker *worker);
/* The claims with BIND end: the connection closes, or RESET. */
void session_unbind(struct session *session, struct worker *worker);

/* Marked to be closed at the end of the turn; what is unsent is dropped. */
void session_close(struct session *session, struct worker *worker);

/* NULL when memory is short. */
struct session_details *session_details(struct session *session);
/* Gives them back when nothing is left in them. */
void session_trim(struct session *session);
static inline struct transaction *session_transaction(const struct session *session) {
  return session->details != NULL ? session->details->transaction : NULL;
}
static inline struct task *session_task(const struct session *session) {
  return session->details != NULL ? session->details->task : NULL;
}
static inline struct subscriptions *session_subscriptions(const struct session *session) {
  return session->details != NULL ? session->details->subscriptions : NULL;
}

/* Replies that it has yet to take. */
static inline size_t session_output_bytes(const struct session *session) {
  return session->sending_bytes + (session->out != NULL ? resp_output_size(session->out) : 0);
}
/*
 * Whether the client, with `more` bytes to come, has more to take than it may: more than
 * client-output-limit, or, while the outputs are crowded, more than its share; before AUTH, more
 * than SESSION_OUTPUT_LEAST.
 *
 * All together may have client-output-total, at most a quarter of maxmemory. From half of that on
 * they are crowded: an equal part of the other half, at most SESSION_OUTPUT_SHARE, is the share of
 * each.
 */
#define SESSION_OUTPUT_SHARE (64u * 1024)
#define SESSION_OUTPUT_LEAST 1024u /* no limit is below it */
bool session_output_over(const struct session *session, const struct worker *worker, size_t more);
bool session_output_crowded(const struct worker *worker);
/* Whether so many bytes crowd the outputs. */
bool session_outputs_crowd(const struct worker *worker, uint64_t bytes);
/* As asked after every command: most clients have next to nothing to take. */
static inline bool session_output_small(const struct session *session) {
  size_t unsent = session->out != NULL ? resp_output_size(session->out) : 0;
  return session->sending_bytes == 0 && unsent <= SESSION_OUTPUT_LEAST;
}

/*
 * A writer for replies to the client, now or later: the client is marked as having something to
 * send. Fails never; when memory is short the output is marked failed and the connection closed.
 */
struct resp_writer session_writer(struct session *session, struct worker *worker);

#endif
