/*
 * resp_read.c - the request reader. It must not know any command, socket or clock.
 *
 * Invariants between two calls:
 *   expected == 0 and searched == 0: between commands, nothing of the next one has been seen;
 *   expected == 0 and searched > 0: in the first line, which has no end before `searched`;
 *   expected > 0: argc arguments are complete; `position` is where the next header starts, or
 *     with in_bulk the bytes of the bulk string under way. offsets[0..argc) say where the arguments
 *     start, or are APART, so that the bytes may move: argv[0..stale) still point to where they
 * once were, argv[stale..argc) are right for `base`; skipping: nothing is stored, argc only counts,
 * `bulk` is what is left of the bulk string.
 *
 * Each byte is looked at a bounded number of times, however small the pieces: searches resume at
 * `searched`, bulk strings are jumped over, and arguments are re-based only when the bytes moved
 * and somebody needs them.
 */
#include "proto/resp_read.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* First size of the argument vector: enough for a CLAIM with three options. */
#define VECTOR_MIN 8
/* A larger vector is not kept for the next command: one odd command would cost 1.5 MiB for ever. */
#define VECTOR_KEEP 1024
/* The offset of an argument that does not lie in the data. */
#define APART SIZE_MAX

struct header_errors {
  const char *too_big, *invalid, *line_end;
};

static const struct header_errors ARRAY_HEADER = {
    "too big mbulk count string",
    "invalid multibulk length",
    "expected CRLF behind a multibulk length",
};
static const struct header_errors BULK_HEADER = {
    "too big bulk count string",
    "invalid bulk length",
    "expected CRLF behind a bulk length",
};

void resp_reader_init(struct resp_reader *reader) { *reader = (struct resp_reader){0}; }

static void vector_free(struct resp_reader *reader) {
  free(reader->argv);
  free(reader->offsets);
  reader->argv = NULL;
  reader->offsets = NULL;
  reader->capacity = 0;
}

static void inline_free(struct resp_reader *reader) {
  free(reader->inline_bytes);
  reader->inline_bytes = NULL;
}

void resp_reader_deinit(struct resp_reader *reader) {
  vector_free(reader);
  inline_free(reader);
}

bool resp_reader_idle(const struct resp_reader *reader) {
  return reader->expected == 0 && reader->searched == 0;
}

bool resp_reader_fresh(const struct resp_reader *reader) {
  return resp_reader_idle(reader) && !reader->unauthenticated && reader->inline_bytes == NULL &&
         reader->apart == NULL && reader->capacity <= VECTOR_KEEP;
}

static bool vector_grow(struct resp_reader *reader) {
  size_t capacity = reader->capacity == 0 ? VECTOR_MIN : reader->capacity * 2;
  struct span *argv = realloc(reader->argv, capacity * sizeof *argv);
  if (argv == NULL) return false;
  reader->argv = argv;
  size_t *offsets = realloc(reader->offsets, capacity * sizeof *offsets);
  if (offsets == NULL) return false;
  reader->offsets = offsets;
  reader->capacity = capacity;
  return true;
}

static enum resp_result malformed(struct resp_reader *reader, const char *error) {
  reader->error = error;
  return RESP_MALFORMED;
}

static enum resp_result expected_dollar(struct resp_reader *reader, char got) {
  unsigned char byte = (unsigned char)got;
  if (byte >= ' ' && byte <= '~') {
    snprintf(reader->error_text, sizeof reader->error_text, "expected '$', got '%c'", byte);
  } else {
    snprintf(reader->error_text, sizeof reader->error_text, "expected '$', got '\\x%02x'", byte);
  }
  return malformed(reader, reader->error_text);
}

static void command_begin(struct resp_reader *reader) {
  reader->argc = 0;
  reader->stale = 0;
  reader->total = 0;
  if (reader->inline_bytes != NULL) inline_free(reader);
  if (reader->capacity > VECTOR_KEEP) vector_free(reader);
}

