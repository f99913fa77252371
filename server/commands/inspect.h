/* inspect.h - INSPECT and CLAIMS: what operators look at. Their meaning is proto/PROTOCOL.md. */
#ifndef IDEM_SERVER_COMMANDS_INSPECT_H
#define IDEM_SERVER_COMMANDS_INSPECT_H

#include "server/commands/call.h"

void inspect_command(struct call *call);
void inspect_claims(struct call *call);

/* The row's limit of CLAIMS: that of the request (rules/request_claims.h). */
size_t inspect_claims_limit(const struct options *options, const struct span *argv, size_t index);

#endif
