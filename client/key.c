/*
 * key.c - keys from parts, and the key inside an Idempotency-Key header. Knows no socket, allocates
 * nothing.
 *
 * A key is its parts, each as "length:bytes" or "-": the lengths tell where each ends, so no two
 * lists of parts share a key.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "client/idem.h"

/* ---- keys from parts ---- */

/* Counts all, writes what fits. */
struct joiner {
  char *out;
  size_t size, len;
};

static void join(struct joiner *j, const void *data, size_t len) {
  if (len > 0 && j->len <= j->size && len <= j->size - j->len) memcpy(j->out + j->len, data, len);
  j->len += len;
}

enum idem_status idem_key(const struct idem_bytes *parts, size_t count, char *out, size_t size,
                          size_t *len) {
  struct joiner j = {out, size, 0};
  for (size_t i = 0; i < count; i++) {
    char prefix[24];
    int digits = parts[i].data == NULL ? snprintf(prefix, sizeof prefix, "-")
                                       : snprintf(prefix, sizeof prefix, "%zu:", parts[i].len);
    join(&j, prefix, (size_t)digits);
    if (parts[i].data != NULL) join(&j, parts[i].data, parts[i].len);
  }
  *len = j.len;
  if (count == 0) return IDEM_INVALID;
  return j.len <= size ? IDEM_OK : IDEM_TOOBIG;
}

enum idem_status idem_key_http(struct idem_bytes tenant, struct idem_bytes method,
                               struct idem_bytes route, struct idem_bytes key, char *out,
                               size_t size, size_t *len) {
  const struct idem_bytes parts[] = {tenant, method, route, key};
  return idem_key(parts, sizeof parts / sizeof parts[0], out, size, len);
}

/* ---- the header: an Item of RFC 8941 that is a String ---- */

struct reader {
  const unsigned char *at, *end;
};

static int peek(const struct reader *r) { return r->at < r->end ? *r->at : -1; }

static bool take(struct reader *r, int c) {
  if (peek(r) != c) return false;
  r->at++;
  return true;
}

static void skip_spaces(struct reader *r) {
  while (take(r, ' ')) continue;
}

static bool is_digit(int c) { return c >= '0' && c <= '9'; }
static bool is_lower(int c) { return c >= 'a' && c <= 'z'; }
static bool is_alpha(int c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }

/* DQUOTE *( visible or space, with \" and \\ escaped ) DQUOTE. Writes what fits into size. */
static enum idem_status take_string(struct reader *r, char *out, size_t size, size_t *len) {
  *len = 0;
  if (!take(r, '"')) return IDEM_INVALID;
  for (;;) {
    int c = peek(r);
    if (c < 0x20 || c > 0x7e) return IDEM_INVALID;
    r->at++;
    if (c == '"') return *len <= size ? IDEM_OK : IDEM_TOOBIG;
    if (c == '\\') {
      c = peek(r);
      if (c != '"' && c != '\\') return IDEM_INVALID;
      r->at++;
    }
    if (*len < size) out[*len] = (char)c;
    ++*len;
  }
}

/* 15 digits, or 12 before and 3 after the point. */
static bool take_number(struct reader *r) {
  take(r, '-');
  size_t whole = 0, fraction = 0;
  while (is_digit(peek(r))) r->at++, whole++;
  if (whole == 0) return false;
  if (!take(r, '.')) return whole <= 15;
  while (is_digit(peek(r))) r->at++, fraction++;
  return whole <= 12 && fraction >= 1 && fraction <= 3;
}

static bool take_token(struct reader *r) {
  if (!is_alpha(peek(r)) && peek(r) != '*') return false;
  for (int c = peek(r);
       c > 0 && (is_alpha(c) || is_digit(c) || strchr("!#$%&'*+-.^_`|~:/", c) != NULL); c = peek(r))
    r->at++;
  return true;
}

static bool take_base64(struct reader *r) {
  take(r, ':');
  for (int c = peek(r); c > 0 && (is_alpha(c) || is_digit(c) || strchr("+/=", c) != NULL);
       c = peek(r))
    r->at++;
  return take(r, ':');
}

static bool take_bare_item(struct reader *r) {
  int c = peek(r);
  size_t ignored = 0;
  if (c == '"') return take_string(r, NULL, 0, &ignored) != IDEM_INVALID;
  if (c == '-' || is_digit(c)) return take_number(r);
  if (c == '?') return r->at++, take(r, '0') || take(r, '1');
  if (c == ':') return take_base64(r);
  return take_token(r);
}

/* *( ";" *SP key [ "=" item ] ) */
static bool take_parameters(struct reader *r) {
  while (take(r, ';')) {
    skip_spaces(r);
    if (!is_lower(peek(r)) && peek(r) != '*') return false;
    for (int c = peek(r); c > 0 && (is_lower(c) || is_digit(c) || strchr("_-.*", c) != NULL);
         c = peek(r))
      r->at++;
    if (take(r, '=') && !take_bare_item(r)) return false;
  }
  return true;
}

/* What clients send that do not follow the draft: visible ASCII as it is. */
static enum idem_status take_unquoted(struct reader *r, char *out, size_t size, size_t *len) {
  const unsigned char *start = r->at;
  while (peek(r) > 0x20 && peek(r) < 0x7f) r->at++;
  *len = (size_t)(r->at - start);
  if (*len > size) return IDEM_TOOBIG;
  if (*len > 0) memcpy(out, start, *len); /* out may be NULL */
  return IDEM_OK;
}

enum idem_status idem_key_from_header(struct idem_bytes value, unsigned flags, char *out,
                                      size_t size, size_t *len) {
  *len = 0;
  if (value.data == NULL || value.len == 0) return IDEM_INVALID;
  struct reader r = {value.data, (const unsigned char *)value.data + value.len};
  skip_spaces(&r);
  enum idem_status status = IDEM_OK;
  if (peek(&r) != '"' && (flags & IDEM_HEADER_UNQUOTED)) {
    status = take_unquoted(&r, out, size, len);
  } else {
    status = take_string(&r, out, size, len);
    if (status != IDEM_INVALID && !take_parameters(&r)) status = IDEM_INVALID;
  }
  skip_spaces(&r);
  if (status == IDEM_INVALID || r.at != r.end || *len == 0) return IDEM_INVALID;
  return status;
}
