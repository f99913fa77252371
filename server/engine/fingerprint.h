/*
 * fingerprint.h - fingerprints as the engine keeps them: hexadecimal digits, which most are, as
 * half as many bytes, anything else as it is.
 *
 *     "9f86d081884c7d65"               ->  FINGERPRINT_LOWER + 8 bytes      (upper case alike)
 *     "v1:42", "9F86d081...", "9f8"    ->  FINGERPRINT_RAW + the bytes
 *
 * Kept, a fingerprint is a code of one byte, which stands where its owner likes, and the bytes that
 * the code says. Only one that is raw and long has its length in front of them:
 *
 *     0 none   1.. so many bytes of lower digits   65.. of upper ones   129.. raw   255 raw, long
 *
 * Invariants: a text has exactly one form, and the form gives back exactly that text; so two
 * fingerprints are equal when form and bytes are. Digits alone, without a letter, are LOWER.
 *
 * Knows no records and no responses.
 */
#ifndef IDEM_SERVER_ENGINE_FINGERPRINT_H
#define IDEM_SERVER_ENGINE_FINGERPRINT_H

#include "proto/span.h"
#include "server/engine/leb.h"

/* Digests have 16 digits (64 bits) to 128 (SHA-512). A shorter one would win little. */
#define FINGERPRINT_LEAST 16u
#define FINGERPRINT_TEXT 128u
#define FINGERPRINT_PACKED (FINGERPRINT_TEXT / 2)

enum fingerprint_form { FINGERPRINT_RAW, FINGERPRINT_LOWER, FINGERPRINT_UPPER };

struct fingerprint {
  enum fingerprint_form form;
  struct span bytes; /* borrowed; absent: there is none, and the form is RAW */
};

/* The fingerprint of a text, which may be absent: into `packed` when it is of digits, else the text
 * itself is borrowed. */
struct fingerprint fingerprint_of_long(struct span text, char packed[FINGERPRINT_PACKED]);
static inline struct fingerprint fingerprint_of(struct span text,
                                                char packed[FINGERPRINT_PACKED]) {
  return text.len < FINGERPRINT_LEAST ? (struct fingerprint){FINGERPRINT_RAW, text}
                                      : fingerprint_of_long(text, packed);
}
/* The text of a fingerprint: written into `text` when it is of digits, else the bytes themselves.
 */
struct span fingerprint_text(struct fingerprint print, char text[FINGERPRINT_TEXT]);

static inline bool fingerprint_equal(struct fingerprint a, struct fingerprint b) {
  return a.form == b.form && span_equal(a.bytes, b.bytes);
}

/* ---- kept ---- */

#define FINGERPRINT_UPPER_CODE FINGERPRINT_PACKED         /* and the bytes */
#define FINGERPRINT_RAW_CODE (2 * FINGERPRINT_PACKED + 1) /* and the bytes */
#define FINGERPRINT_LONG_CODE 255u                        /* the length stands in front */

static inline unsigned char fingerprint_code(struct fingerprint print) {
  if (!span_present(print.bytes)) return 0;
  size_t len = print.bytes.len;
  if (print.form == FINGERPRINT_LOWER) return (unsigned char)len;
  if (print.form == FINGERPRINT_UPPER) return (unsigned char)(FINGERPRINT_UPPER_CODE + len);
  bool is_long = len >= FINGERPRINT_LONG_CODE - FINGERPRINT_RAW_CODE;
  return is_long ? FINGERPRINT_LONG_CODE : (unsigned char)(FINGERPRINT_RAW_CODE + len);
}

/* What it takes besides the code. */
static inline size_t fingerprint_size(struct fingerprint print) {
  size_t len = print.bytes.len;
  return fingerprint_code(print) == FINGERPRINT_LONG_CODE ? leb_size(len) + len : len;
}

/* Writes that; returns what follows. */
static inline unsigned char *fingerprint_write(unsigned char *to, struct fingerprint print) {
  size_t len = print.bytes.len;
  if (fingerprint_code(print) == FINGERPRINT_LONG_CODE) to = leb_write(to, len);
  if (len != 0) memcpy(to, print.bytes.data, len);
  return to + len;
}

/* Reads it, borrowed; returns what follows. */
static inline const unsigned char *fingerprint_read(unsigned char code, const unsigned char *from,
                                                    struct fingerprint *print) {
  uint64_t len;
  print->form = FINGERPRINT_RAW;
  if (code == FINGERPRINT_LONG_CODE) {
    from = leb_read(from, &len);
  } else if (code >= FINGERPRINT_RAW_CODE) {
    len = code - FINGERPRINT_RAW_CODE;
  } else {
    bool upper = code > FINGERPRINT_UPPER_CODE;
    if (code != 0) print->form = upper ? FINGERPRINT_UPPER : FINGERPRINT_LOWER;
    len = upper ? code - FINGERPRINT_UPPER_CODE : code;
  }
  print->bytes = code != 0 ? (struct span){(const char *)from, (size_t)len} : SPAN_ABSENT;
  return from + len;
}

#endif
