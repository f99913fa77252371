/*
 * entry.h - what the index has under a key, at most one of:
 *
 *     index --> record          HELD, LAPSED, UNKNOWN, or a plain value (record.h)
 *       +-----> response_ref    DONE (response_log.h)
 *
 * STORE writes the response to the log, points the index at it and frees the record: an entry is a
 * record until it is DONE, and never becomes one again.
 *
 * Every change goes through here, so that the index, the record's timer, the engine's counts, its
 * open claims and what users hold agree: that is the invariant. (Responses that have expired leave
 * in groups, in tick.h.) It must not know time, waiters or watchers, and does not decide whether an
 * entry should change.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_ENTRY_H
#define IDEM_SERVER_ENGINE_ENTRY_H

#include "server/engine/name.h"
#include "server/engine/record.h"

enum { ENTRY_RECORD, ENTRY_RESPONSE }; /* kinds of index words */

struct entry { /* one of the two, or none when it is absent */
  struct record *record;
  struct response_ref *response;
};

static inline bool entry_is_absent(struct entry entry) {
  return entry.record == NULL && entry.response == NULL;
}

static inline struct entry entry_of_word(uint64_t word) {
  if ((word & INDEX_KIND_MASK) == ENTRY_RECORD)
    return (struct entry){.record = index_address(word)};
  return (struct entry){.response = index_address(word)};
}

/* These take an entry that is not absent. */

struct key entry_key(struct entry entry); /* borrowed from the entry */
/* The memory it takes, with what it refers to and the allocator's rounding. */
size_t entry_memory(struct entry entry);
bool entry_is_flushed(const struct engine *engine, struct entry entry);

/* ---- records ---- */

/* A record under a key that has no entry. It owns the owner in parts from then on. NULL: no memory;
 * the owner stays the caller's. */
struct record *entry_add_record(struct engine *engine, const struct name *name,
                                const struct record_parts *parts, const struct rules_record *facts);
/* A plain value under a key that has no entry, without bytes and without an end. NULL: no memory.
 */
struct record *entry_add_value(struct engine *engine, const struct name *name, uint64_t serial);
/* The next state of an open claim: HELD, LAPSED or UNKNOWN. */
void entry_set_facts(struct engine *engine, struct record *record,
                     const struct rules_record *facts);
/* To whom it is granted, or given back; 0, as for every record that is added: nobody. Call it
 * before entry_set_facts. */
void entry_change_user(struct engine *engine, struct record *record, uint16_t user);
static inline void entry_set_user(struct engine *engine, struct record *record, uint16_t user) {
  if (record->user != user) entry_change_user(engine, record, user);
}
/* The end of a plain value; RULES_NEVER: it has none. */
void entry_set_end(struct engine *engine, struct record *record, int64_t deadline_ms);
/* A flushed claim is there again, so that its grant can end like any other. */
void entry_revive(struct engine *engine, struct record *record);
/* Frees the record, and unbinds its claim; it has no waiters by then. */
void entry_remove_record(struct engine *engine, struct record *record);

/* ---- responses ---- */

/* A response under a key that has no entry. false: no memory; the response is the caller's. */
bool entry_add_response(struct engine *engine, uint64_t hash, struct response_ref *response);
/* The response replaces the record, which is freed. `hash` here and below is that of the key. */
void entry_store(struct engine *engine, struct record *record, uint64_t hash,
                 struct response_ref *response);
/* The copy replaces the former response, which is dropped. */
void entry_move(struct engine *engine, struct response_ref *former, struct response_ref *copy);
void entry_remove_response(struct engine *engine, struct response_ref *response, uint64_t hash);

/* Either kind; the entry is not absent. */
void entry_remove(struct engine *engine, struct entry entry);

#endif
