/* fingerprint.c - see fingerprint.h. */
#include "server/engine/fingerprint.h"

#include "server/engine/hex.h"

static hex_digits sixteen(const char *text) {
  hex_digits digits;
  memcpy(&digits, text, sizeof digits);
  return digits;
}

/* The last sixteen digits may overlap those before them. */
static bool pack(struct span text, enum hex_case of, char packed[FINGERPRINT_PACKED]) {
  hex_digits wrong = {0};
  for (size_t at = 0; at < text.len; at += HEX_LANES) {
    size_t from = at + HEX_LANES <= text.len ? at : text.len - HEX_LANES;
    hex_digits digits = sixteen(text.data + from), values = hex_values(digits);
    hex_digits bytes = hex_bytes(values, values);
    wrong |= hex_check(digits, values, of);
    memcpy(packed + from / 2, &bytes, HEX_LANES / 2);
  }
  return !hex_is_wrong(wrong);
}

static bool may_be_digit(char byte) {
  unsigned letter = ((unsigned char)byte | 0x20u) - 'a',
           digit = (unsigned char)byte - (unsigned)'0';
  return letter < 6 || digit < 10;
}

/* Bytes that are no digits are mostly told from the first and the last. */
struct fingerprint fingerprint_of_long(struct span text, char packed[FINGERPRINT_PACKED]) {
  struct fingerprint print = {FINGERPRINT_RAW, text};
  if (text.len % 2 != 0 || text.len > FINGERPRINT_TEXT) return print;
  if (!may_be_digit(text.data[0]) || !may_be_digit(text.data[text.len - 1])) return print;
  if (pack(text, HEX_LOWER, packed)) {
    print.form = FINGERPRINT_LOWER;
  } else if (pack(text, HEX_UPPER, packed)) {
    print.form = FINGERPRINT_UPPER;
  } else {
    return print;
  }
  print.bytes = (struct span){packed, text.len / 2};
  return print;
}

struct span fingerprint_text(struct fingerprint print, char text[FINGERPRINT_TEXT]) {
  if (print.form == FINGERPRINT_RAW) return print.bytes;
  enum hex_case as = print.form == FINGERPRINT_LOWER ? HEX_LOWER : HEX_UPPER;
  char *end = hex_write(text, print.bytes.data, print.bytes.len, as);
  return (struct span){text, (size_t)(end - text)};
}
