/* options_words.c - see options_words.h. */
#include "server/ops/options_words.h"

#include <ctype.h>

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that is written as the escape at text[0] == '\\'; *used takes its length. */
static char unescape(struct span text, size_t *used) {
  static const char names[] = "nrtab", bytes[] = "\n\r\t\a\b";
  *used = 2;
  if (text.data[1] == 'x' && text.len >= 4) {
    int high = hex_digit(text.data[2]), low = hex_digit(text.data[3]);
    if (high >= 0 && low >= 0) {
      *used = 4;
      return (char)(high * 16 + low);
    }
  }
  const char *name = strchr(names, text.data[1]);
  return name != NULL && *name != '\0' ? bytes[name - names] : text.data[1];
}

/* Reads the quoted run after the quote at text[*at]; false when it does not end, or ends inside a
 * word. */
static bool read_quoted(struct options_words *words, struct span text, size_t *at) {
  char quote = text.data[(*at)++];
  while (*at < text.len && text.data[*at] != quote) {
    struct span rest = {text.data + *at, text.len - *at};
    size_t used = 1;
    char byte = rest.data[0];
    if (byte == '\\' && rest.len > 1 && quote == '"') {
      byte = unescape(rest, &used);
    } else if (byte == '\\' && rest.len > 1 && rest.data[1] == '\'') {
      byte = '\'';
      used = 2;
    }
    words->bytes[words->len++] = byte;
    *at += used;
  }
  if (*at == text.len) return false;
  (*at)++;
  return *at == text.len || isspace((unsigned char)text.data[*at]);
}

const char *options_words_split(struct span text, struct options_words *words) {
  size_t at = 0;
  words->argc = words->len = 0;
  for (;;) {
    while (at < text.len && isspace((unsigned char)text.data[at])) at++;
    if (at == text.len) return NULL;
    if (words->argc == words->most) return "too many values";
    size_t start = words->len;
    while (at < text.len && !isspace((unsigned char)text.data[at])) {
      if (text.data[at] == '"' || text.data[at] == '\'') {
        if (!read_quoted(words, text, &at)) return "a quote is not closed, or no blank follows it";
      } else {
        words->bytes[words->len++] = text.data[at++];
      }
    }
    words->argv[words->argc++] = (struct span){words->bytes + start, words->len - start};
  }
}

bool options_words_need_quotes(struct span word) {
  if (word.len == 0) return true;
  for (size_t i = 0; i < word.len; i++) {
    char byte = word.data[i];
    if (byte <= ' ' || byte == 0x7f || byte == '"' || byte == '\'') return true;
  }
  return false;
}

size_t options_words_write(FILE *out, struct span word, bool quotes) {
  size_t len = quotes ? 2 : 0;
  if (quotes) fputc('"', out);
  for (size_t i = 0; i < word.len; i++) {
    unsigned char byte = (unsigned char)word.data[i];
    if (byte < ' ' || byte == 0x7f) {
      len += (size_t)fprintf(out, "\\x%02x", byte);
    } else {
      len += (size_t)fprintf(out, quotes && (byte == '"' || byte == '\\') ? "\\%c" : "%c", byte);
    }
  }
  if (quotes) fputc('"', out);
  return len;
}