static void command_end(struct resp_reader *reader) {
  reader->expected = 0;
  reader->position = 0;
  reader->searched = 0;
  reader->in_bulk = false;
  reader->skipping = false;
  reader->apart = NULL;
}

void resp_reader_forget(struct resp_reader *reader) {
  command_end(reader);
  reader->argc = 0;
  reader->stale = 0;
}

/* Nothing is re-based before somebody needs it. */
static inline void note_move(struct resp_reader *reader, const char *data) {
  if (reader->base == (uintptr_t)data) return;
  reader->base = (uintptr_t)data;
  reader->stale = reader->argc;
}

/* Makes all of argv point into the bytes as they lie now. */
static void argv_refresh(struct resp_reader *reader, const char *data) {
  for (size_t i = 0; i < reader->stale; i++) {
    if (reader->offsets[i] != APART) reader->argv[i].data = data + reader->offsets[i];
  }
  reader->stale = 0;
}

bool resp_reader_in_bulk(const struct resp_reader *reader, size_t least) {
  return reader->in_bulk && reader->bulk >= least;
}

size_t resp_reader_bulk(struct resp_reader *reader, const char *data, size_t *position) {
  if (!reader->in_bulk || reader->skipping) return 0;
  note_move(reader, data);
  argv_refresh(reader, data);
  *position = reader->position;
  return reader->bulk;
}

void resp_reader_apart(struct resp_reader *reader, size_t position, const char *bytes) {
  assert(reader->argument_limit != NULL);
  reader->apart = bytes;
  reader->apart_at = position;
}

/* Header lines: `*3 CRLF`, `$5 CRLF` */

static inline bool ends_line(const char *p) { return memcmp(p, "\r\n", 2) == 0; }

static inline unsigned digit_at(const char *p) { return (unsigned char)*p - (unsigned)'0'; }

/*
 * The digit of a header with one: a type byte, the digit, CRLF. Above 9: it is something else.
 * `zero` is the header of 0, from which any other differs by the digit in its second byte only, so
 * that one comparison tells it from all else.
 */
static inline uint32_t only_digit(const char *p, const char zero[4]) {
  uint32_t word, of_zero;
  memcpy(&word, p, sizeof word);
  memcpy(&of_zero, zero, sizeof of_zero);
  word -= of_zero;
  return word >> 8 | word << 24;
}

struct header {
  size_t size; /* 0: something else, or not all there */
  size_t length;
};
#define NO_HEADER ((struct header){0, 0})

/*
 * What nearly every header of a bulk string is: a few digits, all there. Anything else is left to
 * read_length. SHORTEST_ARGUMENT bytes are there, which are enough for two digits.
 */
#define SHORTEST_ARGUMENT (sizeof "$0\r\n\r\n" - 1)
#define QUICK_LENGTH_MAX 9999999u
static inline struct header quick_header(const char *p, const char *end) {
  uint32_t digit = only_digit(p, "$0\r\n");
  if (digit <= 9) return (struct header){4, digit};
  unsigned sum = digit_at(p + 1), next = digit_at(p + 2);
  if (*p != '$' || sum - 1 > 8 || next > 9) return NO_HEADER;
  sum = sum * 10 + next;
  if (ends_line(p + 3)) return (struct header){5, sum};
  const char *at = p + 3;
  for (; end - at > 2 && (next = digit_at(at)) <= 9 && sum <= QUICK_LENGTH_MAX / 10; at++)
    sum = sum * 10 + next;
  if (!ends_line(at)) return NO_HEADER;
  return (struct header){(size_t)(at + 2 - p), sum};
}

/*
 * The number of the header line at *at, whose type byte has been looked at. RESP_COMMAND: *at is
 * behind the line. A bare LF ends the line too, as an error: waiting for a CR would hang a peer
 * that never sends one.
 */
