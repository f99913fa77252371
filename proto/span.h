/*
 * span.h - a borrowed run of bytes.
 *
 * A span owns nothing: it is valid as long as the bytes that it points into. `data == NULL` means
 * "absent" (a missing field, null on the wire); a span with data and len 0 is present and empty.
 */
#ifndef IDEM_PROTO_SPAN_H
#define IDEM_PROTO_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
  const char *data;
  size_t len;
};

#define SPAN_ABSENT ((struct span){NULL, 0})
/* Only for string literals and arrays: the length is taken by the compiler. */
#define SPAN_LITERAL(text) ((struct span){(text), sizeof(text) - 1})

static inline struct span span_of(const char *text) {
  return (struct span){text, text != NULL ? strlen(text) : 0};
}

static inline bool span_present(struct span s) { return s.data != NULL; }

/* Both absent, or both present with the same bytes. */
static inline bool span_equal(struct span a, struct span b) {
  if (a.data == NULL || b.data == NULL) return a.data == b.data;
  return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII case-insensitive comparison with a C string, as command and option names are compared. */
bool span_is(struct span s, const char *word);

/*
 * Strict decimal integers, as Redis reads them: no sign but a leading '-', no leading zeros, no
 * blanks, no overflow of 64 bits. Return false and leave *value alone otherwise. SPAN_NUMBER_MAX
 * bounds the text.
 */
#define SPAN_NUMBER_MAX 20 /* strlen("-9223372036854775808") */
bool span_to_i64(struct span s, long long *value);

#endif
