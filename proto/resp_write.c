/*
 * resp_write.c - the reply writer. It must not know what the replies mean or where they go.
 *
 * Invariants: refs are in the order of `at`; a reply that did not fit in memory sets `failed`, and
 * from then on nothing is added. A failed output is never sent.
 */
#include "proto/resp_write.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* First sizes: most replies of one turn of a connection fit. */
#define BYTES_MIN 256
#define REFS_MIN 4
/* Far above any output limit; doubling it cannot overflow. */
#define BYTES_MAX (SIZE_MAX / 4)
/* A type byte, a number and CRLF. */
#define HEADER_MAX RESP_INTEGER_MAX

void resp_output_reset(struct resp_output *out) {
  out->len = 0;
  out->ref_count = 0;
  out->ref_bytes = 0;
  out->failed = false;
}

void resp_output_deinit(struct resp_output *out) {
  free(out->bytes);
  free(out->refs);
  *out = (struct resp_output){0};
}

static bool bytes_grow(struct resp_output *out, size_t extra) {
  if (extra > BYTES_MAX || out->len > BYTES_MAX - extra) return false;
  size_t capacity = out->capacity < BYTES_MIN ? BYTES_MIN : out->capacity;
  while (capacity < out->len + extra) capacity *= 2;
  char *bytes = realloc(out->bytes, capacity);
  if (bytes == NULL) return false;
  out->bytes = bytes;
  out->capacity = capacity;
  return true;
}

/* Room for `extra` > 0 bytes, or NULL. The caller moves out->len. */
static inline char *reserve(struct resp_output *out, size_t extra) {
  if (out->failed) return NULL;
  if (extra > out->capacity - out->len && !bytes_grow(out, extra)) {
    out->failed = true;
    return NULL;
  }
  return out->bytes + out->len;
}

size_t resp_output_forget(struct resp_output *out, size_t bytes) {
  assert(out->ref_count == 0 && bytes < out->len);
  size_t left = out->len - bytes;
  char *rest = malloc(left);
  if (rest == NULL) return 0;
  memcpy(rest, out->bytes + bytes, left);
  free(out->bytes);
  out->bytes = rest;
  out->len = out->capacity = left;
  return bytes;
}

static inline void commit(struct resp_output *out, const char *end) {
  out->len = (size_t)(end - out->bytes);
}

static inline char *put_crlf(char *p) {
  p[0] = '\r';
  p[1] = '\n';
  return p + 2;
}

static inline char *put_bytes(char *p, const char *data, size_t len) {
  if (len > 0) memcpy(p, data, len);
  return p + len;
}

/*
 * Numbers are halved until two digits are left, which are in a table: a token has fifteen digits,
 * and every CLAIM answers one. To tell eight digits apart at once in one word took as many
 * instructions (150 for the three numbers of a CLAIM) and more words to explain.
 */
static const char PAIRS[] =
    "0001020304050607080910111213141516171819"
    "2021222324252627282930313233343536373839"
    "4041424344454647484950515253545556575859"
    "6061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";
_Static_assert(sizeof PAIRS == 201, "a pair for each number below 100");

static inline char *put_pair(char *p, uint32_t value) {
  memcpy(p, PAIRS + (size_t)2 * value, 2);
  return p + 2;
}

static inline char *put_four(char *p, uint32_t value) {
  return put_pair(put_pair(p, value / 100), value % 100);
}

static inline char *put_eight(char *p, uint32_t value) {
  return put_four(put_four(p, value / 10000), value % 10000);
}

/* These have no zeros in front. */
static inline char *put_up_to_two(char *p, uint32_t value) {
  if (value >= 10) return put_pair(p, value);
  *p = (char)('0' + value);
  return p + 1;
}

static inline char *put_up_to_four(char *p, uint32_t value) {
  if (value < 100) return put_up_to_two(p, value);
  return put_pair(put_up_to_two(p, value / 100), value % 100);
}

static inline char *put_up_to_eight(char *p, uint32_t value) {
  if (value < 10000) return put_up_to_four(p, value);
  return put_four(put_up_to_four(p, value / 10000), value % 10000);
}

#define EIGHT_DIGITS 100000000u
static char *put_number(char *p, uint64_t value) {
  if (value < EIGHT_DIGITS) return put_up_to_eight(p, (uint32_t)value);
  uint64_t head = value / EIGHT_DIGITS;
  if (head < EIGHT_DIGITS) {
    p = put_up_to_eight(p, (uint32_t)head);
  } else {
    p = put_up_to_four(p, (uint32_t)(head / EIGHT_DIGITS)); /* of 2^64 four are left */
    p = put_eight(p, (uint32_t)(head % EIGHT_DIGITS));
  }
  return put_eight(p, (uint32_t)(value % EIGHT_DIGITS));
}