static enum resp_result read_length(struct resp_reader *reader, const char *data, size_t len,
                                    size_t *at, const struct header_errors *errors,
                                    long long *value) {
  size_t i = reader->searched > *at + 1 ? reader->searched : *at + 1;
  size_t stop = len - *at > RESP_MAX_INLINE ? *at + RESP_MAX_INLINE : len;
  while (i < stop && data[i] != '\r' && data[i] != '\n') i++;
  if (i == stop && stop - *at == RESP_MAX_INLINE) return malformed(reader, errors->too_big);
  if (i < stop && data[i] == '\n') return malformed(reader, errors->invalid);
  if (i == stop || i + 1 == len) {
    reader->searched = i;
    return RESP_MORE;
  }
  if (data[i + 1] != '\n') return malformed(reader, errors->line_end);
  struct span number = {data + *at + 1, i - *at - 1};
  if (!span_to_i64(number, value)) return malformed(reader, errors->invalid);
  *at = i + 2;
  return RESP_COMMAND;
}

/* Bulk strings */

/* Decides whether the bulk string under way may be buffered. */
static void judge_size(struct resp_reader *reader, const char *data) {
  size_t limit = RESP_MAX_BULK;
  if (reader->argument_limit != NULL && reader->bulk > reader->unasked_bytes) {
    if (reader->stale != 0) argv_refresh(reader, data);
    limit = reader->argument_limit(reader->context, reader->argv, reader->argc);
    assert(limit <= RESP_MAX_BULK);
  }
  size_t bulk = reader->bulk;
  reader->total += bulk;
  if (bulk > limit) {
    reader->toobig_limit = limit;
  } else if (reader->command_limit != 0 && reader->total > reader->command_limit) {
    reader->toobig_limit = reader->command_limit;
  } else {
    return;
  }
  reader->skipping = true;
  reader->toobig_index = reader->argc;
}

static enum resp_result open_bulk(struct resp_reader *reader, const char *data, size_t len,
                                  size_t *at) {
  if (*at == len) return RESP_MORE;
  if (data[*at] != '$') return expected_dollar(reader, data[*at]);
  long long length = 0;
  enum resp_result result = read_length(reader, data, len, at, &BULK_HEADER, &length);
  if (result != RESP_COMMAND) return result;
  if (length < 0 || length > RESP_MAX_BULK) return malformed(reader, BULK_HEADER.invalid);
  if (reader->unauthenticated && length > RESP_MAX_BULK_UNAUTHENTICATED) {
    return malformed(reader, "unauthenticated bulk length");
  }
  reader->bulk = (size_t)length;
  reader->in_bulk = true;
  if (!reader->skipping) judge_size(reader, data);
  return RESP_COMMAND;
}

/* The CRLF at `at`, which may not be there yet. A wrong first byte is told at once. */
static enum resp_result bulk_end(struct resp_reader *reader, const char *data, size_t len,
                                 size_t at) {
  if (at < len && data[at] != '\r') return malformed(reader, "expected CRLF behind a bulk string");
  if (len - at < 2) return RESP_MORE;
  if (data[at + 1] != '\n') return malformed(reader, "expected CRLF behind a bulk string");
  return RESP_COMMAND;
}

static enum resp_result take_apart(struct resp_reader *reader, const char *data, size_t len,
                                   size_t *at) {
  enum resp_result result = bulk_end(reader, data, len, *at);
  if (result != RESP_COMMAND) {
    reader->need = *at + 2;
    return result;
  }
  size_t argc = reader->argc;
  if (argc == reader->capacity && !vector_grow(reader)) return RESP_NO_MEMORY;
  reader->argv[argc] = (struct span){reader->apart, reader->bulk};
  reader->offsets[argc] = APART;
  *at += 2;
  return RESP_COMMAND;
}

