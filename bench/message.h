/* One message template: the fixed bytes of a request or a reply, with holes for what differs from
 * one operation to the next. Requests are written from it, replies are matched against it.
 *
 * It knows no command, no socket and no scenario. A reply that matches has the exact bytes that
 * were announced everywhere but in the holes, so a wrong status, length, body or key cannot pass.
 */
#ifndef IDEM_BENCH_MESSAGE_H
#define IDEM_BENCH_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

enum {
  MESSAGE_KEY_BYTES = 36,
  MESSAGE_NUMBER_DIGITS_MAX = 20, /* 2^64 - 1 has 20 */
  MESSAGE_PIECES_MAX = 16
};

/* What differs from one operation to the next. */
struct message_subject {
  char key[MESSAGE_KEY_BYTES];
  uint64_t token;
  uint64_t ttl_ms;
};

enum message_piece_kind {
  MESSAGE_PIECE_TEXT,       /* these very bytes */
  MESSAGE_PIECE_KEY,        /* the key of the subject */
  MESSAGE_PIECE_TOKEN_BULK, /* requests only: the subject's token as a bulk string */
  MESSAGE_PIECE_TTL_BULK,   /* requests only: the subject's time to live as a bulk string */
  MESSAGE_PIECE_TOKEN,      /* replies only: a decimal number that becomes the subject's token */
  MESSAGE_PIECE_NUMBER,     /* replies only: any decimal number */
  MESSAGE_PIECE_ANY         /* replies only: so many bytes, whatever they are */
};

struct message_piece {
  enum message_piece_kind kind;
  size_t offset; /* TEXT: where in `text` */
  size_t bytes;  /* how many; where that varies, how many are usual */
};

struct message {
  struct message_piece pieces[MESSAGE_PIECES_MAX];
  size_t count;
  char *text;
  size_t text_bytes;
};

enum message_result { MESSAGE_WHOLE, MESSAGE_MORE, MESSAGE_WRONG };

/* Back to a message without pieces; a zero-filled one is such. */
void message_deinit(struct message *message);

/* Append to the template. The number of a hole is its usual digits, of MESSAGE_PIECE_ANY its bytes;
 * a key has its own size. Running out of memory ends the program: this happens before any load. */
void message_add_text(struct message *message, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void message_add_fill(struct message *message, char byte, size_t bytes);
void message_add_hole(struct message *message, enum message_piece_kind kind,
                      size_t bytes_or_digits);

/* With the usual number of digits, and the most that can come or go. */
size_t message_usual_bytes(const struct message *message);
size_t message_most_bytes(const struct message *message);

/* Writes one request; `out` has room for message_most_bytes. Returns the bytes written. */
size_t message_write(const struct message *message, const struct message_subject *subject,
                     char *out);

/* Matches one reply at the start of `input`. MESSAGE_WHOLE sets *consumed (and the token, if the
 * template has one); MESSAGE_MORE means that all of `input` fits so far. */
enum message_result message_match(const struct message *message, const char *input, size_t bytes,
                                  struct message_subject *subject, size_t *consumed);

#endif
