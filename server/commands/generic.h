/* generic.h - what works on keys of either kind: DEL, EXISTS, TYPE, FLUSHALL, OBJECT and their
 * relatives, as in Redis. expire.h says when they expire, scan.h finds them. */
#ifndef IDEM_SERVER_COMMANDS_GENERIC_H
#define IDEM_SERVER_COMMANDS_GENERIC_H

#include "server/commands/call.h"
#include "server/engine/keys.h"

/* UNLINK too: nothing is slow to free. */
void generic_del(struct call *call);
void generic_exists(struct call *call); /* TOUCH too */
void generic_type(struct call *call);
void generic_dbsize(struct call *call);
/* FLUSHALL, FLUSHDB [ASYNC|SYNC]: absent at once, memory is given back little by little. */
void generic_flush(struct call *call);
void generic_object_encoding(struct call *call);
void generic_object_refcount(struct call *call);
void generic_object_freq(struct call *call);
void generic_object_idletime(struct call *call);
void generic_memory_usage(struct call *call);

/* As TYPE shows it. */
const char *generic_kind_name(enum keys_kind kind);

#endif
