/*
 * client.h - struct idem_client: the pool of idle connections, and the one way in which a
 * synchronous call is made, repeated and given up. Knows commands as wire.h frames them, not what a
 * claim is. When it tries again is pace.h's, what a reply means is outcome.h's.
 *
 * Invariants: a connection is in the pool or with exactly one call; only one that answered well
 * goes back. A call that was answered is never repeated; one that was not is repeated with the same
 * owner or token.
 */
#ifndef IDEM_CLIENT_CLIENT_H
#define IDEM_CLIENT_CLIENT_H

#include <pthread.h>
#include <sys/queue.h>

#include "client/cluster.h"
#include "client/connection.h"
#include "client/outcome.h"
#include "client/pace.h"
#include "client/renewer.h"
#include "client/settings.h"
#include "client/tokens.h"

struct idem_client {
  struct settings settings;
  struct cluster cluster;
  struct renewer *renewer;
  pthread_mutex_t lock;
  /* Under the lock. */
  SLIST_HEAD(, connection) idle; /* most recently used first */
  unsigned idle_count;
  struct tokens tokens; /* of the claims that were not freed yet */
  unsigned references;  /* one of the user until idem_close, one of each claim */
  bool closed;
};

/* NULL when calls may be made, else what is wrong. */
const char *client_check(const struct idem_client *client);
/* A grant was dropped, or its claim is freed: its token is forgotten, and it no longer keeps the
 * client's memory. */
void client_disown(struct idem_client *client, struct lease *lease);
/* Puts a connection into the pool, or closes it. */
void client_give_back(struct idem_client *client, struct connection *connection);

/* One logical call. request, wait_ms, pin and lease are set by the caller. It may be made of
 * several that share one deadline: then the first one's pace and outcome are handed on. */
struct client_call {
  struct wire_request request;
  int64_t wait_ms; /* CLAIM, WAIT: how long in all; 0: not at all */
  bool pin;        /* hand the connection that answered to the caller instead of the pool */
  /* CLAIM: gets the token when it is granted, and keeps the client's memory until client_disown */
  struct lease *lease;

  bool begun; /* pace is set */
  struct pace pace;
  struct outcome outcome;        /* what it kept ends with client_make */
  struct pace_attempt attempt;   /* the last one */
  bool table_first;              /* it asked for the table of the cluster before it was sent */
  struct node *node;             /* that it was sent to; NULL: none was known */
  struct node *asked;            /* that the next one is to ask, because an ASK said so */
  int64_t ended_ms;              /* when it ended */
  struct connection *connection; /* pin: it, when the call was answered */
};

/*
 * Makes the call until it is answered or its deadline is over. Fills *reply in any case;
 * wire_reply_deinit it. Returns reply->status: what the server said, or UNAVAILABLE, NO_MEMORY,
 * REFUSED with a message.
 */
enum idem_status client_make(struct idem_client *client, struct client_call *call,
                             struct wire_reply *reply);
/* Sends a request whose answer is not needed, if a connection is at hand. Does not wait. */
void client_tell(struct idem_client *client, const struct wire_request *request);

#endif
