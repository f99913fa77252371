/* shelf.c - see shelf.h. */
#include "server/engine/shelf.h"

#include <assert.h>
#include <stdlib.h>

#include "server/engine/regions.h"

#define CHUNK_CLASSES 4u
#define CHUNK_SMALLEST 1024u
#define CHUNK_CLASS_BITS 2u /* each is four times the one before */
#define ALIGNMENT 4u        /* of a response: addresses leave two bits to blob_part */
#define LINE_BYTES 64u
#define PREFETCHED_LINES 3u /* a response of 100 bytes with its key */

#define PLACE_BITS 14u /* of where a response lies in the largest chunk, in ALIGNMENTs */
#define GONE ((UINT64_C(1) << PLACE_BITS) - 1) /* no place: a head lies in front of all of them */
#define RADIX_BITS 8u
#define AHEAD_BYTES 1024u /* a pass fetches so far ahead: some seven responses */

/* In the first line what a pass over an order needs, in the second what a reader needs. */
struct chunk {
  struct wheel_node timer; /* in shelf.ends */
  uint64_t *order;         /* mixed and ending: the ends of its responses in order, after the start
                              of the slot, each over the place in PLACE_BITS; NULL: there is none */
  int64_t slot;
  uint32_t order_count, order_at;
  uint32_t live, epoch;
  uint8_t class, width;
  bool mixed;               /* the ends are not in order */
  bool ending;              /* the first end has come */
  int64_t since_ms, ttl_ms; /* of the first response, with its token: what the others are relative
                               to */
  uint64_t token;
  int64_t last_ms;      /* the end of the response appended last */
  struct list sparse;   /* in shelf.sparse */
  struct chunk **place; /* where it is open; NULL: it takes nothing more in */
  uint32_t size, used;
  uint32_t begin; /* before it all have ended, whether marked as dropped or not */
  uint32_t at;    /* where the pass under way goes on */
  uint32_t live_bytes, pins;
  int64_t next_ms; /* without an order: the earliest end behind those that the pass has looked at */
  _Alignas(ALIGNMENT) unsigned char bytes[];
};

_Static_assert(offsetof(struct chunk, ending) < LINE_BYTES, "one line for a pass over an order");

/* stored: the flags, then the rest. */
#define FLAG_FORM 0x03u /* enum key_form */
#define FLAG_FINGERPRINT 0x04u
#define FLAG_META 0x08u
#define FLAG_APART 0x10u /* body and meta are blobs */
#define FLAG_DROPPED 0x20u
#define FLAG_CLASS_SHIFT 6u

static size_t class_size(unsigned class) {
  return (size_t)CHUNK_SMALLEST << (CHUNK_CLASS_BITS * class);
}

/* ---- numbers ---- */

#define LEB_MOST 10u

static size_t leb_size(uint64_t value) {
  return value == 0 ? 1 : (63u - (unsigned)__builtin_clzll(value)) / 7 + 1;
}

static unsigned char *leb_write(unsigned char *to, uint64_t value) {
  for (; value > 0x7f; value >>= 7) *to++ = (unsigned char)(value | 0x80);
  *to++ = (unsigned char)value;
  return to;
}

static const unsigned char *leb_read(const unsigned char *from, uint64_t *value) {
  uint64_t read = *from & 0x7fu;
  for (unsigned shift = 7; (*from++ & 0x80) != 0; shift += 7)
    read |= (uint64_t)(*from & 0x7f) << shift;
  *value = read;
  return from;
}

static const unsigned char *leb_skip(const unsigned char *from) {
  while ((*from++ & 0x80) != 0) continue;
  return from;
}

/* Small differences of either sign to small numbers; wraps around. */
static uint64_t difference(uint64_t value, uint64_t base) {
  uint64_t d = value - base;
  return d << 1 ^ (0 - (d >> 63));
}

static uint64_t sum(uint64_t base, uint64_t difference) {
  return base + (difference >> 1 ^ (0 - (difference & 1)));
}

/* ---- one response ---- */

struct numbers { /* of a response, as they stand in a chunk */
  uint64_t since, ttl, token;
};

static struct numbers numbers_of(const struct chunk *chunk, const struct response *r) {
  uint64_t ttl_ms = (uint64_t)(r->deadline_ms - r->since_ms);
  return (struct numbers){
      .since = difference((uint64_t)r->since_ms, (uint64_t)chunk->since_ms),
      .ttl = difference(ttl_ms, (uint64_t)chunk->ttl_ms),
      .token = difference(r->token, chunk->token),
  };
}

