/*
 * expiry.h - the responses of a log that have ended, found by a pass over a chunk when the first of
 * its responses is due.
 *
 * In the order of their ends (the usual case: one TTL) the pass stops at the first that lives on; a
 * mixed chunk is put in order first (order.h). A chunk whose last response has ended is freed at
 * the next call, so that what was found can still be read.
 */
#ifndef IDEM_SERVER_ENGINE_EXPIRY_H
#define IDEM_SERVER_ENGINE_EXPIRY_H

#include "server/engine/response_log.h"

#define EXPIRY_AT_ONCE 64u

struct expiry_batch {
  size_t count, flushed; /* how many of them are of an older epoch */
  struct response_ref *refs[EXPIRY_AT_ONCE];
  struct span keys[EXPIRY_AT_ONCE]; /* the bytes of struct key */
};

/*
 * Responses whose deadline has passed (rules_is_over) at past_ms, none when none is due. They count
 * as dropped, but response_log_drop may not be called for them. They can be read until the next
 * call, which has to come. A response costs one of *budget, and so do every EXPIRY_GLANCES that are
 * only looked at and every EXPIRY_SORTED that are put in order.
 */
#define EXPIRY_GLANCES 8u
#define EXPIRY_SORTED 2u
size_t expiry_due(struct response_log *log, int64_t past_ms, unsigned *budget,
                  struct expiry_batch *batch);
/* When expiry_due has something to do; may be early, never late. INT64_MAX: never. */
int64_t expiry_next(const struct response_log *log);

#endif
