/*
 * key.h - keys as the engine keeps them: the canonical text of a UUID as its 16 bytes, anything
 * else as it is.
 *
 *     "0f8fad5b-d9cb-469f-a165-70867728950e"  ->  KEY_UUID_LOWER + 16 bytes    (upper case alike)
 *     "order-17", "0F8fad5b-..." (mixed)      ->  KEY_RAW + the bytes
 *
 * Invariants: a text has exactly one form, and the form gives back exactly that text; so two keys
 * are equal when form and bytes are. The hash is that of the bytes kept, so that an entry that ends
 * can be found without its text.
 */
#ifndef IDEM_SERVER_ENGINE_KEY_H
#define IDEM_SERVER_ENGINE_KEY_H

#include <stdint.h>

#include "proto/span.h"

#define KEY_UUID_TEXT 36u
#define KEY_UUID_BYTES 16u

enum key_form { KEY_RAW, KEY_UUID_LOWER, KEY_UUID_UPPER };

struct key {
  enum key_form form;
  struct span bytes; /* borrowed; KEY_UUID_BYTES of them unless the form is KEY_RAW */
};

/* The key of a text: into `packed` when it is a UUID, else the text itself is borrowed. */
struct key key_of(struct span text, char packed[KEY_UUID_BYTES]);
/* The text of a key: written into `text` when it is a UUID, else the bytes themselves. */
struct span key_text(struct key key, char text[KEY_UUID_TEXT]);

static inline bool key_equal(struct key a, struct key b) {
  if (a.form != b.form) return false;
  if (a.form != KEY_RAW) return memcmp(a.bytes.data, b.bytes.data, KEY_UUID_BYTES) == 0;
  return a.bytes.len == b.bytes.len && memcmp(a.bytes.data, b.bytes.data, a.bytes.len) == 0;
}

static inline size_t key_text_len(struct key key) {
  return key.form == KEY_RAW ? key.bytes.len : KEY_UUID_TEXT;
}

#endif
