/* keys.h - what works on keys of either kind: DEL, EXISTS, TYPE, TTL, EXPIRE, SCAN, FLUSHALL and
 * their relatives, as in Redis. */
#ifndef IDEM_SERVER_COMMANDS_KEYS_H
#define IDEM_SERVER_COMMANDS_KEYS_H

#include "server/commands/command.h"

void keys_del(struct call *call); /* UNLINK too: nothing here is freed so slowly that it matters */
void keys_exists(struct call *call); /* TOUCH too */
void keys_type(struct call *call);
void keys_ttl(struct call *call);
void keys_pttl(struct call *call);
void keys_expiretime(struct call *call);
void keys_pexpiretime(struct call *call);
void keys_expire(struct call *call);
void keys_pexpire(struct call *call);
void keys_expireat(struct call *call);
void keys_pexpireat(struct call *call);
void keys_persist(struct call *call);
void keys_keys(struct call *call);
void keys_scan(struct call *call);
void keys_randomkey(struct call *call);
void keys_dbsize(struct call *call);
void keys_flush(
    struct call *call); /* FLUSHALL, FLUSHDB [ASYNC|SYNC]: absent at once, memory back by and by */
void keys_object_encoding(struct call *call);
void keys_object_refcount(struct call *call);
void keys_object_freq(struct call *call);
void keys_object_idletime(struct call *call);
void keys_memory_usage(struct call *call);

/* command_limit of the rows that take a glob. */
size_t keys_pattern_limit(const struct options *options, const struct span *argv, size_t index);

/* The wall clock of this turn, and a time on it as a deadline on the engine's clock: now at the
 * earliest. */
int64_t keys_unix_ms(const struct call *call);
int64_t keys_deadline(const struct call *call, long long unix_ms);
void keys_reply_invalid_expire(struct call *call);

#endif
