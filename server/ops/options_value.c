/* options_value.c - the kinds of values that a row can have: text -> value -> text. */
#include "server/ops/options_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/machine_memory.h"
#include "server/ops/digest.h"
#include "server/ops/log.h"
#include "server/ops/options_bind.h"
#include "server/ops/options_memory.h"
#include "server/ops/options_networks.h"
#include "server/ops/options_percentiles.h"
#include "server/ops/options_scale.h"

static const char *const level_words[] = {[LOG_LEVEL_DEBUG] = "debug",
                                          [LOG_LEVEL_VERBOSE] = "verbose",
                                          [LOG_LEVEL_NOTICE] = "notice",
                                          [LOG_LEVEL_WARNING] = "warning",
                                          NULL};
static const char *const keep_words[] = {[OPTIONS_APPENDONLY_NO] = "no",
                                         [OPTIONS_APPENDONLY_YES] = "yes",
                                         [OPTIONS_APPENDONLY_AUTO] = "auto",
                                         NULL};
static const char *const waived_words[] = {[OPTIONS_INSECURE_NO] = "no",
                                           [OPTIONS_INSECURE_PLAIN] = "plain",
                                           [OPTIONS_INSECURE_YES] = "yes",
                                           NULL};
static const char *const certify_words[] = {[OPTIONS_TLS_AUTH_CLIENTS_NO] = "no",
                                            [OPTIONS_TLS_AUTH_CLIENTS_YES] = "yes",
                                            [OPTIONS_TLS_AUTH_CLIENTS_OPTIONAL] = "optional",
                                            NULL};
static const char *const sync_words[] = {[OPTIONS_APPENDFSYNC_ALWAYS] = "always",
                                         [OPTIONS_APPENDFSYNC_EVERYSEC] = "everysec",
                                         [OPTIONS_APPENDFSYNC_NO] = "no",
                                         NULL};

