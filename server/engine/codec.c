/* codec.c - see codec.h. */
#include "server/engine/codec.h"

#include "server/engine/leb.h"

/* ---- numbers ---- */

/* Small differences of either sign to small numbers; wraps around. */
static uint64_t difference(uint64_t value, uint64_t base) {
  uint64_t d = value - base;
  return d << 1 ^ (0 - (d >> 63));
}

/* Of a response, as they stand in its bytes. */
struct numbers {
  uint64_t since, ttl, token;
};

static struct numbers numbers_of(const struct codec_base *base, const struct response *r) {
  uint64_t ttl_ms = (uint64_t)(r->deadline_ms - r->since_ms);
  return (struct numbers){
      .since = difference((uint64_t)r->since_ms, (uint64_t)base->since_ms),
      .ttl = difference(ttl_ms, (uint64_t)base->ttl_ms),
      .token = difference(r->token, base->token),
  };
}

/* ---- sizes ---- */

static size_t aligned(size_t size) {
  return (size + CODEC_ALIGNMENT - 1) & ~(size_t)(CODEC_ALIGNMENT - 1);
}

static size_t part_size(struct span part, bool is_blob) {
  return is_blob ? sizeof(struct blob *) : leb_size(part.len) + part.len;
}

size_t codec_size(const struct codec_base *base, const struct response *r) {
  struct numbers n = base != NULL ? numbers_of(base, r) : (struct numbers){0};
  bool blobs = r->body_blob != NULL;
  size_t key = r->key.form == KEY_RAW ? leb_size(r->key.bytes.len) : 0;
  size_t size = 1 + leb_size(n.since) + leb_size(n.ttl) + leb_size(n.token) + key;
  size += r->key.bytes.len + part_size(r->body, blobs);
  if (span_present(r->fingerprint.bytes)) size += 1 + fingerprint_size(r->fingerprint);
  if (span_present(r->meta)) size += part_size(r->meta, blobs);
  return aligned(size);
}

size_t codec_most(const struct response *r) {
  const size_t lengths_and_numbers = 7;
  return 1 + lengths_and_numbers * LEB_MOST + r->key.bytes.len + r->fingerprint.bytes.len +
         r->body.len + r->meta.len + CODEC_ALIGNMENT;
}

/* ---- writing ---- */

static unsigned char *write_bytes(unsigned char *to, struct span bytes) {
  if (bytes.len != 0) memcpy(to, bytes.data, bytes.len);
  return to + bytes.len;
}

static unsigned char *write_part(unsigned char *to, struct span part, struct blob *blob) {
  if (blob == NULL) return write_bytes(leb_write(to, part.len), part);
  memcpy(to, &blob, sizeof blob);
  return to + sizeof blob;
}

static unsigned char *write_key(unsigned char *to, struct key key) {
  if (key.form == KEY_RAW) return write_bytes(leb_write(to, key.bytes.len), key.bytes);
  memcpy(to, key.bytes.data, KEY_UUID_BYTES);
  return to + KEY_UUID_BYTES;
}

static unsigned char *write_fingerprint(unsigned char *to, struct fingerprint print) {
  *to++ = fingerprint_code(print);
  return fingerprint_write(to, print);
}

static unsigned flags_for(unsigned class, const struct response *r) {
  unsigned flags = (unsigned)r->key.form | class << CODEC_CLASS_SHIFT;
  if (span_present(r->fingerprint.bytes)) flags |= CODEC_FINGERPRINT;
  if (span_present(r->meta)) flags |= CODEC_META;
  if (r->body_blob != NULL) flags |= CODEC_BLOBS;
  return flags;
}

size_t codec_write(const struct codec_base *base, unsigned class, unsigned char *to,
                   const struct response *r) {
  const unsigned char *begin = to;
  struct numbers n = numbers_of(base, r);
  *to++ = (unsigned char)flags_for(class, r);
  to = leb_write(leb_write(leb_write(to, n.since), n.ttl), n.token);
  to = write_key(to, r->key);
  if (span_present(r->fingerprint.bytes)) to = write_fingerprint(to, r->fingerprint);
  to = write_part(to, r->body, r->body_blob);
  if (span_present(r->meta)) to = write_part(to, r->meta, r->meta_blob);
  return aligned((size_t)(to - begin));
}

