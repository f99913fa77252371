/*
 * options_value.c - the kinds of values that a row can have: text -> value -> text.
 *
 * Knows no file and no command line. Keeps: what row_text prints, row_parse reads back to the same
 * value.
 */
#include "server/ops/options_row.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>

struct unit {
  const char *suffix;
  int64_t factor;
};

#define SECOND_MS INT64_C(1000)
#define KIB INT64_C(1024)

/* Smallest first; a bound is shown in the largest unit that divides it. */
static const struct unit ms_units[] = {
    {"ms", 1},
    {"s", SECOND_MS},
    {"m", 60 * SECOND_MS},
    {"h", 3600 * SECOND_MS},
    {"d", 86400 * SECOND_MS},
    {NULL, 0},
};
static const struct unit second_units[] = {
    {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0}};
/* redis.conf: k is 1000 and kb is 1024. */
static const struct unit byte_units[] = {
    {"b", 1},
    {"k", 1000},
    {"kb", KIB},
    {"m", 1000 * 1000},
    {"mb", KIB *KIB},
    {"g", 1000 * 1000 * 1000},
    {"gb", KIB *KIB *KIB},
    {NULL, 0},
};
static const struct unit no_units[] = {{NULL, 0}};

static const struct kind {
  const char *hint;
  const struct unit *units; /* NULL: not a scaled number */
  const char *article;      /* in front of the bounds of a number */
  const char *example;      /* behind them */
} kinds[] = {
    [ROW_INTEGER] = {"N", no_units, "an integer", ""},
    [ROW_MODE] = {"MODE", NULL, "an octal mode", ""},
    [ROW_MS] = {"TIME", ms_units, "a duration",
                " (ms, s, m, h or d behind it; a plain number is milliseconds)"},
    [ROW_SECONDS] = {"SECONDS", second_units, "a duration",
                     " (s, m, h or d behind it; a plain number is seconds)"},
    [ROW_BYTES] = {"SIZE", byte_units, "a size",
                   " (b, k, kb, m, mb, g or gb behind it; kb is 1024, k is 1000)"},
    [ROW_YES_NO] = {"yes|no", NULL, "", ""},
    [ROW_LEVEL] = {"LEVEL", NULL, "", ""},
    [ROW_TEXT] = {"TEXT", NULL, "a text", ""},
    [ROW_PATH] = {"PATH", NULL, "a path", ""},
    [ROW_BIND] = {"ADDRESS ...", NULL, "", ""},
};

static const char *const levels[] = {[LOGLEVEL_DEBUG] = "debug",
                                     [LOGLEVEL_VERBOSE] = "verbose",
                                     [LOGLEVEL_NOTICE] = "notice",
                                     [LOGLEVEL_WARNING] = "warning"};
#define LEVEL_COUNT (sizeof(levels) / sizeof(levels[0]))

bool options_refuse(char error[OPTIONS_ERROR_BYTES], const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error, OPTIONS_ERROR_BYTES, format, arguments);
  va_end(arguments);
  return false;
}

const char *options_show(struct span bytes, char text[OPTIONS_SHOWN_BYTES]) {
  static const char digits[] = "0123456789abcdef";
  static const char cut_mark[] = "...";
  size_t len = 0;
  for (size_t i = 0; i < bytes.len; i++) {
    if (len + sizeof("\\xHH") + sizeof(cut_mark) > OPTIONS_SHOWN_BYTES) {
      memcpy(text + len, cut_mark, sizeof(cut_mark));
      return text;
    }
    unsigned char byte = (unsigned char)bytes.data[i];
    if (byte >= ' ' && byte < 0x7f) {
      text[len++] = (char)byte;
    } else {
      const char escape[] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
      memcpy(text + len, escape, sizeof(escape));
      len += sizeof(escape);
    }
  }
  text[len] = '\0';
  return text;
}

void options_wipe(char *bytes, size_t len) {
  if (bytes != NULL) explicit_bzero(bytes, len);
  free(bytes);
}

const char *row_hint(const struct row *row) { return kinds[row->kind].hint; }

static bool is_text(const struct row *row) {
  return row->kind == ROW_TEXT || row->kind == ROW_PATH || row->kind == ROW_BIND;
}

static void print_scaled(const struct unit *units, int64_t number, char *text, size_t size) {
  struct unit best = {"", 1};
  for (const struct unit *unit = units; unit->suffix != NULL && number != 0; unit++) {
    if (number % unit->factor == 0) best = *unit;
  }
  /* A size in single bytes reads better without its b. */
  if (best.factor == 1 && units == byte_units) best.suffix = "";
  snprintf(text, size, "%lld%s", (long long)(number / best.factor), best.suffix);
}

