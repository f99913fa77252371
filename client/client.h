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
#include "client/pace.h"
#include "client/settings.h"
#include "client/tokens.h"

struct keeper;

struct idem_client {
  struct settings settings;
  struct keeper *keeper;
  pthread_mutex_t lock;
  /* Under the lock. */
  struct connection *idle; /* most recently used first */
  unsigned idle_count;
  uint64_t generation;  /* connections of an earlier one are closed, not used: one of their kind has
                           failed */
  struct tokens tokens; /* of the claims that were not freed yet */
  unsigned references;  /* one of the user until idem_close, one of each claim */
  bool closed;
};

/* NULL when calls may be made, else what is wrong. */
const char *client_judge(const struct idem_client *client);
/* A grant is over, or its claim is freed: its token is forgotten, and it does not keep the client's
 * memory any more. */
void client_disown(struct idem_client *client, struct keeper_item *item);
void client_give_back(struct idem_client *client, struct connection *connection);

/* One logical call. request, wait_ms, pin and item are set by the caller. It may be made of several
 * that share one deadline: then the first one's pace and what it heard are handed on. */
struct client_call {
  struct wire_request request;
  int64_t wait_ms; /* CLAIM, WAIT: how long in all; 0: not at all */
  bool pin;        /* hand the connection that answered to the caller instead of the pool */
  /* CLAIM: gets the token when it is granted, and keeps the client's memory until client_disown */
  struct keeper_item *item;

  bool begun; /* pace is set */
  struct pace pace;
  struct wire_reply busy;        /* the last BUSY after which it went on; its end in client_make */
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
/* Sends a request whose answer nobody needs, if a connection is at hand. Does not wait. */
void client_tell(struct idem_client *client, const struct wire_request *request);

#endif
