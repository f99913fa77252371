/*
 * due.h - what is due on an entry, applied. What is due is decided by rules_due alone.
 *
 * Every call on a key comes here first, so no answer shows a state that should have ended; tick.h
 * does the same for keys that no call looks at.
 *
 * It must not know commands, nor what waiters are answered. Invariant: an end is counted (leases
 * that expired, entries that reached their end) when it is noticed here or in tick.h, once.
 * Applying may free the entry, hand it over, and make waiters ready: no pointer to it or to its
 * parts is good afterwards but the one that is returned.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_DUE_H
#define IDEM_SERVER_ENGINE_DUE_H

#include "server/engine/entry.h"

/* Applies what is due on a record: the end of its grant, its own end, waits that have timed out.
 * Returns the record; NULL: it is absent, and freed. */
struct record *due_apply(struct engine *engine, struct record *record, int64_t now_ms);
/* The same for an entry of either kind, which must not be absent. The entry may be freed, and the
 * caller is not told: it looks the key up again if it needs it. */
void due_apply_entry(struct engine *engine, struct entry entry, int64_t now_ms);
/* Whether due_apply_entry would remove it, as far as that is known without ending a grant. Changes
 * nothing. */
bool due_is_gone(const struct engine *engine, struct entry entry, int64_t now_ms);

/* Applies what is due on the entry that was found under a key, and returns it. When it is gone, it
 * is freed, and both pointers of the result are NULL. A response's deadline and the hash of its key
 * are passed, since it was just read. */
struct entry due_found_record(struct engine *engine, struct record *record, int64_t now_ms);
struct entry due_found_response(struct engine *engine, struct response_ref *response,
                                int64_t deadline_ms, uint64_t hash, int64_t now_ms);

#endif
