/*
 * test_resp_read.c - the request reader against transcripts, each one cut in every way.
 *
 * The bytes are presented so that they end at a page that cannot be read, and lie somewhere else at
 * each call, where they were before cannot be read any more: an over-read or a stale argument
 * crashes the test.
 */
#include "proto/resp_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* Lets a huge allocation fail under the address sanitizer as it does without: with NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }

/* Moving bytes before a guard page */

#define ARENA_SIZE ((size_t)4 * 1024 * 1024)

struct arena {
  char *halves[2]; /* each of ARENA_SIZE bytes and a guard page */
  int current;
};

static void arena_init(struct arena *arena) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < 2; i++) {
    char *half = mmap(NULL, ARENA_SIZE + page, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(half != MAP_FAILED);
    arena->halves[i] = half;
  }
  arena->current = 0;
}

static void arena_deinit(struct arena *arena) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < 2; i++) munmap(arena->halves[i], ARENA_SIZE + page);
}

static char *arena_place(struct arena *arena, const char *bytes, size_t len) {
  assert_true(len <= ARENA_SIZE);
  assert_int_equal(mprotect(arena->halves[arena->current], ARENA_SIZE, PROT_NONE), 0);
  arena->current = !arena->current;
  char *half = arena->halves[arena->current];
  assert_int_equal(mprotect(half, ARENA_SIZE, PROT_READ | PROT_WRITE), 0);
  char *data = half + ARENA_SIZE - len;
  if (len > 0) memcpy(data, bytes, len);
  return data;
}

/* Results as text */

struct text {
  char *bytes;
  size_t len, capacity;
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *text, const char *format,
                                                           ...) {
  if (text->capacity - text->len < 256) {
    text->capacity = 2 * text->capacity + 1024;
    text->bytes = realloc(text->bytes, text->capacity);
    assert_non_null(text->bytes);
  }
  va_list arguments;
  va_start(arguments, format);
  int len = vsnprintf(text->bytes + text->len, text->capacity - text->len, format, arguments);
  va_end(arguments);
  assert_true(len >= 0 && (size_t)len < text->capacity - text->len);
  text->len += (size_t)len;
}

static void text_append(struct text *text, struct span s) {
  text->bytes = realloc(text->bytes, text->len + s.len + 1);
  assert_non_null(text->bytes);
  memcpy(text->bytes + text->len, s.data, s.len);
  text->len += s.len;
  text->bytes[text->len] = '\0';
  text->capacity = text->len + 1;
}

static void text_add_bytes(struct text *text, struct span s) {
  text_add(text, " [");
  for (size_t i = 0; i < s.len; i++) {
    unsigned char byte = (unsigned char)s.data[i];
    text_add(text, byte >= ' ' && byte <= '~' ? "%c" : "<%02x>", byte);
  }
  text_add(text, "]");
}

/* One line for each result. */
static void text_add_result(struct text *text, const struct resp_reader *reader,
                            enum resp_read_result result) {
  switch (result) {
    case RESP_READ_COMMAND:
      text_add(text, "command");
      assert_true(reader->argc >= 1);
      for (size_t i = 0; i < reader->argc; i++) {
        assert_true(span_present(reader->argv[i]));
        text_add_bytes(text, reader->argv[i]);
      }
      text_add(text, "\n");
      break;
    case RESP_READ_TOOBIG:
      text_add(text, "too big: %s %zu over %zu\n", reader->toobig_name, reader->toobig_index,
               reader->toobig_limit);
      break;
    case RESP_READ_MALFORMED: text_add(text, "malformed: %s\n", reader->error); break;
    case RESP_READ_HTTP: text_add(text, "http\n"); break;
    case RESP_READ_TLS: text_add(text, "tls\n"); break;
    case RESP_READ_MORE:
    case RESP_READ_NO_MEMORY: fail_msg("result %d is not for the record", (int)result);
  }
}

/* Feeding */

/* How the input arrives: whole when step is 0, else in pieces up to `step`, random with a seed. */
struct arrival {
  size_t first; /* the first piece, 0: none in particular */
  size_t step;
  unsigned seed; /* 0: all pieces are `step` */
};

static size_t next_piece(struct arrival *arrival, size_t left) {
  size_t piece = arrival->step == 0 ? left : arrival->step;
  if (arrival->first > 0) {
    piece = arrival->first;
    arrival->first = 0;
  } else if (arrival->seed != 0) {
    arrival->seed = arrival->seed * 1103515245u + 12345u;
    piece = 1 + (arrival->seed >> 8) % piece;
  }
  return piece < left ? piece : left;
}

/* Whether an array begins with *1 to *8, as the short way wants it. */
static bool is_short(const char *data, size_t len) {
  return len > 4 && data[0] == '*' && data[1] >= '1' && data[1] <= '8' && data[2] == '\r';
}

/* What resp_read made of the bytes, the short way did too, if it is for it. Where sizes are judged
 * it may have taken what is too big, since it does not judge them. */
static void expect_array(const struct resp_read_array *array, size_t size, const char *data,
                         const struct resp_reader *reader, enum resp_read_result result,
                         size_t consumed) {
  bool whole = result == RESP_READ_COMMAND || result == RESP_READ_TOOBIG;
  if (!whole || !is_short(data, consumed)) assert_int_equal(size, 0);
  if (size == 0) {
    bool unlimited = reader->command_limit == 0;
    if (unlimited && is_short(data, consumed)) assert_int_not_equal(result, RESP_READ_COMMAND);
    return;
  }
  assert_int_equal(size, consumed);
  if (result == RESP_READ_TOOBIG) return;
  assert_int_equal(array->argc, reader->argc);
  size_t longest = 0;
  for (size_t i = 0; i < array->argc; i++) {
    assert_ptr_equal(array->argv[i].data, reader->argv[i].data);
    assert_int_equal(array->argv[i].len, reader->argv[i].len);
    if (array->argv[i].len > longest) longest = array->argv[i].len;
  }
  assert_int_equal(array->longest, longest);
}

/* Reads all commands of the bytes presented so far. Returns false when the connection is over. */
static bool read_all(struct resp_reader *reader, struct arena *arena, struct span *kept,
                     struct text *text) {
  for (;;) {
    char *data = arena_place(arena, kept->data, kept->len);
    size_t consumed = SIZE_MAX;
    struct resp_read_array array;
    bool fresh = resp_read_fresh(reader);
    size_t size = fresh ? resp_read_array(reader, data, kept->len, &array) : 0;
    enum resp_read_result result = resp_read(reader, data, kept->len, &consumed);
    assert_true(consumed <= kept->len);
    if (fresh) expect_array(&array, size, data, reader, result, consumed);
    kept->data += consumed;
    kept->len -= consumed;
    if (result == RESP_READ_MORE) {
      if (kept->len > 0) assert_false(resp_read_idle(reader));
      if (reader->need != 0) assert_true(reader->need > kept->len);
      return true;
    }
    text_add_result(text, reader, result);
    if (result != RESP_READ_COMMAND && result != RESP_READ_TOOBIG) return false;
    assert_true(consumed > 0);
    assert_true(resp_read_idle(reader));
  }
}

