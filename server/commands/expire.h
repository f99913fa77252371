/* expire.h - TTL, EXPIRE, PERSIST and their relatives: when a key expires, as in Redis. */
#ifndef IDEM_SERVER_COMMANDS_EXPIRE_H
#define IDEM_SERVER_COMMANDS_EXPIRE_H

#include "server/commands/call.h"

void expire_ttl(struct call *call);
void expire_pttl(struct call *call);
void expire_expiretime(struct call *call);
void expire_pexpiretime(struct call *call);
void expire_expire(struct call *call);
void expire_pexpire(struct call *call);
void expire_expireat(struct call *call);
void expire_pexpireat(struct call *call);
void expire_persist(struct call *call);

/* The wall clock of this turn, in milliseconds: of call->now_ms, on the engines' clock. */
int64_t expire_unix_ms(const struct call *call);
/* A time on the wall clock as a deadline on the engine's clock: now at the earliest. */
int64_t expire_deadline(const struct call *call, long long unix_ms);
void expire_reply_invalid(struct call *call);

#endif
