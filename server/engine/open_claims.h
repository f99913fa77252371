/*
 * open_claims.h - the open claims of one engine, in the order of their tokens: every record that is
 * HELD, LAPSED or UNKNOWN.
 *
 *     anchors    [token, o]      [hole]      [token, o]         found by binary search
 *                        |                           |
 *     by_token   a <-> b <-> c <-> d <-> e <-> f <-> g <-> h    walked, struct record.open
 *                ^           ^
 *                unknown     held                               where the oldest is looked for
 *
 * Tokens rise, so a grant appends: O(1), as is leaving. A grant that is taken back returns to the
 * place of its former token. "The first after token T" is found in O(log n) and a walk of about
 * OPEN_CLAIMS_SPAN records, from the anchor before T. A balanced tree would find it too, but costs
 * each grant and each STORE log n steps, and three addresses in the record.
 *
 * Every OPEN_CLAIMS_SPAN records that are appended get an anchor. When the record of an anchor
 * leaves, the anchor moves to a neighbour, or becomes a hole if that makes no walk longer. Holes
 * are squeezed out when they are more than half; anchors that have come to lie close together are
 * thinned out, at one place for each that is added. Without memory for an anchor the next record
 * that is appended tries again, and walks are longer until then: nothing here fails.
 *
 * It must not know time, the index, nor what a phase means. Invariants: tokens rise along the list;
 * RECORD_ANCHOR is set in the records that anchors point at, and in no others; a plain value is
 * never in the list. A flushed record stays until it is removed.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_OPEN_CLAIMS_H
#define IDEM_SERVER_ENGINE_OPEN_CLAIMS_H

#include "server/engine/record.h"

#define OPEN_CLAIMS_SPAN 256u
/* How many records open_claims_oldest looks at. */
#define OPEN_CLAIMS_LOOKED_AT 1024u

void open_claims_init(struct open_claims *claims, struct memory *memory);
/* The list is empty by then. */
void open_claims_deinit(struct open_claims *claims);

/* Its token, which is not in the list, and its phase are set: to change the token, remove the
 * record before and add it afterwards. */
void open_claims_add(struct open_claims *claims, struct record *record);
void open_claims_remove(struct open_claims *claims, struct record *record);
/* Call when a record of the list is in another phase than it was, or not flushed any more. */
void open_claims_changed(struct open_claims *claims, struct record *record);

/* The first record with a larger token; NULL: there is none. Good until it is removed. */
struct record *open_claims_after(const struct open_claims *claims, uint64_t token);
struct record *open_claims_next(const struct open_claims *claims, const struct record *record);

/*
 * The oldest record that is HELD or UNKNOWN, and not flushed; NULL: there is none.
 *
 * A call looks at OPEN_CLAIMS_LOOKED_AT records at most, and the next goes on where it ended. If so
 * many others stand before the first of that phase, it returns the one that it came to: that is of
 * another phase or flushed, and older than the one sought.
 */
const struct record *open_claims_oldest(struct open_claims *claims, enum rules_phase phase,
                                        uint64_t flushed_token);

#endif
