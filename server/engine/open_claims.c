/* open_claims.c - see open_claims.h. */
#include "server/engine/open_claims.h"

#include <assert.h>

/* Inlined, these would make each grant and each STORE save their registers. */
#define SELDOM __attribute__((cold, noinline))
#define LEAST_CAPACITY 16u /* anchors */
/* An anchor is one too many if so few records lie between the one before it and the one after: at
 * least half as many come to each anchor in the long run. */
#define CLOSE_TOGETHER 64u

static struct record *record_of(const struct list *node) {
  return LIST_ENTRY(node, struct record, open);
}

static bool is_anchor(const struct record *record) { return (record->flags & RECORD_ANCHOR) != 0; }

static bool is_end(const struct open_claims *claims, const struct list *node) {
  return node == &claims->by_token;
}

/* ---- life ---- */

void open_claims_init(struct open_claims *claims, struct memory *memory) {
  *claims = (struct open_claims){.memory = memory};
  list_init(&claims->by_token);
  claims->held = claims->unknown = &claims->by_token;
}

static void forget_anchors(struct open_claims *claims) {
  memory_give(claims->memory, claims->anchors, claims->capacity * sizeof *claims->anchors);
  claims->anchors = NULL;
  claims->count = claims->capacity = claims->holes = 0;
}

void open_claims_deinit(struct open_claims *claims) {
  assert(list_empty(&claims->by_token));
  forget_anchors(claims);
}

/* ---- fingers ---- */

/* NULL: of this phase the oldest is not asked for. */
static struct list **finger_of(struct open_claims *claims, unsigned phase) {
  if (phase == RULES_HELD) return &claims->held;
  return phase == RULES_UNKNOWN ? &claims->unknown : NULL;
}

void open_claims_changed(struct open_claims *claims, struct record *record) {
  struct list **finger = finger_of(claims, record->phase);
  if (finger == NULL) return;
  if (is_end(claims, *finger) || record->token < record_of(*finger)->token) *finger = &record->open;
}

const struct record *open_claims_oldest(struct open_claims *claims, enum rules_phase phase,
                                        uint64_t flushed_token) {
  struct list **finger = finger_of(claims, phase);
  assert(finger != NULL);
  for (unsigned left = OPEN_CLAIMS_LOOKED_AT; left > 0 && !is_end(claims, *finger); left--) {
    const struct record *record = record_of(*finger);
    if (record->phase == phase && !record_is_flushed_by(record, flushed_token)) return record;
    *finger = (*finger)->next;
  }
  return is_end(claims, *finger) ? NULL : record_of(*finger);
}

/* ---- the array of anchors ---- */

/* The first anchor, or hole, with a larger token; count: there is none. */
static uint32_t anchor_above(const struct open_claims *claims, uint64_t token) {
  uint32_t low = 0, high = claims->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (claims->anchors[middle].token <= token) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static uint32_t anchor_at(const struct open_claims *claims, const struct record *record) {
  uint32_t at = anchor_above(claims, record->token);
  do {
    assert(at > 0);
  } while (claims->anchors[--at].record != record);
  return at;
}

/* false: no memory; nothing has changed. */
static bool resize(struct open_claims *claims, uint32_t capacity) {
  struct open_claims_anchor *anchors = memory_take(claims->memory, capacity * sizeof *anchors);
  if (anchors == NULL) return false;
  if (claims->count > 0) memcpy(anchors, claims->anchors, claims->count * sizeof *anchors);
  memory_give(claims->memory, claims->anchors, claims->capacity * sizeof *anchors);
  claims->anchors = anchors;
  claims->capacity = capacity;
  return true;
}

static void squeeze(struct open_claims *claims) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < claims->count; i++) {
    if (claims->anchors[i].record != NULL) claims->anchors[kept++] = claims->anchors[i];
  }
  claims->count = kept;
  claims->holes = 0;
  if (kept == 0) {
    forget_anchors(claims);
  } else if (claims->capacity > LEAST_CAPACITY && kept < claims->capacity / 4) {
    resize(claims, claims->capacity / 2);
  }
}

static void make_hole(struct open_claims *claims, uint32_t at) {
  record_clear(claims->anchors[at].record, RECORD_ANCHOR);
  claims->anchors[at].record = NULL;
  if (++claims->holes > claims->count / 2) squeeze(claims);
}

/* A free place between the anchors of smaller and larger tokens; false: no memory. */
static bool free_place(struct open_claims *claims, uint64_t token, uint32_t *at) {
  *at = anchor_above(claims, token);
  if (*at > 0 && claims->anchors[*at - 1].record == NULL) --*at;
  if (*at < claims->count && claims->anchors[*at].record == NULL) {
    claims->holes--;
    return true;
  }
  if (claims->count == claims->capacity &&
      !resize(claims, claims->capacity > 0 ? 2 * claims->capacity : LEAST_CAPACITY))
    return false;
  struct open_claims_anchor *place = &claims->anchors[*at];
  memmove(place + 1, place, (claims->count - *at) * sizeof *place);
  claims->count++;
  return true;
}