static enum resp_result take_bulk(struct resp_reader *reader, const char *data, size_t len,
                                  size_t *at) {
  size_t start = *at, bulk = reader->bulk, argc = reader->argc;
  if (reader->apart != NULL && start == reader->apart_at) return take_apart(reader, data, len, at);
  size_t end = start + bulk;
  if (len - start < bulk + 2 || data[end] != '\r' || data[end + 1] != '\n') {
    reader->need = end + 2;
    return len < end ? RESP_MORE : bulk_end(reader, data, len, end);
  }
  if (argc == reader->capacity && !vector_grow(reader)) return RESP_NO_MEMORY;
  reader->argv[argc] = (struct span){data + start, bulk};
  reader->offsets[argc] = start;
  *at = end + 2;
  return RESP_COMMAND;
}

static enum resp_result skip_bulk(struct resp_reader *reader, const char *data, size_t len,
                                  size_t *at) {
  size_t here = len - *at < reader->bulk ? len - *at : reader->bulk;
  reader->bulk -= here;
  *at += here;
  if (reader->bulk > 0) return RESP_MORE;
  enum resp_result result = bulk_end(reader, data, len, *at);
  if (result == RESP_COMMAND) *at += 2;
  return result;
}

/* Arrays */

/* RESP_COMMAND with expected == 0 is an empty command. */
static enum resp_result open_array(struct resp_reader *reader, const char *data, size_t len,
                                   size_t *used) {
  long long count = 0;
  size_t at = 0;
  enum resp_result result = read_length(reader, data, len, &at, &ARRAY_HEADER, &count);
  if (result != RESP_COMMAND) return result;
  if (count > INT_MAX) return malformed(reader, ARRAY_HEADER.invalid);
  if (reader->unauthenticated && count > RESP_MAX_ARGS_UNAUTHENTICATED) {
    return malformed(reader, "unauthenticated multibulk length");
  }
  if (count > RESP_MAX_ARGS) return malformed(reader, ARRAY_HEADER.invalid);
  reader->searched = 0;
  if (count <= 0) {
    *used = at;
    return RESP_COMMAND;
  }
  reader->expected = (size_t)count;
  reader->position = at;
  return RESP_COMMAND;
}

/* The longest argument that nobody has to be asked about. */
static size_t unasked_limit(const struct resp_reader *reader) {
  size_t limit = reader->argument_limit != NULL ? reader->unasked_bytes : RESP_MAX_BULK;
  if (reader->unauthenticated && limit > RESP_MAX_BULK_UNAUTHENTICATED)
    return RESP_MAX_BULK_UNAUTHENTICATED;
  return limit;
}

/* How far one has come. */
struct place {
  size_t at, argc; /* in data[0..len), in argv */
  size_t longest;  /* argument */
};

/* Arguments up to `until` that are all there, and of at most `limit` bytes, in one tight pass,
 * which stops in front of any other: what is wrong with it is told elsewhere. Compiled into each of
 * its two callers, one of which has no limit. */
__attribute__((always_inline)) static inline struct place take_bulks(struct place here,
                                                                     const char *data, size_t len,
                                                                     struct span *argv,
                                                                     size_t until, size_t limit) {
  for (; here.argc < until && here.at + SHORTEST_ARGUMENT <= len; here.argc++) {
    const char *p = data + here.at;
    struct header header = quick_header(p, data + len);
    if (header.size == 0 || header.length > limit) break;
    size_t next = here.at + header.size + header.length + 2;
    if (next > len || !ends_line(data + next - 2)) break;
    argv[here.argc] = (struct span){p + header.size, header.length};
    if (header.length > here.longest) here.longest = header.length;
    here.at = next;
  }
  return here;
}

size_t resp_read_array(const struct resp_reader *reader, const char *data, size_t len,
                       struct resp_array *array) {
  _Static_assert(RESP_ARRAY_ARGS <= 9, "one digit");
  if (len < SHORTEST_ARGUMENT) return 0;
  size_t count = only_digit(data, "*0\r\n");
  if (count - 1 >= RESP_ARRAY_ARGS) return 0;
  struct place end = {.at = sizeof "*0\r\n" - 1};
  end = take_bulks(end, data, len, array->argv, count, SIZE_MAX);
  if (end.argc < count) return 0;
  if (reader->command_limit != 0 && end.at > reader->command_limit) return 0;
  array->argc = count;
  array->longest = end.longest;
  return end.at;
}

