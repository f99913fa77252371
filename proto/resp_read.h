/*
 * resp_read.h - the request reader: bytes -> one command at a time (RESP arrays of bulk strings,
 * inline lines).
 *
 * The reader parses in place and copies nothing (inline lines with quotes excepted). It must not
 * know a command, a socket or a clock. Its only memory is the argument vector, which grows to at
 * most RESP_READ_ARGS_MAX spans and is freed by resp_read_deinit, and a buffer for the unquoted
 * words of an inline line.
 *
 * The caller's loop:
 *
 *     bytes:   [ command 1 ][ command 2 ][ comma
 *               ^data                           ^data+len
 *     resp_read -> RESP_READ_COMMAND, consumed = size of command 1   (argv points into data)
 *     resp_read -> RESP_READ_COMMAND, consumed = size of command 2
 *     resp_read -> RESP_READ_MORE,    consumed = 0   (keep "comma", show it again with more)
 *
 * While a command is incomplete the reader remembers how far it has looked, so that a client that
 * sends single bytes costs one step for each: the caller presents the same bytes again, at any
 * address and followed by new ones, without those that were consumed. A command with an argument
 * over its limit is skipped as it arrives: RESP_READ_MORE then consumes what has been looked at,
 * and RESP_READ_TOOBIG is the result when the end of the command is reached.
 *
 * Framing is Redis' own, with its error texts (src/networking.c of Redis 7.0), and stricter in one
 * thing: the CRLF after a bulk string has to be there. Not thread-safe.
 */
#ifndef IDEM_PROTO_RESP_READ_H
#define IDEM_PROTO_RESP_READ_H

#include <stdint.h>

#include "proto/span.h"

/* More arguments than this are a protocol error. */
#define RESP_READ_ARGS_MAX 65536
/* A bulk string may say at most this length: Redis' proto-max-bulk-len, 512 MiB. */
#define RESP_READ_BULK_MAX (512u * 1024 * 1024)
/* An inline command, and any header line, fits in this many bytes: Redis' PROTO_INLINE_MAX_SIZE. */
#define RESP_READ_INLINE_MAX (64u * 1024)
/* What a client may send before it has given the password: as many arguments as Redis 7 takes, each
 * long enough for a password or a name; and the same on one line. */
#define RESP_READ_ARGS_UNAUTHENTICATED_MAX 10
#define RESP_READ_BULK_UNAUTHENTICATED_MAX 1024u
#define RESP_READ_INLINE_UNAUTHENTICATED_MAX \
  (RESP_READ_ARGS_UNAUTHENTICATED_MAX * RESP_READ_BULK_UNAUTHENTICATED_MAX)

enum resp_read_result {
  RESP_READ_COMMAND,   /* argv[0..argc) is a whole command; argc >= 1 */
  RESP_READ_MORE,      /* not yet a whole command; not an error */
  RESP_READ_TOOBIG,    /* a whole command was skipped: argument `toobig_index` was longer than
                          `toobig_limit` */
  RESP_READ_MALFORMED, /* framing is broken: send `-ERR Protocol error: <error>` and close */
  RESP_READ_HTTP,      /* a line that begins like an HTTP request or header: close without a word */
  RESP_READ_TLS,       /* a first byte that begins TLS, and no command */
  RESP_READ_NO_MEMORY, /* the argument vector could not grow: close */
};

/*
 * The most bytes that argument `index` may have, given those before it (argv[0..index),
 * complete and valid during the call). `context` is the reader's. Asked once per bulk string,
 * before it is buffered. It must answer at most RESP_READ_BULK_MAX. Inline arguments are bounded by
 * RESP_READ_INLINE_MAX; it is not asked about them.
 */
typedef size_t resp_read_argument_limit(void *context, const struct span *argv, size_t index);

/* What that argument is called, for an error; asked once it is known to be too big. Static text. */
typedef const char *resp_read_argument_name(void *context, const struct span *argv, size_t index);

struct resp_reader {
  /* Set by the caller, may change between commands. */
  resp_read_argument_limit *argument_limit; /* NULL: RESP_READ_BULK_MAX for all */
  resp_read_argument_name *argument_name;   /* NULL: all are called "argument" */
  void *context;
  size_t unasked_bytes; /* an argument of at most so many bytes is not asked about; 0: all are */
  size_t command_limit; /* all arguments together; a command over it is skipped as too big. 0: no
                           limit */
  bool unauthenticated; /* apply the small limits */

