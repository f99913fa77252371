/* shelf.c - see shelf.h. */
#include "server/engine/shelf.h"

#include <assert.h>
#include <stdlib.h>

#define CHUNK_CLASSES 4u
#define CHUNK_SMALLEST 1024u
#define CHUNK_CLASS_BITS 2u /* each is four times the one before */
#define ALIGNMENT 4u        /* of a response: addresses leave two bits to blob_part */
#define LINE_BYTES 64u
#define PREFETCHED_LINES 3u /* a response of 100 bytes with its key */

/* A pass over a mixed chunk remembers so many that end next, so that it is looked through once for
 * as many ends, not for each. */
#define SOON 16u

struct chunk {
  struct wheel_node timer;  /* in shelf.ends */
  struct list sparse;       /* in shelf.sparse */
  struct chunk **place;     /* where it is open; NULL: it takes nothing more in */
  int64_t since_ms, ttl_ms; /* of the first response, with its token: what the others are relative
                               to */
  uint64_t token;
  int64_t slot;
  int64_t last_ms; /* the end of the response appended last */
  uint32_t size, used;
  uint32_t at; /* where the pass under way goes on */
  uint32_t live, live_bytes;
  uint32_t pins, epoch;
  uint8_t class, width;
  uint8_t soon_count, soon_at; /* of soon: those before soon_at have ended */
  uint16_t soon[SOON];         /* mixed: where those lie that end next, in that order */
  bool mixed;                  /* the ends are not in order */
  bool ending;                 /* the first end has come */
  _Alignas(ALIGNMENT) unsigned char bytes[];
};

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

struct extent { /* the numbers and lengths of a response in a chunk */
  uint64_t since, ttl, token;
  bool apart;
  size_t size;
};

static size_t part_size(struct span part, bool apart) {
  return apart ? sizeof(struct engine_blob *) : leb_size(part.len) + part.len;
}

