/* http_text.c - see http_text.h. */
#include "server/net/http_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAPACITY_LEAST 4096u
#define NO_CHARACTER UINT32_MAX

void http_text_deinit(struct http_text *text) {
  free(text->bytes);
  *text = (struct http_text){0};
}

/* ---- growing ---- */

static bool has_room(struct http_text *text, size_t len) {
  if (text->failed) return false;
  if (text->capacity - text->len >= len) return true;
  size_t capacity = text->capacity > 0 ? text->capacity : CAPACITY_LEAST;
  while (capacity - text->len < len) capacity *= 2;
  char *bytes = text->len + len <= HTTP_TEXT_MAX ? realloc(text->bytes, capacity) : NULL;
  text->failed = bytes == NULL;
  if (bytes == NULL) return false;
  text->bytes = bytes;
  text->capacity = capacity;
  return true;
}

static void append(struct http_text *text, const char *bytes, size_t len) {
  if (len == 0 || !has_room(text, len)) return;
  memcpy(text->bytes + text->len, bytes, len);
  text->len += len;
}

void http_text_put(struct http_text *text, const char *words) {
  append(text, words, strlen(words));
}

void http_text_print(struct http_text *text, const char *format, ...) {
  char line[HTTP_TEXT_LINE_MAX];
  va_list arguments;
  va_start(arguments, format);
  int len = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (len < 0 || (size_t)len >= sizeof line) {
    text->failed = true;
  } else {
    append(text, line, (size_t)len);
  }
}

/* ---- UTF-8 ---- */

static bool follows(unsigned char byte) { return (byte & 0xc0) == 0x80; }

/* How many bytes the first byte of a character asks for; 0: it is none. (RFC 3629, table 3-7 of
 * Unicode: neither overlong, nor a surrogate, nor above U+10FFFF.) */
static size_t length_wanted(const unsigned char *at) {
  if (at[0] < 0x80) return 1;
  if (at[0] >= 0xc2 && at[0] <= 0xdf) return 2;
  if (at[0] >= 0xe0 && at[0] <= 0xef) return 3;
  return at[0] >= 0xf0 && at[0] <= 0xf4 ? 4 : 0;
}

static bool second_fits(const unsigned char *at) {
  switch (at[0]) {
    case 0xe0: return at[1] >= 0xa0;
    case 0xed: return at[1] <= 0x9f;
    case 0xf0: return at[1] >= 0x90;
    case 0xf4: return at[1] <= 0x8f;
    default: return true;
  }
}

/* Bytes of the valid character at the front; 0: there is none. */
static size_t character_length(struct span bytes) {
  const unsigned char *at = (const unsigned char *)bytes.data;
  size_t len = length_wanted(at);
  if (len == 0 || len > bytes.len) return 0;
  for (size_t i = 1; i < len; i++) {
    if (!follows(at[i])) return 0;
  }
  return len == 1 || second_fits(at) ? len : 0;
}

struct span http_text_take(struct span *rest) {
  size_t len = character_length(*rest);
  struct span unit = {rest->data, len > 0 ? len : 1};
  rest->data += unit.len;
  rest->len -= unit.len;
  return unit;
}

bool http_text_is_utf8(struct span bytes) {
  while (bytes.len > 0) {
    if (character_length(bytes) == 0) return false;
    http_text_take(&bytes);
  }
  return true;
}

static uint32_t code_of(struct span unit) {
  static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  const unsigned char *at = (const unsigned char *)unit.data;
  if (character_length(unit) != unit.len) return NO_CHARACTER;
  uint32_t code = at[0] & masks[unit.len];
  for (size_t i = 1; i < unit.len; i++) code = code << 6 | (at[i] & 0x3fu);
  return code;
}

/* Characters that cannot be seen, or that change how their neighbours are read: controls, marks of
 * direction and width, separators, variation selectors, tags, private use. */
static bool is_hidden(uint32_t code) {
  static const struct {
    uint32_t first, last;
  } ranges[] = {
      {0x00, 0x1f},     {0x7f, 0xa0},     {0xad, 0xad},     {0x34f, 0x34f},   {0x61c, 0x61c},
      {0x115f, 0x1160}, {0x1680, 0x1680}, {0x17b4, 0x17b5}, {0x180b, 0x180f}, {0x2000, 0x200f},
      {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000}, {0x3164, 0x3164}, {0xe000, 0xf8ff},
      {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xffff}, {0xe0000, 0x10ffff},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
    if (code >= ranges[i].first && code <= ranges[i].last) return true;
  }
  return false;
}

/* ---- HTML ---- */

static const char *entity_of(uint32_t code) {
  switch (code) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    case '`': return "&#96;";
    default: return NULL;
  }
}

static const char *escape_of(uint32_t code) {
  switch (code) {
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: return NULL;
  }
}

void http_text_html_unit(struct http_text *text, struct span unit) {
  uint32_t code = code_of(unit);
  const char *known = entity_of(code);
  if (known == NULL) known = escape_of(code);
  if (known != NULL) {
    http_text_put(text, known);
  } else if (code == NO_CHARACTER || code < 0x20 || code == 0x7f) {
    http_text_print(text, "\\x%02x", (unsigned char)unit.data[0]);
  } else if (is_hidden(code)) {
    http_text_print(text, "\\u{%x}", (unsigned)code);
  } else {
    append(text, unit.data, unit.len);
  }
}

void http_text_html(struct http_text *text, struct span bytes) {
  while (bytes.len > 0) http_text_html_unit(text, http_text_take(&bytes));
}

/* ---- JSON ---- */

/* Also what would end a script or a line of one, were the text put into a page. */
static bool is_escaped_in_json(uint32_t code) {
  return code < 0x20 || code == '"' || code == '\\' || code == '<' || code == '>' || code == '&' ||
         code == 0x7f || code == 0x2028 || code == 0x2029;
}

void http_text_json(struct http_text *text, struct span bytes) {
  http_text_put(text, "\"");
  while (bytes.len > 0) {
    struct span unit = http_text_take(&bytes);
    uint32_t code = code_of(unit);
    if (code == NO_CHARACTER) {
      http_text_put(text, "\\ufffd");
    } else if (is_escaped_in_json(code)) {
      http_text_print(text, "\\u%04x", (unsigned)code);
    } else {
      append(text, unit.data, unit.len);
    }
  }
  http_text_put(text, "\"");
}
