/* layout.c - see layout.h. */
#include "server/module/layout.h"

enum {
  LAYOUT_DONE = 1,
  LAYOUT_EXTRA = 2,
  LAYOUT_HOLD = 4,
  LAYOUT_BIND = 8,
  LAYOUT_NOBODY = 16,
  LAYOUT_MOVED = 32,
  LAYOUT_LATER = 64,
  LAYOUT_WIDE = 128
};

static const char MAGIC[] = {'\xff', 'i', 1};

#define TOKEN_BYTES 7
#define TIME_BYTES 6
#define LEASE_BYTES 3 /* 4.6 hours; the contract's longest is one */
#define ATTEMPT_BYTES 4
#define LENGTH_BYTES 4
#define ABSENT(bytes) ((UINT64_C(1) << 8 * (bytes)) - 1)

static unsigned length_bytes(unsigned flags) { return (flags & LAYOUT_WIDE) != 0 ? 2 : 1; }

/* ---- reading ---- */

struct reader {
  const char *at, *end;
  bool failed; /* the bytes ended */
};

static uint64_t take_number(struct reader *reader, unsigned bytes) {
  if ((size_t)(reader->end - reader->at) < bytes) {
    reader->failed = true;
    return 0;
  }
  uint64_t number = 0;
  memcpy(&number, reader->at, bytes);
  reader->at += bytes;
  return number;
}

static struct span take_span(struct reader *reader, uint64_t len) {
  if ((uint64_t)(reader->end - reader->at) < len) {
    reader->failed = true;
    return SPAN_ABSENT;
  }
  struct span found = {reader->at, (size_t)len};
  reader->at += len;
  return found;
}

static struct span take_text(struct reader *reader, uint64_t len, unsigned bytes) {
  return len == ABSENT(bytes) ? SPAN_ABSENT : take_span(reader, len);
}

static void take_grant(struct reader *reader, unsigned flags, struct rules_record *facts) {
  facts->phase = RULES_HELD;
  facts->lease_ms = (uint32_t)take_number(reader, LEASE_BYTES);
  facts->deadline_ms = (flags & LAYOUT_MOVED) != 0 ? (int64_t)take_number(reader, TIME_BYTES)
                                                   : facts->since_ms + facts->lease_ms;
  facts->attempt = (flags & LAYOUT_LATER) != 0 ? (uint32_t)take_number(reader, ATTEMPT_BYTES) : 1;
}

/* What the rules rely on. */
static bool is_sound(const struct rules_record *facts) {
  return facts->token > 0 && facts->token < RULES_TOKEN_LIMIT && facts->attempt > 0;
}

bool layout_read(struct span bytes, struct layout_record *record) {
  if (bytes.len <= sizeof MAGIC || memcmp(bytes.data, MAGIC, sizeof MAGIC) != 0) return false;
  struct reader reader = {bytes.data + sizeof MAGIC, bytes.data + bytes.len, false};
  unsigned flags = (unsigned)take_number(&reader, 1), wide = length_bytes(flags);
  bool done = (flags & LAYOUT_DONE) != 0;
  uint64_t fingerprint = take_number(&reader, wide);
  uint64_t owner = done ? ABSENT(wide) : take_number(&reader, wide);
  *record = (struct layout_record){
      .facts = {.attempt = 1,
                .hold = (flags & LAYOUT_HOLD) != 0,
                .bind = (flags & LAYOUT_BIND) != 0,
                .nobody = (flags & LAYOUT_NOBODY) != 0},
  };
  struct rules_record *facts = &record->facts;
  facts->token = take_number(&reader, TOKEN_BYTES);
  facts->since_ms = (int64_t)take_number(&reader, TIME_BYTES);
  if (done) {
    facts->phase = RULES_DONE;
    facts->deadline_ms = (int64_t)take_number(&reader, TIME_BYTES);
  } else {
    take_grant(&reader, flags, facts);
  }
  uint64_t extra = (flags & LAYOUT_EXTRA) != 0 ? take_number(&reader, LENGTH_BYTES) : 0;
  record->fingerprint = take_text(&reader, fingerprint, wide);
  record->owner = take_text(&reader, owner, wide);
  if ((flags & LAYOUT_EXTRA) != 0) record->extra = take_span(&reader, extra);
  if (done) record->body = take_span(&reader, (uint64_t)(reader.end - reader.at));
  return !reader.failed && reader.at == reader.end && is_sound(facts);
}

