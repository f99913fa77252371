/* slots.c - see slots.h. */
#include "server/module/slots.h"

/* The field of a line of CLUSTER NODES that has the flags, and the first one that has slots. */
#define FLAGS_FIELD 2
#define SLOTS_FIELD 8

/* ---- slots of keys ---- */

static uint16_t crc_of_byte(unsigned byte) {
  uint16_t crc = (uint16_t)(byte << 8);
  for (int bit = 0; bit < 8; bit++)
    crc = (uint16_t)((crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1);
  return crc;
}

void slots_init(struct slots *slots, int64_t *since_ms) {
  slots->since_ms = since_ms;
  for (unsigned byte = 0; byte < 256; byte++) slots->crc[byte] = crc_of_byte(byte);
}

static struct span hashed_part(struct span key) {
  const char *end = key.data + key.len;
  const char *opened = key.len > 0 ? memchr(key.data, '{', key.len) : NULL;
  if (opened == NULL) return key;
  const char *closed = memchr(opened, '}', (size_t)(end - opened));
  if (closed == NULL || closed == opened + 1) return key;
  return (struct span){opened + 1, (size_t)(closed - opened - 1)};
}

unsigned slots_of(const struct slots *slots, struct span key) {
  struct span part = hashed_part(key);
  uint16_t crc = 0;
  for (size_t i = 0; i < part.len; i++)
    crc = (uint16_t)(crc << 8 ^ slots->crc[(crc >> 8 ^ (unsigned char)part.data[i]) & 0xff]);
  return crc % SLOTS_COUNT;
}

/* ---- what CLUSTER NODES says ---- */

/* What stands before the mark, which is taken off with it. */
static struct span cut(struct span *text, char mark) {
  const char *found = text->len > 0 ? memchr(text->data, mark, text->len) : NULL;
  struct span before = {text->data, found != NULL ? (size_t)(found - text->data) : text->len};
  size_t taken = before.len + (found != NULL ? 1 : 0);
  *text = (struct span){text->data + taken, text->len - taken};
  return before;
}

static bool has_word(struct span words, const char *word) {
  while (words.len > 0) {
    if (span_is(cut(&words, ','), word)) return true;
  }
  return false;
}

/* The slots of this node, "0-5460 7000 [93-<-id]", where brackets have one that is on its way.
 * Empty: it has none. */
static struct span own_slots(struct span nodes) {
  while (nodes.len > 0) {
    struct span line = cut(&nodes, '\n');
    for (int field = 0; field < FLAGS_FIELD; field++) cut(&line, ' ');
    if (!has_word(cut(&line, ' '), "myself")) continue;
    for (int field = FLAGS_FIELD + 1; field < SLOTS_FIELD; field++) cut(&line, ' ');
    return line;
  }
  return (struct span){"", 0};
}

/* False: this is not "5" nor "5-9". */
static bool range_of(struct span text, long long *first, long long *last) {
  if (!span_to_i64(cut(&text, '-'), first)) return false;
  *last = *first;
  if (text.len > 0 && !span_to_i64(text, last)) return false;
  return *first >= 0 && *last < SLOTS_COUNT;
}

static void mark(bool has[SLOTS_COUNT], struct span ranges) {
  while (ranges.len > 0) {
    long long first, last;
    if (!range_of(cut(&ranges, ' '), &first, &last)) continue;
    for (long long slot = first; slot <= last; slot++) has[slot] = true;
  }
}

bool slots_take(struct slots *slots, struct span nodes, int64_t now_ms) {
  bool has[SLOTS_COUNT] = {false};
  bool any_came = false;
  mark(has, own_slots(nodes));
  for (unsigned slot = 0; slot < SLOTS_COUNT; slot++) {
    bool came = has[slot] && slots->since_ms[slot] == 0;
    if (came) slots->since_ms[slot] = now_ms;
    if (!has[slot]) slots->since_ms[slot] = 0;
    any_came |= came;
  }
  return any_came;
}

int64_t slots_since_ms(const struct slots *slots, struct span key, int64_t now_ms) {
  if (slots->since_ms == NULL) return INT64_MIN;
  int64_t since_ms = slots->since_ms[slots_of(slots, key)];
  return since_ms != 0 ? since_ms : now_ms;
}

bool slots_known(const struct slots *slots, struct span key) {
  return slots->since_ms == NULL || slots->since_ms[slots_of(slots, key)] != 0;
}