static struct extent measure(const struct chunk *chunk, const struct response *r) {
  uint64_t since = (uint64_t)r->since_ms, ttl = (uint64_t)(r->deadline_ms - r->since_ms);
  struct extent e = {
      .since = difference(since, chunk != NULL ? (uint64_t)chunk->since_ms : since),
      .ttl = difference(ttl, chunk != NULL ? (uint64_t)chunk->ttl_ms : ttl),
      .token = difference(r->token, chunk != NULL ? chunk->token : r->token),
      .apart = r->body_blob != NULL,
  };
  size_t key = r->key.form == KEY_RAW ? leb_size(r->key.bytes.len) : 0;
  e.size = 1 + leb_size(e.since) + leb_size(e.ttl) + leb_size(e.token) + key + r->key.bytes.len;
  if (span_present(r->fingerprint)) e.size += part_size(r->fingerprint, false);
  e.size += part_size(r->body, e.apart);
  if (span_present(r->meta)) e.size += part_size(r->meta, e.apart);
  e.size = (e.size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
  return e;
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

static void write_stored(const struct chunk *chunk, unsigned char *to, const struct response *r,
                         const struct extent *e) {
  unsigned flags = (unsigned)r->key.form | (unsigned)chunk->class << FLAG_CLASS_SHIFT;
  if (span_present(r->fingerprint)) flags |= FLAG_FINGERPRINT;
  if (span_present(r->meta)) flags |= FLAG_META;
  if (e->apart) flags |= FLAG_APART;
  *to++ = (unsigned char)flags;
  to = leb_write(leb_write(leb_write(to, e->since), e->ttl), e->token);
  if (r->key.form == KEY_RAW) to = leb_write(to, r->key.bytes.len);
  to = write_bytes(to, r->key.bytes);
  if (span_present(r->fingerprint)) to = write_part(to, r->fingerprint, NULL);
  to = write_part(to, r->body, r->body_blob);
  if (span_present(r->meta)) write_part(to, r->meta, r->meta_blob);
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

struct key stored_key(const struct stored *stored) {
  struct key key;
  const unsigned char *from = (const unsigned char *)stored + 1;
  read_key(leb_skip(leb_skip(leb_skip(from))), flags_of(stored), &key);
  return key;
}

static int64_t deadline_of(const struct chunk *chunk, const struct stored *stored) {
  uint64_t since, ttl;
  leb_read(leb_read((const unsigned char *)stored + 1, &since), &ttl);
  return (int64_t)(sum((uint64_t)chunk->since_ms, since) + sum((uint64_t)chunk->ttl_ms, ttl));
}

int64_t stored_deadline_ms(const struct stored *stored) {
  return deadline_of(chunk_of(stored), stored);
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

/* What lies behind the numbers, without looking at dropped blobs. */
static size_t extent_of(const struct stored *stored) {
  unsigned flags = flags_of(stored);
  const unsigned char *from = (const unsigned char *)stored + 1;
  struct key key;
  struct span part;
  from = read_key(leb_skip(leb_skip(leb_skip(from))), flags, &key);
  if ((flags & FLAG_FINGERPRINT) != 0) from = read_part(from, &part);
  unsigned parts = (flags & FLAG_META) != 0 ? 2 : 1;
  for (; parts > 0; parts--)
    from = (flags & FLAG_APART) != 0 ? from + sizeof(struct engine_blob *) : read_part(from, &part);
  size_t size = (size_t)(from - (const unsigned char *)stored);
  return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

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
}

static void free_chunk(struct shelf *shelf, struct chunk *chunk) {
  memory_give(shelf->memory, chunk, chunk->size);
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

/* The chunk takes nothing more in. */
static void seal(struct shelf *shelf, struct chunk *chunk) {
  if (chunk->place == NULL) return;
  unsigned width = chunk->width;
  *chunk->place = NULL;
  chunk->place = NULL;
  if (--shelf->open_count[width] > 0) return;
  memory_give(shelf->memory, shelf->open[width], SHELF_SLOTS * sizeof *shelf->open[width]);
  shelf->open[width] = NULL;
}

static void retire_if_empty(struct shelf *shelf, struct chunk *chunk) {
  if (chunk->live > 0) return;
  seal(shelf, chunk);
  wheel_cancel(&shelf->ends, &chunk->timer);
  list_remove(&chunk->sparse);
  if (chunk->pins == 0) free_chunk(shelf, chunk);
}

/* A chunk of at least this class with room for `size` bytes of responses. One that is larger than
 * every class has the alignment of the largest: its only response begins in front. */
static struct chunk *create_chunk(struct shelf *shelf, unsigned class, size_t size) {
  size_t needed = offsetof(struct chunk, bytes) + size;
  while (class < CHUNK_CLASSES - 1 && class_size(class) < needed) class ++;
  size_t alignment = class_size(class), whole = (needed + alignment - 1) & ~(alignment - 1);
  if (whole > UINT32_MAX) return NULL;
  struct chunk *chunk = memory_take_aligned(shelf->memory, alignment, whole);
  if (chunk == NULL) return NULL;
  *chunk = (struct chunk){.class = (uint8_t) class, .size = (uint32_t)whole, .epoch = shelf->epoch};
  wheel_node_init(&chunk->timer);
  list_init(&chunk->sparse);
  return chunk;
}

static unsigned width_for(int64_t ttl_ms) {
  if (ttl_ms <= 0) return 0;
  uint64_t step = (uint64_t)ttl_ms / SHELF_SLOTS >> SHELF_FINEST_BITS;
  return step == 0 ? 0 : 64u - (unsigned)__builtin_clzll(step);
}

/* Where the chunk of a slot is open; NULL when memory is short. */
static struct chunk **place_for(struct shelf *shelf, unsigned width, int64_t slot) {
  if (shelf->open[width] == NULL) {
    size_t bytes = SHELF_SLOTS * sizeof *shelf->open[width];
    shelf->open[width] = memory_take(shelf->memory, bytes);
    if (shelf->open[width] == NULL) return NULL;
    memset(shelf->open[width], 0, bytes);
  }
  return &shelf->open[width][(uint64_t)slot % SHELF_SLOTS];
}

static bool fits(const struct shelf *shelf, const struct chunk *chunk, int64_t slot, size_t size) {
  bool open = chunk->slot == slot && chunk->epoch == shelf->epoch &&
              !(chunk->ending && chunk->mixed) && chunk->size == class_size(chunk->class);
  return open && offsetof(struct chunk, bytes) + chunk->used + size <= chunk->size;
}

/* The open chunk of a response's slot, with room for it; a slot that fills gets larger ones. */
static struct chunk *chunk_for(struct shelf *shelf, const struct response *r, int64_t now_ms,
                               struct extent *extent) {
  unsigned width = width_for(r->deadline_ms - now_ms);
  int64_t slot = r->deadline_ms >> (SHELF_FINEST_BITS + width);
  struct chunk **place = place_for(shelf, width, slot), *open = place != NULL ? *place : NULL;
  if (place == NULL) return NULL;
  if (open != NULL) {
    *extent = measure(open, r);
    if (fits(shelf, open, slot, extent->size)) return open;
  }
  *extent = measure(NULL, r);
  bool goes_on = open != NULL && open->slot == slot && open->epoch == shelf->epoch;
  unsigned class = !goes_on                          ? 0
                   : open->class < CHUNK_CLASSES - 1 ? open->class + 1u
                                                     : open->class;
  shelf->open_count[width]++; /* so that sealing the former does not give up the place */
  struct chunk *chunk = create_chunk(shelf, class, extent->size);
  if (open != NULL && chunk != NULL) {
    seal(shelf, open);
    offer_if_sparse(shelf, open);
  }
  if (chunk == NULL) {
    if (--shelf->open_count[width] == 0) {
      memory_give(shelf->memory, shelf->open[width], SHELF_SLOTS * sizeof *shelf->open[width]);
      shelf->open[width] = NULL;
    }
    return NULL;
  }
  chunk->since_ms = r->since_ms;
  chunk->ttl_ms = r->deadline_ms - r->since_ms;
  chunk->token = r->token;
  chunk->slot = slot;
  chunk->width = (uint8_t)width;
  chunk->place = place;
  chunk->last_ms = r->deadline_ms;
  *place = chunk;
  return chunk;
}

struct stored *shelf_append(struct shelf *shelf, const struct response *r, int64_t now_ms) {
  struct extent extent;
  struct chunk *chunk = chunk_for(shelf, r, now_ms, &extent);
  if (chunk == NULL) return NULL;
  unsigned char *to = chunk->bytes + chunk->used;
  write_stored(chunk, to, r, &extent);
  chunk->used += (uint32_t)extent.size;
  chunk->live_bytes += (uint32_t)extent.size;
  chunk->live++;
  if (r->deadline_ms < chunk->last_ms) chunk->mixed = true;
  chunk->last_ms = r->deadline_ms;
  if (!wheel_node_armed(&chunk->timer) || r->deadline_ms < chunk->timer.deadline_ms)
    wheel_set(&shelf->ends, &chunk->timer, r->deadline_ms);
  return (struct stored *)(void *)to;
}

void shelf_drop(struct shelf *shelf, struct stored *stored) {
  struct chunk *chunk = chunk_of(stored);
  assert((flags_of(stored) & FLAG_DROPPED) == 0);
  if ((flags_of(stored) & FLAG_APART) != 0) {
    struct response r;
    read_stored(stored, &r);
    blob_release(shelf->memory, r.body_blob);
    blob_release(shelf->memory, r.meta_blob);
  }
  chunk->live_bytes -= (uint32_t)extent_of(stored);
  chunk->live--;
  *(unsigned char *)stored |= FLAG_DROPPED;
  if (chunk->live == 0) {
    retire_if_empty(shelf, chunk);
  } else {
    offer_if_sparse(shelf, chunk);
  }
}

void stored_pin(struct stored *stored) { chunk_of(stored)->pins++; }

void stored_unpin(struct shelf *shelf, struct stored *stored) {
  struct chunk *chunk = chunk_of(stored);
  assert(chunk->pins > 0);
  if (--chunk->pins == 0 && chunk->live == 0) free_chunk(shelf, chunk);
}

/* ---- ends ---- */

struct pass {
  int64_t past_ms;
  unsigned *budget;
  struct stored **due;
  size_t found, room;
};

static bool dropped(const struct stored *stored) { return (flags_of(stored) & FLAG_DROPPED) != 0; }

static void arm(struct shelf *shelf, struct chunk *chunk, int64_t deadline_ms) {
  wheel_set(&shelf->ends, &chunk->timer, deadline_ms);
}

static bool pass_takes(struct pass *pass, struct stored *stored) {
  if (pass->found == pass->room || *pass->budget == 0) return false;
  pass->due[pass->found++] = stored;
  --*pass->budget;
  return true;
}

static struct stored *soon_at(struct chunk *chunk, unsigned i) {
  return stored_at(chunk, chunk->soon[i] * ALIGNMENT);
}

/* Keeps the SOON earliest in order. */
static void note_soon(struct chunk *chunk, int64_t deadline_ms) {
  unsigned i = chunk->soon_count;
  if (i < SOON) {
    chunk->soon_count++;
  } else if (deadline_ms >= deadline_of(chunk, soon_at(chunk, --i))) {
    return;
  }
  for (; i > 0 && deadline_of(chunk, soon_at(chunk, i - 1)) > deadline_ms; i--)
    chunk->soon[i] = chunk->soon[i - 1];
  chunk->soon[i] = (uint16_t)(chunk->at / ALIGNMENT);
}

/* Those that are known to end next. false: all of them have, and the whole chunk has to be looked
 * through for more, which waits until those just found are dropped. */
static bool pass_over_soon(struct shelf *shelf, struct chunk *chunk, struct pass *pass) {
  for (; chunk->soon_at < chunk->soon_count; chunk->soon_at++) {
    struct stored *stored = soon_at(chunk, chunk->soon_at);
    if (dropped(stored)) continue;
    int64_t deadline_ms = deadline_of(chunk, stored);
    if (deadline_ms <= pass->past_ms && pass_takes(pass, stored)) continue;
    arm(shelf, chunk, deadline_ms);
    return true;
  }
  chunk->soon_count = chunk->soon_at = 0;
  if (pass->found > 0) arm(shelf, chunk, pass->past_ms);
  return pass->found > 0;
}

/* From chunk.at on. In order: up to the first that lives on; mixed: to the end. false: there was no
 * more budget or room. */
static bool pass_over_bytes(struct shelf *shelf, struct chunk *chunk, struct pass *pass) {
  unsigned glances = 0;
  for (; chunk->at < chunk->used; chunk->at += (uint32_t)extent_of(stored_at(chunk, chunk->at))) {
    struct stored *stored = stored_at(chunk, chunk->at);
    if (!dropped(stored)) {
      int64_t deadline_ms = deadline_of(chunk, stored);
      if (deadline_ms <= pass->past_ms) {
        if (!pass_takes(pass, stored)) return false;
        continue;
      }
      if (!chunk->mixed) {
        arm(shelf, chunk, deadline_ms);
        return true;
      }
      note_soon(chunk, deadline_ms);
    }
    if (++glances % SHELF_GLANCES != 0) continue;
    if (*pass->budget > 0) --*pass->budget;
  }
  if (chunk->mixed) chunk->at = 0;
  if (chunk->soon_count > 0) arm(shelf, chunk, deadline_of(chunk, soon_at(chunk, 0)));
  return true;
}

static void pass_over(struct shelf *shelf, struct chunk *chunk, struct pass *pass) {
  bool knows_next = chunk->mixed && chunk->at == 0 && chunk->soon_count > 0;
  if (knows_next && pass_over_soon(shelf, chunk, pass)) return;
  if (!pass_over_bytes(shelf, chunk, pass)) arm(shelf, chunk, pass->past_ms);
}

size_t shelf_due(struct shelf *shelf, int64_t past_ms, unsigned *budget, struct stored *due[],
                 size_t room) {
  struct pass pass = {.past_ms = past_ms, .budget = budget, .due = due, .room = room};
  while (pass.found < room) {
    struct wheel_node *node = wheel_pop(&shelf->ends, past_ms, budget);
    if (node == NULL) break;
    struct chunk *chunk = LIST_ENTRY(node, struct chunk, timer);
    if (!chunk->ending) {
      chunk->ending = true;
      chunk->at = 0;
      list_remove(&chunk->sparse);
    }
    pass_over(shelf, chunk, &pass);
    /* What a pass saw live on may have ended before it was through: not again before what it found
     * is dropped. */
    bool again = wheel_node_armed(&chunk->timer) && chunk->timer.deadline_ms <= past_ms;
    if (again && pass.found > 0) break;
  }
  return pass.found;
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
