/*
 * server.h - event loops that serve one keyspace to the network. The only floor that knows libuv.
 *
 * A turn is everything that one wake-up of a loop brings:
 *
 *     poll      sockets -> parse in place -> run                          serve.h, turn_share.h
 *     check     sockets handed over -> late AUTH errors, evicted strangers -> deadlines
 *               -> ready waiters -> connections with commands left -> slices of tasks
 *               -> a slice for the journal -> messages -> what changed is made durable
 *               -> output                                                 turn.h
 *               -> the drain                                              drain.h
 *     prepare   sleep until the next deadline, or not at all when work is left   loop.h
 *
 * Each part has a budget. A turn that left work undone is followed by the next one without
 * sleeping.
 *
 * The rooms, each of which knows only those on its left:
 *
 *     stream, descriptors -> stream_uv                 \
 *     batch; input; stream -> output; gate; address -> conn -> turn_share -> serve -> turn, admit
 *                                                           -> timeouts -> cron
 *         -> loop (descriptors, handed) -> accept -> listener -> drain -> server (files)
 *
 * Each loop has a thread; the first one's is the thread that calls server_run. Between polls a loop
 * locks its gate, so that another one can pause all of them (access.h says for what).
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
 * Recovers the journal, makes the keyspace and the loops, binds and listens as the options say.
 * NULL with the reason in error, and the exit status: 1, 78 when the journal is not sound, or 0
 * when SIGTERM or SIGINT came before it was read: then the journal is unchanged, and the caller is
 * to end the process, which alone gives back the memory of what was read. Options and log are
 * borrowed, and must outlive the server; options may be changed by CONFIG SET.
 */
struct server *server_create(struct options *options, struct log *log, int *status,
                             char error[REFUSAL_BYTES]);
/* Serves until it leaves, after SIGTERM, SIGINT, SHUTDOWN or server_stop. */
void server_run(struct server *server);
/* Asks it to leave, without waiting for owners. Callable from any thread and from signal
 * handlers. */
void server_stop(struct server *server);
void server_destroy(struct server *server);

/* The TCP port of the first listener, 0 when there is none. */
int server_port(const struct server *server);

#endif
