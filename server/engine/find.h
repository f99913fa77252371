/* find.h - looks up a key, and applies what is due on it first (due.h). */
#ifndef IDEM_SERVER_ENGINE_FIND_H
#define IDEM_SERVER_ENGINE_FIND_H

#include "server/engine/entry.h"

/* The entry, live at now_ms, or an absent one. For a response, *response has what was read when it
 * was found. */
struct entry find_entry(struct engine *engine, const struct name *name, int64_t now_ms,
                        struct response *response);
/* The same by the text of a key. */
struct entry find_key(struct engine *engine, struct span key, int64_t now_ms);

#endif
