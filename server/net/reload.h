/*
 * reload.h - SIGHUP: what is read again, each row by itself. What cannot be read stays as it was,
 * and the log says why.
 *
 * Reading takes milliseconds in which the first loop, which accepts, does nothing else; so signals
 * in a tight loop are read for at most once every RELOAD_APART_MS. None is lost: what was asked for
 * meanwhile is read again when that time has passed.
 */
#ifndef IDEM_SERVER_NET_RELOAD_H
#define IDEM_SERVER_NET_RELOAD_H

#include "server/commands/worker.h"
#include "server/net/tls.h"
#include "server/ops/notify.h"

#define RELOAD_APART_MS 100 /* from the end of one to the beginning of the next */

struct reload {
  struct worker *worker; /* the first loop's */
  const struct notify *notify;
  struct tls *tls;
  bool wanted; /* asked for, and not begun */
  int64_t ended_ms;
};

/* All in a turn of the first loop. Zero-filled but for the first three, none was asked for yet. */
void reload_ask(struct reload *reload);
/* Every CRON_MS: what was asked for too early. */
void reload_cron(struct reload *reload);

#endif
