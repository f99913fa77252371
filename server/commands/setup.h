/*
 * setup.h - makes and unmakes an instance, its workers and their sessions: the only file that knows
 * all their parts. Not thread-safe, except for the sessions of a worker.
 */
#ifndef IDEM_SERVER_COMMANDS_SETUP_H
#define IDEM_SERVER_COMMANDS_SETUP_H

#include "server/commands/session.h"

/* False when memory, or randomness, is short. Keyspace, options and log are borrowed; the pointers
 * to functions are set by the caller. */
bool setup_instance_init(struct instance *instance, struct keyspace *keyspace,
                         struct options *options, struct log *log, int64_t monotonic_ms);
/* Gives it other users than the default one alone, before it has workers. Takes them over. */
void setup_instance_users(struct instance *instance, struct users *users);
/* Call after its workers are unmade. */
void setup_instance_deinit(struct instance *instance);

/* Joins instance.workers. All workers have to be there before the first command runs. False: memory
 * is short; the worker is zero then. */
bool setup_worker_init(struct worker *worker, struct instance *instance, int64_t monotonic_ms);
/* Call after its sessions are unmade. */
void setup_worker_deinit(struct worker *worker);

/* Registers with the worker; gives the session the next id. */
void setup_session_init(struct session *session, struct worker *worker);
/* Releases everything that the session has in engines and in its worker: waits, bound claims,
 * subscriptions. A grant whose reply is not yet known to be written is taken back. */
void setup_session_deinit(struct session *session, struct worker *worker);

#endif