void row_bounds(const struct row *row, char text[OPTIONS_TEXT_BYTES]) {
  const struct unit *units = kinds[row->kind].units;
  char low[32], high[32];
  if (units != NULL) {
    print_scaled(units, row->min, low, sizeof(low));
    print_scaled(units, row->max, high, sizeof(high));
    snprintf(text, OPTIONS_TEXT_BYTES, "%s to %s", low, high);
  } else if (row->kind == ROW_MODE) {
    snprintf(text, OPTIONS_TEXT_BYTES, "%llo to %llo", (unsigned long long)row->min,
             (unsigned long long)row->max);
  } else if (row->kind == ROW_YES_NO) {
    snprintf(text, OPTIONS_TEXT_BYTES, "yes or no");
  } else if (row->kind == ROW_LEVEL) {
    snprintf(text, OPTIONS_TEXT_BYTES, "debug, verbose, notice or warning");
  } else if (row->kind == ROW_BIND) {
    snprintf(text, OPTIONS_TEXT_BYTES, "at most %d addresses", OPTIONS_MAX_BIND);
  } else {
    snprintf(text, OPTIONS_TEXT_BYTES, "at most %lld bytes", (long long)row->max);
  }
}

static bool refuse_value(const struct row *row, struct span text, char error[OPTIONS_ERROR_BYTES]) {
  const struct kind *kind = &kinds[row->kind];
  char bounds[OPTIONS_TEXT_BYTES], shown[OPTIONS_SHOWN_BYTES];
  row_bounds(row, bounds);
  const char *what = kind->article[0] == '\0' ? "" : is_text(row) ? " of " : " from ";
  if ((row->flags & ROW_SECRET) != 0) {
    return options_refuse(error, "bad value for %s: %s of %s, without NUL bytes", row->name,
                          kind->article, bounds);
  }
  return options_refuse(error, "bad value '%s' for %s: expected %s%s%s%s",
                        options_show(text, shown), row->name, kind->article, what, bounds,
                        kind->example);
}

/* A number, then one of the units or nothing. Plus signs and leading zeros are refused by
 * span_to_i64's strictness. */
static bool parse_scaled(struct span text, const struct unit *units, int64_t *number) {
  size_t digits = text.len > 0 && text.data[0] == '-' ? 1 : 0;
  while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') digits++;
  long long count;
  if (!span_to_i64((struct span){text.data, digits}, &count)) return false;
  struct span suffix = {text.data + digits, text.len - digits};
  if (suffix.len == 0) {
    *number = count;
    return true;
  }
  for (const struct unit *unit = units; unit->suffix != NULL; unit++) {
    if (span_is(suffix, unit->suffix)) return !__builtin_mul_overflow(count, unit->factor, number);
  }
  return false;
}

static bool parse_octal(struct span text, int64_t *number) {
  if (text.len == 0 || text.len > sizeof("0777") - 1) return false;
  int64_t mode = 0;
  for (size_t i = 0; i < text.len; i++) {
    if (text.data[i] < '0' || text.data[i] > '7') return false;
    mode = mode * 8 + (text.data[i] - '0');
  }
  *number = mode;
  return true;
}

static bool parse_level(struct span text, int64_t *number) {
  for (size_t i = 0; i < LEVEL_COUNT; i++) {
    if (!span_is(text, levels[i])) continue;
    *number = (int64_t)i;
    return true;
  }
  return false;
}

static bool parse_yes_no(struct span text, int64_t *number) {
  *number = span_is(text, "yes") ? 1 : 0;
  return *number == 1 || span_is(text, "no");
}

