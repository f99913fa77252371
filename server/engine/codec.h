/*
 * codec.h - encodes one response as bytes of a chunk, and reads it back.
 *
 *     flags | since | ttl | token | key | fingerprint | body | meta      aligned to CODEC_ALIGNMENT
 *
 * Numbers are differences to a base, those of the chunk's first response, in seven bits a byte
 * (LEB128), so that a response of 100 bytes under a UUID with a fingerprint of 16 digits takes
 * 132. A fingerprint is its code and its bytes (fingerprint.h). Where body and meta are blobs,
 * their addresses stand in their places.
 *
 * Knows no chunk: the caller says what the base is. The flags keep the chunk's class in two bits:
 * it says how the chunk is found from one of its responses.
 */
#ifndef IDEM_SERVER_ENGINE_CODEC_H
#define IDEM_SERVER_ENGINE_CODEC_H

#include "server/engine/leb.h"
#include "server/engine/response.h"

#define CODEC_ALIGNMENT 4u /* addresses leave two bits to blob_part */

struct codec_base {
  int64_t since_ms, ttl_ms;
  uint64_t token;
};

/* ---- writing ---- */

/* The bytes that a response takes with this base; NULL: as the first of a chunk, whose numbers are
 * 0. */
size_t codec_size(const struct codec_base *base, const struct response *response);
/* No response takes more, whatever its numbers are. */
size_t codec_most(const struct response *response);
/* Writes it and returns its size. Of blobs only the addresses are written. class: 0 to 3. */
size_t codec_write(const struct codec_base *base, unsigned class, unsigned char *to,
                   const struct response *response);

/* ---- reading; what is returned is borrowed from the bytes ---- */

void codec_read(const struct codec_base *base, const struct response_ref *ref,
                struct response *response);
int64_t codec_deadline_ms(const struct codec_base *base, const struct response_ref *ref);

/* Its size, without reading its blobs, which may be gone. */
uint32_t codec_length(const struct response_ref *ref);
/* What a pass over a chunk needs to know, in one reading; nor does it read blobs. */
struct codec_outline {
  struct span key;
  int64_t since_ms, deadline_ms;
  uint32_t size;
};
void codec_look(const struct codec_base *base, const struct response_ref *ref,
                struct codec_outline *outline);

/* ---- flags ---- */

#define CODEC_FORM 0x03u /* enum key_form */
#define CODEC_FINGERPRINT 0x04u
#define CODEC_META 0x08u
#define CODEC_BLOBS 0x10u /* body and meta are blobs */
#define CODEC_DROPPED 0x20u
#define CODEC_CLASS_SHIFT 6u

static inline unsigned codec_flags(const struct response_ref *ref) {
  return *(const unsigned char *)ref;
}
static inline unsigned codec_class(const struct response_ref *ref) {
  return codec_flags(ref) >> CODEC_CLASS_SHIFT;
}
static inline bool codec_has_blobs(const struct response_ref *ref) {
  return (codec_flags(ref) & CODEC_BLOBS) != 0;
}
static inline bool codec_is_dropped(const struct response_ref *ref) {
  return (codec_flags(ref) & CODEC_DROPPED) != 0;
}
static inline void codec_mark_dropped(struct response_ref *ref) {
  *(unsigned char *)ref |= CODEC_DROPPED;
}

/* ---- reading a part; here, since a thousand that end together need little else ---- */

static inline uint64_t codec_sum(uint64_t base, uint64_t difference) {
  return base + (difference >> 1 ^ (0 - (difference & 1)));
}

/* The three numbers nearly always take less than eight bytes, so that their last bytes are found in
 * one word. At least eight bytes follow the flags when the key is a UUID. */
static inline const unsigned char *codec_after_numbers(const struct response_ref *ref) {
  const unsigned char *from = (const unsigned char *)ref + 1;
  if ((codec_flags(ref) & CODEC_FORM) != KEY_RAW) {
    uint64_t bytes;
    memcpy(&bytes, from, sizeof bytes);
    uint64_t ends = ~bytes & UINT64_C(0x8080808080808080);
    ends &= ends - 1;
    ends &= ends - 1;
    if (ends != 0) return from + __builtin_ctzll(ends) / 8 + 1;
  }
  return leb_skip(leb_skip(leb_skip(from)));
}

/* Returns what follows the key. */
static inline const unsigned char *codec_read_key(const unsigned char *from, unsigned flags,
                                                  struct key *key) {
  uint64_t len = KEY_UUID_BYTES;
  key->form = (enum key_form)(flags & CODEC_FORM);
  if (key->form == KEY_RAW) from = leb_read(from, &len);
  key->bytes = (struct span){(const char *)from, (size_t)len};
  return from + len;
}

static inline struct key codec_key(const struct response_ref *ref) {
  struct key key;
  codec_read_key(codec_after_numbers(ref), codec_flags(ref), &key);
  return key;
}

static inline int64_t codec_since_ms(const struct codec_base *base,
                                     const struct response_ref *ref) {
  uint64_t since;
  leb_read((const unsigned char *)ref + 1, &since);
  return (int64_t)codec_sum((uint64_t)base->since_ms, since);
}

#endif
