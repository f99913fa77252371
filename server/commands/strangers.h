/*
 * strangers.h - clients that have not authenticated, or whose TLS handshake is not done, and what a
 * wrong password costs.
 *
 * A stranger has little time, few errors and few replies. The server has room for few strangers,
 * and evicts the oldest for a new one. Who needs no password is a stranger until its handshake is
 * done; who needs one has the same time again after it. The file mode of a unix socket decides
 * about its connections: they need the password, but are not strangers.
 *
 * The error of a failed AUTH is sent a second later (session->delayed), and what was pipelined
 * after it waits; the third failure closes. When one address fails more often than that in one
 * second, on however many connections, the rest of its failures are closed without an answer. A
 * right password is never delayed.
 *
 * Invariant: session->stranger while, and only while, its guard is in instance.strangers or
 * worker.evicted.
 */
#ifndef IDEM_SERVER_COMMANDS_STRANGERS_H
#define IDEM_SERVER_COMMANDS_STRANGERS_H

#include "server/commands/call.h"

#define STRANGERS_MAX 256u                  /* of the whole server */
#define STRANGERS_MS 5000                   /* until it has authenticated */
#define STRANGERS_HANDSHAKE_MS STRANGERS_MS /* until its TLS handshake is done */
#define STRANGERS_ERRORS 64u                /* replies that are errors */
#define STRANGERS_AUTH_DELAY_MS 1000        /* of the error of a failed AUTH */
#define STRANGERS_AUTH_FAILURES 3u          /* on one connection */
#define STRANGERS_AUTH_FAILURES_PER_S 10    /* of one address; more are not answered */

/* A session that has to authenticate becomes a stranger, unless it is local. May close the oldest
 * stranger, and the session itself when memory is short. */
void strangers_add(struct worker *worker, struct session *session);
/* Call when the handshake of a session over TLS is done. */
void strangers_secured(struct worker *worker, struct session *session);
/* Call when it has authenticated, or closes. */
void strangers_remove(struct worker *worker, struct session *session);
/* How many there are, of all loops. From any thread. */
unsigned strangers_count(struct instance *instance);
/* Call when a stranger was sent an error. The last one that it may have closes it. */
void strangers_note_error(struct worker *worker, struct session *session);
/* Whether it leaves more of its replies untaken than it may. */
bool strangers_overdue(const struct session *session);
/* Evicts those of all loops that have been strangers for STRANGERS_MS. */
void strangers_review(struct worker *worker);
/* Closes the sessions of this worker that any loop has evicted. */
void strangers_close_evicted(struct worker *worker);

/* Call when the password was wrong, or there is no such user, which looks the same. Replies, now or
 * later, or closes. */
void strangers_auth_failed(struct call *call, struct span username);
/* Whether this connection may not try another password. */
bool strangers_exhausted(const struct session *session);
/* Writes the error of the next failed AUTH whose delay has passed, of any when `all`. Returns its
 * session; NULL: there is none. */
struct session *strangers_answer(struct worker *worker, bool all);
/* Call when the session ends before that. */
void strangers_forget_delay(struct session *session);

#endif
