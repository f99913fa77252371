/*
 * resp_write.c - numbers, headers and escapes as RESP has them.
 */
#include "proto/resp_write.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "proto/resp_errors.h"

/* A type byte, a number and CRLF. */
#define HEADER_MAX RESP_WRITE_INTEGER_MAX

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
 * A number is halved until two digits are left, which stand in a table: a token has fifteen digits,
 * and every CLAIM answers one. Eight digits at once in one word took as many instructions (150 for
 * the three numbers of a CLAIM) and more words to explain.
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

/* These have no leading zeros. */
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
    p = put_up_to_four(p, (uint32_t)(head / EIGHT_DIGITS)); /* 2^64 has 20 digits */
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
  char *p = resp_output_reserve(w->out, HEADER_MAX);
  if (p != NULL) resp_output_commit(w->out, put_header(p, type, value));
}

static void append_literal(struct resp_output *out, struct span literal) {
  resp_output_append(out, literal.data, literal.len);
}

void resp_write_simple_span(struct resp_writer *w, struct span text) {
  char *p = resp_output_reserve(w->out, text.len + 3);
  if (p == NULL) return;
  *p = '+';
  resp_output_commit(w->out, put_crlf(put_bytes(p + 1, text.data, text.len)));
}

void resp_write_error_quoting(struct resp_writer *w, const char *prefix, struct span quoted,
                              const char *suffix) {
  if (w->out->errors != NULL) resp_errors_note(w->out->errors, prefix);
  char *p = resp_output_reserve(w->out, 1 + RESP_WRITE_ERROR_MAX + 2);
  if (p == NULL) return;
  *p++ = '-';
  p = span_quote(p, RESP_WRITE_ERROR_MAX, prefix, quoted, suffix);
  resp_output_commit(w->out, put_crlf(p));
}

void resp_write_error(struct resp_writer *w, const char *text) {
  resp_write_error_quoting(w, text, SPAN_ABSENT, "");
}

void resp_write_errorf(struct resp_writer *w, const char *format, ...) {
  char text[RESP_WRITE_ERROR_MAX + 1];
  va_list arguments;
  va_start(arguments, format);
  int len = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  assert(len >= 0);
  resp_write_error(w, text);
}

char *resp_write_reserve(struct resp_writer *w, size_t bytes) {
  return resp_output_reserve(w->out, bytes);
}

char *resp_write_put_integer(char *to, int64_t value) {
  _Static_assert(RESP_WRITE_INTEGER_MAX >= sizeof ":-9223372036854775808\r\n" - 1,
                 "the longest fits");
  *to++ = ':';
  if (value >= 0 && value < 10) { /* as the attempt of nearly every CLAIM */
    *to = (char)('0' + value);
    return put_crlf(to + 1);
  }
  if (value < 0) *to++ = '-';
  uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  return put_crlf(put_number(to, magnitude));
}

void resp_write_integer(struct resp_writer *w, int64_t value) {
  char *p = resp_output_reserve(w->out, RESP_WRITE_INTEGER_MAX);
  if (p != NULL) resp_output_commit(w->out, resp_write_put_integer(p, value));
}

void resp_write_bulk(struct resp_writer *w, struct span bytes) {
  if (!span_present(bytes)) {
    resp_write_null(w);
    return;
  }
  if (bytes.len > RESP_OUTPUT_BYTES_MAX - HEADER_MAX - 2) {
    w->out->failed = true;
    return;
  }
  char *p = resp_output_reserve(w->out, RESP_WRITE_BULK_MAX(bytes.len));
  if (p != NULL) resp_output_commit(w->out, put_bulk(p, bytes));
}

static struct span null_of(const struct resp_writer *w) {
  return w->version == 3 ? SPAN_LITERAL("_\r\n") : SPAN_LITERAL("$-1\r\n");
}

char *resp_write_put_bulk(const struct resp_writer *w, char *to, struct span bytes) {
  if (span_present(bytes)) return put_bulk(to, bytes);
  if (w->version == 3) return resp_write_put_literal(to, SPAN_LITERAL("_\r\n"));
  return resp_write_put_literal(to, SPAN_LITERAL("$-1\r\n"));
}

void resp_write_bulk_text(struct resp_writer *w, const char *text) {
  resp_write_bulk(w, span_of(text));
}

void resp_write_bulk_pinned(struct resp_writer *w, struct span bytes, void *pin, void *keeper) {
  assert(span_present(bytes));
  struct resp_output *out = w->out;
  char *p = resp_output_reserve(out, HEADER_MAX + 2);
  if (p == NULL) return;
  resp_output_commit(out, put_header(p, '$', bytes.len));
  if (resp_output_refer(out, bytes, pin, keeper))
    resp_output_commit(out, put_crlf(out->bytes + out->len));
}

void resp_write_null(struct resp_writer *w) { append_literal(w->out, null_of(w)); }

void resp_write_null_array(struct resp_writer *w) {
  append_literal(w->out, w->version == 3 ? SPAN_LITERAL("_\r\n") : SPAN_LITERAL("*-1\r\n"));
}

void resp_write_array(struct resp_writer *w, size_t count) { write_header(w, '*', count); }

void resp_write_map(struct resp_writer *w, size_t pairs) {
  assert(pairs <= SIZE_MAX / 2);
  write_header(w, w->version == 3 ? '%' : '*', w->version == 3 ? pairs : pairs * 2);
}

void resp_write_set(struct resp_writer *w, size_t count) {
  write_header(w, w->version == 3 ? '~' : '*', count);
}

void resp_write_push(struct resp_writer *w, size_t count) {
  write_header(w, w->version == 3 ? '>' : '*', count);
}

void resp_write_verbatim_header(struct resp_writer *w, const char *format, size_t len) {
  assert(strlen(format) == 3);
  char *p = resp_output_reserve(w->out, HEADER_MAX + 4);
  if (p == NULL) return;
  if (w->version != 3) {
    resp_output_commit(w->out, put_header(p, '$', len));
    return;
  }
  p = put_bytes(put_header(p, '=', len + 4), format, 3);
  *p++ = ':';
  resp_output_commit(w->out, p);
}

void resp_write_verbatim(struct resp_writer *w, const char *format, struct span text) {
  if (!span_present(text)) {
    resp_write_null(w);
    return;
  }
  resp_write_verbatim_header(w, format, text.len);
  resp_output_append(w->out, text.data, text.len);
  append_literal(w->out, SPAN_LITERAL("\r\n"));
}
