/*
 * ping.h - `idem-server --ping`: asks a running server whether it serves, for health checks.
 *
 * AUTH with the password of the options, if there is one, then PING. The whole has PING_SECONDS,
 * which an alarm ends, since a look-up of a name cannot be ended otherwise: it is for a process of
 * its own.
 */
#ifndef IDEM_SERVER_NET_PING_H
#define IDEM_SERVER_NET_PING_H

#include "server/net/ping_target.h"

#define PING_SECONDS 2

/* Exit statuses. An option or a URL that is refused is 1, as at a start. */
enum ping_result {
  PING_PONG = 0,
  PING_SILENT = 2,    /* no connection, or no answer in time */
  PING_UNEXPECTED = 3 /* another answer: wrong password, no idem-server */
};

/* Says in one line on standard error why it is not PING_PONG. */
enum ping_result ping_run(const struct ping_target *target, const struct options *options);

#endif