/* The last line is "idle", "inside" (with the bytes that are kept) or the fatal result. */
static void feed(struct resp_reader *reader, struct span input, struct arrival arrival,
                 struct text *text) {
  struct arena arena;
  arena_init(&arena);
  struct span kept = {input.data, 0};
  size_t left = input.len;
  bool alive = read_all(reader, &arena, &kept, text);
  while (alive && left > 0) {
    size_t piece = next_piece(&arrival, left);
    left -= piece;
    kept.len += piece;
    alive = read_all(reader, &arena, &kept, text);
  }
  if (alive && resp_read_idle(reader)) {
    assert_int_equal(kept.len, 0);
    text_add(text, "idle\n");
  } else if (alive) {
    text_add(text, "inside, %zu kept\n", kept.len);
  }
  arena_deinit(&arena);
}

typedef void reader_setup(struct resp_reader *reader, struct text *text);

static void expect_feed(const char *name, reader_setup *setup, struct span input,
                        struct arrival arrival, const char *expected) {
  struct resp_reader reader;
  struct text text = {0};
  resp_read_init(&reader);
  if (setup != NULL) setup(&reader, &text);
  struct arrival asked = arrival;
  feed(&reader, input, arrival, &text);
  if (strcmp(text.bytes, expected) != 0) {
    fail_msg("%s, first piece %zu, step %zu, seed %u:\n%s--- but expected:\n%s", name, asked.first,
             asked.step, asked.seed, text.bytes, expected);
  }
  free(text.bytes);
  resp_read_deinit(&reader);
}

#define RANDOM_ARRIVALS 30

static void expect_in_all_cuts(const char *name, reader_setup *setup, struct span input,
                               const char *expected) {
  expect_feed(name, setup, input, (struct arrival){0}, expected);
  for (size_t cut = 1; cut < input.len; cut++) {
    expect_feed(name, setup, input, (struct arrival){.first = cut}, expected);
  }
  for (size_t step = 1; step <= 7; step++) {
    expect_feed(name, setup, input, (struct arrival){.step = step}, expected);
  }
  for (unsigned seed = 1; seed <= RANDOM_ARRIVALS; seed++) {
    struct arrival arrival = {.step = 1 + seed % 13, .seed = seed};
    expect_feed(name, setup, input, arrival, expected);
  }
}

/* Transcripts */

static void unauthenticated(struct resp_reader *reader, struct text *text) {
  (void)text;
  reader->unauthenticated = true;
}

static void command_limit_10(struct resp_reader *reader, struct text *text) {
  (void)text;
  reader->command_limit = 10;
}

/* STORE key body: the key has at most 4 bytes, the body 8, all else 16. */
static size_t limit_of_store(void *context, const struct span *argv, size_t index) {
  (void)context;
  if (index == 0 || !span_is(argv[0], "STORE")) return 16;
  return index == 1 ? 4 : index == 2 ? 8 : 16;
}

static const char *name_in_store(void *context, const struct span *argv, size_t index) {
  (void)context;
  if (index == 0 || !span_is(argv[0], "STORE")) return "a word";
  return index == 1 ? "the key" : index == 2 ? "the body" : "a word";
}

static void store_limits(struct resp_reader *reader, struct text *text) {
  (void)text;
  reader->argument_name = name_in_store;
  reader->argument_limit = limit_of_store;
}

/* Writes down what it was asked and what it saw. An empty argument is under every limit. */
static size_t limit_that_tells(void *context, const struct span *argv, size_t index) {
  struct text *text = context;
  text_add(text, "limit of %zu?", index);
  for (size_t i = 0; i < index; i++) text_add_bytes(text, argv[i]);
  text_add(text, "\n");
  return index == 3 ? 2 : 100;
}

static void telling_limits(struct resp_reader *reader, struct text *text) {
  reader->argument_limit = limit_that_tells;
  reader->context = text;
}

static void telling_limits_over_1(struct resp_reader *reader, struct text *text) {
  telling_limits(reader, text);
  reader->unasked_bytes = 1;
}