static inline char *put_header(char *p, char type, uint64_t value) {
  *p = type;
  return put_crlf(put_number(p + 1, value));
}

static inline char *put_bulk(char *p, struct span bytes) {
  return put_crlf(put_bytes(put_header(p, '$', bytes.len), bytes.data, bytes.len));
}

static void write_header(struct resp_writer *w, char type, uint64_t value) {
  char *p = reserve(w->out, HEADER_MAX);
  if (p != NULL) commit(w->out, put_header(p, type, value));
}

void resp_output_append(struct resp_output *out, const char *data, size_t len) {
  if (len == 0) return;
  char *p = reserve(out, len);
  if (p != NULL) commit(out, put_bytes(p, data, len));
}

static void append_literal(struct resp_output *out, struct span literal) {
  resp_output_append(out, literal.data, literal.len);
}

void resp_simple_span(struct resp_writer *w, struct span text) {
  char *p = reserve(w->out, text.len + 3);
  if (p == NULL) return;
  *p = '+';
  commit(w->out, put_crlf(put_bytes(p + 1, text.data, text.len)));
}

/* Copies what fits in front of `end`, an escape never in part. */
static char *put_escaped(char *p, const char *end, struct span text) {
  static const char hex[] = "0123456789abcdef";
  for (size_t i = 0; i < text.len; i++) {
    unsigned char byte = (unsigned char)text.data[i];
    bool printable = byte >= ' ' && byte <= '~';
    if (end - p < (printable ? 1 : 4)) break;
    if (printable) {
      *p++ = (char)byte;
      continue;
    }
    p[0] = '\\';
    p[1] = 'x';
    p[2] = hex[byte >> 4];
    p[3] = hex[byte & 15];
    p += 4;
  }
  return p;
}

void resp_error_quoting(struct resp_writer *w, const char *prefix, struct span quoted,
                        const char *suffix) {
  char *p = reserve(w->out, 1 + RESP_MAX_ERROR + 2);
  if (p == NULL) return;
  *p++ = '-';
  const char *end = p + RESP_MAX_ERROR;
  p = put_escaped(p, end, span_of(prefix));
  /* The quoted bytes are cut, not the words behind them. */
  size_t behind = strlen(suffix);
  if (behind < (size_t)(end - p)) p = put_escaped(p, end - behind, quoted);
  p = put_escaped(p, end, span_of(suffix));
  commit(w->out, put_crlf(p));
}

void resp_error(struct resp_writer *w, const char *text) {
  resp_error_quoting(w, text, SPAN_ABSENT, "");
}

void resp_errorf(struct resp_writer *w, const char *format, ...) {
  char text[RESP_MAX_ERROR + 1];
  va_list arguments;
  va_start(arguments, format);
  int len = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  assert(len >= 0);
  resp_error(w, text);
}

char *resp_reserve(struct resp_writer *w, size_t bytes) { return reserve(w->out, bytes); }

char *resp_put_integer(char *to, int64_t value) {
  _Static_assert(RESP_INTEGER_MAX >= sizeof ":-9223372036854775808\r\n" - 1, "the longest fits");
  *to++ = ':';
  if (value < 0) *to++ = '-';
  uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  return put_crlf(put_number(to, magnitude));
}

void resp_integer(struct resp_writer *w, int64_t value) {
  char *p = reserve(w->out, RESP_INTEGER_MAX);
  if (p != NULL) commit(w->out, resp_put_integer(p, value));
}

void resp_bulk(struct resp_writer *w, struct span bytes) {
  if (!span_present(bytes)) {
    resp_null(w);
    return;
  }
  if (bytes.len > BYTES_MAX - HEADER_MAX - 2) {
    w->out->failed = true;
    return;
  }
  char *p = reserve(w->out, RESP_BULK_MAX(bytes.len));
  if (p != NULL) commit(w->out, put_bulk(p, bytes));
}

static struct span null_of(const struct resp_writer *w) {
  return w->version == 3 ? SPAN_LITERAL("_\r\n") : SPAN_LITERAL("$-1\r\n");
}

char *resp_put_bulk(const struct resp_writer *w, char *to, struct span bytes) {
  if (span_present(bytes)) return put_bulk(to, bytes);
  if (w->version == 3) return resp_put_literal(to, SPAN_LITERAL("_\r\n"));
  return resp_put_literal(to, SPAN_LITERAL("$-1\r\n"));
}

void resp_bulk_text(struct resp_writer *w, const char *text) { resp_bulk(w, span_of(text)); }

