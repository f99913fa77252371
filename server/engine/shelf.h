/*
 * shelf.h - stored responses, laid out by the time at which they end: written once, never moved by
 * a write beside them, and given back a chunk at a time.
 *
 *     width 1 s   [ ][ ][c]...[ ]     a slot is a stretch of time; what ends in it goes into the
 *     width 2 s   [ ][c][ ]...[ ]     chunk that is open there, one behind the other. The width is
 *       ...                           the response's TTL / 256, at least SHELF_FINEST_MS
 *
 *     chunk       [head][stored][stored][stored]......      1, 4, 16 or 64 KiB, aligned to its size
 *     stored      flags | since | ttl | token | key | fingerprint | body | meta
 *
 * Numbers are differences to those of the chunk's first response, in seven bits a byte (LEB128), so
 * that a response of 100 bytes under a UUID with a fingerprint of 16 takes 140. A part of at least
 * SHELF_APART_BYTES is a blob of its own, and the response keeps its address.
 *
 * What ended is found by a pass over its chunk when the first of its responses is due. In the order
 * of their ends (the usual case: one TTL) the pass stops at the first that lives on; a mixed chunk
 * is put in order first, once. What is dropped before its end leaves a hole;
 * a chunk that is mostly holes is offered by shelf_sparse, so that the rest can be written anew.
 *
 * Invariants: a chunk's timer is armed at or before the end of the first of its live responses; a
 * chunk has a live response or is pinned, else it is freed; one whose first end has come takes
 * nothing more in when it is mixed, and is never offered as sparse.
 *
 * Knows no index, claims or engine: whoever drops a response has taken it out of the index.
 */
#ifndef IDEM_SERVER_ENGINE_SHELF_H
#define IDEM_SERVER_ENGINE_SHELF_H

#include "server/engine/blob.h"
#include "server/engine/key.h"
#include "server/base/wheel.h"

#define SHELF_SLOTS 256u
#define SHELF_FINEST_BITS 10u /* 1024 ms: the narrowest slot */
#define SHELF_WIDTHS 48u      /* up to any TTL that 63 bits can say */
#define SHELF_APART_BYTES 8192u

struct stored; /* in a chunk */

struct response {
  struct key key;
  struct span fingerprint, body, meta;       /* fingerprint and meta may be absent */
  struct engine_blob *body_blob, *meta_blob; /* see SHELF_APART_BYTES; else parts of the stored */
  uint64_t token;
  int64_t since_ms, deadline_ms;
};

struct shelf {
  struct memory *memory;
  struct wheel ends;  /* struct chunk.timer */
  struct list sparse; /* struct chunk.sparse */
  struct list ended;  /* the same: to be freed by the next shelf_due */
  struct chunk **open[SHELF_WIDTHS];
  uint16_t open_count[SHELF_WIDTHS];
  uint32_t epoch; /* what was stored in an older one is flushed */
};

void shelf_init(struct shelf *shelf, struct memory *memory, int64_t now_ms);

/*
 * Writes a response; its bytes are copied, of blobs a reference is taken over. NULL when memory is
 * short: then nothing was taken over. `room_bytes` is what a new chunk may take: near the memory
 * limit, where nobody's chunk is open for it, a response gets the smallest for itself.
 */
struct stored *shelf_append(struct shelf *shelf, const struct response *response, size_t room_bytes,
                            int64_t now_ms);
/* With so much room no response is crowded. */
#define SHELF_ROOM_BYTES (128u * 1024)
/* Whether the response, as it is given, finds neither an open chunk nor room for one. */
bool shelf_crowded(const struct shelf *shelf, const struct response *response, size_t room_bytes,
                   int64_t now_ms);
/* Whether its body and meta have to be blobs, or, where it is crowded, should be. */
bool shelf_apart(const struct response *response, bool crowded);
/* What a response of so many bytes, beside a short key, takes at most when it is alone. */
size_t shelf_alone_bytes(size_t bytes);

/* Its parts are borrowed from the chunk. */
void stored_read(const struct stored *stored, struct response *response);
struct key stored_key(const struct stored *stored);
size_t stored_size(const struct stored *stored); /* with its blobs, as the allocator rounds those */
int64_t stored_deadline_ms(const struct stored *stored);
/* Fetches what reading it will touch, before anything of it is known. */
void stored_prefetch(const struct stored *stored);
bool stored_flushed(const struct shelf *shelf, const struct stored *stored);

/* Gives it up; its bytes stay as long as the chunk is pinned. */
void shelf_drop(struct shelf *shelf, struct stored *stored);
void stored_pin(struct stored *stored);
void stored_unpin(struct shelf *shelf, struct stored *stored);

/* Responses whose deadline is not after past_ms, none when none is due. They count as dropped, but
 * shelf_drop may not be called for them. What can be read of them stays until the next call, which
 * has to come. A response costs one of *budget, and so do every SHELF_GLANCES that are only looked
 * at and every SHELF_SORTED that are put in order. */
#define SHELF_GLANCES 8u
#define SHELF_SORTED 2u
#define SHELF_DUE_AT_ONCE 64u
struct due {
  size_t count, flushed; /* of them were stored in an older epoch */
  struct stored *stored[SHELF_DUE_AT_ONCE];
  struct span keys[SHELF_DUE_AT_ONCE]; /* as in struct key */
};
size_t shelf_due(struct shelf *shelf, int64_t past_ms, unsigned *budget, struct due *due);
/* A lower bound of when shelf_due has something to do; INT64_MAX for never. */
int64_t shelf_next(const struct shelf *shelf);

/* Live responses of one sparse chunk, up to `room`, to be appended anew and dropped. 0: there is
 * none. */
size_t shelf_sparse(struct shelf *shelf, struct stored *live[], size_t room);
/* The chunk shelf_sparse spoke of last stays as it is: there was no memory to write it anew. */
void shelf_keep_sparse(struct shelf *shelf);

#endif
