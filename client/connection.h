/*
 * connection.h - one blocking connection: connect, send a frame, receive replies, each until a
 * deadline. hiredis' reader builds the replies; the bytes are transport.h's, in plain text or under
 * TLS. It never retries and knows no client.
 *
 * Invariant: after any failure the connection is of no further use. A late reply can therefore
 * never be taken for the answer to another request.
 */
#ifndef IDEM_CLIENT_CONNECTION_H
#define IDEM_CLIENT_CONNECTION_H

#include <stdbool.h>
#include <sys/queue.h>

#include "client/idem.h"
#include "client/reply_limit.h"
#include "client/settings.h"
#include "client/transport.h"
#include "client/wire.h"

struct node;

struct connection {
  struct transport transport;
  redisReader *reader;
  struct reply_limit limit;
  int64_t timeout_ms; /* that the socket is set to; not under TLS, which waits by poll */
  bool fresh;         /* something was sent within the timeout just set, and nothing read since */
  bool swollen;       /* its read buffer has grown large */
  /* For the pool. */
  struct node *node; /* that it leads to */
  SLIST_ENTRY(connection) entry;
  uint64_t generation;
};

/* Whom to connect to. */
struct connection_order {
  const struct settings *settings;
  const struct target *target; /* both outlive the connection */
  int64_t deadline_ms;         /* on clock_ms() */
  bool provisional;            /* the target's name: see stream.h, and cluster_may_rename */
};

/*
 * Connects within connect_timeout_ms, with the handshake of TLS, and gives the password, whose
 * answer has command_timeout_ms: a server takes its time over a wrong one. Both end at deadline_ms.
 * IDEM_OK, UNAVAILABLE, REFUSED (the certificate, the password, another protocol) or NO_MEMORY;
 * error says why. A name that the certificate does not bear is UNAVAILABLE while it is provisional.
 */
enum idem_status connection_open(struct connection **connection,
                                 const struct connection_order *order, struct idem_error *error);
/* NULL is fine. */
void connection_close(struct connection *connection);

/* Sends all of it. The send, and each receive after it, may take timeout_ms from now on. OK,
 * UNAVAILABLE, or REFUSED (under TLS alone: what the server dislikes); error says why. */
enum idem_status connection_send(struct connection *connection, const struct wire_frame *frame,
                                 int64_t timeout_ms, struct idem_error *error);
enum idem_status connection_send_bytes(struct connection *connection, const void *data, size_t len,
                                       int64_t timeout_ms, struct idem_error *error);
/* Tells a node of a cluster that the next command is for it although the key is another node's, as
 * an ASK said. OK, or why it cannot be sent. */
enum idem_status connection_ask(struct connection *connection, int64_t timeout_ms,
                                struct idem_error *error);
/* One reply, to be freed with freeReplyObject. IDEM_OK, UNAVAILABLE, NO_MEMORY, or REFUSED: what
 * came is no reply, or larger than any of idem's. What has come when the deadline passes is read.
 */
enum idem_status connection_receive(struct connection *connection, int64_t deadline_ms,
                                    redisReply **reply, struct idem_error *error);
/* False when the server has hung up, or sent something unasked. */
bool connection_alive(struct connection *connection);
/* False when more than the replies that were received has come. */
bool connection_quiet(struct connection *connection);
/* True when it is worth keeping: nothing unread, no large buffer. */
bool connection_reusable(struct connection *connection);

#endif
