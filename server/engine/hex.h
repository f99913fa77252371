/*
 * hex.h - hexadecimal digits to bytes and back, sixteen digits at a time.
 *
 * A digit lies in a byte of the compiler's vectors: SSE2 or NEON where there is one, else plain
 * words. With 64-bit words by hand it took twice the instructions.
 *
 * Digits are read as if they were valid and written back; a byte that comes out different was not a
 * digit of that case. This one test checks everything, and proves that nothing is lost.
 *
 * Knows no keys and no fingerprints.
 */
#ifndef IDEM_SERVER_ENGINE_HEX_H
#define IDEM_SERVER_ENGINE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HEX_LANES 16u
enum hex_case { HEX_LOWER, HEX_UPPER };

typedef int8_t hex_digits __attribute__((vector_size(HEX_LANES)));
typedef uint16_t hex_pairs __attribute__((vector_size(HEX_LANES)));
typedef uint64_t hex_words __attribute__((vector_size(HEX_LANES)));

static inline hex_digits hex_of(uint64_t first, uint64_t second) {
  return (hex_digits)(hex_words){first, second};
}

/* Of valid digits: their numbers. */
static inline hex_digits hex_values(hex_digits text) { return (text & 0x0f) + ((text > '9') & 9); }

/* Not 0 in each byte whose digit is not one of that case. values: hex_values of the text. */
static inline hex_digits hex_check(hex_digits text, hex_digits values, enum hex_case of) {
  int8_t above = of == HEX_LOWER ? 'a' - '0' - 10 : 'A' - '0' - 10;
  hex_digits back = values + '0' + ((values > 9) & above);
  return (values & (int8_t)0xf0) | (back ^ text);
}

static inline bool hex_is_wrong(hex_digits checked) {
  hex_words wrong = (hex_words)checked;
  return (wrong[0] | wrong[1]) != 0;
}

/* The two numbers in each pair of bytes into the lower one of them. */
static inline hex_digits hex_squeeze(hex_digits values) {
  hex_pairs v = (hex_pairs)values;
  return (hex_digits)((v << 4 | v >> 8) & 0xff);
}

/* The bytes of 32 digits, from their numbers. */
static inline hex_digits hex_bytes(hex_digits first, hex_digits second) {
  return __builtin_shufflevector(hex_squeeze(first), hex_squeeze(second), 0, 2, 4, 6, 8, 10, 12, 14,
                                 16, 18, 20, 22, 24, 26, 28, 30);
}

/* The text of `count` bytes; returns its end. */
static inline char *hex_write(char *to, const char *bytes, size_t count, enum hex_case as) {
  const char *digits = as == HEX_LOWER ? "0123456789abcdef" : "0123456789ABCDEF";
  for (size_t i = 0; i < count; i++) {
    unsigned byte = (unsigned char)bytes[i];
    *to++ = digits[byte >> 4];
    *to++ = digits[byte & 0xf];
  }
  return to;
}

#endif
