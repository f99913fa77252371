/*
 * due.h - what is due on an entry, applied. What is due is decided by rules_due alone.
 *
 * Every call on a key comes here first, so no answer shows a state that should be over; tick.h does
 * the same for keys that no caller asks for.
 */
#ifndef IDEM_SERVER_ENGINE_DUE_H
#define IDEM_SERVER_ENGINE_DUE_H

#include "server/engine/entry.h"

/* Brings a record up to now: the end of its grant, its own end, waits that are over. NULL: it is
 * absent, and freed. */
struct record *due_apply(struct engine *engine, struct record *record, int64_t now_ms);
/* The same for an entry of either kind. */
void due_apply_entry(struct engine *engine, struct entry entry, int64_t now_ms);
/* Whether due_apply_entry would find it absent, as far as that can be told without ending a grant.
 */
bool due_is_gone(const struct engine *engine, struct entry entry, int64_t now_ms);

/* Brings the entry that was found under a key up to now. Of a response the deadline and the hash
 * are known, since it was read. */
struct entry due_found_record(struct engine *engine, struct record *record, int64_t now_ms);
struct entry due_found_response(struct engine *engine, struct response_ref *response,
                                int64_t deadline_ms, uint64_t hash, int64_t now_ms);

#endif