static const struct transcript {
  const char *name;
  reader_setup *setup;
  struct span input;
  const char *expected;
} TRANSCRIPTS[] = {
    /* Arrays */
    {"nothing", NULL, SPAN_LITERAL(""), "idle\n"},
    {"one command", NULL, SPAN_LITERAL("*1\r\n$4\r\nPING\r\n"), "command [PING]\nidle\n"},
    {"pipeline", NULL,
     SPAN_LITERAL("*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*1\r\n$4\r\nPING\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n"
                  "$12\r\nabcdefghijkl\r\n"),
     "command [ECHO] [hi]\ncommand [PING]\ncommand [a] [b] [abcdefghijkl]\nidle\n"},
    {"empty arguments", NULL, SPAN_LITERAL("*3\r\n$0\r\n\r\n$1\r\nx\r\n$0\r\n\r\n"),
     "command [] [x] []\nidle\n"},
    {"bytes that look like framing", NULL,
     SPAN_LITERAL("*2\r\n$10\r\n\r\n$4\r\n*1\r\n\r\n$3\r\n\0\xff\n\r\n"),
     "command [<0d><0a>$4<0d><0a>*1<0d><0a>] [<00><ff><0a>]\nidle\n"},
    {"eleven arguments", NULL,
     SPAN_LITERAL("*11\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n"
                  "$1\r\ng\r\n$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n"),
     "command [a] [b] [c] [d] [e] [f] [g] [h] [i] [j] [k]\nidle\n"},
    {"a length of three digits", NULL,
     SPAN_LITERAL(
         "*1\r\n$100\r\n0123456789012345678901234567890123456789012345678901234567890123456"
         "789012345678901234567890123456789\r\n"),
     "command [0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
     "234567890123456789]\nidle\n"},
    {"empty commands", NULL,
     SPAN_LITERAL("*0\r\n*-1\r\n*-10\r\n*-9223372036854775808\r\n\r\n\n*1\r\n$1\r\na\r\n*0\r\n"),
     "command [a]\nidle\n"},
    {"end in an array header", NULL, SPAN_LITERAL("*1\r\n$1\r\na\r\n*12"),
     "command [a]\ninside, 3 kept\n"},
    {"end after an array header", NULL, SPAN_LITERAL("*2\r\n"), "inside, 4 kept\n"},
    {"end after a bulk header", NULL, SPAN_LITERAL("*1\r\n$100000\r\n"), "inside, 13 kept\n"},
    {"end in a bulk string", NULL, SPAN_LITERAL("*0\r\n*1\r\n$4\r\nPIN"), "inside, 11 kept\n"},
    {"end before CRLF", NULL, SPAN_LITERAL("*1\r\n$4\r\nPING"), "inside, 12 kept\n"},
    {"end within CRLF", NULL, SPAN_LITERAL("*1\r\n$4\r\nPING\r"), "inside, 13 kept\n"},

    /* Broken array headers */
    {"no count", NULL, SPAN_LITERAL("*\r\n"), "malformed: invalid multibulk length\n"},
    {"count of letters", NULL, SPAN_LITERAL("*x\r\n"), "malformed: invalid multibulk length\n"},
    {"count with a plus", NULL, SPAN_LITERAL("*+1\r\n"), "malformed: invalid multibulk length\n"},
    {"count with a zero", NULL, SPAN_LITERAL("*01\r\n"), "malformed: invalid multibulk length\n"},
    {"minus zero", NULL, SPAN_LITERAL("*-0\r\n"), "malformed: invalid multibulk length\n"},
    {"two zeros", NULL, SPAN_LITERAL("*00\r\n"), "malformed: invalid multibulk length\n"},
    {"count with a blank", NULL, SPAN_LITERAL("* 1\r\n"), "malformed: invalid multibulk length\n"},
    {"blank after count", NULL, SPAN_LITERAL("*1 \r\n"), "malformed: invalid multibulk length\n"},
    {"count of 65537", NULL, SPAN_LITERAL("*65537\r\n"), "malformed: invalid multibulk length\n"},
    {"huge count", NULL, SPAN_LITERAL("*2147483648\r\n"), "malformed: invalid multibulk length\n"},
    {"count that overflows", NULL, SPAN_LITERAL("*18446744073709551617\r\n"),
     "malformed: invalid multibulk length\n"},
    {"count with NUL", NULL, SPAN_LITERAL("*1\0\r\n"), "malformed: invalid multibulk length\n"},
    {"bare LF after count", NULL, SPAN_LITERAL("*1\n"), "malformed: invalid multibulk length\n"},
    {"bare CR after count", NULL, SPAN_LITERAL("*1\rx"),
     "malformed: expected CRLF after a multibulk length\n"},
    {"two CR after count", NULL, SPAN_LITERAL("*1\r\r\n"),
     "malformed: expected CRLF after a multibulk length\n"},
    {"good commands before a bad one", NULL, SPAN_LITERAL("*1\r\n$1\r\na\r\nb\r\n*z\r\n"),
     "command [a]\ncommand [b]\nmalformed: invalid multibulk length\n"},

    /* Broken bulk strings */
    {"not a bulk string", NULL, SPAN_LITERAL("*1\r\n:1\r\n"), "malformed: expected '$', got ':'\n"},
    {"an array within", NULL, SPAN_LITERAL("*1\r\n*1\r\n"), "malformed: expected '$', got '*'\n"},
    {"an unprintable byte", NULL, SPAN_LITERAL("*1\r\n\x01"),
     "malformed: expected '$', got '\\x01'\n"},
    {"a high byte", NULL, SPAN_LITERAL("*1\r\n\xff"), "malformed: expected '$', got '\\xff'\n"},
    {"an empty line", NULL, SPAN_LITERAL("*1\r\n\r\n"), "malformed: expected '$', got '\\x0d'\n"},
    {"second is broken", NULL, SPAN_LITERAL("*2\r\n$1\r\na\r\nb"),
     "malformed: expected '$', got 'b'\n"},
    {"no length", NULL, SPAN_LITERAL("*1\r\n$\r\n"), "malformed: invalid bulk length\n"},
    {"negative length", NULL, SPAN_LITERAL("*1\r\n$-1\r\n"), "malformed: invalid bulk length\n"},
    {"length of letters", NULL, SPAN_LITERAL("*1\r\n$1x\r\n"), "malformed: invalid bulk length\n"},
    {"length with zero", NULL, SPAN_LITERAL("*1\r\n$04\r\n"), "malformed: invalid bulk length\n"},
    {"length with zeros", NULL, SPAN_LITERAL("*1\r\n$00004\r\n"),
     "malformed: invalid bulk length\n"},
    {"512 MiB", NULL, SPAN_LITERAL("*1\r\n$536870912\r\n"), "inside, 16 kept\n"},
    {"512 MiB and one", NULL, SPAN_LITERAL("*1\r\n$536870913\r\n"),
     "malformed: invalid bulk length\n"},
    {"length that overflows", NULL, SPAN_LITERAL("*1\r\n$18446744073709551620\r\n"),
     "malformed: invalid bulk length\n"},
    {"largest number", NULL, SPAN_LITERAL("*1\r\n$9223372036854775807\r\n"),
     "malformed: invalid bulk length\n"},
    {"bare LF after length", NULL, SPAN_LITERAL("*1\r\n$4\nPING\n"),
     "malformed: invalid bulk length\n"},
    {"bare CR after length", NULL, SPAN_LITERAL("*1\r\n$4\rPING\r\n"),
     "malformed: expected CRLF after a bulk length\n"},
    {"longer than said", NULL, SPAN_LITERAL("*1\r\n$3\r\nPING\r\n"),
     "malformed: expected CRLF after a bulk string\n"},
    {"shorter than said", NULL, SPAN_LITERAL("*1\r\n$5\r\nPING\r\n"),
     "malformed: expected CRLF after a bulk string\n"},
    {"bare LF after a bulk string", NULL, SPAN_LITERAL("*1\r\n$4\r\nPING\n"),
     "malformed: expected CRLF after a bulk string\n"},
    {"bare CR after a bulk string", NULL, SPAN_LITERAL("*1\r\n$4\r\nPING\rx"),
     "malformed: expected CRLF after a bulk string\n"},

    /* Before the password */
    {"small commands", unauthenticated,
     SPAN_LITERAL("*10\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng"
                  "\r\n$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n*1\r\n$1024\r\n"),
     "command [a] [b] [c] [d] [e] [f] [g] [h] [i] [j]\ninside, 11 kept\n"},
    {"eleven without password", unauthenticated, SPAN_LITERAL("*11\r\n"),
     "malformed: unauthenticated multibulk length\n"},
    {"65537 without password", unauthenticated, SPAN_LITERAL("*65537\r\n"),
     "malformed: unauthenticated multibulk length\n"},
    {"2^31 without password", unauthenticated, SPAN_LITERAL("*2147483648\r\n"),
     "malformed: invalid multibulk length\n"},
    {"1 KiB and one without password", unauthenticated, SPAN_LITERAL("*1\r\n$1025\r\n"),
     "malformed: unauthenticated bulk length\n"},
    {"512 MiB and one without password", unauthenticated, SPAN_LITERAL("*1\r\n$536870913\r\n"),
     "malformed: invalid bulk length\n"},

    /* Inline */
    {"inline", NULL, SPAN_LITERAL("PING\r\n"), "command [PING]\nidle\n"},
    {"inline with LF", NULL, SPAN_LITERAL("PING\n"), "command [PING]\nidle\n"},
    {"inline words", NULL, SPAN_LITERAL("  SET \t key   value  \r\n*1\r\n$1\r\na\r\nQUIT\r\n"),
     "command [SET] [key] [value]\ncommand [a]\ncommand [QUIT]\nidle\n"},
    {"blank lines", NULL, SPAN_LITERAL("\r\n\n   \r\n \t\v\f\r \n\r\r\nPING\r\n\r\n"),
     "command [PING]\nidle\n"},
    {"double quotes", NULL,
     SPAN_LITERAL("a \"b c\" \"\" \"\\x41\\x6a\\x6A\\n\\r\\t\\b\\a\\\"\\\\\\'\\q\" '\r\n"),
     "malformed: unbalanced quotes in request\n"},
    {"escapes", NULL,
     SPAN_LITERAL("a \"b c\" \"\" \"\\x41\\x6a\\xFf\\n\\r\\t\\b\\a\\\"\\\\\\'\\q\"\n"),
     "command [a] [b c] [] [Aj<ff><0a><0d><09><08><07>\"\\'q]\nidle\n"},
    {"no escapes", NULL, SPAN_LITERAL("\"\\x4\" \"\\xg0\" \"\\x\" \"\\X41\" a\\nb\n"),
     "command [x4] [xg0] [x] [X41] [a\\nb]\nidle\n"},
    {"single quotes", NULL, SPAN_LITERAL("'a b' '' 'it\\'s' '\\n\\x41\"'\r\n"),
     "command [a b] [] [it's] [\\n\\x41\"]\nidle\n"},
    {"quotes in the middle", NULL, SPAN_LITERAL("x\"y z\" p'q r'\t\"end\"\n"),
     "command [xy z] [pq r] [end]\nidle\n"},
    {"quote without a blank after", NULL, SPAN_LITERAL("a \"b\"c\r\n"),
     "malformed: unbalanced quotes in request\n"},
    {"two quotes in a row", NULL, SPAN_LITERAL("a 'b''c'\r\n"),
     "malformed: unbalanced quotes in request\n"},
    {"open double quote", NULL, SPAN_LITERAL("a \"b\r\n"),
     "malformed: unbalanced quotes in request\n"},
    {"open single quote", NULL, SPAN_LITERAL("a 'b\r\n"),
     "malformed: unbalanced quotes in request\n"},
    {"backslash at the end", NULL, SPAN_LITERAL("a \"b\\\r\n"),
     "malformed: unbalanced quotes in request\n"},
    {"escaped quote at the end", NULL, SPAN_LITERAL("a 'b\\'\r\n"),
     "malformed: unbalanced quotes in request\n"},
    {"a quote at the very end", NULL, SPAN_LITERAL("a \"\n"),
     "malformed: unbalanced quotes in request\n"},
    {"vertical tab", NULL, SPAN_LITERAL("a\vb \v\fc \"d\"\ve\n"),
     "command [a<0b>b] [c] [d] [e]\nidle\n"},
    {"CR within a line", NULL, SPAN_LITERAL("a\rb\r\r\n"), "command [a] [b]\nidle\n"},
    {"NUL and high bytes", NULL, SPAN_LITERAL("a\0b \xff\n"), "command [a<00>b] [<ff>]\nidle\n"},
    {"bulk string without array", NULL, SPAN_LITERAL("$4\r\nPING\r\n"),
     "command [$4]\ncommand [PING]\nidle\n"},
    {"end in a line", NULL, SPAN_LITERAL("PING\nPI"), "command [PING]\ninside, 2 kept\n"},
    {"quotes, then an array", NULL, SPAN_LITERAL("\"a b\"\n\"c d\"\n*1\r\n$1\r\ne\r\n"),
     "command [a b]\ncommand [c d]\ncommand [e]\nidle\n"},

    /* HTTP */
    {"TLS", NULL, SPAN_LITERAL("\x16\x03\x01\x02\x00\x01"), "tls\n"},
    {"GET", NULL, SPAN_LITERAL("GET / HTTP/1.1\r\nHost: x\r\n"), "http\n"},
    {"lower case", NULL, SPAN_LITERAL("get / http/1.0\n"), "http\n"},
    {"POST", NULL, SPAN_LITERAL("POST /x\r\n"), "http\n"},
    {"post", NULL, SPAN_LITERAL("  pOsT x y z\r\n"), "http\n"},
    {"Host", NULL, SPAN_LITERAL("hOst: x\r\n"), "http\n"},
    {"Host without blank", NULL, SPAN_LITERAL("Host:x\r\n"), "http\n"},
    {"quotes in a path", NULL, SPAN_LITERAL("DELETE /it's HTTP/1.1 \r\n"), "http\n"},
    {"HEAD", NULL, SPAN_LITERAL("HEAD / HTTP/1.1\r\n"), "http\n"},
    {"PUT", NULL, SPAN_LITERAL("PUT / HTTP/2\r\n"), "http\n"},
    {"OPTIONS", NULL, SPAN_LITERAL("OPTIONS * HTTP/1.1\r\n"), "http\n"},
    {"PATCH", NULL, SPAN_LITERAL("PATCH / HTTP/1.1\r\n"), "http\n"},
    {"CONNECT", NULL, SPAN_LITERAL("CONNECT a:1 HTTP/1.1\r\n"), "http\n"},
    {"TRACE", NULL, SPAN_LITERAL("TRACE / HTTP/1.1\r\n"), "http\n"},
    {"a method of its own", NULL, SPAN_LITERAL("ANY /it's HTTP/1.1\r\n"), "http\n"},
    {"HTTP/2", NULL, SPAN_LITERAL("PRI * HTTP/2.0\r\n"), "http\n"},
    {"a path of several words", NULL, SPAN_LITERAL("PROPFIND /a b HTTP/1.1\r\n"), "http\n"},
    {"after a command", NULL, SPAN_LITERAL("PING\r\nGET / HTTP/1.1\r\n"), "command [PING]\nhttp\n"},
    {"not HTTP", NULL,
     SPAN_LITERAL("GET key\r\nDELETE k\r\nHEAD\r\nSET k HTTP/1.1\r\nGET HTTP/1.1 k\r\nPOST\r\n"
                  "POSTS x\r\nHosts: x\r\nHTTP/1.1\r\n*2\r\n$5\r\nHost:\r\n$1\r\nx\r\n"
                  "*3\r\n$4\r\nPOST\r\n$1\r\n/\r\n$8\r\nHTTP/1.1\r\n"),
     "command [GET] [key]\ncommand [DELETE] [k]\ncommand [HEAD]\ncommand [SET] [k] [HTTP/1.1]\n"
     "command [GET] [HTTP/1.1] [k]\ncommand [POST]\ncommand [POSTS] [x]\ncommand [Hosts:] [x]\n"
     "command [HTTP/1.1]\ncommand [Host:] [x]\ncommand [POST] [/] [HTTP/1.1]\nidle\n"},

    /* Over a limit */
    {"at the limit", store_limits,
     SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$4\r\nabcd\r\n$8\r\n12345678\r\n"),
     "command [STORE] [abcd] [12345678]\nidle\n"},
    {"key too big", store_limits,
     SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$5\r\nabcde\r\n$8\r\n12345678\r\n*1\r\n$4\r\nPING\r\n"),
     "too big: the key 1 over 4\ncommand [PING]\nidle\n"},
    {"body too big", store_limits,
     SPAN_LITERAL("*4\r\n$5\r\nstore\r\n$1\r\na\r\n$9\r\n123456789\r\n$3\r\nTTL\r\nPING\r\n"),
     "too big: the body 2 over 8\ncommand [PING]\nidle\n"},
    {"the first of two", store_limits,
     SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$5\r\nabcde\r\n$100\r\n01234567890123456789012345678901234"
                  "56789012345678901234567890123456789012345678901234567890123456789\r\nPING\r\n"),
     "too big: the key 1 over 4\ncommand [PING]\nidle\n"},
    {"command name too big", store_limits,
     SPAN_LITERAL("*2\r\n$17\r\nABCDEFGHIJKLMNOPQ\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n"),
     "too big: a word 0 over 16\ncommand [PING]\nidle\n"},
    {"two in a row", store_limits,
     SPAN_LITERAL("*1\r\n$17\r\nABCDEFGHIJKLMNOPQ\r\n*3\r\n$5\r\nSTORE\r\n$5\r\nabcde\r\n$0\r\n"
                  "\r\n*3\r\n$5\r\nSTORE\r\n$4\r\nabcd\r\n$0\r\n\r\n"),
     "too big: a word 0 over 16\ntoo big: the key 1 over 4\ncommand [STORE] [abcd] []\nidle\n"},
    {"broken after too big", store_limits,
     SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$5\r\nabcde\r\n:1\r\n"),
     "malformed: expected '$', got ':'\n"},
    {"no CRLF after too big", store_limits,
     SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$5\r\nabcdef\r\n$1\r\na\r\n"),
     "malformed: expected CRLF after a bulk string\n"},
    {"bare CR after too big", store_limits,
     SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$5\r\nabcde\r$1\r\na\r\n"),
     "malformed: expected CRLF after a bulk string\n"},
    {"broken length after too big", store_limits,
     SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$5\r\nabcde\r\n$-1\r\n"),
     "malformed: invalid bulk length\n"},
    {"over 512 MiB after too big", store_limits,
     SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$5\r\nabcde\r\n$536870913\r\n"),
     "malformed: invalid bulk length\n"},
    {"end within too big", store_limits, SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$500000000\r\nabcdefg"),
     "inside, 0 kept\n"},
    {"end in a header after too big", store_limits,
     SPAN_LITERAL("*3\r\n$5\r\nSTORE\r\n$5\r\nabcde\r\n$12"), "inside, 3 kept\n"},
    {"inline is not asked for", store_limits,
     SPAN_LITERAL("STORE abcdefgh 0123456789\n*1\r\n$1\r\na\r\n"),
     "command [STORE] [abcdefgh] [0123456789]\ncommand [a]\nidle\n"},
    {"within the command limit", command_limit_10,
     SPAN_LITERAL("*2\r\n$4\r\nECHO\r\n$6\r\n123456\r\n*2\r\n$4\r\nECHO\r\n$6\r\n123456\r\n"),
     "command [ECHO] [123456]\ncommand [ECHO] [123456]\nidle\n"},
    {"over the command limit", command_limit_10,
     SPAN_LITERAL("*4\r\n$4\r\nECHO\r\n$4\r\n1234\r\n$3\r\n123\r\n$1\r\na\r\n*1\r\n$1\r\na\r\n"),
     "too big: command 2 over 10\ncommand [a]\nidle\n"},
    {"inline command limit", command_limit_10,
     SPAN_LITERAL("echo 123456\necho 1234567\nping\n\"a\"\n"),
     "command [echo] [123456]\ntoo big: command 1 over 10\ncommand [ping]\ncommand [a]\nidle\n"},
    {"what the limit sees", telling_limits,
     SPAN_LITERAL(
         "*2\r\n$1\r\na\r\n$2\r\nbc\r\nping pong\r\n*6\r\n$1\r\nd\r\n$0\r\n\r\n$2\r\nef\r\n"
         "$3\r\nghi\r\n$1\r\nj\r\n$1\r\nk\r\n*1\r\n$1\r\nl\r\n"),
     "limit of 0?\nlimit of 1? [a]\ncommand [a] [bc]\ncommand [ping] [pong]\nlimit of 0?\n"
     "limit of 2? [d] []\nlimit of 3? [d] [] [ef]\ntoo big: argument 3 over 2\n"
     "limit of 0?\ncommand [l]\nidle\n"},
    {"small arguments are not asked for", telling_limits_over_1,
     SPAN_LITERAL("*5\r\n$1\r\na\r\n$2\r\nbc\r\n$1\r\nd\r\n$1\r\ne\r\n$2\r\nfg\r\n"),
     "limit of 1? [a]\nlimit of 4? [a] [bc] [d] [e]\ncommand [a] [bc] [d] [e] [fg]\nidle\n"},
};

