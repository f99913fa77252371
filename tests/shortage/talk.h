/*
 * talk.h - one connection to the server under test, with commands and replies as text. Every call
 * ends: with a reply, with a closed connection, or with the failure of the test.
 */
#ifndef IDEM_TESTS_SHORTAGE_TALK_H
#define IDEM_TESTS_SHORTAGE_TALK_H

#include <stdbool.h>
#include <stddef.h>

/* After so long the server counts as hanging; it is not merely slow. */
#define TALK_HANG_S 30
#define TALK_TEXT_BYTES 1024
#define TALK_BUFFER_BYTES ((size_t)32 << 10)

#define CHECK(condition, ...)                                                 \
  do {                                                                        \
    if (!(condition)) talk_fail(__FILE__, __LINE__, #condition, __VA_ARGS__); \
  } while (0)
_Noreturn void talk_fail(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Added to the message of a failure: what the test is doing. */
void talk_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct talk {
  int fd;             /* -1: closed */
  struct ssl_st *ssl; /* NULL: without TLS */
  size_t start, end;
  char buffer[TALK_BUFFER_BYTES];
  char heard[TALK_TEXT_BYTES]; /* the last reply; see talk_hear */
  unsigned lines;              /* line ends in its strings */
};

/* To the port, or with port 0 to the unix socket at path. */
void talk_open(struct talk *talk, int port, const char *path);
/* Over TLS. False: the handshake failed, and it is closed. */
bool talk_open_tls(struct talk *talk, int port);
void talk_close(struct talk *talk);

/* Sends one command, its words separated by blanks; a word @N stands for N bytes. */
void talk_say(struct talk *talk, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sends the bytes unchanged. */
void talk_send(struct talk *talk, const char *bytes);
/*
 * The next reply as text. Its parts are separated by blanks, and each but a string has its type
 * byte before it: "CLAIMED :4711 :60000 :1 _". A long string is cut, followed by its length:
 * "xxx...20000". NULL: the connection is closed, now or before.
 */
const char *talk_hear(struct talk *talk);
const char *talk_ask(struct talk *talk, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether the reply is an error for lack of resources, or the connection was closed (NULL). */
bool talk_refused(const char *reply);

#endif
