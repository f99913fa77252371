/*
 * response_log.h - responses, laid out by the time at which they end: written once, not moved when
 * others are written, and freed a chunk at a time.
 *
 *     width 1 s   [ ][ ][c]...[ ]     a slot is an interval of time; what ends in it goes into the
 *     width 2 s   [ ][c][ ]...[ ]     chunk that is open there (chunk.h), one after the other. The
 *       ...                           width is the response's TTL / 256, at least CHUNK_FINEST_MS
 *
 * What has ended is found by response_expiry.h, in passes over the chunks. What is dropped before
 * its end leaves a hole; a chunk that is mostly holes is offered by response_log_sparse, so that
 * the rest can be written again.
 *
 * Invariants: a chunk's timer is armed at or before the end of the first of its live responses; a
 * chunk has a live response or is pinned, else it is freed; a chunk whose first end has come is
 * never offered as sparse, and takes no more responses if it is mixed.
 *
 * Knows no index, claims or engine: the caller that drops a response has taken it out of the index.
 */
#ifndef IDEM_SERVER_ENGINE_RESPONSE_LOG_H
#define IDEM_SERVER_ENGINE_RESPONSE_LOG_H

#include "server/engine/chunk.h"

#define RESPONSE_LOG_WIDTHS 48u /* enough for any TTL of 63 bits */

struct response_log {
  struct memory *memory;
  struct wheel ends;  /* struct chunk.timer */
  struct list sparse; /* struct chunk.sparse */
  struct list ended;  /* the same: the next pass of response_expiry.h frees them */
  struct chunk **open[RESPONSE_LOG_WIDTHS];
  uint16_t open_count[RESPONSE_LOG_WIDTHS];
  uint32_t epoch; /* responses of an older one are flushed */
};

void response_log_init(struct response_log *log, struct memory *memory, int64_t now_ms);

/* ---- writing ---- */

/*
 * Writes a response; its bytes are copied, references to blobs are taken over. A large part becomes
 * a blob; without an open chunk or room for one, so does all that the smallest chunk cannot hold.
 * `room_bytes` is what a new chunk may take: near the memory limit, a response without an open
 * chunk gets the smallest chunk for itself. NULL when memory is short: the blobs are released.
 */
struct response_ref *response_log_write(struct response_log *log, struct response *response,
                                        size_t room_bytes, int64_t now_ms);
/* With so much room every response finds a chunk or gets a new one. */
#define RESPONSE_LOG_ROOM_BYTES (128u * 1024)
/* Writes a copy, which ends at deadline_ms; RULES_NEVER: when the original does. NULL as above. */
struct response_ref *response_log_copy(struct response_log *log, const struct response_ref *former,
                                       int64_t deadline_ms, size_t room_bytes, int64_t now_ms);
/* The most that a response of so many bytes, besides a short key, takes in a chunk of its own. */
size_t response_log_alone_bytes(size_t bytes);

/* ---- reading ---- */

/* Its parts are borrowed from the chunk. */
void response_log_read(const struct response_ref *ref, struct response *response);
size_t response_log_size(const struct response_ref *ref); /* with its blobs, as allocated */
int64_t response_log_since_ms(const struct response_ref *ref);
int64_t response_log_deadline_ms(const struct response_ref *ref);
bool response_log_is_flushed(const struct response_log *log, const struct response_ref *ref);
/* Prefetches what reading it needs. */
void response_log_prefetch(const struct response_ref *ref);

/* ---- giving up ---- */

/* Its bytes stay as long as the chunk is pinned. */
void response_log_drop(struct response_log *log, struct response_ref *ref);
void response_log_pin(struct response_ref *ref);
void response_log_unpin(struct response_log *log, struct response_ref *ref);
/* For response_expiry.h, when the chunk has no live response left. Takes it out of every list and
 * wheel; the caller frees it unless it is pinned, else the last unpin does. */
void response_log_retire(struct response_log *log, struct chunk *chunk);

/* Up to `room` live responses of one sparse chunk, which the caller copies and drops. 0: no chunk
 * is sparse. */
size_t response_log_sparse(struct response_log *log, struct response_ref *live[], size_t room);
/* Call when there was no memory for the copies: the chunk that response_log_sparse used last stays
 * as it is. */
void response_log_keep_sparse(struct response_log *log);

#endif
