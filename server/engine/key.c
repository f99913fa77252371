/* key.c - see key.h. */
#include "server/engine/key.h"

#include "server/engine/hex.h"

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

static inline bool pack(const char *text, enum hex_case of, char packed[KEY_UUID_BYTES]) {
  hex_digits a = hex_of(eight(text), four_and_four(text + 9, text + 14));
  hex_digits b = hex_of(four_and_four(text + 19, text + 24), eight(text + 28));
  hex_digits u = hex_values(a), v = hex_values(b), bytes = hex_bytes(u, v);
  memcpy(packed, &bytes, sizeof bytes);
  return !hex_is_wrong(hex_check(a, u, of) | hex_check(b, v, of));
}

static bool has_dashes(const char *text) {
  bool all = true;
  for (size_t i = 0; i < sizeof DASHES; i++) all &= text[(int)DASHES[i]] == '-';
  return all;
}

static __attribute__((noinline)) struct key key_of_rare(struct span text,
                                                        char packed[KEY_UUID_BYTES]) {
  bool upper =
      text.len == KEY_UUID_TEXT && has_dashes(text.data) && pack(text.data, HEX_UPPER, packed);
  return upper ? (struct key){KEY_UUID_UPPER, {packed, KEY_UUID_BYTES}}
               : (struct key){KEY_RAW, text};
}

struct key key_of(struct span text, char packed[KEY_UUID_BYTES]) {
  bool lower =
      text.len == KEY_UUID_TEXT && has_dashes(text.data) && pack(text.data, HEX_LOWER, packed);
  return lower ? (struct key){KEY_UUID_LOWER, {packed, KEY_UUID_BYTES}} : key_of_rare(text, packed);
}

struct span key_text(struct key key, char text[KEY_UUID_TEXT]) {
  if (key.form == KEY_RAW) return key.bytes;
  static const size_t GROUPS[] = {4, 2, 2, 2, 6}; /* bytes between the dashes */
  enum hex_case as = key.form == KEY_UUID_LOWER ? HEX_LOWER : HEX_UPPER;
  const char *from = key.bytes.data;
  char *to = text;
  for (size_t i = 0; i < sizeof GROUPS / sizeof GROUPS[0]; from += GROUPS[i++]) {
    if (i > 0) *to++ = '-';
    to = hex_write(to, from, GROUPS[i], as);
  }
  return (struct span){text, KEY_UUID_TEXT};
}