static size_t aligned(size_t size) { return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1); }

static size_t part_size(struct span part, bool apart) {
  return apart ? sizeof(struct engine_blob *) : leb_size(part.len) + part.len;
}

/* What a response takes. The first of a chunk has the numbers 0. */
static size_t measure(struct numbers n, const struct response *r) {
  bool apart = r->body_blob != NULL;
  size_t key = r->key.form == KEY_RAW ? leb_size(r->key.bytes.len) : 0;
  size_t size = 1 + leb_size(n.since) + leb_size(n.ttl) + leb_size(n.token) + key;
  size += r->key.bytes.len + part_size(r->body, apart);
  if (span_present(r->fingerprint)) size += part_size(r->fingerprint, false);
  if (span_present(r->meta)) size += part_size(r->meta, apart);
  return aligned(size);
}

/* No response takes more, whatever its numbers are. */
static size_t most_of(const struct response *r) {
  const size_t lengths_and_numbers = 7;
  return 1 + lengths_and_numbers * LEB_MOST + r->key.bytes.len + r->fingerprint.len + r->body.len +
         r->meta.len + ALIGNMENT;
}

static unsigned char *write_bytes(unsigned char *to, struct span bytes) {
  if (bytes.len != 0) memcpy(to, bytes.data, bytes.len);
  return to + bytes.len;
}

static unsigned char *write_part(unsigned char *to, struct span part, struct engine_blob *blob) {
  if (blob == NULL) return write_bytes(leb_write(to, part.len), part);
  memcpy(to, &blob, sizeof blob);
  return to + sizeof blob;
}

static unsigned char *write_key(unsigned char *to, struct key key) {
  if (key.form == KEY_RAW) return write_bytes(leb_write(to, key.bytes.len), key.bytes);
  memcpy(to, key.bytes.data, KEY_UUID_BYTES);
  return to + KEY_UUID_BYTES;
}

/* Returns the end of what was written. */
static unsigned char *write_stored(const struct chunk *chunk, unsigned char *to,
                                   const struct response *r) {
  struct numbers n = numbers_of(chunk, r);
  unsigned flags = (unsigned)r->key.form | (unsigned)chunk->class << FLAG_CLASS_SHIFT;
  if (span_present(r->fingerprint)) flags |= FLAG_FINGERPRINT;
  if (span_present(r->meta)) flags |= FLAG_META;
  if (r->body_blob != NULL) flags |= FLAG_APART;
  *to++ = (unsigned char)flags;
  to = leb_write(leb_write(leb_write(to, n.since), n.ttl), n.token);
  to = write_key(to, r->key);
  if (span_present(r->fingerprint)) to = write_part(to, r->fingerprint, NULL);
  to = write_part(to, r->body, r->body_blob);
  if (span_present(r->meta)) to = write_part(to, r->meta, r->meta_blob);
  return to;
}

static unsigned flags_of(const struct stored *stored) { return *(const unsigned char *)stored; }

/* The class says how far down the chunk may begin, since it is aligned to its size. */
static struct chunk *chunk_of(const struct stored *stored) {
  uintptr_t size = class_size(flags_of(stored) >> FLAG_CLASS_SHIFT);
  return (struct chunk *)((uintptr_t)stored & ~(size - 1));
}

static const unsigned char *read_part(const unsigned char *from, struct span *part) {
  uint64_t len;
  from = leb_read(from, &len);
  *part = (struct span){(const char *)from, (size_t)len};
  return from + len;
}

static const unsigned char *skip_part(const unsigned char *from) {
  uint64_t len;
  from = leb_read(from, &len);
  return from + len;
}

static const unsigned char *read_key(const unsigned char *from, unsigned flags, struct key *key) {
  key->form = (enum key_form)(flags & FLAG_FORM);
  if (key->form == KEY_RAW) return read_part(from, &key->bytes);
  key->bytes = (struct span){(const char *)from, KEY_UUID_BYTES};
  return from + KEY_UUID_BYTES;
}

static const unsigned char *read_apart(const unsigned char *from, struct engine_blob **blob,
                                       struct span *part) {
  memcpy(blob, from, sizeof *blob);
  *part = blob_bytes(*blob);
  return from + sizeof *blob;
}