static void test_transcripts_in_all_cuts(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof TRANSCRIPTS / sizeof TRANSCRIPTS[0]; i++) {
    const struct transcript *t = &TRANSCRIPTS[i];
    expect_in_all_cuts(t->name, t->setup, t->input, t->expected);
  }
}

/* A reader that has an argument vector already reads whole commands in another way. */
static void test_transcripts_after_a_command(void **state) {
  (void)state;
  static const char first[] =
      "*8\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n"
      "$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n";
  for (size_t i = 0; i < sizeof TRANSCRIPTS / sizeof TRANSCRIPTS[0]; i++) {
    const struct transcript *t = &TRANSCRIPTS[i];
    struct text input = {0}, expected = {0};
    text_add(&input, "%s", first);
    text_append(&input, t->input);
    text_add(&expected, "command [] [] [] [] [] [] [] []\n");
    text_append(&expected, span_of(t->expected));
    expect_in_all_cuts(t->name, t->setup, (struct span){input.bytes, input.len}, expected.bytes);
    free(input.bytes);
    free(expected.bytes);
  }
}

/* Commands of all kinds one after the other, in pieces of random sizes. */
static void test_a_long_pipeline_in_random_pieces(void **state) {
  (void)state;
  struct text input = {0}, expected = {0};
  unsigned random = 20240607;
  for (int i = 0; i < 400; i++) {
    random = random * 1103515245u + 12345u;
    size_t argc = 1 + (random >> 16) % 12;
    bool in_line = (random >> 24) % 4 == 0;
    text_add(&expected, "command");
    if (!in_line) text_add(&input, "*%zu\r\n", argc);
    for (size_t k = 0; k < argc; k++) {
      random = random * 1103515245u + 12345u;
      int len = 3 + (int)((random >> 16) % 120);
      text_add(&input, in_line ? " \"" : "$%d\r\n", len);
      text_add(&input, "%0*d", len, i);
      text_add(&input, in_line ? "\" " : "\r\n");
      text_add(&expected, " [%0*d]", len, i);
    }
    if (in_line) text_add(&input, "\r\n");
    text_add(&expected, "\n");
  }
  text_add(&expected, "idle\n");
  struct span bytes = {input.bytes, input.len};
  expect_feed("pipeline", NULL, bytes, (struct arrival){0}, expected.bytes);
  for (unsigned seed = 1; seed <= 10; seed++) {
    struct arrival arrival = {.step = (size_t)30 << seed, .seed = seed};
    expect_feed("pipeline", NULL, bytes, arrival, expected.bytes);
  }
  free(input.bytes);
  free(expected.bytes);
}