static bool add_anchor(struct open_claims *claims, struct record *record) {
  uint32_t at;
  if (!free_place(claims, record->token, &at)) return false;
  claims->anchors[at] = (struct open_claims_anchor){record->token, record};
  record->flags |= RECORD_ANCHOR;
  return true;
}

/* Holes that it passes take its token, so that tokens do not fall. */
static void move_anchor(struct open_claims *claims, uint32_t at, struct record *to) {
  struct open_claims_anchor *anchors = claims->anchors;
  record_clear(anchors[at].record, RECORD_ANCHOR);
  anchors[at] = (struct open_claims_anchor){to->token, to};
  to->flags |= RECORD_ANCHOR;
  for (uint32_t i = at + 1; i < claims->count && anchors[i].token < to->token; i++)
    anchors[i].token = to->token;
  for (uint32_t i = at; i > 0 && anchors[i - 1].token > to->token; i--)
    anchors[i - 1].token = to->token;
}

/* ---- which records have one ---- */

/* The record of an anchor leaves. The first of the list needs none, since a walk may begin at the
 * list; the last gives it to the one before it, for those that are appended next. */
static SELDOM void leave_anchor(struct open_claims *claims, struct record *record) {
  struct list *prev = record->open.prev, *next = record->open.next;
  struct list *to = is_end(claims, next) ? prev : next;
  uint32_t at = anchor_at(claims, record);
  if (is_end(claims, prev) || is_anchor(record_of(to))) {
    make_hole(claims, at);
  } else {
    move_anchor(claims, at, record_of(to));
  }
}

/* Takes those after one anchor that are too many. Where nearly all records have left, the anchors
 * would otherwise stay as many as the records. It goes down the array: upwards, it might always be
 * at the anchor that was added last. */
static void thin(struct open_claims *claims) {
  if (claims->thinned == 0 || claims->thinned > claims->count) claims->thinned = claims->count;
  while (claims->anchors[--claims->thinned].record == NULL)
    if (claims->thinned == 0) return;
  const struct list *node = claims->anchors[claims->thinned].record->open.next;
  struct record *between = NULL;
  for (unsigned left = CLOSE_TOGETHER; left > 0 && !is_end(claims, node); left--) {
    struct record *record = record_of(node);
    node = node->next;
    if (!is_anchor(record)) continue;
    if (between != NULL) make_hole(claims, anchor_at(claims, between));
    between = record;
  }
}

static SELDOM void anchor_last(struct open_claims *claims, struct record *record) {
  if (!add_anchor(claims, record)) return;
  claims->since_anchor = 0;
  thin(claims);
}

/* Where a walk to this token begins. */
static struct list *start_of(const struct open_claims *claims, uint64_t token) {
  for (uint32_t at = anchor_above(claims, token); at > 0; at--) {
    struct record *record = claims->anchors[at - 1].record;
    if (record != NULL) return &record->open;
  }
  return claims->by_token.next;
}

/* ---- adding, removing ---- */

/* So many may have been put back between two anchors that a walk gets long: then it gets one. */
static SELDOM void put_back(struct open_claims *claims, struct record *record) {
  struct list *node = start_of(claims, record->token);
  unsigned walked = 0;
  for (; !is_end(claims, node) && record_of(node)->token < record->token; node = node->next)
    walked++;
  assert(is_end(claims, node) || record_of(node)->token > record->token);
  list_append(node, &record->open);
  open_claims_changed(claims, record);
  if (walked > OPEN_CLAIMS_SPAN) add_anchor(claims, record);
}

void open_claims_add(struct open_claims *claims, struct record *record) {
  struct list *last = claims->by_token.prev;
  if (!is_end(claims, last) && record_of(last)->token >= record->token) {
    put_back(claims, record);
    return;
  }
  list_append(&claims->by_token, &record->open);
  if (record->phase == RULES_HELD) {
    if (is_end(claims, claims->held)) claims->held = &record->open;
  } else {
    open_claims_changed(claims, record);
  }
  if (++claims->since_anchor >= OPEN_CLAIMS_SPAN) anchor_last(claims, record);
}

void open_claims_remove(struct open_claims *claims, struct record *record) {
  struct list *node = &record->open;
  if (claims->held == node) claims->held = node->next;
  if (claims->unknown == node) claims->unknown = node->next;
  if (is_anchor(record)) leave_anchor(claims, record);
  node->prev->next = node->next;
  node->next->prev = node->prev;
}

/* ---- walking ---- */

struct record *open_claims_after(const struct open_claims *claims, uint64_t token) {
  const struct list *node = start_of(claims, token);
  while (!is_end(claims, node) && record_of(node)->token <= token) node = node->next;
  return is_end(claims, node) ? NULL : record_of(node);
}

struct record *open_claims_next(const struct open_claims *claims, const struct record *record) {
  const struct list *node = record->open.next;
  return is_end(claims, node) ? NULL : record_of(node);
}
