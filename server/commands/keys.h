/* keys.h - what works on keys of either kind: DEL, EXISTS, TYPE, TTL, EXPIRE, SCAN, FLUSHALL and their relatives, as in Redis. */
#ifndef IDEM_SERVER_COMMANDS_KEYS_H
#define IDEM_SERVER_COMMANDS_KEYS_H

#include "server/commands/command.h"

void keys_del(struct call *call); /* UNLINK too: nothing here is freed so slowly that it matters */
void keys_exists(struct call *call); /* TOUCH too */
void keys_type(struct call *call);
void keys_ttl(struct call *call);
void keys_pttl(struct call *call);
void keys_dbsize(struct call *call);
void keys_flush(struct call *call); /* FLUSHALL, FLUSHDB [ASYNC|SYNC]: absent at once, memory back by and by */

#endif