/* Bounds of lines and headers */

/* `prefix`, `count` bytes of `fill`, `suffix`. */
static struct span filled(const char *prefix, char fill, size_t count, const char *suffix) {
  size_t len = strlen(prefix) + count + strlen(suffix);
  char *bytes = malloc(len + 1);
  assert_non_null(bytes);
  char *p = stpcpy(bytes, prefix);
  memset(p, fill, count);
  strcpy(p + count, suffix);
  return (struct span){bytes, len};
}

static void expect_filled(const char *prefix, size_t count, const char *suffix,
                          const char *expected) {
  struct span input = filled(prefix, 'x', count, suffix);
  expect_feed(expected, NULL, input, (struct arrival){0}, expected);
  expect_feed(expected, NULL, input, (struct arrival){.step = 1000}, expected);
  expect_feed(expected, NULL, input, (struct arrival){.step = RESP_READ_INLINE_MAX}, expected);
  expect_feed(expected, NULL, input, (struct arrival){.first = RESP_READ_INLINE_MAX - 1, .step = 1},
              expected);
  free((char *)input.data);
}

static void test_lines_and_headers_have_a_bound(void **state) {
  (void)state;
  const size_t max = RESP_READ_INLINE_MAX;
  const char *const too_big = "malformed: too big inline request\n";
  expect_filled("", max, "\n", too_big);
  expect_filled("", max, "", too_big);
  expect_filled("", max - 1, "\r\n", too_big);
  expect_filled("", 3 * max, "\r\n", too_big);
  expect_filled("", max - 1, "", "inside, 65535 kept\n");
  expect_filled("PING\r\n", max, "", "command [PING]\nmalformed: too big inline request\n");
  expect_filled("*", max - 2, "\r\n", "malformed: invalid multibulk length\n");
  expect_filled("*", max - 1, "\r\n", "malformed: too big mbulk count string\n");
  expect_filled("*", max, "", "malformed: too big mbulk count string\n");
  expect_filled("*1\r\n$", max - 2, "\r\n", "malformed: invalid bulk length\n");
  expect_filled("*1\r\n$", max - 1, "\r\n", "malformed: too big bulk count string\n");
  expect_filled("*1\r\n$", max, "", "malformed: too big bulk count string\n");
}