static bool parse_number(const struct row *row, struct span text, int64_t *number) {
  switch (row->kind) {
    case ROW_YES_NO: return parse_yes_no(text, number);
    case ROW_LEVEL: return parse_level(text, number);
    case ROW_MODE:
      if (!parse_octal(text, number)) return false;
      break;
    default:
      if (!parse_scaled(text, kinds[row->kind].units, number)) return false;
      break;
  }
  return *number >= row->min && *number <= row->max;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

bool bind_next(const char **cursor, struct span *address) {
  const char *p = *cursor;
  while (is_blank(*p)) p++;
  const char *start = p;
  while (*p != '\0' && !is_blank(*p)) p++;
  *cursor = p;
  if (p == start) return false;
  if (*start == '-') start++;
  *address = (struct span){start, (size_t)(p - start)};
  return true;
}

/* Family of a numeric address, 0 for anything else; `bytes` takes the larger of the two. */
static int address_parse(struct span address, struct in6_addr *bytes) {
  char text[INET6_ADDRSTRLEN];
  if (address.len >= sizeof(text)) return 0;
  memcpy(text, address.data, address.len);
  text[address.len] = '\0';
  if (inet_pton(AF_INET, text, bytes) == 1) return AF_INET;
  return inet_pton(AF_INET6, text, bytes) == 1 ? AF_INET6 : 0;
}

bool bind_is_loopback(struct span address) {
  struct in6_addr bytes;
  switch (address_parse(address, &bytes)) {
    case AF_INET: return bytes.s6_addr[0] == 127;
    case AF_INET6:
      return IN6_IS_ADDR_LOOPBACK(&bytes) ||
             (IN6_IS_ADDR_V4MAPPED(&bytes) && bytes.s6_addr[12] == 127);
    default: return false; /* "*" and "::*" */
  }
}

static bool check_bind(const char *list, char error[OPTIONS_ERROR_BYTES]) {
  char shown[OPTIONS_SHOWN_BYTES];
  struct span address;
  struct in6_addr bytes;
  size_t count = 0;
  while (bind_next(&list, &address)) {
    if (++count > OPTIONS_MAX_BIND)
      return options_refuse(error, "bind has more than %d addresses", OPTIONS_MAX_BIND);
    if (span_is(address, "*") || span_is(address, "::*") || address_parse(address, &bytes) != 0)
      continue;
    return options_refuse(
        error,
        "bad address '%s' for bind: expected numeric IPv4 or IPv6 addresses (127.0.0.1, ::1), "
        "* or ::*; names are not looked up",
        options_show(address, shown));
  }
  return true;
}

/* One space between addresses, none around them: a list then fits a line of the file unquoted. */
static void squeeze_blanks(char *list) {
  char *end = list;
  for (const char *p = list; *p != '\0'; p++) {
    if (!is_blank(*p)) {
      if (p > list && is_blank(p[-1]) && end > list) *end++ = ' ';
      *end++ = *p;
    }
  }
  *end = '\0';
}

static bool parse_text(const struct row *row, struct span text, struct row_value *value,
                       char error[OPTIONS_ERROR_BYTES]) {
  if ((int64_t)text.len > row->max || (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)) {
    return refuse_value(row, text, error);
  }
  char *copy = malloc(text.len + 1);
  if (copy == NULL) return options_refuse(error, "no memory for the value of %s", row->name);
  if (text.len > 0) memcpy(copy, text.data, text.len);
  copy[text.len] = '\0';
  if (row->kind == ROW_BIND && !check_bind(copy, error)) {
    free(copy);
    return false;
  }
  if (row->kind == ROW_BIND) squeeze_blanks(copy);
  value->text = copy;
  return true;
}

bool row_parse(const struct row *row, struct span text, struct row_value *value,
               char error[OPTIONS_ERROR_BYTES]) {
  *value = (struct row_value){0, NULL};
  if (is_text(row)) return parse_text(row, text, value, error);
  return parse_number(row, text, &value->number) || refuse_value(row, text, error);
}

static void *field(const struct row *row, struct options *options) {
  return (char *)options + row->offset;
}
static const void *field_const(const struct row *row, const struct options *options) {
  return (const char *)options + row->offset;
}

void row_value_deinit(struct row_value *value) {
  options_wipe(value->text, value->text != NULL ? strlen(value->text) : 0);
  value->text = NULL;
}

void row_store(const struct row *row, struct options *options, struct row_value *value) {
  if (is_text(row)) {
    char **text = field(row, options);
    options_wipe(*text, *text != NULL ? strlen(*text) : 0);
    *text = value->text;
    value->text = NULL;
  } else if (row->kind == ROW_YES_NO) {
    *(bool *)field(row, options) = value->number != 0;
  } else {
    *(int64_t *)field(row, options) = value->number;
  }
}

static int64_t number_of(const struct row *row, const struct options *options) {
  const void *at = field_const(row, options);
  return row->kind == ROW_YES_NO ? (*(const bool *)at ? 1 : 0) : *(const int64_t *)at;
}

static const char *text_of(const struct row *row, const struct options *options) {
  return *(char *const *)field_const(row, options);
}

bool row_equal(const struct row *row, const struct options *options,
               const struct row_value *value) {
  if (is_text(row)) return strcmp(text_of(row, options), value->text) == 0;
  return number_of(row, options) == value->number;
}

void row_text(const struct row *row, const struct options *options, char text[OPTIONS_TEXT_BYTES]) {
  if (is_text(row)) {
    snprintf(text, OPTIONS_TEXT_BYTES, "%s", text_of(row, options));
    return;
  }
  int64_t number = number_of(row, options);
  if (row->kind == ROW_YES_NO) {
    snprintf(text, OPTIONS_TEXT_BYTES, "%s", number != 0 ? "yes" : "no");
  } else if (row->kind == ROW_LEVEL) {
    snprintf(text, OPTIONS_TEXT_BYTES, "%s", levels[number]);
  } else if (row->kind == ROW_MODE) {
    snprintf(text, OPTIONS_TEXT_BYTES, "%llo", (unsigned long long)number);
  } else {
    snprintf(text, OPTIONS_TEXT_BYTES, "%lld", (long long)number);
  }
}
