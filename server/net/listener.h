/* listener.h - the addresses to listen on: TCP v4 and v6, in clear text and for TLS, and a unix
 * socket. */
#ifndef IDEM_SERVER_NET_LISTENER_H
#define IDEM_SERVER_NET_LISTENER_H

#include "server/net/accept.h"

struct listener {
  struct acceptor acceptor;
  struct instance *instance;
  bool unixsocket_bound;   /* to be removed at the end */
  struct proxied *proxied; /* NULL: no load balancers */
};

/* Nothing is open; both are borrowed. */
void listener_init(struct listener *listener, struct instance *instance, struct loop_set *loops);
/* Opens what the options name, and sets instance.port. False with the reason in error. */
bool listener_open(struct listener *listener, char error[REFUSAL_BYTES]);
/* Logs the addresses: call it when connections are served from here on. */
void listener_announce(const struct listener *listener);
/* Can be repeated. */
void listener_close(struct listener *listener);
/* Closed, and all loops are gone. */
void listener_deinit(struct listener *listener);

#endif
