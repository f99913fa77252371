/*
 * key.c - see key.h. Eight digits at a time in a 64-bit word: each byte of the word is one digit.
 *
 * Digits are read as if they were valid and written back; what does not come out as it went in was
 * no digit of that case. It is one test for everything, and proves at once that nothing is lost.
 */
#include "server/engine/key.h"

#define EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))
#define WORDS 4u /* 32 digits */

static const char DASHES[] = {8, 13, 18, 23};

static uint64_t load(const char *a, const char *b) { /* twice four characters */
  char bytes[8];
  memcpy(bytes, a, 4);
  memcpy(bytes + 4, b, 4);
  uint64_t word;
  memcpy(&word, bytes, sizeof word);
  return word;
}

static void digits_of(const char *text, uint64_t digits[WORDS]) {
  digits[0] = load(text, text + 4);
  digits[1] = load(text + 9, text + 14);
  digits[2] = load(text + 19, text + 24);
  digits[3] = load(text + 28, text + 32);
}

static uint64_t values_of(uint64_t digits) {
  return (digits & EACH_BYTE(0x0f)) + 9 * (digits >> 6 & EACH_BYTE(1));
}

/* letters: what 'a' or 'A' is above '0' + 10. */
static uint64_t digits_for(uint64_t values, uint64_t letters) {
  uint64_t above_nine = (values + EACH_BYTE(6)) >> 4 & EACH_BYTE(1);
  return values + EACH_BYTE('0') + above_nine * letters;
}

static uint64_t letters_of(enum key_form form) {
  return form == KEY_UUID_LOWER ? 'a' - '0' - 10 : 'A' - '0' - 10;
}

/* Eight values of four bits in eight bytes <-> four bytes. */
static uint32_t squeeze(uint64_t v) {
  v = (v << 4 | v >> 8) & UINT64_C(0x00ff00ff00ff00ff);
  v = (v | v >> 8) & UINT64_C(0x0000ffff0000ffff);
  return (uint32_t)(v | v >> 16);
}

static uint64_t spread(uint64_t v) {
  v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
  v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
  return (v >> 4 & UINT64_C(0x000f000f000f000f)) | (v & UINT64_C(0x000f000f000f000f)) << 8;
}

static bool pack(const char *text, enum key_form form, char packed[KEY_UUID_BYTES]) {
  uint64_t digits[WORDS], wrong = 0;
  digits_of(text, digits);
  for (unsigned i = 0; i < WORDS; i++) {
    uint64_t values = values_of(digits[i]);
    wrong |= (values & EACH_BYTE(0xf0)) | (digits_for(values, letters_of(form)) ^ digits[i]);
    uint32_t bytes = squeeze(values);
    memcpy(packed + i * sizeof bytes, &bytes, sizeof bytes);
  }
  return wrong == 0;
}

struct key key_of(struct span text, char packed[KEY_UUID_BYTES]) {
  struct key key = {KEY_RAW, text};
  if (text.len != KEY_UUID_TEXT) return key;
  for (size_t i = 0; i < sizeof DASHES; i++) {
    if (text.data[(int)DASHES[i]] != '-') return key;
  }
  for (enum key_form form = KEY_UUID_LOWER; form <= KEY_UUID_UPPER; form++) {
    if (pack(text.data, form, packed)) return (struct key){form, {packed, KEY_UUID_BYTES}};
  }
  return key;
}

struct span key_text(struct key key, char text[KEY_UUID_TEXT]) {
  if (key.form == KEY_RAW) return key.bytes;
  char digits[WORDS * 8];
  for (unsigned i = 0; i < WORDS; i++) {
    uint32_t bytes;
    memcpy(&bytes, key.bytes.data + i * sizeof bytes, sizeof bytes);
    uint64_t word = digits_for(spread(bytes), letters_of(key.form));
    memcpy(digits + i * sizeof word, &word, sizeof word);
  }
  for (size_t i = 0, from = 0; i < KEY_UUID_TEXT; i++) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    text[i] = dash ? '-' : digits[from++];
  }
  return (struct span){text, KEY_UUID_TEXT};
}