/* A line of exactly the bound is read. */
static void test_the_longest_line_is_read(void **state) {
  (void)state;
  struct span input = filled("", 'x', RESP_READ_INLINE_MAX - 2, "\r\n");
  struct span expected = filled("command [", 'x', RESP_READ_INLINE_MAX - 2, "]\nidle\n");
  expect_feed("whole", NULL, input, (struct arrival){0}, expected.data);
  expect_feed("pieces", NULL, input, (struct arrival){.step = 1000}, expected.data);
  free((char *)input.data);
  free((char *)expected.data);
}

/* Cost */

/* Feeds all of `input` by growing in place. Returns the last result. */
static enum resp_read_result dribble(struct resp_reader *reader, struct span input, size_t step) {
  size_t consumed = 0;
  for (size_t len = step < input.len ? step : input.len;;) {
    enum resp_read_result result = resp_read(reader, input.data, len, &consumed);
    if (result != RESP_READ_MORE || len == input.len) return result;
    assert_int_equal(consumed, 0);
    len = input.len - len > step ? len + step : input.len;
  }
}

/*
 * What has been looked at once is not looked at again: the pages in the middle of a line, of a
 * header or of a bulk string are taken away before the rest arrives.
 */
static void expect_not_read_again(const char *prefix, const char *suffix,
                                  enum resp_read_result end) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t size = 8 * page;
  char *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(data != MAP_FAILED);
  memset(data, 'x', size);
  memcpy(data, prefix, strlen(prefix));
  memcpy(data + size - strlen(suffix), suffix, strlen(suffix));

  struct resp_reader reader;
  resp_read_init(&reader);
  size_t consumed = 0;
  assert_int_equal(resp_read(&reader, data, 7 * page, &consumed), RESP_READ_MORE);
  assert_int_equal(mprotect(data + page, 6 * page, PROT_NONE), 0);
  assert_int_equal(resp_read(&reader, data, size - 1, &consumed), RESP_READ_MORE);
  assert_int_equal(mprotect(data + page, 6 * page, PROT_READ), 0);
  assert_int_equal(resp_read(&reader, data, size, &consumed), end);
  resp_read_deinit(&reader);
  munmap(data, size);
}

