/* http_key.c - see http_key.h. */
#include "server/net/http_key.h"

static size_t units_of(struct span bytes) {
  size_t units = 0;
  for (; bytes.len > 0; units++) http_text_take(&bytes);
  return units;
}

static struct span without_first(struct span bytes, size_t units) {
  for (; units > 0; units--) http_text_take(&bytes);
  return bytes;
}

static struct span only_first(struct span bytes, size_t units) {
  struct span rest = without_first(bytes, units);
  return (struct span){bytes.data, bytes.len - rest.len};
}

struct span http_key_part(struct span key, bool whole) {
  if (whole) return key;
  size_t units = units_of(key), shown = units / 2 < HTTP_KEY_TAIL ? units / 2 : HTTP_KEY_TAIL;
  return without_first(key, units - shown);
}

static void shortened(struct http_text *text, struct span key, size_t units, bool cut) {
  http_text_put(text, "<code title=\"");
  http_text_html(text, key);
  http_text_put(text, cut ? "…\">" : "\">");
  http_text_html(text, only_first(key, HTTP_KEY_FRONT));
  http_text_put(text, "…");
  if (!cut) http_text_html(text, without_first(key, units - HTTP_KEY_BACK));
  http_text_put(text, "</code>");
}

void http_key_html(struct http_text *text, struct span key, bool whole, bool cut) {
  size_t units = units_of(key);
  if (whole && units > HTTP_KEY_SHOWN) {
    shortened(text, key, units, cut);
    return;
  }
  http_text_put(text, whole ? "<code>" : "<code>…");
  http_text_html(text, http_key_part(key, whole && !cut));
  http_text_put(text, "</code>");
}

/* ---- as an argument ---- */

static bool is_plain(struct span key) {
  for (size_t i = 0; i < key.len; i++) {
    char c = key.data[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && (c == '\0' || strchr("-_.:/@+,=", c) == NULL)) return false;
  }
  return key.len > 0;
}

/* redis-cli knows \xNN, and no \u{N}: bytes that cannot be seen are written each by itself. */
static void argument_unit(struct http_text *text, struct span unit) {
  if (unit.len > 1) {
    for (size_t i = 0; i < unit.len; i++)
      http_text_print(text, "\\x%02x", (unsigned char)unit.data[i]);
  } else if (unit.data[0] == '"') {
    http_text_put(text, "\\&quot;");
  } else {
    http_text_html_unit(text, unit);
  }
}

void http_key_argument(struct http_text *text, struct span key) {
  if (is_plain(key)) {
    http_text_html(text, key);
    return;
  }
  http_text_put(text, "&quot;");
  while (key.len > 0) argument_unit(text, http_text_take(&key));
  http_text_put(text, "&quot;");
}
