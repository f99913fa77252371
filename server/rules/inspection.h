/*
 * inspection.h - what INSPECT and CLAIMS show of a record, and in which order.
 *
 *     key, state, owner, token, attempt, age-ms, lease-left-ms, ttl-left-ms, stage, ...
 *
 * The names and the order of the fields stand in one table. The caller walks it and writes each
 * field in its own way: every field is always there, null where the record has none. Pure data; it
 * must not know RESP, nor where a record lies.
 */
#ifndef IDEM_SERVER_RULES_INSPECTION_H
#define IDEM_SERVER_RULES_INSPECTION_H

#include "proto/span.h"
#include "server/rules/rules.h"

/* Borrowed from the record. A span that the record has not is absent, a number INSPECTION_NONE. */
#define INSPECTION_NONE INT64_MIN
struct inspection {
  struct span key; /* its text */
  struct span state, owner, stage, fingerprint;
  int64_t token, attempt; /* attempt: none of DONE */
  int64_t age_ms;         /* since the grant; DONE: since the STORE */
  int64_t lease_left_ms;  /* of HELD */
  int64_t ttl_left_ms;    /* of LAPSED and UNKNOWN, the retention; none: it stays */
  int64_t waiters;
  int64_t bind, hold; /* 1 or 0 */
  int64_t body_bytes, meta_bytes;
};

enum inspection_kind { INSPECTION_INTEGER, INSPECTION_BYTES };
struct inspection_field {
  struct span name;
  enum inspection_kind kind;
  size_t offset; /* of an int64_t or a struct span in struct inspection */
};

#define INSPECTION_FIELD_COUNT 15u
#define INSPECTION_WITHOUT_KEY \
  1u /* the first field of INSPECT; those of CLAIMS begin with the key */
extern const struct inspection_field INSPECTION_FIELDS[INSPECTION_FIELD_COUNT];

/* "HELD" and so on, as in the statuses of replies. Not of ABSENT. */
struct span inspection_state(enum rules_phase phase);

static inline int64_t inspection_integer(const struct inspection *shown,
                                         const struct inspection_field *field) {
  return *(const int64_t *)(const void *)((const char *)shown + field->offset);
}
static inline struct span inspection_bytes(const struct inspection *shown,
                                           const struct inspection_field *field) {
  return *(const struct span *)(const void *)((const char *)shown + field->offset);
}

#endif
