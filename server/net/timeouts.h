/*
 * timeouts.h - when a connection is closed because its client takes too long: to take its replies
 * (client-output-timeout), to send a command (timeout), or to close after we have ended.
 *
 * Other limits of time stand where what they limit is: the rest of a half-received command in
 * input.h (INPUT_REQUEST_MS), AUTH in commands/strangers.h, the kernel's own in admit.c.
 */
#ifndef IDEM_SERVER_NET_TIMEOUTS_H
#define IDEM_SERVER_NET_TIMEOUTS_H

#include "server/net/conn.h"

/* How long a connection that we ended may stay half open. */
#define TIMEOUTS_LINGER_MS 1000

/* Asked by cron.h of each connection in turn. May close this connection, and no other. */
void timeouts_check(struct conn *conn);

#endif