/* Returns the end of what was written. */
static const unsigned char *read_stored(const struct stored *stored, struct response *r) {
  const struct chunk *chunk = chunk_of(stored);
  const unsigned char *from = (const unsigned char *)stored;
  unsigned flags = *from++;
  uint64_t since, ttl, token;
  from = leb_read(leb_read(leb_read(from, &since), &ttl), &token);
  *r = (struct response){
      .token = sum(chunk->token, token),
      .since_ms = (int64_t)sum((uint64_t)chunk->since_ms, since),
  };
  r->deadline_ms = r->since_ms + (int64_t)sum((uint64_t)chunk->ttl_ms, ttl);
  from = read_key(from, flags, &r->key);
  if ((flags & FLAG_FINGERPRINT) != 0) from = read_part(from, &r->fingerprint);
  if ((flags & FLAG_APART) != 0) {
    from = read_apart(from, &r->body_blob, &r->body);
    return (flags & FLAG_META) != 0 ? read_apart(from, &r->meta_blob, &r->meta) : from;
  }
  from = read_part(from, &r->body);
  r->body_blob = blob_as_part(stored, BLOB_BODY);
  if ((flags & FLAG_META) == 0) return from;
  r->meta_blob = blob_as_part(stored, BLOB_META);
  return read_part(from, &r->meta);
}

void stored_read(const struct stored *stored, struct response *response) {
  read_stored(stored, response);
}

/* Nearly always the three numbers take less than eight bytes, so that their last bytes are found in
 * one word. That much is there behind the flags when the key is a UUID. */
static inline const unsigned char *behind_numbers(const struct stored *stored) {
  const unsigned char *from = (const unsigned char *)stored + 1;
  if ((flags_of(stored) & FLAG_FORM) != KEY_RAW) {
    uint64_t bytes;
    memcpy(&bytes, from, sizeof bytes);
    uint64_t ends = ~bytes & UINT64_C(0x8080808080808080);
    ends &= ends - 1;
    ends &= ends - 1;
    if (ends != 0) return from + __builtin_ctzll(ends) / 8 + 1;
  }
  return leb_skip(leb_skip(leb_skip(from)));
}

struct key stored_key(const struct stored *stored) {
  struct key key;
  read_key(behind_numbers(stored), flags_of(stored), &key);
  return key;
}

static inline int64_t deadline_in(const struct chunk *chunk, const struct stored *stored) {
  uint64_t since, ttl;
  leb_read(leb_read((const unsigned char *)stored + 1, &since), &ttl);
  return (int64_t)(sum((uint64_t)chunk->since_ms, since) + sum((uint64_t)chunk->ttl_ms, ttl));
}

int64_t stored_deadline_ms(const struct stored *stored) {
  return deadline_in(chunk_of(stored), stored);
}

/* Most chunks are of the largest class: of a smaller one some other line is fetched in vain. All at
 * once, because each miss waits as long as all of them. */
void stored_prefetch(const struct stored *stored) {
  uintptr_t address = (uintptr_t)stored, largest = class_size(CHUNK_CLASSES - 1);
  for (unsigned line = 0; line < PREFETCHED_LINES; line++)
    __builtin_prefetch((const char *)stored + line * LINE_BYTES);
  __builtin_prefetch((const void *)(address & ~(largest - 1)));
  __builtin_prefetch((const void *)((address & ~(largest - 1)) + LINE_BYTES));
}

/* Its key and what it takes in its chunk, without looking at dropped blobs. */
struct outline {
  struct span key;
  uint32_t size;
};

static inline struct outline outline_of(const struct stored *stored) {
  unsigned flags = flags_of(stored);
  struct key key;
  const unsigned char *from = read_key(behind_numbers(stored), flags, &key);
  if ((flags & FLAG_FINGERPRINT) != 0) from = skip_part(from);
  if ((flags & FLAG_APART) != 0) {
    from += sizeof(struct engine_blob *) << ((flags & FLAG_META) != 0 ? 1 : 0);
  } else {
    from = skip_part(from);
    if ((flags & FLAG_META) != 0) from = skip_part(from);
  }
  size_t size = (size_t)(from - (const unsigned char *)stored);
  return (struct outline){key.bytes, (uint32_t)aligned(size)};
}

static size_t extent_of(const struct stored *stored) { return outline_of(stored).size; }

size_t stored_size(const struct stored *stored) {
  size_t size = extent_of(stored);
  if ((flags_of(stored) & FLAG_APART) == 0) return size;
  struct response r;
  read_stored(stored, &r);
  size += memory_rounded(blob_size(r.body_blob));
  return r.meta_blob != NULL ? size + memory_rounded(blob_size(r.meta_blob)) : size;
}

