/*
 * resp_read.c - the request reader's states.
 *
 * Invariants between two calls:
 *
 *   expected == 0, searched == 0  between commands: nothing of the next one has been seen;
 *   expected == 0, searched > 0   in the first line, which has no end before `searched`;
 *   expected > 0                  argc arguments are complete; `position` is where the next header
 *                                 starts, or with in_bulk the bytes of the bulk string under way;
 *   skipping                      nothing is stored, argc only counts, `bulk` is what is left of
 *                                 the bulk string.
 *
 * The bytes may move: offsets[0..argc) say where the arguments start, or are ADOPTED. Of argv the
 * first `stale` ones still point to where they once were, the others are right for `base`.
 *
 * Each byte is looked at a bounded number of times, however small the pieces: searches resume at
 * `searched`, bulk strings are jumped over, and arguments are re-based only when the bytes moved
 * and the arguments are needed.
 */
#include "proto/resp_read.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/resp_inline.h"

/* First size of the argument vector: enough for a CLAIM with three options. */
#define VECTOR_MIN 8
/* A larger vector is freed before the next command: one odd command would cost 1.5 MiB for ever. */
#define VECTOR_KEEP 1024
/* The offset of an argument that does not lie in the data. */
#define ADOPTED SIZE_MAX

struct header_errors {
  const char *too_big, *invalid, *line_end;
};

static const struct header_errors ARRAY_HEADER = {
    "too big mbulk count string",
    "invalid multibulk length",
    "expected CRLF after a multibulk length",
};
static const struct header_errors BULK_HEADER = {
    "too big bulk count string",
    "invalid bulk length",
    "expected CRLF after a bulk length",
};

void resp_read_init(struct resp_reader *reader) { *reader = (struct resp_reader){0}; }

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

void resp_read_deinit(struct resp_reader *reader) {
  vector_free(reader);
  inline_free(reader);
}

bool resp_read_idle(const struct resp_reader *reader) {
  return reader->expected == 0 && reader->searched == 0;
}

