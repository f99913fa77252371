/*
 * keys.h - what works on records and plain values alike: looking, prefetching, deleting, deadlines,
 * scanning, flushing; and plain values themselves.
 */
#ifndef IDEM_SERVER_ENGINE_KEYS_H
#define IDEM_SERVER_ENGINE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/span.h"
#include "server/engine/cursor.h"
#include "server/engine/engine_answer.h"
#include "server/engine/name.h"
#include "server/rules/rules.h"

struct engine;

/* ---- looking ---- */

enum keys_kind { KEYS_ABSENT, KEYS_RECORD, KEYS_VALUE };

struct keys_entry {
  enum keys_kind kind;
  enum rules_phase phase; /* of a record */
  struct blob *body; /* the value, or the body of a DONE record; NULL otherwise. Borrowed as in an
                        answer */
  int64_t left_ms;   /* until it is ABSENT by itself; -1: never, or not known yet (HELD) */
};
void keys_look(struct engine *engine, struct span key, int64_t now_ms, struct keys_entry *entry);

/* The memory of a key's entry and what it refers to, with allocator rounding; 0 when there is
 * none. */
size_t keys_memory(struct engine *engine, struct span key, int64_t now_ms);

/*
 * Prefetching: a call mostly waits for memory, and these waits overlap when the memory is fetched
 * before the calls. A caller that has many commands at hand calls keys_prefetch for all of them,
 * then keys_prefetch_chain, then keys_prefetch_entry, then runs them: each step reads what the one
 * before it has fetched. Nothing is changed, and nothing that is due is applied; between them the
 * engine may be used freely. keys_exceed_cache: whether it is worth its instructions, where so many
 * engines share the keys.
 *
 * These two may also be called without the engine, while another thread uses it.
 */
bool keys_exceed_cache(const struct engine *engine, size_t engines);
void keys_prefetch(const struct engine *engine, const struct name *name);
/* These may not. */
void keys_prefetch_chain(const struct engine *engine, const struct name *name);
void keys_prefetch_entry(const struct engine *engine, const struct name *name);

/* ---- changing ---- */

/* Whether there was one. A HELD record's waiters are served as by RELEASE. */
bool keys_delete(struct engine *engine, struct span key, int64_t now_ms);

/* Replaces a value, refuses a record (WRONGTYPE). STORED, WRONGTYPE, OOM, NO_MEMORY. deadline_ms is
 * on the engine's clock, RULES_NEVER: none; one that has passed leaves the key absent. */
enum engine_status keys_set_value(struct engine *engine, struct span key, struct span value,
                                  int64_t deadline_ms, int64_t now_ms);
/* Moves the end of a value or of a DONE record; false when there is none or it may not be moved
 * (HELD, LAPSED, UNKNOWN). For a DONE record RULES_NEVER is refused: responses end. */
bool keys_set_deadline(struct engine *engine, struct span key, int64_t deadline_ms, int64_t now_ms);

/* Whether keys_delete may leave more than that the key is absent: there is a claim, HELD, LAPSED or
 * UNKNOWN, whatever is due on it. Changes nothing. */
bool keys_has_claim(const struct engine *engine, struct span key);

/* Everything is absent at once; waiters of HELD records are served as by RELEASE. tick_run frees
 * the memory. */
void keys_flush(struct engine *engine, int64_t now_ms);

/* ---- scanning ---- */

/*
 * Visits at least one bucket of the table and returns the cursor to go on with, 0 at the end. Start
 * with 0. Every key that exists during the whole scan is visited at least once, however the table
 * grows or shrinks meanwhile. The cursor is below 2^CURSOR_BITS. The visitor must not call the
 * engine.
 */
typedef void keys_visitor(void *context, struct span key, const struct keys_entry *entry);
uint64_t keys_scan(struct engine *engine, uint64_t cursor, int64_t now_ms, keys_visitor *visit,
                   void *context);

/* Some key, absent span when there is none; borrowed. `random` picks. */
struct span keys_random(struct engine *engine, uint64_t random, int64_t now_ms);

#endif
