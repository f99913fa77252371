/*
 * server.h - host A: event loops that serve one keyspace to the network. The only floor that knows
 * libuv.
 *
 * A turn is everything that one wake-up of a loop brings:
 *
 *     poll: read -> parse in place -> run -> one write per connection
 *     check: connections handed over -> late AUTH errors, evicted strangers -> deadlines (budget)
 *            -> ready waiters (budget) -> connections with commands left (budget)
 *            -> slices of tasks (budget) -> messages -> writes (budget)
 *     prepare: sleep until the next deadline, or not at all when work is left
 *
 * A turn that left work undone is followed by the next one without sleeping. Nothing in it runs
 * longer than its budget, however many are due.
 *
 * Each loop has a thread, the first one that which calls server_run. Between polls a loop holds its
 * turn lock, so that another one may make all stand still (worker.h says for what).
 *
 * server_create, server_run and server_destroy belong to one thread; server_stop may be called from
 * anywhere.
 */
#ifndef IDEM_SERVER_NET_SERVER_H
#define IDEM_SERVER_NET_SERVER_H

#include <stdbool.h>

#include "server/ops/log.h"
#include "server/ops/options.h"

struct server;

/*
 * Makes the keyspace and the loops, binds and listens as the options say. NULL with the reason in
 * error. Options and log are borrowed, and must outlive the server; options may be changed by
 * CONFIG SET.
 */
struct server *server_create(struct options *options, struct log *log, char error[REFUSAL_BYTES]);
/* Serves until a drain has ended: SIGTERM, SIGINT, SHUTDOWN or server_stop. */
void server_run(struct server *server);
/* Asks for a drain. Callable from any thread and from signal handlers. */
void server_stop(struct server *server);
void server_destroy(struct server *server);

/* The TCP port of the first listener, 0 when there is none. */
int server_port(const struct server *server);

#endif