static void test_a_dribbling_client_costs_no_second_look(void **state) {
  (void)state;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  expect_not_read_again("inline ", "\r\n", RESP_READ_COMMAND);
  expect_not_read_again("*", "\r\n", RESP_READ_MALFORMED);
  expect_not_read_again("*2\r\n$1\r\na\r\n$", "\r\n", RESP_READ_MALFORMED);
  char prefix[64];
  int len = snprintf(prefix, sizeof prefix, "*2\r\n$1\r\na\r\n$%zu\r\n", 8 * page - 21);
  assert_int_equal(len, 19);
  expect_not_read_again(prefix, "\r\n", RESP_READ_COMMAND);
}

static struct span many_arguments(size_t announced, size_t present) {
  char *bytes = malloc(present * 7 + 32);
  assert_non_null(bytes);
  char *p = bytes + sprintf(bytes, "*%zu\r\n", announced);
  for (size_t i = 0; i < present; i++, p += 7) memcpy(p, "$1\r\nx\r\n", 7);
  return (struct span){bytes, (size_t)(p - bytes)};
}

static void test_most_arguments(void **state) {
  (void)state;
  struct span input = many_arguments(RESP_READ_ARGS_MAX, RESP_READ_ARGS_MAX);
  for (size_t step = 1; step <= input.len; step = step * 100 + 1) {
    struct resp_reader reader;
    resp_read_init(&reader);
    assert_int_equal(dribble(&reader, input, step), RESP_READ_COMMAND);
    assert_int_equal(reader.argc, RESP_READ_ARGS_MAX);
    for (size_t i = 0; i < reader.argc; i++) {
      assert_ptr_equal(reader.argv[i].data, input.data + 12 + i * 7);
      assert_int_equal(reader.argv[i].len, 1);
    }
    resp_read_deinit(&reader);
  }
  free((char *)input.data);
}

/* Memory */

static void test_an_announcement_costs_nothing(void **state) {
  (void)state;
  struct span input = many_arguments(RESP_READ_ARGS_MAX, 20);
  struct resp_reader reader;
  resp_read_init(&reader);
  assert_int_equal(dribble(&reader, (struct span){input.data, 8}, 8), RESP_READ_MORE);
  assert_int_equal(reader.capacity, 0);
  assert_int_equal(dribble(&reader, input, input.len), RESP_READ_MORE);
  assert_in_range(reader.capacity, 20, 40);
  resp_read_deinit(&reader);
  free((char *)input.data);
}

static void test_a_long_vector_is_not_kept(void **state) {
  (void)state;
  struct span input = many_arguments(5000, 5000);
  struct span ping = SPAN_LITERAL("*1\r\n$4\r\nPING\r\n");
  struct resp_reader reader;
  resp_read_init(&reader);
  size_t consumed = 0;
  for (int round = 0; round < 3; round++) {
    assert_int_equal(dribble(&reader, input, 1000), RESP_READ_COMMAND);
    assert_true(reader.capacity >= 5000);
    assert_int_equal(resp_read(&reader, "", 0, &consumed), RESP_READ_MORE);
    assert_true(reader.capacity <= 1024);
    assert_int_equal(resp_read(&reader, ping.data, ping.len, &consumed), RESP_READ_COMMAND);
    assert_int_equal(reader.argc, 1);
    assert_true(reader.capacity <= 1024);
  }
  /* A usual one is: no allocation for each command. */
  struct span *argv = reader.argv;
  assert_int_equal(resp_read(&reader, ping.data, ping.len, &consumed), RESP_READ_COMMAND);
  assert_ptr_equal(reader.argv, argv);
  resp_read_deinit(&reader);
  free((char *)input.data);
}

/* 64 MiB over the limit arrive in small pieces and leave no trace. */
static void test_an_oversized_argument_is_not_kept(void **state) {
  (void)state;
  static char piece[4096];
  struct resp_reader reader;
  resp_read_init(&reader);
  reader.argument_limit = limit_of_store;
  size_t consumed = 0, size = (size_t)64 * 1024 * 1024;
  char header[64];
  int len = snprintf(header, sizeof header, "*5000\r\n$5\r\nSTORE\r\n$1\r\nk\r\n$%zu\r\n", size);
  assert_int_equal(resp_read(&reader, header, (size_t)len, &consumed), RESP_READ_MORE);
  assert_int_equal(consumed, len);
  assert_false(resp_read_idle(&reader));
  for (size_t sent = 0; sent < size; sent += sizeof piece) {
    assert_int_equal(resp_read(&reader, piece, sizeof piece, &consumed), RESP_READ_MORE);
    assert_int_equal(consumed, sizeof piece);
    assert_int_equal(reader.need, 0);
  }
  assert_int_equal(resp_read(&reader, "\r\n", 2, &consumed), RESP_READ_MORE);
  assert_int_equal(consumed, 2);
  for (int i = 3; i < 4999; i++) {
    assert_int_equal(resp_read(&reader, "$20\r\n01234567890123456789\r\n", 27, &consumed),
                     RESP_READ_MORE);
    assert_int_equal(consumed, 27);
  }
  assert_true(reader.capacity < 16);
  assert_int_equal(resp_read(&reader, "$0\r\n\r\nPING\r\n", 12, &consumed), RESP_READ_TOOBIG);
  assert_int_equal(consumed, 6);
  assert_int_equal(reader.toobig_index, 2);
  assert_int_equal(reader.toobig_limit, 8);
  assert_true(resp_read_idle(&reader));
  assert_int_equal(resp_read(&reader, "PING\r\n", 6, &consumed), RESP_READ_COMMAND);
  assert_int_equal(reader.argc, 1);
  resp_read_deinit(&reader);
}

/* The hint: with less than `need` nothing happens, with it something does. */
static void test_the_hint_is_exact_for_bulk_strings(void **state) {
  (void)state;
  struct span input = SPAN_LITERAL("*2\r\n$4\r\nECHO\r\n$20\r\n01234567890123456789\r\n");
  struct resp_reader reader;
  resp_read_init(&reader);
  size_t consumed = 0;
  assert_int_equal(resp_read(&reader, input.data, 9, &consumed), RESP_READ_MORE);
  assert_int_equal(reader.need, 14);
  assert_int_equal(resp_read(&reader, input.data, 13, &consumed), RESP_READ_MORE);
  assert_int_equal(reader.need, 14);
  assert_int_equal(resp_read(&reader, input.data, 14, &consumed), RESP_READ_MORE);
  assert_int_equal(reader.need, 0);
  assert_int_equal(resp_read(&reader, input.data, 20, &consumed), RESP_READ_MORE);
  assert_int_equal(reader.need, input.len);
  assert_int_equal(resp_read(&reader, input.data, reader.need, &consumed), RESP_READ_COMMAND);
  assert_int_equal(reader.need, 0);
  /* From what is kept: the empty commands before do not count. */
  assert_int_equal(resp_read(&reader, "\r\n*0\r\n*1\r\n$5\r\na", 15, &consumed), RESP_READ_MORE);
  assert_int_equal(consumed, 6);
  assert_int_equal(reader.need, 15);
  resp_read_deinit(&reader);
}

