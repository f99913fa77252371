/*
 * response_expiry.h - the responses of a log that have ended, found by a pass over a chunk when the
 * first of its responses is due.
 *
 * In the order of their ends (the usual case: one TTL) the pass stops at the first that lives on; a
 * mixed chunk is put in order first (order.h). A chunk whose last response has ended is freed at
 * the next call, so that what was found can still be read.
 *
 * It must not know the index, the engine's counts or watchers: the caller removes what was found.
 * Invariant: each response is found once, and never before its end.
 *
 * Only the thread that holds the engine calls.
 */
#ifndef IDEM_SERVER_ENGINE_RESPONSE_EXPIRY_H
#define IDEM_SERVER_ENGINE_RESPONSE_EXPIRY_H

#include "server/engine/response_log.h"

#define RESPONSE_EXPIRY_AT_ONCE 64u

struct response_expiry_batch {
  size_t count, flushed; /* how many of them are of an older epoch */
  struct response_ref *refs[RESPONSE_EXPIRY_AT_ONCE];
  struct span keys[RESPONSE_EXPIRY_AT_ONCE]; /* the bytes of struct key */
  int64_t since_ms[RESPONSE_EXPIRY_AT_ONCE];
};

/*
 * Fills in *batch with responses whose deadline has passed (rules_is_over) at past_ms, and returns
 * how many; 0: none is due, or *budget is used up. past_ms never runs backwards. They count as
 * dropped, but response_log_drop may not be called for them. They can be read until the next
 * call, which has to come. A response costs one of *budget, and so do every RESPONSE_EXPIRY_GLANCES
 * that are only looked at and every RESPONSE_EXPIRY_SORTED that are put in order.
 */
#define RESPONSE_EXPIRY_GLANCES 8u
#define RESPONSE_EXPIRY_SORTED 2u
size_t response_expiry_due(struct response_log *log, int64_t past_ms, unsigned *budget,
                           struct response_expiry_batch *batch);
/* When response_expiry_due has something to do; may be early, never late. INT64_MAX: never. */
int64_t response_expiry_next(const struct response_log *log);

#endif
