/*
 * find.h - looks up a key, and applies what is due on it first (due.h).
 *
 * It must not know why a key is looked up: no commands, no answers. Invariant: what it returns
 * lives at now_ms by the rules, so no caller compares a deadline again. A lookup may therefore end
 * a grant, free the entry, and make waiters ready.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_FIND_H
#define IDEM_SERVER_ENGINE_FIND_H

#include "server/engine/entry.h"

/* The entry, live at now_ms, or an absent one (both pointers NULL); it is good until the next call
 * that may free or move entries. For a response, *response has what was read when it was found, its
 * parts borrowed from the log; else it may have been written to. */
struct entry find_entry(struct engine *engine, const struct name *name, int64_t now_ms,
                        struct response *response);
/* The record that is there, whatever is due on it; NULL: none, or a response. */
const struct record *find_record(const struct engine *engine, struct span key);
/* The same as find_entry by the text of a key. */
struct entry find_key(struct engine *engine, struct span key, int64_t now_ms);

#endif
