/*
 * span.c - comparison, number reading and quoting of borrowed bytes. Knows no locale: ASCII only.
 */
#include "proto/span.h"

#include <limits.h>

/* strlen("9223372036854775807"): this many digits cannot overflow an unsigned 64-bit sum. */
#define DIGITS_MAX 19

static unsigned char lower(char c) {
  unsigned char byte = (unsigned char)c;
  return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte + ('a' - 'A')) : byte;
}

bool span_is(struct span s, const char *word) {
  if (s.data == NULL) return false;
  for (size_t i = 0; i < s.len; i++) {
    if (word[i] == '\0') return false;
    if (s.data[i] != word[i] && lower(s.data[i]) != lower(word[i])) return false;
  }
  return word[s.len] == '\0';
}

/*
 * 1 to 8 digits at once, each a byte of one word. They are moved to the end of the word, after
 * leading zeros; then neighbours are added up: digits to pairs, pairs to fours, fours to eight.
 */
#define ZEROS UINT64_C(0x3030303030303030) /* "00000000" */
#define NO_NUMBER UINT64_MAX
static inline uint64_t read_digits(const char *from, size_t len) {
  unsigned shift = (unsigned)(SPAN_WORD_BYTES - len) * 8;
  uint64_t word = span_word(from, len) << shift | (ZEROS ^ ZEROS << shift);
  /* A digit is 0x3., also after 6 is added; only a byte that is no digit carries in this sum. */
  uint64_t with_six = word + UINT64_C(0x0606060606060606);
  if ((word & with_six & UINT64_C(0xf0f0f0f0f0f0f0f0)) != ZEROS) return NO_NUMBER;
  word = (word & UINT64_C(0x0f0f0f0f0f0f0f0f)) * (10 << 8 | 1) >> 8;
  word = (word & UINT64_C(0x00ff00ff00ff00ff)) * (100 << 16 | 1) >> 16;
  return (word & UINT64_C(0x0000ffff0000ffff)) * (UINT64_C(10000) << 32 | 1) >> 32;
}

static bool leading_zero(const char *digits, size_t len) { return *digits == '0' && len > 1; }

/* A function of its own, so that the short path has no registers to save. */
__attribute__((noinline)) static bool read_long(struct span s, long long *value) {
  if (s.len > SPAN_NUMBER_MAX) return false;
  bool negative = s.data[0] == '-';
  const char *p = s.data + (negative ? 1 : 0), *end = s.data + s.len;
  size_t digits = (size_t)(end - p);
  if (digits == 0 || digits > DIGITS_MAX || leading_zero(p, s.len)) return false; /* "-0" too */

  uint64_t sum = 0;
  for (size_t step = (digits - 1) % 8 + 1; p < end; p += step, step = 8) {
    uint64_t next = read_digits(p, step);
    if (next == NO_NUMBER) return false;
    sum = sum * 100000000u + next;
  }
  if (sum > (uint64_t)LLONG_MAX + (negative ? 1 : 0)) return false;
  *value = negative ? (long long)(0 - sum) : (long long)sum;
  return true;
}

bool span_to_i64(struct span s, long long *value) {
  if (s.data == NULL || s.len == 0) return false;
  if (s.len > SPAN_WORD_BYTES || s.data[0] == '-') return read_long(s, value);
  uint64_t number = read_digits(s.data, s.len);
  if (number == NO_NUMBER || leading_zero(s.data, s.len)) return false;
  *value = (long long)number;
  return true;
}

/* Copies what fits before `end`, an escape never in part. */
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

char *span_quote(char *to, size_t room, const char *before, struct span quoted, const char *after) {
  const char *end = to + room;
  to = put_escaped(to, end, span_of(before));
  size_t kept = strlen(after);
  if (kept < (size_t)(end - to)) to = put_escaped(to, end - kept, quoted);
  return put_escaped(to, end, span_of(after));
}