bool stored_flushed(const struct shelf *shelf, const struct stored *stored) {
  return chunk_of(stored)->epoch != shelf->epoch;
}

/* ---- chunks ---- */

void shelf_init(struct shelf *shelf, struct memory *memory, int64_t now_ms) {
  *shelf = (struct shelf){.memory = memory};
  wheel_init(&shelf->ends, now_ms);
  list_init(&shelf->sparse);
  list_init(&shelf->ended);
}

static void free_chunk(struct shelf *shelf, struct chunk *chunk) {
  memory_give_aligned(shelf->memory, chunk, chunk->size);
}

static void drop_order(struct shelf *shelf, struct chunk *chunk) {
  memory_give(shelf->memory, chunk->order, chunk->order_count * sizeof *chunk->order);
  chunk->order = NULL;
}

static struct stored *stored_at(struct chunk *chunk, uint32_t at) {
  return (struct stored *)(void *)(chunk->bytes + at);
}

static void offer_if_sparse(struct shelf *shelf, struct chunk *chunk) {
  bool sparse = chunk->live_bytes < chunk->used / 2;
  if (!sparse || chunk->place != NULL || chunk->ending || !list_empty(&chunk->sparse)) return;
  chunk->at = 0;
  list_append(&shelf->sparse, &chunk->sparse);
}

#define PLACES_BYTES (SHELF_SLOTS * sizeof(struct chunk *))

static void give_up_places(struct shelf *shelf, unsigned width) {
  if (--shelf->open_count[width] > 0) return;
  memory_give(shelf->memory, shelf->open[width], PLACES_BYTES);
  shelf->open[width] = NULL;
}

/* The chunk takes nothing more in. */
static void seal(struct shelf *shelf, struct chunk *chunk) {
  if (chunk->place == NULL) return;
  unsigned width = chunk->width;
  *chunk->place = NULL;
  chunk->place = NULL;
  give_up_places(shelf, width);
}

/* It has no live response. Whoever pins it frees it. */
static void retire(struct shelf *shelf, struct chunk *chunk) {
  seal(shelf, chunk);
  wheel_cancel(&shelf->ends, &chunk->timer);
  list_remove(&chunk->sparse);
  drop_order(shelf, chunk);
}

/* Two widths each: a region whose responses live four times as long as others is free long after.
 */
static unsigned kin_of(unsigned width) {
  unsigned kin = MEMORY_KIN_RESPONSES + width / 2;
  return kin < REGIONS_KINS ? kin : REGIONS_KINS - 1;
}

/* The smallest class, from this one on, with room for `size` bytes of responses. */
static unsigned class_with(unsigned class, size_t size) {
  while (class < CHUNK_CLASSES - 1 && class_size(class) < offsetof(struct chunk, bytes) + size)
    class ++;
  return class;
}

/* A chunk of at least this class with room for `size` bytes of responses. One that is larger than
 * every class has the alignment of the largest: its only response begins in front. */
static struct chunk *create_chunk(struct shelf *shelf, unsigned class, unsigned width,
                                  size_t size) {
  size_t needed = offsetof(struct chunk, bytes) + size;
  class = class_with(class, size);
  size_t alignment = class_size(class), whole = (needed + alignment - 1) & ~(alignment - 1);
  if (whole > UINT32_MAX) return NULL;
  struct chunk *chunk = memory_take_aligned(shelf->memory, alignment, whole, kin_of(width));
  if (chunk == NULL) return NULL;
  *chunk = (struct chunk){.class = (uint8_t) class, .size = (uint32_t)whole, .epoch = shelf->epoch};
  chunk->width = (uint8_t)width;
  wheel_node_init(&chunk->timer);
  list_init(&chunk->sparse);
  return chunk;
}

static unsigned width_for(int64_t ttl_ms) {
  if (ttl_ms <= 0) return 0;
  uint64_t step = (uint64_t)ttl_ms / SHELF_SLOTS >> SHELF_FINEST_BITS;
  return step == 0 ? 0 : 64u - (unsigned)__builtin_clzll(step);
}

struct slot {
  unsigned width;
  int64_t number;
};

static struct slot slot_of(const struct response *r, int64_t now_ms) {
  unsigned width = width_for(r->deadline_ms - now_ms);
  return (struct slot){width, r->deadline_ms >> (SHELF_FINEST_BITS + width)};
}

_Static_assert(SHELF_ROOM_BYTES >=
                   (CHUNK_SMALLEST << CHUNK_CLASS_BITS * (CHUNK_CLASSES - 1)) + PLACES_BYTES,
               "the largest chunk and its place");