/* The adopted bytes, then the others in every cut, and once more after a forget. */
static void test_an_adopted_bulk_string(void **state) {
  (void)state;
  static const char body[] = "0123456789abcdef";
  struct span input = SPAN_LITERAL(
      "*5\r\n$5\r\nSTORE\r\n$1\r\nk\r\n$2\r\n77\r\n$16\r\n"
      "\r\n$3\r\nTTL\r\n*1\r\n$4\r\nPING\r\n");
  size_t at = 35, end = 46, consumed = 0, position = 0;
  struct arena arena;
  arena_init(&arena);
  for (size_t cut = at; cut <= input.len; cut++) {
    struct resp_reader reader;
    resp_read_init(&reader);
    reader.argument_limit = limit_of_store;
    assert_int_equal(resp_read(&reader, input.data, at - 1, &consumed), RESP_READ_MORE);
    assert_int_equal(resp_read_bulk(&reader, input.data, &position), 0);
    const char *data = arena_place(&arena, input.data, at);
    assert_int_equal(resp_read(&reader, data, at, &consumed), RESP_READ_MORE);
    assert_int_equal(resp_read_bulk(&reader, data, &position), sizeof body - 1);
    assert_int_equal(position, at);
    assert_true(reader.argc == 3 && span_is(reader.argv[1], "k"));
    resp_read_adopted(&reader, at, body);
    data = arena_place(&arena, input.data, cut);
    enum resp_read_result result = resp_read(&reader, data, cut, &consumed);
    assert_int_equal(result, cut < end ? RESP_READ_MORE : RESP_READ_COMMAND);
    if (cut < end) {
      data = arena_place(&arena, input.data, input.len);
      assert_int_equal(resp_read(&reader, data, input.len, &consumed), RESP_READ_COMMAND);
    }
    for (int again = 0; again < 2; again++) {
      assert_int_equal(consumed, end);
      assert_true(reader.argc == 5 && span_is(reader.argv[2], "77") &&
                  span_is(reader.argv[4], "TTL"));
      assert_true(reader.argv[3].data == body && reader.argv[3].len == sizeof body - 1);
      data = arena_place(&arena, input.data, input.len);
      resp_read_forget(&reader);
      assert_true(resp_read_fresh(&reader));
      resp_read_adopted(&reader, at, body);
      assert_false(resp_read_fresh(&reader)); /* not all of the command is in its bytes */
      assert_int_equal(resp_read(&reader, data, input.len, &consumed), RESP_READ_COMMAND);
    }
    /* The next command has no adopted bulk string. */
    assert_int_equal(resp_read(&reader, data + end, input.len - end, &consumed), RESP_READ_COMMAND);
    assert_true(reader.argc == 1 && span_is(reader.argv[0], "PING"));
    resp_read_deinit(&reader);
  }
  arena_deinit(&arena);
}

static void test_after_an_adopted_bulk_string_comes_a_line_end(void **state) {
  (void)state;
  struct span input = SPAN_LITERAL("*4\r\n$5\r\nSTORE\r\n$1\r\nk\r\n$2\r\n77\r\n$16\r\n*1\r\n");
  size_t at = input.len - 4, consumed = 0;
  struct resp_reader reader;
  resp_read_init(&reader);
  reader.argument_limit = limit_of_store;
  assert_int_equal(resp_read(&reader, input.data, at, &consumed), RESP_READ_MORE);
  resp_read_adopted(&reader, at, "0123456789abcdef");
  assert_int_equal(resp_read(&reader, input.data, input.len, &consumed), RESP_READ_MALFORMED);
  resp_read_deinit(&reader);
}

static void test_failed_growth_is_told(void **state) {
  (void)state;
  struct resp_reader reader;
  resp_read_init(&reader);
  struct span input = SPAN_LITERAL("*2\r\n$1\r\na\r\n$1\r\nb\r\n");
  size_t consumed = 0;
  assert_int_equal(resp_read(&reader, input.data, 11, &consumed), RESP_READ_MORE);
  /* Pretend that the vector is full and cannot double. */
  size_t full = SIZE_MAX / 4 / sizeof *reader.argv;
  reader.argc = reader.capacity = full;
  reader.expected = full + 1;
  assert_int_equal(resp_read(&reader, input.data, input.len, &consumed), RESP_READ_NO_MEMORY);
  resp_read_deinit(&reader);
}

static void test_settings_may_change_between_commands(void **state) {
  (void)state;
  struct resp_reader reader;
  resp_read_init(&reader);
  size_t consumed = 0;
  reader.unauthenticated = true;
  assert_int_equal(resp_read(&reader, "*1\r\n$1\r\na\r\n*11\r\n", 16, &consumed),
                   RESP_READ_COMMAND);
  assert_int_equal(consumed, 11);
  reader.unauthenticated = false;
  assert_int_equal(resp_read(&reader, "*11\r\n", 5, &consumed), RESP_READ_MORE);
  resp_read_deinit(&reader);
  resp_read_init(&reader);
  assert_true(resp_read_idle(&reader));
  assert_int_equal(resp_read(&reader, NULL, 0, &consumed), RESP_READ_MORE);
  assert_int_equal(consumed, 0);
  assert_true(resp_read_idle(&reader));
  resp_read_deinit(&reader);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_transcripts_in_all_cuts),
      cmocka_unit_test(test_transcripts_after_a_command),
      cmocka_unit_test(test_a_long_pipeline_in_random_pieces),
      cmocka_unit_test(test_lines_and_headers_have_a_bound),
      cmocka_unit_test(test_the_longest_line_is_read),
      cmocka_unit_test(test_a_dribbling_client_costs_no_second_look),
      cmocka_unit_test(test_most_arguments),
      cmocka_unit_test(test_an_announcement_costs_nothing),
      cmocka_unit_test(test_a_long_vector_is_not_kept),
      cmocka_unit_test(test_an_oversized_argument_is_not_kept),
      cmocka_unit_test(test_the_hint_is_exact_for_bulk_strings),
      cmocka_unit_test(test_an_adopted_bulk_string),
      cmocka_unit_test(test_after_an_adopted_bulk_string_comes_a_line_end),
      cmocka_unit_test(test_failed_growth_is_told),
      cmocka_unit_test(test_settings_may_change_between_commands),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