/* Goes on behind an argument as far as that is easy. No more bytes are looked at than the command
 * limit leaves room for, so the arguments among them are none too many. */
static void take_quick(struct resp_reader *reader, const char *data, size_t len) {
  size_t until = reader->expected < reader->capacity ? reader->expected : reader->capacity;
  size_t room = reader->command_limit != 0 ? reader->command_limit - reader->total : SIZE_MAX;
  if (room < len - reader->position) len = reader->position + room;
  struct place here = {.at = reader->position, .argc = reader->argc};
  here = take_bulks(here, data, len, reader->argv, until, unasked_limit(reader));
  for (; reader->argc < here.argc; reader->argc++) {
    struct span argument = reader->argv[reader->argc];
    reader->offsets[reader->argc] = (size_t)(argument.data - data);
    reader->total += argument.len;
  }
  reader->position = here.at;
}

/* Gives the caller back what a skipped command has shown so far. */
static size_t drop_skipped(struct resp_reader *reader) {
  size_t dropped = reader->position;
  reader->searched = reader->searched > dropped ? reader->searched - dropped : 0;
  reader->position = 0;
  return dropped;
}

static enum resp_result read_arguments(struct resp_reader *reader, const char *data, size_t len,
                                       size_t *used) {
  note_move(reader, data);
  size_t at = reader->position;
  enum resp_result result = RESP_COMMAND;
  while (reader->argc < reader->expected) {
    if (!reader->in_bulk && (result = open_bulk(reader, data, len, &at)) != RESP_COMMAND) break;
    result =
        reader->skipping ? skip_bulk(reader, data, len, &at) : take_bulk(reader, data, len, &at);
    if (result != RESP_COMMAND) break;
    reader->in_bulk = false;
    reader->argc++;
    if (reader->skipping) continue;
    reader->position = at;
    take_quick(reader, data, len);
    at = reader->position;
  }
  reader->position = at;
  if (result == RESP_MORE && reader->skipping) *used = drop_skipped(reader);
  if (result != RESP_COMMAND) return result;

  *used = at;
  if (reader->skipping) {
    reader->argc = 0;
    result = RESP_TOOBIG;
  } else if (reader->stale != 0) {
    argv_refresh(reader, data);
  }
  command_end(reader);
  return result;
}

/* Inline lines, split and unquoted as Redis' sdssplitargs does */

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* What ends a word outside quotes. Vertical tab and form feed are skipped in front of one only. */
static bool ends_word(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static bool begins_with(struct span s, const char *word) {
  size_t len = strlen(word);
  return s.len >= len && span_is((struct span){s.data, len}, word);
}

/* The next word of a line, which is taken off it; empty: there is none. */
static struct span next_word(struct span *line) {
  const char *p = line->data, *end = p + line->len;
  while (p < end && is_blank(*p)) p++;
  struct span word = {p, 0};
  while (p < end && !is_blank(*p)) p++;
  word.len = (size_t)(p - word.data);
  *line = (struct span){p, (size_t)(end - p)};
  return word;
}

/* A browser that is led here may send any word as a method, with a path behind it. */
static bool looks_like_http(struct span line) {
  static const char *const methods[] = {"GET",   "HEAD",  "PUT",     "DELETE", "OPTIONS",
                                        "PATCH", "TRACE", "CONNECT", "POST"};
  if (begins_with(line, "POST ") || begins_with(line, "Host:")) return true;
  struct span method = next_word(&line), target = next_word(&line), last = target, word;
  while ((word = next_word(&line)).len > 0) last = word;
  if (last.data == target.data || !begins_with(last, "HTTP/")) return false;
  if (*target.data == '/' || span_is(target, "*")) return true;
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    if (span_is(method, methods[i])) return true;
  }
  return false;
}

