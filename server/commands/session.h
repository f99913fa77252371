/*
 * session.h - what the commands know of a client: its user, how it wants to be answered, what it
 * waits for. setup.h begins and ends one.
 *
 * The connection that carries it belongs to net/, which embeds this struct; a command never sees a
 * socket. An idle session costs only this struct: everything that most sessions never use is in
 * `details`, made on first use. Each function is called by its worker's own thread.
 */
#ifndef IDEM_SERVER_COMMANDS_SESSION_H
#define IDEM_SERVER_COMMANDS_SESSION_H

#include "server/base/list.h"
#include "server/commands/worker.h"
#include "server/engine/binding.h"
#include "server/ops/user.h"

struct guard;
struct queue;
struct subscriptions;
struct task;

/* "[v6]:port", or a socket path, which is shorter than sun_path. */
#define SESSION_ADDRESS_BYTES 128
#define SESSION_NAME_MAX 1024 /* bytes of a name, library name or version */

struct session_address {
  char peer[SESSION_ADDRESS_BYTES], local[SESSION_ADDRESS_BYTES];
  int fd;
  size_t input_bytes, output_bytes; /* buffered */
};

enum session_replies {
  SESSION_REPLIES_ON,
  SESSION_REPLIES_OFF,
  SESSION_REPLIES_SKIP_NEXT,
  SESSION_REPLIES_SKIP
};

/* Of a client behind a load balancer that has told them. */
struct session_proxied {
  char peer[SESSION_ADDRESS_BYTES], local[SESSION_ADDRESS_BYTES];
};

/* NULL, or owned. */
struct session_details {
  char *name, *library_name, *library_version;
  struct binding **bindings;           /* one for each shard that has any; from the first BIND on */
  struct queue *queue;                 /* between MULTI and EXEC */
  struct subscriptions *subscriptions; /* while it is subscribed to something */
  struct task *task;                   /* while a task of its own runs */
  struct guard *guard;                 /* while it is a stranger, or delayed */
  struct session_proxied *proxied;
};

struct session {
  struct list link;        /* in worker.sessions */
  struct list unsent;      /* in worker.unsent while it has output; net/ may use it otherwise */
  struct resp_output *out; /* replies not yet handed to the connection; NULL when there are none */
  size_t sending_bytes;    /* handed over, not yet taken by the kernel; the connection counts */
  /* The waiter while it waits, and after a grant until the reply is known to be written. */
  struct waiter *waiter;
  struct session_details *details; /* NULL until the first of them */
  /* Never NULL: the default user until another one has authenticated. */
  const struct user *user;
  uint64_t id;
  int64_t connected_ms, active_ms;
  uint16_t last_row; /* of its last command; SESSION_NO_ROW: none yet */
  uint8_t version;   /* of RESP: 2 or 3 */
  uint8_t password;  /* the id of the one that it showed (ops/user.h) */
  uint8_t shard;     /* the number of the waiter's */
  uint8_t errors;    /* errors that it was sent as a stranger */
  bool authenticated : 1;
  bool restricted : 1;  /* its user may not do everything: ask session_allows_* */
  bool local : 1;       /* over a unix socket */
  bool stranger : 1;    /* has little time to authenticate (strangers.h) */
  bool handshaking : 1; /* of TLS: sends no commands yet */
  bool monitors : 1;
  uint8_t auth_failures : 2;
  /* The first five say whether it may run a command: in one byte, which is tested at once. */
  bool delayed : 1; /* the error of its AUTH is not sent yet; commands after it have to wait */
  bool waiting : 1; /* commands after the present one have to wait */
  bool working : 1; /* its command runs in slices (task.h); those after it have to wait */
  bool close_when_sent : 1; /* takes no more commands */
  bool close_now : 1;       /* killed: what is unsent is dropped */
  bool silent : 1;          /* CLIENT REPLY covers the command under way, whose reply comes later */
  uint8_t replies : 2;      /* enum session_replies */
};
#define SESSION_NO_ROW UINT16_MAX

/* Whether a command is under way whose reply comes later: those after it have to wait. */
static inline bool session_blocked(const struct session *session) {
  return session->waiting || session->working || session->delayed;
}

/* Ends a wait without an answer; takes a grant back whose reply is not yet known to be written. */
void session_cancel_wait(struct session *session, struct worker *worker);
/* Whether it has a HELD claim with BIND. */
bool session_holds_bound(const struct session *session, struct worker *worker);
/* Ends the claims with BIND: the connection closes, or RESET. */
void session_unbind(struct session *session, struct worker *worker);

/* Marks it to be closed at the end of the turn; unsent replies are dropped. */
void session_close(struct session *session, struct worker *worker);

/* NULL when memory is short. */
struct session_details *session_details(struct session *session);
/* Frees the details when they are empty. */
void session_trim(struct session *session);
static inline struct queue *session_queue(const struct session *session) {
  return session->details != NULL ? session->details->queue : NULL;
}
static inline struct task *session_task(const struct session *session) {
  return session->details != NULL ? session->details->task : NULL;
}
static inline struct subscriptions *session_subscriptions(const struct session *session) {
  return session->details != NULL ? session->details->subscriptions : NULL;
}

/* A RESP2 connection that is subscribed takes only the commands flagged COMMAND_PUBSUB. In RESP3
 * pushes differ from replies, so any command may be sent between them. */
static inline bool session_only_listens(const struct session *session) {
  return session->version == 2 && session_subscriptions(session) != NULL;
}

/* What its user may see and touch; most may everything. */
static inline bool session_allows_key(const struct session *session, struct span key) {
  return !session->restricted || user_allows_key(session->user, key);
}
static inline bool session_allows_all_keys(const struct session *session) {
  return !session->restricted || user_allows_all_keys(session->user);
}
static inline bool session_allows_channel(const struct session *session, struct span channel) {
  return !session->restricted || user_allows_channel(session->user, channel);
}

/* Replies that it has yet to take. */
static inline size_t session_output_bytes(const struct session *session) {
  return session->sending_bytes + (session->out != NULL ? resp_output_size(session->out) : 0);
}
/*
 * A writer for replies to the session, now or later: it is marked as having something to send.
 * Never fails; when memory is short the output is marked failed and the connection closed.
 */
struct resp_writer session_begin_output(struct session *session, struct worker *worker);
static inline struct resp_writer session_writer(struct session *session, struct worker *worker) {
  if (session->out == NULL || list_empty(&session->unsent))
    return session_begin_output(session, worker);
  return (struct resp_writer){session->out, session->version};
}

#endif