bool resp_read_fresh(const struct resp_reader *reader) {
  return resp_read_idle(reader) && !reader->unauthenticated && reader->inline_bytes == NULL &&
         reader->adopted == NULL && reader->capacity <= VECTOR_KEEP;
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

static enum resp_read_result malformed(struct resp_reader *reader, const char *error) {
  reader->error = error;
  return RESP_READ_MALFORMED;
}

static enum resp_read_result expected_dollar(struct resp_reader *reader, char got) {
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
  reader->adopted = NULL;
}

void resp_read_forget(struct resp_reader *reader) {
  command_end(reader);
  reader->argc = 0;
  reader->stale = 0;
}

/* Nothing is re-based before it is needed. */
static inline void note_move(struct resp_reader *reader, const char *data) {
  if (reader->base == (uintptr_t)data) return;
  reader->base = (uintptr_t)data;
  reader->stale = reader->argc;
}

/* Makes all of argv point into the bytes as they lie now. */
static void argv_refresh(struct resp_reader *reader, const char *data) {
  for (size_t i = 0; i < reader->stale; i++) {
    if (reader->offsets[i] != ADOPTED) reader->argv[i].data = data + reader->offsets[i];
  }
  reader->stale = 0;
}

bool resp_read_in_bulk(const struct resp_reader *reader, size_t least) {
  return reader->in_bulk && reader->bulk >= least;
}

size_t resp_read_bulk(struct resp_reader *reader, const char *data, size_t *position) {
  if (!reader->in_bulk || reader->skipping) return 0;
  note_move(reader, data);
  argv_refresh(reader, data);
  *position = reader->position;
  return reader->bulk;
}

void resp_read_adopted(struct resp_reader *reader, size_t position, const char *bytes) {
  assert(reader->argument_limit != NULL);
  reader->adopted = bytes;
  reader->adopted_at = position;
}

/* ---- header lines: `*3 CRLF`, `$5 CRLF` ---- */

static inline bool ends_line(const char *p) { return memcmp(p, "\r\n", 2) == 0; }

static inline unsigned digit_at(const char *p) { return (unsigned char)*p - (unsigned)'0'; }

/*
 * The digit of a header that has one: a type byte, the digit, CRLF. Above 9: p is something else.
 * `zero` is the header of 0; the others differ from it only by the digit in the second byte, so one
 * comparison tells them from all else.
 */
static inline uint32_t only_digit(const char *p, const char zero[4]) {
  uint32_t word, of_zero;
  memcpy(&word, p, sizeof word);
  memcpy(&of_zero, zero, sizeof of_zero);
  word -= of_zero;
  return word >> 8 | word << 24;
}

struct header {
  size_t size; /* 0: something else, or incomplete */
  size_t length;
};
#define NO_HEADER ((struct header){0, 0})

/*
 * The header of nearly every bulk string: a few digits, complete. Anything else is left to
 * read_length. At least SHORTEST_ARGUMENT bytes are there, which are enough for two digits.
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
 * The number of the header line at *at, whose type byte has been looked at. RESP_READ_COMMAND: *at
 * is now after the line. A bare LF ends the line too, as an error: to wait for a CR would hang a
 * client that never sends one.
 */
static enum resp_read_result read_length(struct resp_reader *reader, const char *data, size_t len,
                                         size_t *at, const struct header_errors *errors,
                                         long long *value) {
  size_t i = reader->searched > *at + 1 ? reader->searched : *at + 1;
  size_t stop = len - *at > RESP_READ_INLINE_MAX ? *at + RESP_READ_INLINE_MAX : len;
  while (i < stop && data[i] != '\r' && data[i] != '\n') i++;
  if (i == stop && stop - *at == RESP_READ_INLINE_MAX) return malformed(reader, errors->too_big);
  if (i < stop && data[i] == '\n') return malformed(reader, errors->invalid);
  if (i == stop || i + 1 == len) {
    reader->searched = i;
    return RESP_READ_MORE;
  }
  if (data[i + 1] != '\n') return malformed(reader, errors->line_end);
  struct span number = {data + *at + 1, i - *at - 1};
  if (!span_to_i64(number, value)) return malformed(reader, errors->invalid);
  *at = i + 2;
  return RESP_READ_COMMAND;
}

/* ---- bulk strings ---- */

static const char *name_of(const struct resp_reader *reader) {
  if (reader->argument_name == NULL) return "argument";
  return reader->argument_name(reader->context, reader->argv, reader->argc);
}

/* Decides whether the bulk string under way may be buffered. */
static void check_size(struct resp_reader *reader, const char *data) {
  size_t limit = RESP_READ_BULK_MAX;
  if (reader->argument_limit != NULL && reader->bulk > reader->unasked_bytes) {
    if (reader->stale != 0) argv_refresh(reader, data);
    limit = reader->argument_limit(reader->context, reader->argv, reader->argc);
    assert(limit <= RESP_READ_BULK_MAX);
  }
  size_t bulk = reader->bulk;
  reader->total += bulk;
  if (bulk > limit) {
    reader->toobig_limit = limit;
    reader->toobig_name = name_of(reader);
  } else if (reader->command_limit != 0 && reader->total > reader->command_limit) {
    reader->toobig_limit = reader->command_limit;
    reader->toobig_name = "command";
  } else {
    return;
  }
  reader->skipping = true;
  reader->toobig_index = reader->argc;
}

static enum resp_read_result open_bulk(struct resp_reader *reader, const char *data, size_t len,
                                       size_t *at) {
  if (*at == len) return RESP_READ_MORE;
  if (data[*at] != '$') return expected_dollar(reader, data[*at]);
  long long length = 0;
  enum resp_read_result result = read_length(reader, data, len, at, &BULK_HEADER, &length);
  if (result != RESP_READ_COMMAND) return result;
  if (length < 0 || length > RESP_READ_BULK_MAX) return malformed(reader, BULK_HEADER.invalid);
  if (reader->unauthenticated && length > RESP_READ_BULK_UNAUTHENTICATED_MAX) {
    return malformed(reader, "unauthenticated bulk length");
  }
  reader->bulk = (size_t)length;
  reader->in_bulk = true;
  if (!reader->skipping) check_size(reader, data);
  return RESP_READ_COMMAND;
}

/* The CRLF at `at`, which may be incomplete. A wrong first byte is reported at once. */
static enum resp_read_result bulk_end(struct resp_reader *reader, const char *data, size_t len,
                                      size_t at) {
  if (at < len && data[at] != '\r') return malformed(reader, "expected CRLF after a bulk string");
  if (len - at < 2) return RESP_READ_MORE;
  if (data[at + 1] != '\n') return malformed(reader, "expected CRLF after a bulk string");
  return RESP_READ_COMMAND;
}

static enum resp_read_result take_adopted(struct resp_reader *reader, const char *data, size_t len,
                                          size_t *at) {
  enum resp_read_result result = bulk_end(reader, data, len, *at);
  if (result != RESP_READ_COMMAND) {
    reader->need = *at + 2;
    return result;
  }
  size_t argc = reader->argc;
  if (argc == reader->capacity && !vector_grow(reader)) return RESP_READ_NO_MEMORY;
  reader->argv[argc] = (struct span){reader->adopted, reader->bulk};
  reader->offsets[argc] = ADOPTED;
  *at += 2;
  return RESP_READ_COMMAND;
}

static enum resp_read_result take_bulk(struct resp_reader *reader, const char *data, size_t len,
                                       size_t *at) {
  size_t start = *at, bulk = reader->bulk, argc = reader->argc;
  if (reader->adopted != NULL && start == reader->adopted_at)
    return take_adopted(reader, data, len, at);
  size_t end = start + bulk;
  if (len - start < bulk + 2 || data[end] != '\r' || data[end + 1] != '\n') {
    reader->need = end + 2;
    return len < end ? RESP_READ_MORE : bulk_end(reader, data, len, end);
  }
  if (argc == reader->capacity && !vector_grow(reader)) return RESP_READ_NO_MEMORY;
  reader->argv[argc] = (struct span){data + start, bulk};
  reader->offsets[argc] = start;
  *at = end + 2;
  return RESP_READ_COMMAND;
}

static enum resp_read_result skip_bulk(struct resp_reader *reader, const char *data, size_t len,
                                       size_t *at) {
  size_t here = len - *at < reader->bulk ? len - *at : reader->bulk;
  reader->bulk -= here;
  *at += here;
  if (reader->bulk > 0) return RESP_READ_MORE;
  enum resp_read_result result = bulk_end(reader, data, len, *at);
  if (result == RESP_READ_COMMAND) *at += 2;
  return result;
}

/* ---- arrays ---- */

/* RESP_READ_COMMAND with expected == 0 is an empty command. */
static enum resp_read_result open_array(struct resp_reader *reader, const char *data, size_t len,
                                        size_t *used) {
  long long count = 0;
  size_t at = 0;
  enum resp_read_result result = read_length(reader, data, len, &at, &ARRAY_HEADER, &count);
  if (result != RESP_READ_COMMAND) return result;
  if (count > INT_MAX) return malformed(reader, ARRAY_HEADER.invalid);
  if (reader->unauthenticated && count > RESP_READ_ARGS_UNAUTHENTICATED_MAX) {
    return malformed(reader, "unauthenticated multibulk length");
  }
  if (count > RESP_READ_ARGS_MAX) return malformed(reader, ARRAY_HEADER.invalid);
  reader->searched = 0;
  if (count <= 0) {
    *used = at;
    return RESP_READ_COMMAND;
  }
  reader->expected = (size_t)count;
  reader->position = at;
  return RESP_READ_COMMAND;
}

/* The longest argument that argument_limit need not be asked about. */
static size_t unasked_limit(const struct resp_reader *reader) {
  size_t limit = reader->argument_limit != NULL ? reader->unasked_bytes : RESP_READ_BULK_MAX;
  if (reader->unauthenticated && limit > RESP_READ_BULK_UNAUTHENTICATED_MAX)
    return RESP_READ_BULK_UNAUTHENTICATED_MAX;
  return limit;
}

/* How far a pass over arguments has come. */
struct place {
  size_t at, argc; /* in data[0..len), in argv */
  size_t longest;  /* bytes of one argument */
};

/* Takes complete arguments of at most `limit` bytes, up to number `until`, in one tight pass. It
 * stops before any other one: take_bulk finds out what that is. Compiled into each of its two
 * callers, one of which has no limit. */
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
                       struct resp_read_array *array) {
  _Static_assert(RESP_READ_ARRAY_ARGS <= 9, "one digit");
  if (len < SHORTEST_ARGUMENT) return 0;
  size_t count = only_digit(data, "*0\r\n");
  if (count - 1 >= RESP_READ_ARRAY_ARGS) return 0;
  struct place end = {.at = sizeof "*0\r\n" - 1};
  end = take_bulks(end, data, len, array->argv, count, SIZE_MAX);
  if (end.argc < count) return 0;
  if (reader->command_limit != 0 && end.at > reader->command_limit) return 0;
  array->argc = count;
  array->longest = end.longest;
  return end.at;
}