/* Where the chunk of a slot is open; NULL when memory is short. */
static struct chunk **place_for(struct shelf *shelf, struct slot slot) {
  struct chunk ***places = &shelf->open[slot.width];
  if (*places == NULL) {
    *places = memory_take(shelf->memory, PLACES_BYTES);
    if (*places == NULL) return NULL;
    memset(*places, 0, PLACES_BYTES);
  }
  return &(*places)[(uint64_t)slot.number % SHELF_SLOTS];
}

/* What is open in the slot, or in another that has its place. */
static struct chunk *open_at(const struct shelf *shelf, struct slot slot) {
  struct chunk **places = shelf->open[slot.width];
  return places != NULL ? places[(uint64_t)slot.number % SHELF_SLOTS] : NULL;
}

static bool fits(const struct shelf *shelf, const struct chunk *chunk, struct slot slot,
                 const struct response *r) {
  if (chunk == NULL) return false;
  bool open = chunk->slot == slot.number && chunk->epoch == shelf->epoch &&
              !(chunk->ending && chunk->mixed) && chunk->size == class_size(chunk->class);
  if (!open) return false;
  size_t room = chunk->size - offsetof(struct chunk, bytes) - chunk->used;
  /* Measured only where it matters: near the end of the chunk. */
  return most_of(r) <= room || measure(numbers_of(chunk, r), r) <= room;
}

/* What a new chunk for it takes at least. */
static size_t least_for(const struct shelf *shelf, struct slot slot, const struct response *r) {
  size_t least = class_size(class_with(0, measure((struct numbers){0}, r)));
  return shelf->open[slot.width] != NULL ? least : least + PLACES_BYTES;
}

bool shelf_crowded(const struct shelf *shelf, const struct response *r, size_t room_bytes,
                   int64_t now_ms) {
  if (room_bytes >= SHELF_ROOM_BYTES) return false;
  struct slot slot = slot_of(r, now_ms);
  return !fits(shelf, open_at(shelf, slot), slot, r) && least_for(shelf, slot, r) > room_bytes;
}

size_t shelf_alone_bytes(size_t bytes) {
  size_t rounding = bytes / 4 + 2 * sizeof(struct blob); /* jemalloc's, of body and meta */
  return class_size(0) + sizeof(struct blob) * 2 + bytes + rounding;
}

bool shelf_apart(const struct response *r, bool crowded) {
  if (r->body.len >= SHELF_APART_BYTES || r->meta.len >= SHELF_APART_BYTES) return true;
  return crowded && class_with(0, measure((struct numbers){0}, r)) > 0;
}

/* A slot that fills gets larger ones, as far as there is room. */
static struct chunk *open_chunk(struct shelf *shelf, struct slot slot, const struct response *r,
                                size_t room_bytes) {
  struct chunk **place = place_for(shelf, slot);
  if (place == NULL) return NULL;
  struct chunk *former = *place;
  bool goes_on = former != NULL && former->slot == slot.number && former->epoch == shelf->epoch;
  unsigned class = goes_on ? former->class + 1u : 0;
  if (class == CHUNK_CLASSES) class --;
  while (class > 0 && class_size(class) > room_bytes) class --;
  shelf->open_count[slot.width]++; /* so that sealing the former does not give up the place */
  struct chunk *chunk = create_chunk(shelf, class, slot.width, measure((struct numbers){0}, r));
  if (chunk == NULL) {
    give_up_places(shelf, slot.width);
    return NULL;
  }
  if (former != NULL) {
    seal(shelf, former);
    offer_if_sparse(shelf, former);
  }
  chunk->place = place;
  *place = chunk;
  return chunk;
}

/* The open chunk of a response's slot, with room for it; or, where there is no room for another,
 * one for the response alone. */
static struct chunk *chunk_for(struct shelf *shelf, const struct response *r, size_t room_bytes,
                               int64_t now_ms) {
  struct slot slot = slot_of(r, now_ms);
  struct chunk *chunk = open_at(shelf, slot);
  if (fits(shelf, chunk, slot, r)) return chunk;
  chunk = least_for(shelf, slot, r) > room_bytes
              ? create_chunk(shelf, 0, slot.width, measure((struct numbers){0}, r))
              : open_chunk(shelf, slot, r, room_bytes);
  if (chunk == NULL) return NULL;
  chunk->since_ms = r->since_ms;
  chunk->ttl_ms = r->deadline_ms - r->since_ms;
  chunk->token = r->token;
  chunk->slot = slot.number;
  chunk->last_ms = r->deadline_ms;
  return chunk;
}

