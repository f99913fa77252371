/*
 * response_log.h - stored responses, laid out by the time at which they end: written once, never
 * moved by a write beside them, and given back a chunk at a time.
 *
 *     width 1 s   [ ][ ][c]...[ ]     a slot is an interval of time; what ends in it goes into the
 *     width 2 s   [ ][c][ ]...[ ]     chunk that is open there (chunk.h), one after the other. The
 *       ...                           width is the response's TTL / 256, at least CHUNK_FINEST_MS
 *
 * What has ended is found by expiry.h, in passes over the chunks. What is dropped before its end
 * leaves a hole; a chunk that is mostly holes is offered by response_log_sparse, so that the rest
 * can be written anew.
 *
 * Invariants: a chunk's timer is armed at or before the end of the first of its live responses; a
 * chunk has a live response or is pinned, else it is freed; one whose first end has come takes
 * nothing more in when it is mixed, and is never offered as sparse.
 *
 * Knows no index, claims or engine: the caller that drops a response has taken it out of the index.
 */
#ifndef IDEM_SERVER_ENGINE_RESPONSE_LOG_H
#define IDEM_SERVER_ENGINE_RESPONSE_LOG_H

#include "server/engine/chunk.h"

#define RESPONSE_LOG_WIDTHS 48u /* up to any TTL that 63 bits can say */

struct response_log {
  struct memory *memory;
  struct wheel ends;  /* struct chunk.timer */
  struct list sparse; /* struct chunk.sparse */
  struct list ended;  /* the same: to be freed by the next pass of expiry.h */
  struct chunk **open[RESPONSE_LOG_WIDTHS];
  uint16_t open_count[RESPONSE_LOG_WIDTHS];
  uint32_t epoch; /* what was stored in an older one is flushed */
};

void response_log_init(struct response_log *log, struct memory *memory, int64_t now_ms);

/* ---- writing ---- */

/*
 * Writes a response; its bytes are copied, of blobs the references are taken over. What is large of
 * it becomes a blob, and where it finds neither an open chunk nor room for one, all that a smallest
 * chunk cannot hold. `room_bytes` is what a new chunk may take: near the memory limit, where no
 * chunk is open for it, a response gets the smallest for itself. NULL when memory is short: the
 * blobs are gone.
 */
struct response_ref *response_log_write(struct response_log *log, struct response *response,
                                        size_t room_bytes, int64_t now_ms);
/* With so much room every response finds a chunk, or one is made for it. */
#define RESPONSE_LOG_ROOM_BYTES (128u * 1024)
/* Writes a copy, which ends at deadline_ms; RULES_NEVER: as the former. NULL as above. */
struct response_ref *response_log_copy(struct response_log *log, const struct response_ref *former,
                                       int64_t deadline_ms, size_t room_bytes, int64_t now_ms);
/* What a response of so many bytes, beside a short key, takes at most when it is alone. */
size_t response_log_alone_bytes(size_t bytes);

/* ---- reading ---- */

/* Its parts are borrowed from the chunk. */
void response_log_read(const struct response_ref *ref, struct response *response);
size_t response_log_size(const struct response_ref *ref); /* with its blobs, as allocated */
int64_t response_log_deadline_ms(const struct response_ref *ref);
bool response_log_is_flushed(const struct response_log *log, const struct response_ref *ref);
/* Prefetches what reading it will touch. */
void response_log_prefetch(const struct response_ref *ref);

/* ---- giving up ---- */

/* Its bytes stay as long as the chunk is pinned. */
void response_log_drop(struct response_log *log, struct response_ref *ref);
void response_log_pin(struct response_ref *ref);
void response_log_unpin(struct response_log *log, struct response_ref *ref);
/* For expiry.h: the chunk has no live response any more. Takes it out of every list and wheel; the
 * caller frees it unless it is pinned, else the last unpin does. */
void response_log_retire(struct response_log *log, struct chunk *chunk);

/* Up to `room` live responses of one sparse chunk, which the caller copies and drops. 0: no chunk
 * is sparse. */
size_t response_log_sparse(struct response_log *log, struct response_ref *live[], size_t room);
/* There was no memory for the copies: the chunk that response_log_sparse returned last stays as it
 * is. */
void response_log_keep_sparse(struct response_log *log);

#endif