/* Goes on after an argument as far as that is easy. It looks at no more bytes than the command
 * limit leaves, so the arguments in them cannot be over it. */
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

/* Lets the caller drop what a skipped command has shown so far. */
static size_t drop_skipped(struct resp_reader *reader) {
  size_t dropped = reader->position;
  reader->searched = reader->searched > dropped ? reader->searched - dropped : 0;
  reader->position = 0;
  return dropped;
}

static enum resp_read_result read_arguments(struct resp_reader *reader, const char *data,
                                            size_t len, size_t *used) {
  note_move(reader, data);
  size_t at = reader->position;
  enum resp_read_result result = RESP_READ_COMMAND;
  while (reader->argc < reader->expected) {
    if (!reader->in_bulk && (result = open_bulk(reader, data, len, &at)) != RESP_READ_COMMAND)
      break;
    result =
        reader->skipping ? skip_bulk(reader, data, len, &at) : take_bulk(reader, data, len, &at);
    if (result != RESP_READ_COMMAND) break;
    reader->in_bulk = false;
    reader->argc++;
    if (reader->skipping) continue;
    reader->position = at;
    take_quick(reader, data, len);
    at = reader->position;
  }
  reader->position = at;
  if (result == RESP_READ_MORE && reader->skipping) *used = drop_skipped(reader);
  if (result != RESP_READ_COMMAND) return result;

  *used = at;
  if (reader->skipping) {
    reader->argc = 0;
    result = RESP_READ_TOOBIG;
  } else if (reader->stale != 0) {
    argv_refresh(reader, data);
  }
  command_end(reader);
  return result;
}