/* ---- writing ---- */

/* When the lease of a record ends, or ended. */
static int64_t end_of_lease(const struct layout_record *record) {
  return record->facts.phase == RULES_HELD ? record->facts.deadline_ms : record->ended_ms;
}

static bool is_narrow(struct span text) { return !span_present(text) || text.len < ABSENT(1); }

static unsigned flags_of(const struct layout_record *record) {
  const struct rules_record *facts = &record->facts;
  bool done = facts->phase == RULES_DONE;
  unsigned flags = span_present(record->extra) ? LAYOUT_EXTRA : 0;
  if (!is_narrow(record->fingerprint) || (!done && !is_narrow(record->owner))) flags |= LAYOUT_WIDE;
  if (done) return flags | LAYOUT_DONE;
  if (facts->hold) flags |= LAYOUT_HOLD;
  if (facts->bind) flags |= LAYOUT_BIND;
  if (facts->nobody) flags |= LAYOUT_NOBODY;
  if (end_of_lease(record) != facts->since_ms + facts->lease_ms) flags |= LAYOUT_MOVED;
  if (facts->attempt != 1) flags |= LAYOUT_LATER;
  return flags;
}

static size_t head_bytes(unsigned flags) {
  size_t bytes = sizeof MAGIC + 1 + length_bytes(flags) + TOKEN_BYTES + TIME_BYTES;
  if ((flags & LAYOUT_EXTRA) != 0) bytes += LENGTH_BYTES;
  if ((flags & LAYOUT_DONE) != 0) return bytes + TIME_BYTES;
  if ((flags & LAYOUT_MOVED) != 0) bytes += TIME_BYTES;
  if ((flags & LAYOUT_LATER) != 0) bytes += ATTEMPT_BYTES;
  return bytes + length_bytes(flags) + LEASE_BYTES;
}

size_t layout_bytes(const struct layout_record *record) {
  bool done = record->facts.phase == RULES_DONE;
  return head_bytes(flags_of(record)) + record->fingerprint.len + record->extra.len +
         (done ? record->body.len : record->owner.len);
}

static char *put_number(char *to, uint64_t number, unsigned bytes) {
  memcpy(to, &number, bytes);
  return to + bytes;
}

static char *put_length(char *to, struct span text, unsigned bytes) {
  return put_number(to, span_present(text) ? text.len : ABSENT(bytes), bytes);
}

static char *put_span(char *to, struct span text) {
  if (text.len > 0) memcpy(to, text.data, text.len);
  return to + text.len;
}

void layout_write(const struct layout_record *record, char *to) {
  const struct rules_record *facts = &record->facts;
  unsigned flags = flags_of(record), wide = length_bytes(flags);
  bool done = (flags & LAYOUT_DONE) != 0;
  to = put_number(put_span(to, (struct span){MAGIC, sizeof MAGIC}), flags, 1);
  to = put_length(to, record->fingerprint, wide);
  if (!done) to = put_length(to, record->owner, wide);
  to = put_number(to, facts->token, TOKEN_BYTES);
  to = put_number(to, (uint64_t)facts->since_ms, TIME_BYTES);
  if (done) to = put_number(to, (uint64_t)facts->deadline_ms, TIME_BYTES);
  if (!done) to = put_number(to, facts->lease_ms, LEASE_BYTES);
  if ((flags & LAYOUT_MOVED) != 0) to = put_number(to, (uint64_t)end_of_lease(record), TIME_BYTES);
  if ((flags & LAYOUT_LATER) != 0) to = put_number(to, facts->attempt, ATTEMPT_BYTES);
  if ((flags & LAYOUT_EXTRA) != 0) to = put_number(to, record->extra.len, LENGTH_BYTES);
  to = put_span(to, record->fingerprint);
  if (!done) to = put_span(to, record->owner);
  to = put_span(to, record->extra);
  if (done) put_span(to, record->body);
}