struct stored *shelf_append(struct shelf *shelf, const struct response *r, size_t room_bytes,
                            int64_t now_ms) {
  struct chunk *chunk = chunk_for(shelf, r, room_bytes, now_ms);
  if (chunk == NULL) return NULL;
  unsigned char *to = chunk->bytes + chunk->used;
  uint32_t size = (uint32_t)aligned((size_t)(write_stored(chunk, to, r) - to));
  chunk->used += size;
  assert(offsetof(struct chunk, bytes) + chunk->used <= chunk->size);
  chunk->live_bytes += size;
  chunk->live++;
  if (r->deadline_ms < chunk->last_ms) chunk->mixed = true;
  chunk->last_ms = r->deadline_ms;
  if (!wheel_node_armed(&chunk->timer) || r->deadline_ms < chunk->timer.deadline_ms)
    wheel_set(&shelf->ends, &chunk->timer, r->deadline_ms);
  return (struct stored *)(void *)to;
}

static int64_t slot_start_ms(const struct chunk *chunk) {
  return (int64_t)((uint64_t)chunk->slot << (SHELF_FINEST_BITS + chunk->width));
}

/* Of a chunk that was put in order already: its pass does not look at what it takes. */
static void drop_in_order(struct chunk *chunk, const struct stored *stored) {
  uint64_t after = (uint64_t)(stored_deadline_ms(stored) - slot_start_ms(chunk));
  uint64_t place = (uint64_t)((const unsigned char *)stored - chunk->bytes) / ALIGNMENT;
  uint32_t low = chunk->order_at, high = chunk->order_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (chunk->order[middle] >> PLACE_BITS < after) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  while (low < chunk->order_count && chunk->order[low] != (after << PLACE_BITS | place)) low++;
  assert(low < chunk->order_count);
  chunk->order[low] |= GONE;
}

static void release_blobs(struct shelf *shelf, struct stored *stored) {
  struct response r;
  if ((flags_of(stored) & FLAG_APART) == 0) return;
  read_stored(stored, &r);
  blob_release(shelf->memory, r.body_blob);
  blob_release(shelf->memory, r.meta_blob);
}

void shelf_drop(struct shelf *shelf, struct stored *stored) {
  struct chunk *chunk = chunk_of(stored);
  assert((flags_of(stored) & FLAG_DROPPED) == 0);
  release_blobs(shelf, stored);
  chunk->live_bytes -= (uint32_t)extent_of(stored);
  chunk->live--;
  *(unsigned char *)stored |= FLAG_DROPPED;
  if (chunk->order != NULL) drop_in_order(chunk, stored);
  if (chunk->live > 0) {
    offer_if_sparse(shelf, chunk);
    return;
  }
  retire(shelf, chunk);
  if (chunk->pins == 0) free_chunk(shelf, chunk);
}

void stored_pin(struct stored *stored) { chunk_of(stored)->pins++; }

void stored_unpin(struct shelf *shelf, struct stored *stored) {
  struct chunk *chunk = chunk_of(stored);
  assert(chunk->pins > 0);
  if (--chunk->pins == 0 && chunk->live == 0) free_chunk(shelf, chunk);
}

/* ---- ends ---- */

struct pass {
  struct shelf *shelf;
  struct chunk *chunk;
  int64_t past_ms;
  unsigned *budget;
  struct due *due;
  unsigned glances;
};

static bool dropped(const struct stored *stored) { return (flags_of(stored) & FLAG_DROPPED) != 0; }

static void arm(struct pass *pass, int64_t deadline_ms) {
  wheel_set(&pass->shelf->ends, &pass->chunk->timer, deadline_ms);
}

static void spend(struct pass *pass, unsigned steps) {
  *pass->budget -= steps < *pass->budget ? steps : *pass->budget;
}

/* One that is only looked at. */
static void glance(struct pass *pass) {
  if (++pass->glances % SHELF_GLANCES == 0) spend(pass, 1);
}

static bool pass_is_full(const struct pass *pass) {
  return pass->due->count == SHELF_DUE_AT_ONCE || *pass->budget == 0;
}

static void put_due(struct pass *pass, struct stored *stored, struct span key) {
  struct due *due = pass->due;
  due->stored[due->count] = stored;
  due->keys[due->count++] = key;
  spend(pass, 1);
}

