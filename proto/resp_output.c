/*
 * resp_output.c - growing, and what is not on the way of every reply.
 */
#include "proto/resp_output.h"

#include <assert.h>
#include <stdlib.h>

/* First sizes: most replies of one turn of a connection fit. */
#define BYTES_MIN 256
#define REFS_MIN 4

void resp_output_reset(struct resp_output *out) {
  out->len = 0;
  out->ref_count = 0;
  out->ref_bytes = 0;
  out->failed = false;
}

void resp_output_deinit(struct resp_output *out) {
  free(out->bytes);
  free(out->refs);
  *out = (struct resp_output){.errors = out->errors};
}

bool resp_output_grow(struct resp_output *out, size_t extra) {
  if (extra > RESP_OUTPUT_BYTES_MAX || out->len > RESP_OUTPUT_BYTES_MAX - extra) return false;
  size_t capacity = out->capacity < BYTES_MIN ? BYTES_MIN : out->capacity;
  while (capacity < out->len + extra) capacity *= 2;
  char *bytes = realloc(out->bytes, capacity);
  if (bytes == NULL) return false;
  out->bytes = bytes;
  out->capacity = capacity;
  return true;
}

void resp_output_append(struct resp_output *out, const char *data, size_t len) {
  if (len == 0) return;
  char *p = resp_output_reserve(out, len);
  if (p == NULL) return;
  memcpy(p, data, len);
  resp_output_commit(out, p + len);
}

static bool refs_grow(struct resp_output *out) {
  size_t capacity = out->ref_capacity == 0 ? REFS_MIN : out->ref_capacity * 2;
  if (capacity > RESP_OUTPUT_BYTES_MAX / sizeof *out->refs) return false;
  struct resp_output_ref *refs = realloc(out->refs, capacity * sizeof *refs);
  if (refs == NULL) return false;
  out->refs = refs;
  out->ref_capacity = capacity;
  return true;
}

bool resp_output_refer(struct resp_output *out, struct span bytes, void *pin, void *keeper) {
  if (out->failed) return false;
  bool room = bytes.len <= RESP_OUTPUT_BYTES_MAX - out->ref_bytes;
  if (!room || (out->ref_count == out->ref_capacity && !refs_grow(out))) {
    out->failed = true;
    return false;
  }
  out->refs[out->ref_count++] =
      (struct resp_output_ref){out->len, bytes.data, bytes.len, pin, keeper};
  out->ref_bytes += bytes.len;
  return true;
}

size_t resp_output_forget(struct resp_output *out, size_t bytes) {
  assert(out->ref_count == 0 && bytes < out->len);
  size_t left = out->len - bytes;
  char *rest = malloc(left);
  if (rest == NULL) return 0;
  memcpy(rest, out->bytes + bytes, left);
  free(out->bytes);
  out->bytes = rest;
  out->len = out->capacity = left;
  return bytes;
}

size_t resp_output_move(struct resp_output *to, const struct resp_output *from) {
  size_t at = 0;
  to->failed |= from->failed;
  for (size_t i = 0; i < from->ref_count; i++) {
    const struct resp_output_ref *ref = &from->refs[i];
    resp_output_append(to, from->bytes + at, ref->at - at);
    at = ref->at;
    if (!resp_output_refer(to, (struct span){ref->data, ref->len}, ref->pin, ref->keeper)) return i;
  }
  resp_output_append(to, from->bytes + at, from->len - at);
  return from->ref_count;
}