/* ---- reading ---- */

static const unsigned char *read_part(const unsigned char *from, struct span *part) {
  uint64_t len;
  from = leb_read(from, &len);
  *part = (struct span){(const char *)from, (size_t)len};
  return from + len;
}

static const unsigned char *skip_part(const unsigned char *from) {
  uint64_t len;
  from = leb_read(from, &len);
  return from + len;
}

static const unsigned char *read_fingerprint(const unsigned char *from, struct fingerprint *print) {
  return fingerprint_read(*from, from + 1, print);
}

static const unsigned char *read_blob(const unsigned char *from, struct blob **blob,
                                      struct span *part) {
  memcpy(blob, from, sizeof *blob);
  *part = blob_bytes(*blob);
  return from + sizeof *blob;
}

void codec_read(const struct codec_base *base, const struct response_ref *ref, struct response *r) {
  const unsigned char *from = (const unsigned char *)ref;
  unsigned flags = *from++;
  uint64_t since, ttl, token;
  from = leb_read(leb_read(leb_read(from, &since), &ttl), &token);
  *r = (struct response){
      .token = codec_sum(base->token, token),
      .since_ms = (int64_t)codec_sum((uint64_t)base->since_ms, since),
  };
  r->deadline_ms = r->since_ms + (int64_t)codec_sum((uint64_t)base->ttl_ms, ttl);
  from = codec_read_key(from, flags, &r->key);
  if ((flags & CODEC_FINGERPRINT) != 0) from = read_fingerprint(from, &r->fingerprint);
  if ((flags & CODEC_BLOBS) != 0) {
    from = read_blob(from, &r->body_blob, &r->body);
    if ((flags & CODEC_META) != 0) read_blob(from, &r->meta_blob, &r->meta);
    return;
  }
  from = read_part(from, &r->body);
  r->body_blob = blob_as_part(ref, BLOB_BODY);
  if ((flags & CODEC_META) == 0) return;
  r->meta_blob = blob_as_part(ref, BLOB_META);
  read_part(from, &r->meta);
}

int64_t codec_deadline_ms(const struct codec_base *base, const struct response_ref *ref) {
  uint64_t since, ttl;
  leb_read(leb_read((const unsigned char *)ref + 1, &since), &ttl);
  return (int64_t)(codec_sum((uint64_t)base->since_ms, since) +
                   codec_sum((uint64_t)base->ttl_ms, ttl));
}

/* The size of a response, the rest of which begins after its key. */
static inline uint32_t size_to_end(const struct response_ref *ref, const unsigned char *from) {
  unsigned flags = codec_flags(ref);
  struct fingerprint print;
  if ((flags & CODEC_FINGERPRINT) != 0) from = read_fingerprint(from, &print);
  if ((flags & CODEC_BLOBS) != 0) {
    from += sizeof(struct blob *) << ((flags & CODEC_META) != 0 ? 1 : 0);
  } else {
    from = skip_part(from);
    if ((flags & CODEC_META) != 0) from = skip_part(from);
  }
  return (uint32_t)aligned((size_t)(from - (const unsigned char *)ref));
}

uint32_t codec_length(const struct response_ref *ref) {
  struct key key;
  return size_to_end(ref, codec_read_key(codec_after_numbers(ref), codec_flags(ref), &key));
}

void codec_look(const struct codec_base *base, const struct response_ref *ref,
                struct codec_outline *outline) {
  uint64_t since, ttl;
  struct key key;
  const unsigned char *from = leb_read((const unsigned char *)ref + 1, &since);
  from = codec_read_key(leb_skip(leb_read(from, &ttl)), codec_flags(ref), &key);
  outline->key = key.bytes;
  outline->since_ms = (int64_t)codec_sum((uint64_t)base->since_ms, since);
  outline->deadline_ms = outline->since_ms + (int64_t)codec_sum((uint64_t)base->ttl_ms, ttl);
  outline->size = size_to_end(ref, from);
}