/* live_bytes does not matter once a chunk ends. It is not marked as dropped, which would only make
 * its line be written back: the pass does not come here again. */
static void take(struct pass *pass, struct stored *stored, struct span key) {
  put_due(pass, stored, key);
  if ((flags_of(stored) & FLAG_APART) != 0) release_blobs(pass->shelf, stored);
}

/* Those that were taken out of an order unseen, each somewhere else: by now they are there. */
static void read_unseen(struct shelf *shelf, struct due *due) {
  for (size_t i = 0; i < due->count; i++) {
    struct stored *stored = due->stored[i];
    if (span_present(due->keys[i])) continue;
    due->keys[i] = stored_key(stored).bytes;
    if ((flags_of(stored) & FLAG_APART) != 0) release_blobs(shelf, stored);
  }
}

/* Those taken since there were so many: counted together. */
static void taken_since(struct pass *pass, size_t count) {
  size_t taken = pass->due->count - count;
  pass->chunk->live -= (uint32_t)taken;
  if (pass->chunk->epoch != pass->shelf->epoch) pass->due->flushed += taken;
}

/* Sorts by the bits from PLACE_BITS on, of which those in `differ` are not the same in all. Returns
 * where the result lies: in one of the two. Sorted by comparisons, 460 responses cost three times
 * as much. */
static uint64_t *sort(uint64_t *values, uint64_t *spare, size_t count, uint64_t differ) {
  const uint64_t mask = (UINT64_C(1) << RADIX_BITS) - 1;
  for (unsigned shift = PLACE_BITS; shift < 64 && differ >> shift != 0; shift += RADIX_BITS) {
    if ((differ >> shift & mask) == 0) continue;
    uint32_t starts[(1u << RADIX_BITS) + 1] = {0};
    for (size_t i = 0; i < count; i++) starts[(values[i] >> shift & mask) + 1]++;
    for (size_t digit = 0; digit < mask; digit++) starts[digit + 1] += starts[digit];
    for (size_t i = 0; i < count; i++) spare[starts[values[i] >> shift & mask]++] = values[i];
    uint64_t *sorted = spare;
    spare = values;
    values = sorted;
  }
  return values;
}

/* Writes down what is live, end and place in a number each. */
static size_t list_ends(struct pass *pass, uint64_t *values, uint64_t *differ) {
  struct chunk *chunk = pass->chunk;
  size_t count = 0;
  for (uint32_t at = chunk->begin; at < chunk->used;) {
    const struct stored *stored = stored_at(chunk, at);
    __builtin_prefetch((const char *)stored + AHEAD_BYTES);
    if (!dropped(stored)) {
      uint64_t after = (uint64_t)(deadline_in(chunk, stored) - slot_start_ms(chunk));
      values[count++] = after << PLACE_BITS | at / ALIGNMENT;
      *differ |= values[0] ^ values[count - 1];
    }
    at += outline_of(stored).size;
  }
  return count;
}

/* Puts a mixed chunk in order, once, so that it is not looked through for each of its ends. It
 * stays without when memory is short, or its slot is wider than the numbers are. */
static void put_in_order(struct pass *pass) {
  struct chunk *chunk = pass->chunk;
  if (SHELF_FINEST_BITS + chunk->width + PLACE_BITS > 64) return;
  struct memory *memory = pass->shelf->memory;
  size_t bytes = chunk->live * sizeof *chunk->order;
  uint64_t *values = memory_take(memory, bytes), *spare = memory_take(memory, bytes), differ = 0;
  if (values != NULL && spare != NULL) {
    chunk->order_count = (uint32_t)list_ends(pass, values, &differ);
    chunk->order_at = 0;
    assert(chunk->order_count == chunk->live);
    spend(pass, chunk->order_count / SHELF_SORTED);
    chunk->order = sort(values, spare, chunk->order_count, differ);
  }
  if (chunk->order != values) memory_give(memory, values, bytes);
  if (chunk->order != spare) memory_give(memory, spare, bytes);
}

static uint32_t place_of(uint64_t end) { return (uint32_t)(end & GONE) * ALIGNMENT; }

static int64_t order_ms(const struct chunk *chunk, uint32_t i) {
  return slot_start_ms(chunk) + (int64_t)(chunk->order[i] >> PLACE_BITS);
}

