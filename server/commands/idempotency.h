/* idempotency.h - CLAIM, STORE, RENEW, RELEASE, FETCH, WAIT: what idem is for. Their meaning is
 * proto/PROTOCOL.md. */
#ifndef IDEM_SERVER_COMMANDS_IDEMPOTENCY_H
#define IDEM_SERVER_COMMANDS_IDEMPOTENCY_H

#include "server/commands/call.h"

void idempotency_claim(struct call *call);
void idempotency_store(struct call *call);
void idempotency_renew(struct call *call);
void idempotency_release(struct call *call);
void idempotency_fetch(struct call *call);
void idempotency_wait(struct call *call);

/* Rows' limits: those of the requests (rules/request.h). */
size_t idempotency_limit(const struct options *options, const struct span *argv, size_t index);
size_t idempotency_store_limit(const struct options *options, const struct span *argv,
                               size_t index);

#endif
