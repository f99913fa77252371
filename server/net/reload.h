/*
 * reload.h - SIGHUP: what is read again, each row by itself. What cannot be read stays as it was,
 * and the log says why.
 */
#ifndef IDEM_SERVER_NET_RELOAD_H
#define IDEM_SERVER_NET_RELOAD_H

#include "server/commands/worker.h"
#include "server/net/tls.h"
#include "server/ops/notify.h"

struct reload {
  struct worker *worker; /* the first loop's, in a turn */
  const struct notify *notify;
  struct tls *tls;
};

void reload_all(const struct reload *reload);

#endif