  /* Results, valid until the next call. */
  struct span *argv;
  size_t argc;
  const char *error;   /* RESP_READ_MALFORMED: what is wrong, escaped, without the prefix; static or
                          in error_text */
  size_t toobig_index; /* RESP_READ_TOOBIG */
  size_t toobig_limit;
  const char *toobig_name; /* the argument's, or "command": all its arguments together */
  /* RESP_READ_MORE: bytes from `data` (less consumed) that must be there before it makes sense to
   * call again; a hint to size the buffer, never more than the limits allow, 0 when unknown. */
  size_t need;

  /* Private. */
  size_t *offsets;     /* where each argument starts, from data; as long as argv */
  size_t capacity;     /* of argv and offsets */
  size_t expected;     /* arguments that the array header announced; 0 between commands */
  size_t position;     /* start of the header or bulk string under way, from data */
  size_t searched;     /* no line end before here, from data */
  size_t total;        /* argument bytes so far */
  size_t bulk;         /* length of the bulk string under way */
  size_t stale;        /* argv[0..stale) point to where the bytes were before they moved */
  uintptr_t base;      /* where data lay when the others were set */
  bool in_bulk;        /* its header has been read */
  bool skipping;       /* the command is over a limit */
  size_t adopted_at;   /* where the bulk string would begin whose bytes are at adopted */
  const char *adopted; /* NULL: there is none */
  char *inline_bytes;  /* unescaped inline arguments */
  char error_text[64];
};

/* Sets the caller's fields to "no limits". Allocates nothing. */
void resp_read_init(struct resp_reader *reader);
/* Frees the vector. The reader can be used again after resp_read_init. */
void resp_read_deinit(struct resp_reader *reader);

/*
 * Looks for one command at data[0..len) and reads nothing outside. Sets *consumed to the bytes that
 * the caller may drop. Empty commands (`*0`, negative counts, blank lines) are consumed silently on
 * the way.
 */
enum resp_read_result resp_read(struct resp_reader *reader, const char *data, size_t len,
                                size_t *consumed);

/* Between commands: nothing of a command has been seen (bytes not yet presented do not count). */
bool resp_read_idle(const struct resp_reader *reader);

/* Back to between commands, whatever has been seen: the bytes will be presented again from there.
 */
void resp_read_forget(struct resp_reader *reader);

/* ---- short commands ----
 *
 * Nearly every request is a short array whose bytes are all there: it is read in a few steps and
 * without a state. Returns its size. 0: the bytes are something else, or incomplete; resp_read,
 * shown the same bytes, says what.
 *
 * Only for a reader that is fresh: between commands, without memory to free or an adopted body, of
 * a client that may send what it likes. argument_limit is not asked: a command with an argument
 * over its limit has to be shown to resp_read too, which reports it.
 */
#define RESP_READ_ARRAY_ARGS 8u /* enough for a CLAIM with three options */
struct resp_read_array {
  size_t argc, longest; /* longest: bytes of one argument */
  struct span argv[RESP_READ_ARRAY_ARGS];
};
size_t resp_read_array(const struct resp_reader *reader, const char *data, size_t len,
                       struct resp_read_array *array);
bool resp_read_fresh(const struct resp_reader *reader);

/* ---- bodies ----
 *
 * The caller may take a long bulk string out of the bytes as it arrives, so that they need not be
 * moved again:
 *
 *     data    [*4 $5 STORE $1 k $1 7 $1000000 CRLF | CRLF ... ]
 *     bytes   [ ....... 1000000 ....... ]          ^ position
 */

/* After RESP_READ_MORE: the length of the bulk string under way, if it is within its limits, and
 * where its bytes begin in data; argv[0..argc) are the arguments before it. 0: there is none. */
size_t resp_read_bulk(struct resp_reader *reader, const char *data, size_t *position);
/* Whether the argument under way has at least so many bytes; also true of one that is skipped. */
bool resp_read_in_bulk(const struct resp_reader *reader, size_t least);
/* All of the bulk string that would begin at data + position is at `bytes`, and from now on its
 * CRLF is at data + position. Holds until the command ends or is forgotten. For bulk strings longer
 * than unasked_bytes. */
void resp_read_adopted(struct resp_reader *reader, size_t position, const char *bytes);

#endif
