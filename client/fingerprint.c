/*
 * fingerprint.c - a request as one canonical run of bytes, and its digest.
 *
 *     "idem1" part(method) part(path) count { part(name in lower case) part(value) }... part(body)
 *     part: 8 bytes of length, little endian, and the bytes; all ones for an absent part
 *
 * This layout is a format: a change of it makes every retry across the change a MISMATCH, so it
 * carries a version.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "client/idem.h"
#include "client/sized.h"

#ifdef IDEM_HAVE_SHA256
#include <sys/types.h>
#include <sha256.h>
#endif

#define LOWER_BYTES 256 /* of a header's name at a time */
#define ABSENT UINT64_MAX

struct digest {
  bool (*begin)(struct digest *d); /* false: no memory */
  void (*add)(struct digest *d, const void *data, size_t len);
  void (*end)(struct digest *d, struct idem_fingerprint *out); /* frees, too */
  XXH3_state_t *xxh;
#ifdef IDEM_HAVE_SHA256
  SHA256_CTX sha;
#endif
};

static bool xxh_begin(struct digest *d) {
  d->xxh = XXH3_createState();
  return d->xxh != NULL && XXH3_128bits_reset(d->xxh) == XXH_OK;
}

static void xxh_add(struct digest *d, const void *data, size_t len) {
  XXH3_128bits_update(d->xxh, data, len);
}

static void xxh_end(struct digest *d, struct idem_fingerprint *out) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(d->xxh));
  memcpy(out->bytes, canonical.digest, sizeof canonical.digest);
  out->len = sizeof canonical.digest;
  XXH3_freeState(d->xxh);
}

static const struct digest XXH = {.begin = xxh_begin, .add = xxh_add, .end = xxh_end};

#ifdef IDEM_HAVE_SHA256
static bool sha_begin(struct digest *d) {
  SHA256Init(&d->sha);
  return true;
}

static void sha_add(struct digest *d, const void *data, size_t len) {
  SHA256Update(&d->sha, data, len);
}

static void sha_end(struct digest *d, struct idem_fingerprint *out) {
  SHA256Final(out->bytes, &d->sha);
  out->len = SHA256_DIGEST_LENGTH;
}

static const struct digest SHA = {.begin = sha_begin, .add = sha_add, .end = sha_end};
#endif

/* ---- the canonical form ---- */

static void add_number(struct digest *d, uint64_t value) {
  unsigned char bytes[8];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(value >> (8 * i));
  d->add(d, bytes, sizeof bytes);
}

static void add_part(struct digest *d, struct idem_bytes part) {
  add_number(d, part.data != NULL ? (uint64_t)part.len : ABSENT);
  if (part.data != NULL && part.len > 0) d->add(d, part.data, part.len);
}

static unsigned char lower(unsigned char c) {
  return c >= 'A' && c <= 'Z' ? (unsigned char)(c - 'A' + 'a') : c;
}

static void add_name(struct digest *d, struct idem_bytes name) {
  unsigned char chunk[LOWER_BYTES];
  const unsigned char *at = name.data;
  add_number(d, (uint64_t)name.len);
  for (size_t left = name.len; left > 0;) {
    size_t len = left < sizeof chunk ? left : sizeof chunk;
    for (size_t i = 0; i < len; i++) chunk[i] = lower(at[i]);
    d->add(d, chunk, len);
    at += len;
    left -= len;
  }
}

static int compare_names(struct idem_bytes a, struct idem_bytes b) {
  const unsigned char *x = a.data, *y = b.data;
  size_t len = a.len < b.len ? a.len : b.len;
  for (size_t i = 0; i < len; i++) {
    if (lower(x[i]) != lower(y[i])) return lower(x[i]) < lower(y[i]) ? -1 : 1;
  }
  return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

/* By insertion: stable, and there are few. */
static void sort_headers(const struct idem_header *headers, size_t count, size_t *order) {
  for (size_t i = 0; i < count; i++) {
    size_t at = i;
    for (; at > 0 && compare_names(headers[order[at - 1]].name, headers[i].name) > 0; at--)
      order[at] = order[at - 1];
    order[at] = i;
  }
}

static bool headers_fit(const struct idem_http_request *request) {
  if (request->header_count > IDEM_HEADERS_LIMIT) return false;
  for (size_t i = 0; i < request->header_count; i++) {
    if (request->headers[i].name.data == NULL) return false;
  }
  return true;
}

SIZED_ASSERT_FULL(struct idem_http_request, SIZED_HTTP_REQUEST_0_1);

enum idem_status idem_fingerprint(const struct idem_http_request *from,
                                  struct idem_fingerprint *out) {
  struct idem_http_request own;
  const struct idem_http_request *request = &own;
  memset(out, 0, sizeof *out);
  if (!sized_copy(&own, sizeof own, from, SIZED_HTTP_REQUEST_0_1)) return IDEM_INVALID;
  if (own.reserved != 0 || !headers_fit(request)) return IDEM_INVALID;
  if (request->digest != IDEM_XXH3_128 && request->digest != IDEM_SHA256) return IDEM_INVALID;
  struct digest d = XXH;
  if (request->digest == IDEM_SHA256) {
#ifdef IDEM_HAVE_SHA256
    d = SHA;
#else
    return IDEM_REFUSED;
#endif
  }
  if (!d.begin(&d)) return IDEM_NO_MEMORY;
  size_t order[IDEM_HEADERS_LIMIT];
  sort_headers(request->headers, request->header_count, order);
  d.add(&d, "idem1", strlen("idem1"));
  add_part(&d, request->method);
  add_part(&d, request->path);
  add_number(&d, (uint64_t)request->header_count);
  for (size_t i = 0; i < request->header_count; i++) {
    add_name(&d, request->headers[order[i]].name);
    add_part(&d, request->headers[order[i]].value);
  }
  add_part(&d, request->body);
  d.end(&d, out);
  return IDEM_OK;
}
