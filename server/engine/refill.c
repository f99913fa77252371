/* refill.c - see refill.h. */
#include "server/engine/refill.h"

#include <stdlib.h>
#include <string.h>

#include "server/engine/keys.h"
#include "server/engine/restore.h"

/* Sixteen thousand claims are more than most servers have open; 256 KiB. */
#define LINES 4096u
#define LINE_CLAIMS 4u
#define GROUP 64u
#define CACHE_LINE_BYTES 64

/* Claims whose hashes are of one line, the latest first. */
struct line {
  uint64_t hashes[LINE_CLAIMS];
  const char *claims[LINE_CLAIMS]; /* as their images were read; NULL: none, nor behind it */
};

struct item {
  struct engine *engine;
  struct name name;
  struct image image;
  bool stored; /* the image is the response of this claim */
  struct image claim;
};

struct refill {
  _Alignas(CACHE_LINE_BYTES) struct line lines[LINES];
  unsigned aside; /* in all lines */
  unsigned count; /* of the group */
  struct item group[GROUP];
  unsigned shards;
  struct engine *engines[];
};

struct refill *refill_create(struct engine *const *engines, unsigned count) {
  size_t size = sizeof(struct refill) + count * sizeof *engines;
  void *memory;
  if (posix_memalign(&memory, _Alignof(struct refill), size) != 0) return NULL;
  memset(memory, 0, size);
  struct refill *refill = memory;
  memcpy(refill->engines, engines, count * sizeof *engines);
  refill->shards = count;
  return refill;
}

void refill_destroy(struct refill *refill) { free(refill); }

/* ---- the group ---- */

static bool restore(const struct item *item) {
  return item->stored ? restore_stored(item->engine, &item->name, &item->claim, &item->image)
                      : restore_image(item->engine, &item->name, &item->image);
}

static bool restore_group(struct refill *refill) {
  const struct item *group = refill->group;
  for (unsigned i = 0; i < refill->count; i++) keys_prefetch_chain(group[i].engine, &group[i].name);
  for (unsigned i = 0; i < refill->count; i++) keys_prefetch_entry(group[i].engine, &group[i].name);
  bool all = true;
  for (unsigned i = 0; i < refill->count && all; i++) all = restore(&group[i]);
  refill->count = 0;
  return all;
}

static bool add(struct refill *refill, uint64_t hash, const struct image *image,
                const struct image *claim) {
  struct item *item = &refill->group[refill->count++];
  item->engine = refill->engines[name_shard(hash, refill->shards)];
  item->name = (struct name){.key = image->key, .hash = hash};
  item->image = *image;
  item->stored = claim != NULL;
  if (item->stored) item->claim = *claim;
  keys_prefetch(item->engine, &item->name);
  return refill->count < GROUP || restore_group(refill);
}

/* ---- claims aside ---- */

static struct line *line_of(struct refill *refill, uint64_t hash) {
  return &refill->lines[hash % LINES];
}

/* It was read before. */
static void read_again(const char *bytes, struct image *image) {
  image_read((struct span){bytes, UINT32_MAX}, image);
}

static bool add_claim(struct refill *refill, uint64_t hash, const char *claim) {
  struct image image;
  read_again(claim, &image);
  return add(refill, hash, &image, NULL);
}

/* Takes out the claim of a key; false: there is none. */
static bool take_aside(struct refill *refill, uint64_t hash, struct key key, struct image *claim) {
  struct line *line = line_of(refill, hash);
  unsigned at = 0;
  for (;; at++) {
    if (at == LINE_CLAIMS || line->claims[at] == NULL) return false;
    if (line->hashes[at] != hash) continue;
    read_again(line->claims[at], claim);
    if (key_equal(claim->key, key)) break;
  }
  for (; at + 1 < LINE_CLAIMS; at++) {
    line->hashes[at] = line->hashes[at + 1];
    line->claims[at] = line->claims[at + 1];
  }
  line->claims[at] = NULL;
  refill->aside--;
  return true;
}

/* The one that was there longest gives way. */
static bool put_aside(struct refill *refill, uint64_t hash, const char *claim) {
  struct line *line = line_of(refill, hash);
  uint64_t last_hash = line->hashes[LINE_CLAIMS - 1];
  const char *last = line->claims[LINE_CLAIMS - 1];
  memmove(line->hashes + 1, line->hashes, (LINE_CLAIMS - 1) * sizeof *line->hashes);
  memmove(line->claims + 1, line->claims, (LINE_CLAIMS - 1) * sizeof *line->claims);
  line->hashes[0] = hash;
  line->claims[0] = claim;
  if (last != NULL) return add_claim(refill, last_hash, last);
  refill->aside++;
  return true;
}

static bool settle_line(struct refill *refill, struct line *line) {
  for (unsigned i = 0; i < LINE_CLAIMS && line->claims[i] != NULL; i++) {
    if (!add_claim(refill, line->hashes[i], line->claims[i])) return false;
    line->claims[i] = NULL;
    refill->aside--;
  }
  return true;
}

/* ---- images ---- */

static bool flush(struct refill *refill, const struct image *image) {
  if (!refill_settle(refill)) return false;
  for (unsigned i = 0; i < refill->shards; i++) restore_flush(refill->engines[i], image->since_ms);
  return true;
}

bool refill_add(struct refill *refill, const char *bytes, const struct image *image) {
  if (image->kind == IMAGE_FLUSH) return flush(refill, image);
  uint64_t hash = name_hash(refill->engines[0], image->key.bytes);
  struct image claim;
  if (take_aside(refill, hash, image->key, &claim)) {
    if (image->kind == IMAGE_RESPONSE && image->token == claim.token)
      return add(refill, hash, image, &claim);
    if (!add(refill, hash, &claim, NULL)) return false;
  }
  if (image->kind == IMAGE_RECORD && image->phase == RULES_HELD)
    return put_aside(refill, hash, bytes);
  return add(refill, hash, image, NULL);
}

bool refill_settle(struct refill *refill) {
  for (unsigned i = 0; i < LINES && refill->aside > 0; i++)
    if (!settle_line(refill, &refill->lines[i])) return false;
  return restore_group(refill);
}

bool refill_tick(struct refill *refill, int64_t engine_ms) {
  if (!refill_settle(refill)) return false;
  for (unsigned i = 0; i < refill->shards; i++) restore_tick(refill->engines[i], engine_ms);
  return true;
}
