/*
 * fuzz_reader.c - the request reader on arbitrary bytes.
 *
 * Three readings of the same bytes have to agree: all at once, in pieces at another address each
 * time, and one by one. The first two bytes of the input choose the limits and the pieces, the rest
 * is what the client sends.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/resp_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Above this the quadratic moving of the bytes costs more than it finds. */
#define PIECEWISE_MAX 4096

/* What was read, as bytes: results, arguments and errors, in their order. */
struct record {
  uint64_t hash;
  size_t results;
  size_t kept; /* bytes that were left */
  bool idle;
  enum resp_read_result last;
};

static void record_bytes(struct record *record, const void *data, size_t len) {
  const unsigned char *bytes = data;
  uint64_t hash = (record->hash ^ len) * 1099511628211u;
  for (size_t i = 0; i < len; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
  record->hash = hash;
}

static void record_result(struct record *record, const struct resp_reader *reader,
                          enum resp_read_result result) {
  record->results++;
  record->last = result;
  record_bytes(record, &result, sizeof result);
  if (result == RESP_READ_COMMAND) {
    assert(reader->argc >= 1 && reader->argc <= RESP_READ_ARGS_MAX);
    for (size_t i = 0; i < reader->argc; i++) {
      assert(span_present(reader->argv[i]));
      record_bytes(record, reader->argv[i].data, reader->argv[i].len);
    }
  } else if (result == RESP_READ_TOOBIG) {
    record_bytes(record, &reader->toobig_index, sizeof reader->toobig_index);
    record_bytes(record, &reader->toobig_limit, sizeof reader->toobig_limit);
  } else if (result == RESP_READ_MALFORMED) {
    record_bytes(record, reader->error, strlen(reader->error));
    for (const char *p = reader->error; *p != '\0'; p++) assert(*p >= ' ' && *p <= '~');
  }
}

/* Depends on all bytes of all arguments before this one, so that a stale one is seen. */
static size_t limit_of(void *context, const struct span *argv, size_t index) {
  struct record *record = context;
  for (size_t i = 0; i < index; i++) record_bytes(record, argv[i].data, argv[i].len);
  record_bytes(record, &index, sizeof index);
  return index > 0 && argv[0].len > 0 ? (unsigned char)argv[0].data[0] : 64;
}

static void reader_setup(struct resp_reader *reader, struct record *record, unsigned settings) {
  resp_read_init(reader);
  reader->context = record;
  if (settings & 1) reader->argument_limit = limit_of;
  if (settings & 2) reader->unauthenticated = true;
  if (settings & 4) reader->command_limit = 100;
  if (settings & 8) reader->unasked_bytes = 3;
}

/* What resp_read_array takes for a command, resp_read reads alike or finds too big. */
static void expect_array(const struct resp_read_array *array, size_t size,
                         const struct resp_reader *reader, enum resp_read_result result,
                         size_t consumed) {
  if (size == 0) return;
  assert(consumed == size);
  assert(result == RESP_READ_COMMAND || result == RESP_READ_TOOBIG);
  if (result == RESP_READ_TOOBIG) return;
  assert(reader->argc == array->argc);
  size_t longest = 0;
  for (size_t i = 0; i < array->argc; i++) {
    struct span argument = array->argv[i];
    assert(argument.data == reader->argv[i].data && argument.len == reader->argv[i].len);
    if (argument.len > longest) longest = argument.len;
  }
  assert(longest == array->longest);
}

/* Reads what is there; false after a result that closes the connection. */
static bool read_all(struct resp_reader *reader, struct record *record, const char **data,
                     size_t *len) {
  for (;;) {
    struct resp_read_array array;
    bool fresh = resp_read_fresh(reader);
    size_t size = fresh ? resp_read_array(reader, *data, *len, &array) : 0;
    size_t consumed = 0;
    enum resp_read_result result = resp_read(reader, *data, *len, &consumed);
    assert(consumed <= *len);
    expect_array(&array, size, reader, result, consumed);
    *data += consumed;
    *len -= consumed;
    if (result == RESP_READ_MORE) {
      assert(reader->need == 0 || reader->need > *len);
      return true;
    }
    record_result(record, reader, result);
    if (result != RESP_READ_COMMAND && result != RESP_READ_TOOBIG) return false;
    assert(consumed > 0 && resp_read_idle(reader));
  }
}

static struct record read_whole(const char *data, size_t len, unsigned settings) {
  struct record record = {0};
  struct resp_reader reader;
  reader_setup(&reader, &record, settings);
  read_all(&reader, &record, &data, &len);
  record.kept = len;
  record.idle = resp_read_idle(&reader);
  resp_read_deinit(&reader);
  return record;
}

/* Each call gets a copy of the exact size, so that the sanitizer sees a byte that is read outside
 * of it, or after its end. */
static struct record read_in_pieces(const char *data, size_t len, unsigned settings,
                                    unsigned pieces) {
  struct record record = {0};
  struct resp_reader reader;
  reader_setup(&reader, &record, settings);
  size_t start = 0, seen = 0;
  bool alive = true;
  while (alive && seen < len) {
    size_t piece = 1;
    if (pieces > 1) {
      pieces = (pieces & 0xff) | ((pieces * 1103515245u + 12345u) & ~0xffu);
      piece = 1 + (pieces >> 16) % (pieces & 0xff);
    }
    seen = len - seen > piece ? seen + piece : len;
    size_t left = seen - start;
    char *copy = malloc(left);
    assert(copy != NULL);
    memcpy(copy, data + start, left);
    const char *at = copy;
    alive = read_all(&reader, &record, &at, &left);
    start = seen - left;
    free(copy);
  }
  record.kept = len - start;
  record.idle = resp_read_idle(&reader);
  resp_read_deinit(&reader);
  return record;
}

static void expect_same(const struct record *whole, const struct record *pieces) {
  assert(whole->results == pieces->results);
  assert(whole->hash == pieces->hash);
  bool over =
      whole->results > 0 && whole->last != RESP_READ_COMMAND && whole->last != RESP_READ_TOOBIG;
  if (over) return; /* pieces after a fatal result were not presented */
  assert(whole->idle == pieces->idle);
  assert(whole->kept == pieces->kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  unsigned settings = data[0], pieces = data[1];
  const char *bytes = (const char *)data + 2;
  size_t len = size - 2;
  struct record whole = read_whole(bytes, len, settings);
  if (len > PIECEWISE_MAX) return 0;
  struct record random = read_in_pieces(bytes, len, settings, pieces < 2 ? 16 : pieces);
  expect_same(&whole, &random);
  struct record single = read_in_pieces(bytes, len, settings, 1);
  expect_same(&whole, &single);
  return 0;
}