/* ---- inline lines ---- */

/* Takes all words of a line as arguments. */
static enum resp_read_result read_words(struct resp_reader *reader, struct span line) {
  struct resp_inline words = resp_inline_begin(line);
  for (;;) {
    struct span word;
    enum resp_inline_result result = resp_inline_next(&words, &word);
    reader->inline_bytes = words.unquoted;
    if (result == RESP_INLINE_END) return RESP_READ_COMMAND;
    if (result == RESP_INLINE_NO_MEMORY) return RESP_READ_NO_MEMORY;
    if (result == RESP_INLINE_UNBALANCED) return malformed(reader, "unbalanced quotes in request");
    if (reader->argc == reader->capacity && !vector_grow(reader)) return RESP_READ_NO_MEMORY;
    reader->argv[reader->argc++] = word;
    reader->total += word.len;
  }
}

/* Of a TLS handshake record. */
#define TLS_HANDSHAKE 0x16

/* RESP_READ_COMMAND with argc == 0 is a blank line. */
static enum resp_read_result read_inline(struct resp_reader *reader, const char *data, size_t len,
                                         size_t *used) {
  if (data[0] == TLS_HANDSHAKE) return RESP_READ_TLS;
  size_t most =
      reader->unauthenticated ? RESP_READ_INLINE_UNAUTHENTICATED_MAX : RESP_READ_INLINE_MAX;
  size_t stop = len > most ? most : len;
  const char *newline = stop > reader->searched
                            ? memchr(data + reader->searched, '\n', stop - reader->searched)
                            : NULL;
  if (newline == NULL) {
    if (stop == most) return malformed(reader, "too big inline request");
    reader->searched = stop;
    return RESP_READ_MORE;
  }
  struct span line = {data, (size_t)(newline - data)};
  *used = line.len + 1;
  command_end(reader);
  if (resp_inline_is_http(line)) return RESP_READ_HTTP;
  if (resp_inline_is_proxy(line))
    return malformed(reader, "a PROXY header from an address that may send none");
  enum resp_read_result result = read_words(reader, line);
  if (result != RESP_READ_COMMAND) return result;
  if (reader->command_limit == 0 || reader->total <= reader->command_limit)
    return RESP_READ_COMMAND;
  reader->toobig_index = reader->argc - 1;
  reader->toobig_limit = reader->command_limit;
  reader->toobig_name = "command";
  reader->argc = 0;
  return RESP_READ_TOOBIG;
}

/* ---- commands ---- */

static enum resp_read_result read_command(struct resp_reader *reader, const char *data, size_t len,
                                          size_t *used) {
  if (reader->expected == 0) {
    if (reader->searched == 0) command_begin(reader);
    if (len == 0) return RESP_READ_MORE;
    if (data[0] != '*') return read_inline(reader, data, len, used);
    enum resp_read_result result = open_array(reader, data, len, used);
    if (result != RESP_READ_COMMAND || reader->expected == 0) return result;
  }
  return read_arguments(reader, data, len, used);
}

/* Not inlined: the short path of its callers would lose registers to it. */
__attribute__((noinline)) enum resp_read_result resp_read(struct resp_reader *reader,
                                                          const char *data, size_t len,
                                                          size_t *consumed) {
  assert(reader->position <= len && reader->searched <= len);
  reader->need = 0;
  *consumed = 0;
  for (;;) {
    size_t used = 0;
    enum resp_read_result result = read_command(reader, data, len, &used);
    *consumed += used;
    if (result != RESP_READ_COMMAND || reader->argc > 0) return result;
    data += used;
    len -= used;
  }
}
