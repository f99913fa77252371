/*
 * renewal.h - an idem_async renews its claims: what renewer.h is to idem_client, in the loop and by
 * calls of its own. What an answer means for the lease is lease.h's.
 */
#ifndef IDEM_CLIENT_RENEWAL_H
#define IDEM_CLIENT_RENEWAL_H

#include "client/call.h"

/* Sends the renewals that are due; when the next one is. */
int64_t renewal_run(struct idem_async *async, int64_t now);
/* idem_async_close: the claims no longer belong to a client. */
void renewal_orphan_all(struct idem_async *async);

#endif
