/*
 * resp_inline.c - blanks, quotes and escapes of a line.
 */
#include "proto/resp_inline.h"

#include <stdlib.h>

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* What ends a word outside quotes. Vertical tab and form feed are blanks only before a word. */
static bool ends_word(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool begins_with(struct span s, const char *word) {
  size_t len = strlen(word);
  return s.len >= len && span_is((struct span){s.data, len}, word);
}

static struct span between(const char *begin, const char *end) {
  return (struct span){begin, (size_t)(end - begin)};
}

/* ---- HTTP ---- */

/* Takes the next word off a line, by blanks alone; empty: there is none. */
static struct span take_word(struct span *line) {
  const char *p = line->data, *end = p + line->len;
  while (p < end && is_blank(*p)) p++;
  const char *begin = p;
  while (p < end && !is_blank(*p)) p++;
  *line = between(p, end);
  return between(begin, p);
}

bool resp_inline_is_http(struct span line) {
  static const char *const methods[] = {"GET",   "HEAD",  "PUT",     "DELETE", "OPTIONS",
                                        "PATCH", "TRACE", "CONNECT", "POST"};
  while (line.len > 0 && is_blank(*line.data)) line = (struct span){line.data + 1, line.len - 1};
  if (begins_with(line, "POST ") || begins_with(line, "Host:")) return true;
  struct span method = take_word(&line), target = take_word(&line), last = target, word;
  while ((word = take_word(&line)).len > 0) last = word;
  if (last.data == target.data || !begins_with(last, "HTTP/")) return false;
  if (*target.data == '/' || span_is(target, "*")) return true;
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    if (span_is(method, methods[i])) return true;
  }
  return false;
}

bool resp_inline_is_proxy(struct span line) {
  bool second = line.len == 2 && line.data[0] == '\0' && line.data[1] == '\r';
  return second || begins_with(line, "PROXY ");
}

/* ---- words ---- */

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* The escape whose backslash is at p, in double quotes; p + 1 < end. Returns its last byte. */
static const char *unescape(const char *p, const char *end, char *byte) {
  static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
  if (end - p >= 4 && p[1] == 'x' && hex_value(p[2]) >= 0 && hex_value(p[3]) >= 0) {
    *byte = (char)(hex_value(p[2]) * 16 + hex_value(p[3]));
    return p + 3;
  }
  const char *known = memchr(from, p[1], sizeof from - 1);
  *byte = known != NULL ? to[known - from] : p[1];
  return p + 1;
}

/* Copies a word without its quotes to *out, which moves. Returns where the word ends, or NULL. */
static const char *unquote(const char *p, const char *end, char **out) {
  char quote = '\0';
  for (; p < end; p++) {
    if (quote == '\0') {
      if (ends_word(*p)) return p;
      if (*p == '"' || *p == '\'') {
        quote = *p;
      } else {
        *(*out)++ = *p;
      }
    } else if (*p == quote) {
      return p + 1 == end || is_blank(p[1]) ? p + 1 : NULL;
    } else if (*p == '\\' && quote == '"' && p + 1 < end) {
      p = unescape(p, end, (*out)++);
    } else if (*p == '\\' && quote == '\'' && p + 1 < end && p[1] == '\'') {
      *(*out)++ = *++p;
    } else {
      *(*out)++ = *p;
    }
  }
  return quote == '\0' ? p : NULL;
}

/* A text without its quotes is never longer: one buffer, as long as the rest of the line when the
 * first quoted word comes, serves all words. */
static enum resp_inline_result next_quoted(struct resp_inline *words, struct span *word) {
  const char *end = words->rest.data + words->rest.len;
  if (words->unquoted == NULL) words->room = words->unquoted = malloc(words->rest.len);
  if (words->unquoted == NULL) return RESP_INLINE_NO_MEMORY;
  const char *begin = words->room;
  const char *p = unquote(words->rest.data, end, &words->room);
  if (p == NULL) return RESP_INLINE_UNBALANCED;
  *word = between(begin, words->room);
  words->rest = between(p, end);
  return RESP_INLINE_WORD;
}

enum resp_inline_result resp_inline_next(struct resp_inline *words, struct span *word) {
  const char *p = words->rest.data, *end = p + words->rest.len;
  while (p < end && is_blank(*p)) p++;
  words->rest = between(p, end);
  if (p == end) return RESP_INLINE_END;
  while (p < end && !ends_word(*p) && *p != '"' && *p != '\'') p++;
  if (p < end && !ends_word(*p)) return next_quoted(words, word);
  *word = between(words->rest.data, p);
  words->rest = between(p, end);
  return RESP_INLINE_WORD;
}
