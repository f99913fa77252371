/*
 * client.h - one peer, as the commands see it: who it is, how it wants to be answered, what it
 * waits for.
 *
 * The connection that carries it belongs to net/, which embeds this struct; a command never sees a
 * socket. What a client costs while it idles is this struct: everything that most clients never use
 * lies in `details`, made on first use.
 */
#ifndef IDEM_SERVER_COMMANDS_CLIENT_H
#define IDEM_SERVER_COMMANDS_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/resp_write.h"
#include "server/engine/engine.h"
#include "server/engine/list.h"

struct command;
struct guard;
struct host;
struct transaction;
struct subscriptions;
struct task;

#define CLIENT_ADDRESS_BYTES                                                                  \
  128                        /* "[v6]:port", or a socket path, which is shorter than sun_path \
                              */
#define CLIENT_NAME_MAX 1024 /* bytes of a name, library name or version */

enum client_replies {
  CLIENT_REPLIES_ON,
  CLIENT_REPLIES_OFF,
  CLIENT_REPLIES_SKIP_NEXT,
  CLIENT_REPLIES_SKIP
};

/* NULL, or owned. */
struct client_details {
  char *name, *library_name, *library_version;
  struct engine_binding **bindings;    /* one for each shard that has any; from the first BIND on */
  struct transaction *transaction;     /* between MULTI and EXEC */
  struct subscriptions *subscriptions; /* while it listens to something */
  struct task *task;                   /* while it works */
  struct guard *guard;                 /* while it is a stranger, or delayed */
};

struct client {
  struct list link;        /* in host.clients */
  struct list unsent;      /* in host.unsent while there is something to send */
  struct resp_output *out; /* replies not yet handed to the connection; NULL when there are none */
  size_t sending_bytes;    /* handed to it and not yet taken by the kernel; the connection counts */
  struct engine_waiter
      *waiter; /* waits; or was granted, and the reply is not yet known to be written */
  struct client_details *details; /* NULL until the first of them */
  uint64_t id;
  int64_t connected_ms, active_ms;
  uint16_t last_row; /* of the table, its last command's; CLIENT_NO_ROW: there was none yet */
  uint8_t version;   /* of RESP: 2 or 3 */
  uint8_t replies;   /* enum client_replies */
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
#define CLIENT_NO_ROW UINT16_MAX

/* Whether a command is under way whose reply comes later: those after it have to wait. */
static inline bool client_blocked(const struct client *client) {
  return client->waiting || client->working || client->delayed;
}

/* Registers with the host; gives it the next id. */
void client_init(struct client *client, struct host *host);
/* Everything that the client holds in engine and host is given up: waits, bound claims,
 * subscriptions. */
void client_deinit(struct client *client, struct host *host);

/* A wait ends without an answer; a grant whose reply is not yet known to be written is taken back.
 */
void client_cancel_wait(struct client *client, struct host *host);
/* Whether it has a HELD claim with BIND. */
bool client_holds_bound(const struct client *client, struct host *host);
/* The claims with BIND end: the connection closes, or RESET. */
void client_unbind(struct client *client, struct host *host);

/* Marked to be closed at the end of the turn; what is unsent is dropped. */
void client_close(struct client *client, struct host *host);

/* NULL when memory is short. */
struct client_details *client_details(struct client *client);
/* Gives them back when nothing is left in them. */
void client_trim(struct client *client);
static inline struct transaction *client_transaction(const struct client *client) {
  return client->details != NULL ? client->details->transaction : NULL;
}
static inline struct task *client_task(const struct client *client) {
  return client->details != NULL ? client->details->task : NULL;
}
static inline struct subscriptions *client_subscriptions(const struct client *client) {
  return client->details != NULL ? client->details->subscriptions : NULL;
}

/* Replies that it has yet to take. */
static inline size_t client_output_bytes(const struct client *client) {
  return client->sending_bytes + (client->out != NULL ? resp_output_size(client->out) : 0);
}
/*
 * Whether the client, with `more` bytes to come, has more to take than it may: more than
 * client-output-limit, or, while the outputs are crowded, more than its share; before AUTH, more
 * than CLIENT_OUTPUT_LEAST.
 *
 * All together may have client-output-total, at most a quarter of maxmemory. From half of that on
 * they are crowded: an equal part of the other half, at most CLIENT_OUTPUT_SHARE, is the share of
 * each.
 */
#define CLIENT_OUTPUT_SHARE (64u * 1024)
#define CLIENT_OUTPUT_LEAST 1024u /* no limit is below it */
bool client_output_over(const struct client *client, const struct host *host, size_t more);
bool client_output_crowded(const struct host *host);
/* Whether so many bytes crowd the outputs. */
bool client_outputs_crowd(const struct host *host, uint64_t bytes);
/* As asked after every command: most clients have next to nothing to take. */
static inline bool client_output_small(const struct client *client) {
  size_t unsent = client->out != NULL ? resp_output_size(client->out) : 0;
  return client->sending_bytes == 0 && unsent <= CLIENT_OUTPUT_LEAST;
}

/*
 * A writer for replies to the client, now or later: the client is marked as having something to
 * send. Fails never; when memory is short the output is marked failed and the connection closed.
 */
struct resp_writer client_writer(struct client *client, struct host *host);

#endif