static int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* The escape behind the backslash at p, in double quotes; p + 1 < end. Returns its last byte. */
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

/* Copies a word without its quotes to *out, which moves. Returns what is behind it, or NULL. */
static const char *unquote_word(const char *p, const char *end, char **out) {
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

/* The CR at the end is a blank like others. */
static enum resp_result split_line(struct resp_reader *reader, struct span line) {
  const char *p = line.data, *end = line.data + line.len;
  char *out = NULL;
  for (;;) {
    while (p < end && is_blank(*p)) p++;
    if (p == end) return RESP_COMMAND;
    struct span word = {p, 0};
    while (p < end && !ends_word(*p) && *p != '"' && *p != '\'') p++;
    if (p < end && !ends_word(*p)) {
      /* Text without its quotes is never longer: one buffer of the line's length serves all words.
       */
      if (out == NULL) out = reader->inline_bytes = malloc(line.len);
      if (out == NULL) return RESP_NO_MEMORY;
      char *start = out;
      p = unquote_word(word.data, end, &out);
      if (p == NULL) return malformed(reader, "unbalanced quotes in request");
      word = (struct span){start, (size_t)(out - start)};
    } else {
      word.len = (size_t)(p - word.data);
    }
    if (reader->argc == reader->capacity && !vector_grow(reader)) return RESP_NO_MEMORY;
    reader->argv[reader->argc++] = word;
    reader->total += word.len;
  }
}

/* RESP_COMMAND with argc == 0 is a blank line. */
static enum resp_result read_inline(struct resp_reader *reader, const char *data, size_t len,
                                    size_t *used) {
  size_t most = reader->unauthenticated ? RESP_MAX_INLINE_UNAUTHENTICATED : RESP_MAX_INLINE;
  size_t stop = len > most ? most : len;
  const char *newline = stop > reader->searched
                            ? memchr(data + reader->searched, '\n', stop - reader->searched)
                            : NULL;
  if (newline == NULL) {
    if (stop == most) return malformed(reader, "too big inline request");
    reader->searched = stop;
    return RESP_MORE;
  }
  struct span line = {data, (size_t)(newline - data)};
  *used = line.len + 1;
  command_end(reader);
  while (line.len > 0 && is_blank(*line.data)) {
    line.data++;
    line.len--;
  }
  if (looks_like_http(line)) return RESP_HTTP;
  enum resp_result result = split_line(reader, line);
  if (result != RESP_COMMAND) return result;
  if (reader->command_limit == 0 || reader->total <= reader->command_limit) return RESP_COMMAND;
  reader->toobig_index = reader->argc - 1;
  reader->toobig_limit = reader->command_limit;
  reader->argc = 0;
  return RESP_TOOBIG;
}

static enum resp_result read_command(struct resp_reader *reader, const char *data, size_t len,
                                     size_t *used) {
  if (reader->expected == 0) {
    if (reader->searched == 0) command_begin(reader);
    if (len == 0) return RESP_MORE;
    if (data[0] != '*') return read_inline(reader, data, len, used);
    enum resp_result result = open_array(reader, data, len, used);
    if (result != RESP_COMMAND || reader->expected == 0) return result;
  }
  return read_arguments(reader, data, len, used);
}

/* Never part of the function that calls it, in which it would crowd out the short way. */
__attribute__((noinline)) enum resp_result resp_read(struct resp_reader *reader, const char *data,
                                                     size_t len, size_t *consumed) {
  assert(reader->position <= len && reader->searched <= len);
  reader->need = 0;
  *consumed = 0;
  for (;;) {
    size_t used = 0;
    enum resp_result result = read_command(reader, data, len, &used);
    *consumed += used;
    if (result != RESP_COMMAND || reader->argc > 0) return result;
    data += used;
    len -= used;
  }
}