static void pass_over_order(struct pass *pass) {
  struct chunk *chunk = pass->chunk;
  for (; chunk->order_at < chunk->order_count; chunk->order_at++) {
    int64_t deadline_ms = order_ms(chunk, chunk->order_at);
    bool over = deadline_ms <= pass->past_ms;
    if (!over || pass_is_full(pass)) {
      arm(pass, over ? pass->past_ms : deadline_ms);
      return;
    }
    uint64_t end = chunk->order[chunk->order_at];
    if ((end & GONE) == GONE) continue;
    struct stored *stored = stored_at(chunk, place_of(end));
    __builtin_prefetch(stored);
    put_due(pass, stored, SPAN_ABSENT);
  }
}

/* From chunk.at on. In the order of the ends: up to the first that lives on. Mixed: to the end, and
 * then again from chunk.begin when the earliest of the others has come. */
static void pass_over_bytes(struct pass *pass) {
  struct chunk *chunk = pass->chunk;
  bool all_over = !chunk->mixed && chunk->last_ms <= pass->past_ms; /* then no end is read */
  if (chunk->at == chunk->begin) chunk->next_ms = INT64_MAX;
  while (chunk->at < chunk->used) {
    struct stored *stored = stored_at(chunk, chunk->at);
    struct outline outline = outline_of(stored);
    int64_t deadline_ms = all_over ? chunk->last_ms : deadline_in(chunk, stored);
    __builtin_prefetch((const char *)stored + AHEAD_BYTES);
    bool over = deadline_ms <= pass->past_ms;
    if (dropped(stored)) {
      glance(pass);
    } else if (!over && !chunk->mixed) {
      arm(pass, deadline_ms);
      return;
    } else if (pass_is_full(pass)) {
      arm(pass, pass->past_ms);
      return;
    } else if (over) {
      take(pass, stored, outline.key);
      if (chunk->mixed) *(unsigned char *)stored |= FLAG_DROPPED;
    } else {
      glance(pass);
      if (deadline_ms < chunk->next_ms) chunk->next_ms = deadline_ms;
    }
    chunk->at += outline.size;
    if (!chunk->mixed) chunk->begin = chunk->at;
  }
  if (!chunk->mixed) return;
  chunk->at = chunk->begin;
  if (chunk->next_ms != INT64_MAX) arm(pass, chunk->next_ms);
}

static void pass_over(struct pass *pass) {
  struct chunk *chunk = pass->chunk;
  if (!chunk->ending) {
    chunk->ending = true;
    chunk->at = chunk->begin = 0;
    list_remove(&chunk->sparse);
  }
  size_t before = pass->due->count;
  if (chunk->mixed && chunk->order == NULL) put_in_order(pass);
  if (chunk->order != NULL) {
    pass_over_order(pass);
  } else {
    pass_over_bytes(pass);
  }
  taken_since(pass, before);
  if (chunk->live > 0) return;
  retire(pass->shelf, chunk);
  if (chunk->pins == 0) list_append(&pass->shelf->ended, &chunk->sparse);
}

size_t shelf_due(struct shelf *shelf, int64_t past_ms, unsigned *budget, struct due *due) {
  struct pass pass = {.shelf = shelf, .past_ms = past_ms, .budget = budget, .due = due};
  due->count = due->flushed = 0;
  for (struct list *node; (node = list_pop(&shelf->ended)) != NULL;)
    free_chunk(shelf, LIST_ENTRY(node, struct chunk, sparse));
  while (due->count < SHELF_DUE_AT_ONCE) {
    struct wheel_node *node = wheel_pop(&shelf->ends, past_ms, budget);
    if (node == NULL) break;
    pass.chunk = LIST_ENTRY(node, struct chunk, timer);
    /* The pop may have taken the last step of the budget: whoever is due still is. */
    pass_over(&pass);
  }
  read_unseen(shelf, due);
  return due->count;
}

int64_t shelf_next(const struct shelf *shelf) { return wheel_next(&shelf->ends); }

/* ---- sparse chunks ---- */

size_t shelf_sparse(struct shelf *shelf, struct stored *live[], size_t room) {
  if (list_empty(&shelf->sparse)) return 0;
  struct chunk *chunk = LIST_ENTRY(shelf->sparse.next, struct chunk, sparse);
  size_t found = 0;
  while (found < room && chunk->at < chunk->used) {
    struct stored *stored = stored_at(chunk, chunk->at);
    if ((flags_of(stored) & FLAG_DROPPED) == 0) live[found++] = stored;
    chunk->at += (uint32_t)extent_of(stored);
  }
  if (found == 0) list_remove(&chunk->sparse);
  return found;
}

void shelf_keep_sparse(struct shelf *shelf) { list_remove(shelf->sparse.next); }
