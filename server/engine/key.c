/*
 * key.c - see key.h. Sixteen digits at a time, a byte each, in the compiler's vectors: SSE2 or NEON
 * where there is one, else plain words. With 64-bit words by hand it took twice the instructions.
 *
 * Digits are read as if they were valid and written back; a byte that comes out different was not a
 * digit of that case. This one test checks everything, and proves that nothing is lost.
 */
#include "server/engine/key.h"

#define LANES 16u
typedef int8_t digits __attribute__((vector_size(LANES)));
typedef uint16_t pairs __attribute__((vector_size(LANES)));
typedef uint64_t words __attribute__((vector_size(LANES)));

static const char DASHES[] = {8, 13, 18, 23};

static uint64_t eight(const char *text) {
  uint64_t word;
  memcpy(&word, text, sizeof word);
  return word;
}

static uint64_t four_and_four(const char *a, const char *b) {
  uint32_t first, second;
  memcpy(&first, a, sizeof first);
  memcpy(&second, b, sizeof second);
  return first | (uint64_t)second << 32;
}

/* How far 'a' or 'A' is above '0' + 10. */
static int8_t letters_of(enum key_form form) {
  return form == KEY_UUID_LOWER ? 'a' - '0' - 10 : 'A' - '0' - 10;
}

static digits values_of(digits text) { return (text & 0x0f) + ((text > '9') & 9); }

/* Not 0 in each byte that is not a digit. */
static digits check(digits text, digits values, int8_t letters) {
  digits back = values + '0' + ((values > 9) & letters);
  return (values & (int8_t)0xf0) | (back ^ text);
}

/* Packs the two values of four bits in a pair of bytes into the lower byte. */
static digits squeeze(digits values) {
  pairs v = (pairs)values;
  return (digits)((v << 4 | v >> 8) & 0xff);
}

static inline bool pack(const char *text, enum key_form form, char packed[KEY_UUID_BYTES]) {
  int8_t letters = letters_of(form);
  digits a = (digits)(words){eight(text), four_and_four(text + 9, text + 14)};
  digits b = (digits)(words){four_and_four(text + 19, text + 24), eight(text + 28)};
  digits u = values_of(a), v = values_of(b);
  words wrong = (words)(check(a, u, letters) | check(b, v, letters));
  digits bytes = __builtin_shufflevector(squeeze(u), squeeze(v), 0, 2, 4, 6, 8, 10, 12, 14, 16, 18,
                                         20, 22, 24, 26, 28, 30);
  memcpy(packed, &bytes, sizeof bytes);
  return (wrong[0] | wrong[1]) == 0;
}

static bool has_dashes(const char *text) {
  bool all = true;
  for (size_t i = 0; i < sizeof DASHES; i++) all &= text[(int)DASHES[i]] == '-';
  return all;
}

static __attribute__((noinline)) struct key key_of_rare(struct span text,
                                                        char packed[KEY_UUID_BYTES]) {
  bool upper =
      text.len == KEY_UUID_TEXT && has_dashes(text.data) && pack(text.data, KEY_UUID_UPPER, packed);
  return upper ? (struct key){KEY_UUID_UPPER, {packed, KEY_UUID_BYTES}}
               : (struct key){KEY_RAW, text};
}

struct key key_of(struct span text, char packed[KEY_UUID_BYTES]) {
  bool lower =
      text.len == KEY_UUID_TEXT && has_dashes(text.data) && pack(text.data, KEY_UUID_LOWER, packed);
  return lower ? (struct key){KEY_UUID_LOWER, {packed, KEY_UUID_BYTES}} : key_of_rare(text, packed);
}

struct span key_text(struct key key, char text[KEY_UUID_TEXT]) {
  if (key.form == KEY_RAW) return key.bytes;
  const char *digits_of = key.form == KEY_UUID_LOWER ? "0123456789abcdef" : "0123456789ABCDEF";
  for (size_t i = 0, at = 0; i < KEY_UUID_BYTES; i++) {
    unsigned byte = (unsigned char)key.bytes.data[i];
    text[at++] = digits_of[byte >> 4];
    text[at++] = digits_of[byte & 0xf];
    if (i == 3 || i == 5 || i == 7 || i == 9) text[at++] = '-';
  }
  return (struct span){text, KEY_UUID_TEXT};
}