static bool refs_grow(struct resp_output *out) {
  size_t capacity = out->ref_capacity == 0 ? REFS_MIN : out->ref_capacity * 2;
  if (capacity > BYTES_MAX / sizeof *out->refs) return false;
  struct resp_ref *refs = realloc(out->refs, capacity * sizeof *refs);
  if (refs == NULL) return false;
  out->refs = refs;
  out->ref_capacity = capacity;
  return true;
}

bool resp_output_refer(struct resp_output *out, struct span bytes, void *pin, void *keeper) {
  if (out->failed) return false;
  bool room = bytes.len <= BYTES_MAX - out->ref_bytes;
  if (!room || (out->ref_count == out->ref_capacity && !refs_grow(out))) {
    out->failed = true;
    return false;
  }
  out->refs[out->ref_count++] = (struct resp_ref){out->len, bytes.data, bytes.len, pin, keeper};
  out->ref_bytes += bytes.len;
  return true;
}

size_t resp_output_move(struct resp_output *to, const struct resp_output *from) {
  size_t at = 0;
  to->failed |= from->failed;
  for (size_t i = 0; i < from->ref_count; i++) {
    const struct resp_ref *ref = &from->refs[i];
    resp_output_append(to, from->bytes + at, ref->at - at);
    at = ref->at;
    if (!resp_output_refer(to, (struct span){ref->data, ref->len}, ref->pin, ref->keeper)) return i;
  }
  resp_output_append(to, from->bytes + at, from->len - at);
  return from->ref_count;
}

void resp_bulk_pinned(struct resp_writer *w, struct span bytes, void *pin, void *keeper) {
  assert(span_present(bytes));
  struct resp_output *out = w->out;
  char *p = reserve(out, HEADER_MAX + 2);
  if (p == NULL) return;
  commit(out, put_header(p, '$', bytes.len));
  if (resp_output_refer(out, bytes, pin, keeper)) commit(out, put_crlf(out->bytes + out->len));
}

void resp_null(struct resp_writer *w) { append_literal(w->out, null_of(w)); }

void resp_null_array(struct resp_writer *w) {
  append_literal(w->out, w->version == 3 ? SPAN_LITERAL("_\r\n") : SPAN_LITERAL("*-1\r\n"));
}

void resp_array(struct resp_writer *w, size_t count) { write_header(w, '*', count); }

void resp_map(struct resp_writer *w, size_t pairs) {
  assert(pairs <= SIZE_MAX / 2);
  write_header(w, w->version == 3 ? '%' : '*', w->version == 3 ? pairs : pairs * 2);
}

void resp_set(struct resp_writer *w, size_t count) {
  write_header(w, w->version == 3 ? '~' : '*', count);
}

void resp_push(struct resp_writer *w, size_t count) {
  write_header(w, w->version == 3 ? '>' : '*', count);
}

void resp_boolean(struct resp_writer *w, bool value) {
  if (w->version == 3) {
    append_literal(w->out, value ? SPAN_LITERAL("#t\r\n") : SPAN_LITERAL("#f\r\n"));
  } else {
    resp_integer(w, value);
  }
}

/* The shortest text that reads back as the same number. %.17g always does. */
static void double_text(char *text, size_t size, double value) {
  for (int digits = 15; digits <= 17; digits++) {
    int len = snprintf(text, size, "%.*g", digits, value);
    assert(len > 0 && (size_t)len < size);
    if (strtod(text, NULL) == value) return;
  }
}

void resp_double(struct resp_writer *w, double value) {
  char text[32];
  double_text(text, sizeof text, value);
  if (value != value) memcpy(text, "nan", sizeof "nan"); /* printf may write "-nan" */
  if (w->version != 3) {
    resp_bulk_text(w, text);
    return;
  }
  size_t len = strlen(text);
  char *p = reserve(w->out, len + 3);
  if (p == NULL) return;
  *p = ',';
  commit(w->out, put_crlf(put_bytes(p + 1, text, len)));
}

void resp_verbatim_header(struct resp_writer *w, const char *format, size_t len) {
  assert(strlen(format) == 3);
  char *p = reserve(w->out, HEADER_MAX + 4);
  if (p == NULL) return;
  if (w->version != 3) {
    commit(w->out, put_header(p, '$', len));
    return;
  }
  p = put_bytes(put_header(p, '=', len + 4), format, 3);
  *p++ = ':';
  commit(w->out, p);
}

void resp_verbatim(struct resp_writer *w, const char *format, struct span text) {
  if (!span_present(text)) {
    resp_null(w);
    return;
  }
  resp_verbatim_header(w, format, text.len);
  resp_output_append(w->out, text.data, text.len);
  append_literal(w->out, SPAN_LITERAL("\r\n"));
}
