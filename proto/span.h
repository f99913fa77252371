/*
 * span.h - a borrowed run of bytes.
 *
 * A span owns nothing: it is valid as long as the bytes that it points into. `data == NULL` means
 * "absent" (a missing field, null on the wire); a span with data and len 0 is present and empty.
 */
#ifndef IDEM_PROTO_SPAN_H
#define IDEM_PROTO_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the wire are read and written as words of memory, the first byte lowest. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "x86-64 and aarch64 are");

struct span {
  const char *data;
  size_t len;
};

#define SPAN_ABSENT ((struct span){NULL, 0})
/* Only for string literals and arrays: the compiler knows their length. */
#define SPAN_LITERAL(text) ((struct span){(text), sizeof(text) - 1})

static inline struct span span_of(const char *text) {
  return (struct span){text, text != NULL ? strlen(text) : 0};
}

static inline bool span_present(struct span s) { return s.data != NULL; }

/* Both absent, or both present with the same bytes. */
static inline bool span_equal(struct span a, struct span b) {
  if (a.data == NULL || b.data == NULL) return a.data == b.data;
  return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* 1 to 8 bytes as one number, the first byte lowest. Reads no byte outside from[0..len). */
#define SPAN_WORD_BYTES 8u
static inline uint64_t span_word(const char *from, size_t len) {
  if (len >= sizeof(uint32_t)) {
    uint32_t first, last;
    memcpy(&first, from, sizeof first);
    memcpy(&last, from + len - sizeof last, sizeof last);
    return first | (uint64_t)last << (len - sizeof last) * 8;
  }
  size_t middle = len / 2, last = len - 1;
  uint64_t word = (unsigned char)from[0];
  word |= (uint64_t)(unsigned char)from[middle] << middle * 8;
  return word | (uint64_t)(unsigned char)from[last] << last * 8;
}

/* The same with letters in lower case: where letters are expected, two words of the same length are
 * equal without case when their numbers are equal. Another byte may be taken for its neighbour in
 * ASCII, but never for a letter. */
static inline uint64_t span_letters(const char *from, size_t len) {
  return span_word(from, len) | UINT64_C(0x2020202020202020);
}

/* Whether the span is this word, without case in ASCII, as names of commands and options are
 * compared. An absent span is no word. */
bool span_is(struct span s, const char *word);

/*
 * Strict decimal integers, as Redis reads them: no sign but a leading '-', no leading zeros, no
 * blanks, no overflow of 64 bits. Return false and leave *value alone otherwise. SPAN_NUMBER_MAX
 * bounds the text.
 */
#define SPAN_NUMBER_MAX 20 /* strlen("-9223372036854775808") */
bool span_to_i64(struct span s, long long *value);

/*
 * Writes before, quoted and after, one after the other, in at most `room` bytes; returns the end.
 * Bytes outside printable ASCII are written as \xHH. When it does not all fit, quoted is cut, never
 * inside an escape, so that what stands after it remains.
 */
char *span_quote(char *to, size_t room, const char *before, struct span quoted, const char *after);

#endif
