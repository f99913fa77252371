/*
 * span.c - comparison and number reading on borrowed bytes. Knows no locale: ASCII only.
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

bool span_to_i64(struct span s, long long *value) {
  if (s.data == NULL || s.len == 0 || s.len > SPAN_NUMBER_MAX) return false;
  bool negative = s.data[0] == '-';
  size_t first = negative ? 1 : 0;
  size_t digits = s.len - first;
  if (digits == 0 || digits > DIGITS_MAX) return false;
  if (s.data[first] == '0' && s.len > 1) return false; /* "007" and "-0" */

  unsigned long long sum = 0;
  const char *p = s.data + first, *end = s.data + s.len;
  do {
    unsigned digit = (unsigned char)*p - (unsigned)'0';
    if (digit > 9) return false;
    sum = sum * 10 + digit;
  } while (++p < end);
  if (sum > (unsigned long long)LLONG_MAX + (negative ? 1 : 0)) return false;
  *value = negative ? (long long)(0 - sum) : (long long)sum;
  return true;
}