static const char *const format_words[] = {
    [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json", NULL};

static const char *const readers_words[] = {
    [OPTIONS_FILE_MODE_PRIVATE] = "private", [OPTIONS_FILE_MODE_ANY] = "any", NULL};

static const char *const channels_words[] = {[OPTIONS_ACL_PUBSUB_RESETCHANNELS] = "resetchannels",
                                             [OPTIONS_ACL_PUBSUB_ALLCHANNELS] = "allchannels",
                                             NULL};

static const struct kind {
  const char *hint;
  const struct options_scale_unit *units; /* NULL: not a scaled number */
  const char *article;                    /* before the bounds of a number */
  const char *example;                    /* after them */
  const char *const *words;               /* NULL: it is none of some words */
} kinds[] = {
    [OPTIONS_ROW_INTEGER] = {"N", options_scale_none, "an integer", "", NULL},
    [OPTIONS_ROW_MODE] = {"MODE", NULL, "an octal mode", "", NULL},
    [OPTIONS_ROW_MS] = {"TIME", options_scale_ms, "a duration",
                        " (with ms, s, m, h or d; a plain number is milliseconds)", NULL},
    [OPTIONS_ROW_SECONDS] = {"SECONDS", options_scale_seconds, "a duration",
                             " (with s, m, h or d; a plain number is seconds)", NULL},
    [OPTIONS_ROW_BYTES] = {"SIZE", options_scale_bytes, "a size",
                           " (with b, k, kb, m, mb, g or gb; kb is 1024, k is 1000)", NULL},
    [OPTIONS_ROW_MEMORY] = {"SIZE", options_scale_bytes, "a size",
                            " (with b, k, kb, m, mb, g or gb; kb is 1024, k is 1000), or 1% to "
                            "100% of this machine's memory",
                            NULL},
    [OPTIONS_ROW_YES_NO] = {"yes|no", NULL, "", "", NULL},
    [OPTIONS_ROW_LEVEL] = {"LEVEL", NULL, "", "", level_words},
    [OPTIONS_ROW_KEEP] = {"yes|no|auto", NULL, "", "", keep_words},
    [OPTIONS_ROW_SYNC] = {"HOW", NULL, "", "", sync_words},
    [OPTIONS_ROW_FORMAT] = {"text|json", NULL, "", "", format_words},
    [OPTIONS_ROW_READERS] = {"WHO", NULL, "", "", readers_words},
    [OPTIONS_ROW_WAIVED] = {"no|plain|yes", NULL, "", "", waived_words},
    [OPTIONS_ROW_CERTIFY] = {"no|yes|optional", NULL, "", "", certify_words},
    [OPTIONS_ROW_CHANNELS] = {"WHICH", NULL, "", "", channels_words},
    [OPTIONS_ROW_TEXT] = {"TEXT", NULL, "a text", "", NULL},
    [OPTIONS_ROW_PATH] = {"PATH", NULL, "a path", "", NULL},
    [OPTIONS_ROW_PASSWORD] = {"TEXT", NULL, "a text", "", NULL},
    [OPTIONS_ROW_BIND] = {"ADDRESS ...", NULL, "", "", NULL},
    [OPTIONS_ROW_NETWORKS] = {"ADDRESS ...", NULL, "", "", NULL},
    [OPTIONS_ROW_PERCENTILES] = {"N ...", NULL, "", "", NULL},
};

void options_value_wipe(char *bytes, size_t len) {
  if (bytes != NULL) explicit_bzero(bytes, len);
  free(bytes);
}

const char *options_value_hint(const struct options_row *row) { return kinds[row->kind].hint; }

static bool is_text(const struct options_row *row) {
  return row->kind == OPTIONS_ROW_TEXT || row->kind == OPTIONS_ROW_PATH ||
         row->kind == OPTIONS_ROW_PASSWORD || options_row_is_list(row->kind);
}

/* "debug, notice or warning" */
static void print_words(const char *const *words, char text[OPTIONS_VALUE_BYTES]) {
  size_t len = 0;
  for (size_t i = 0; words[i] != NULL; i++) {
    const char *between = i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ";
    int more = snprintf(text + len, OPTIONS_VALUE_BYTES - len, "%s%s", between, words[i]);
    len += (size_t)more;
  }
}

void options_value_bounds(const struct options_row *row, char text[OPTIONS_VALUE_BYTES]) {
  const struct options_scale_unit *units = kinds[row->kind].units;
  char low[32], high[32];
  if (units != NULL) {
    options_scale_print(units, row->min, low, sizeof(low));
    options_scale_print(units, row->max, high, sizeof(high));
    snprintf(text, OPTIONS_VALUE_BYTES, "%s to %s", low, high);
  } else if (row->kind == OPTIONS_ROW_MODE) {
    snprintf(text, OPTIONS_VALUE_BYTES, "%llo to %llo", (unsigned long long)row->min,
             (unsigned long long)row->max);
  } else if (row->kind == OPTIONS_ROW_YES_NO) {
    snprintf(text, OPTIONS_VALUE_BYTES, "yes or no");
  } else if (kinds[row->kind].words != NULL) {
    print_words(kinds[row->kind].words, text);
  } else if (row->kind == OPTIONS_ROW_BIND) {
    snprintf(text, OPTIONS_VALUE_BYTES, "at most %d addresses", OPTIONS_BIND_MAX);
  } else if (row->kind == OPTIONS_ROW_NETWORKS) {
    snprintf(text, OPTIONS_VALUE_BYTES, "at most %d addresses or networks", OPTIONS_NETWORKS_MAX);
  } else if (row->kind == OPTIONS_ROW_PERCENTILES) {
    snprintf(text, OPTIONS_VALUE_BYTES, "at most %d numbers from 0 to 100",
             OPTIONS_PERCENTILES_MAX);
  } else {
    snprintf(text, OPTIONS_VALUE_BYTES, "at most %lld bytes", (long long)row->max);
  }
}

static bool refuse_value(const struct options_row *row, struct span text,
                         char error[REFUSAL_BYTES]) {
  const struct kind *kind = &kinds[row->kind];
  char bounds[OPTIONS_VALUE_BYTES], shown[REFUSAL_SHOWN_BYTES];
  options_value_bounds(row, bounds);
  const char *what = kind->article[0] == '\0' ? "" : is_text(row) ? " of " : " from ";
  if ((row->flags & OPTIONS_ROW_SECRET) != 0) {
    return refusal_write(error, "bad value for %s: %s of %s, without NUL bytes", row->name,
                         kind->article, bounds);
  }
  return refusal_write(error, "bad value '%s' for %s: expected %s%s%s%s", refusal_show(text, shown),
                       row->name, kind->article, what, bounds, kind->example);
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

static bool parse_word(const char *const *words, struct span text, int64_t *number) {
  for (size_t i = 0; words[i] != NULL; i++) {
    if (!span_is(text, words[i])) continue;
    *number = (int64_t)i;
    return true;
  }
  return false;
}

static bool parse_yes_no(struct span text, int64_t *number) {
  *number = span_is(text, "yes") ? 1 : 0;
  return *number == 1 || span_is(text, "no");
}

static bool parse_number(const struct options_row *row, struct span text, int64_t *number) {
  switch (row->kind) {
    case OPTIONS_ROW_YES_NO: return parse_yes_no(text, number);
    case OPTIONS_ROW_LEVEL:
    case OPTIONS_ROW_KEEP:
    case OPTIONS_ROW_SYNC:
    case OPTIONS_ROW_FORMAT:
    case OPTIONS_ROW_READERS:
    case OPTIONS_ROW_WAIVED:
    case OPTIONS_ROW_CERTIFY:
    case OPTIONS_ROW_CHANNELS: return parse_word(kinds[row->kind].words, text, number);
    case OPTIONS_ROW_MODE:
      if (!parse_octal(text, number)) return false;
      break;
    default:
      if (!options_scale_parse(text, kinds[row->kind].units, number)) return false;
      break;
  }
  return *number >= row->min && *number <= row->max;
}

static bool hash_password(const struct options_row *row, struct span text,
                          struct options_value *value, char error[REFUSAL_BYTES]) {
  struct digest digest;
  value->text = calloc(1, DIGEST_HEX + 1);
  value->plain = strndup(text.data != NULL ? text.data : "", text.len);
  if (value->text == NULL || value->plain == NULL) {
    options_value_deinit(value);
    return refusal_write(error, "no memory for the value of %s", row->name);
  }
  if (text.len == 0) return true;
  if (!digest_of(text, &digest)) {
    options_value_deinit(value);
    return refusal_write(error, "SHA-256 cannot be had for %s", row->name);
  }
  digest_text(&digest, value->text);
  return true;
}

static bool parse_text(const struct options_row *row, struct span text, struct options_value *value,
                       char error[REFUSAL_BYTES]) {
  if ((int64_t)text.len > row->max || (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)) {
    return refuse_value(row, text, error);
  }
  if (row->kind == OPTIONS_ROW_PASSWORD) return hash_password(row, text, value, error);
  char *copy = malloc(text.len + 1);
  if (copy == NULL) return refusal_write(error, "no memory for the value of %s", row->name);
  if (text.len > 0) memcpy(copy, text.data, text.len);
  copy[text.len] = '\0';
  bool good = row->kind == OPTIONS_ROW_BIND          ? options_bind_check(row->name, copy, error)
              : row->kind == OPTIONS_ROW_NETWORKS    ? options_networks_check(copy, error)
              : row->kind == OPTIONS_ROW_PERCENTILES ? options_percentiles_check(copy, error)
                                                     : true;
  if (!good) {
    free(copy);
    return false;
  }
  if (options_row_is_list(row->kind)) options_bind_squeeze(copy);
  value->text = copy;
  return true;
}

bool options_value_parse(const struct options_row *row, struct span text,
                         struct options_value *value, char error[REFUSAL_BYTES]) {
  *value = (struct options_value){0};
  if (is_text(row)) return parse_text(row, text, value, error);
  if (row->kind == OPTIONS_ROW_MEMORY && options_memory_is_percent(text))
    return options_memory_parse(text, machine_memory_bytes(""), &value->percent, &value->number,
                                error);
  return parse_number(row, text, &value->number) || refuse_value(row, text, error);
}

static void *field(const struct options_row *row, struct options *options) {
  return (char *)options + row->offset;
}
static const void *field_const(const struct options_row *row, const struct options *options) {
  return (const char *)options + row->offset;
}

static void wipe_text(char **text) {
  options_value_wipe(*text, *text != NULL ? strlen(*text) : 0);
  *text = NULL;
}

void options_value_deinit(struct options_value *value) {
  wipe_text(&value->text);
  wipe_text(&value->plain);
}

void options_value_store(const struct options_row *row, struct options *options,
                         struct options_value *value) {
  if (is_text(row)) {
    char **text = field(row, options);
    wipe_text(text);
    *text = value->text;
    value->text = NULL;
    wipe_text(&value->plain);
  } else if (row->kind == OPTIONS_ROW_YES_NO) {
    *(bool *)field(row, options) = value->number != 0;
  } else {
    *(int64_t *)field(row, options) = value->number;
    if (row->kind == OPTIONS_ROW_MEMORY)
      ((struct options_memory *)field(row, options))->percent = value->percent;
  }
}

void options_value_show(const struct options_row *row, struct options *options,
                        const struct options_value *value) {
  struct options_value borrowed = *value;
  if (is_text(row)) {
    *(char **)field(row, options) = borrowed.text;
  } else {
    options_value_store(row, options, &borrowed);
  }
}

static int64_t number_of(const struct options_row *row, const struct options *options) {
  const void *at = field_const(row, options);
  return row->kind == OPTIONS_ROW_YES_NO ? (*(const bool *)at ? 1 : 0) : *(const int64_t *)at;
}

static int64_t percent_of(const struct options_row *row, const struct options *options) {
  if (row->kind != OPTIONS_ROW_MEMORY) return 0;
  return ((const struct options_memory *)field_const(row, options))->percent;
}

static const char *text_of(const struct options_row *row, const struct options *options) {
  return *(char *const *)field_const(row, options);
}

bool options_value_copy(const struct options_row *row, const struct options *options,
                        struct options_value *value) {
  *value = (struct options_value){0};
  if (is_text(row)) {
    value->text = strdup(text_of(row, options));
    return value->text != NULL;
  }
  value->number = number_of(row, options);
  value->percent = percent_of(row, options);
  return true;
}

bool options_value_equal(const struct options_row *row, const struct options *options,
                         const struct options_value *value) {
  if (is_text(row)) return strcmp(text_of(row, options), value->text) == 0;
  int64_t percent = percent_of(row, options);
  if (percent != value->percent) return false;
  return percent > 0 || number_of(row, options) == value->number;
}

void options_value_text(const struct options_row *row, const struct options *options,
                        char text[OPTIONS_VALUE_BYTES]) {
  if (is_text(row)) {
    snprintf(text, OPTIONS_VALUE_BYTES, "%s", text_of(row, options));
    return;
  }
  int64_t number = number_of(row, options), percent = percent_of(row, options);
  if (percent > 0) {
    snprintf(text, OPTIONS_VALUE_BYTES, "%lld%%", (long long)percent);
  } else if (row->kind == OPTIONS_ROW_YES_NO) {
    snprintf(text, OPTIONS_VALUE_BYTES, "%s", number != 0 ? "yes" : "no");
  } else if (kinds[row->kind].words != NULL) {
    snprintf(text, OPTIONS_VALUE_BYTES, "%s", kinds[row->kind].words[number]);
  } else if (row->kind == OPTIONS_ROW_MODE) {
    snprintf(text, OPTIONS_VALUE_BYTES, "%llo", (unsigned long long)number);
  } else {
    snprintf(text, OPTIONS_VALUE_BYTES, "%lld", (long long)number);
  }
}
