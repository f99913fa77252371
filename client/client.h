/*
 * client.h - struct idem_client: the pool of idle connections, and the one way in which a
 * synchronous call is made, repeated and given up. Knows commands as wire.h frames them, not what a
 * claim is.
 *
 * Invariants: a connection is in the pool or with exactly one call; only one that answered well
 * goes back. A call that was answered is never repeated; one that was not is repeated with the same
 * owner or token.
 */
#ifndef IDEM_CLIENT_CLIENT_H
#define IDEM_CLIENT_CLIENT_H

#include <pthread.h>

#include "client/connection.h"
#include "client/settings.h"

struct keeper;

struct idem_client {
  struct settings settings;
  struct keeper *keeper;
  pthread_mutex_t lock;
  /* Under the lock. */
  struct connection *idle; /* most recently used first */
  unsigned idle_count;
  uint64_t generation; /* connections of an earlier one are closed, not used: one of their kind has
                          failed */
  unsigned references; /* one of the user until idem_close, one of each claim */
  bool closed;
};

/* NULL when calls may be made, else what is wrong. */
const char *client_judge(const struct idem_client *client);
void client_retain(struct idem_client *client);
void client_release(struct idem_client *client);
void client_give_back(struct idem_client *client, struct connection *connection);

/* One logical call. request, wait_ms and pin are set by the caller. */
struct client_call {
  struct wire_request request;
  int64_t wait_ms; /* CLAIM, WAIT: how long in all; 0: not at all */
  bool pin;        /* hand the connection that answered to the caller instead of the pool */

  struct connection *connection; /* pin: it, when the call was answered */
  bool ambiguous;                /* an attempt before the last one may have reached the server */
  int64_t first_sent_ms;         /* when the first attempt was sent */
  int64_t sent_ms, answered_ms;  /* of the attempt that was answered */
};

/*
 * Makes the call until it is answered or its deadline is over. Fills *reply in any case;
 * wire_reply_deinit it. Returns reply->status: what the server said, or UNAVAILABLE, NO_MEMORY,
 * REFUSED with a message.
 */
enum idem_status client_make(struct idem_client *client, struct client_call *call,
                             struct wire_reply *reply);

#endif
