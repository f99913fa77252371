/*
 * talk.h - one connection to the server under test, in words. Whatever is asked of it ends: with a
 * reply, with the connection closed, or with the failure of the test.
 */
#ifndef IDEM_TESTS_SHORTAGE_TALK_H
#define IDEM_TESTS_SHORTAGE_TALK_H

#include <stdbool.h>
#include <stddef.h>

/* It says "hangs", never "is slow". */
#define TALK_HANG_S 30
#define TALK_TEXT_BYTES 1024
#define TALK_BUFFER_BYTES ((size_t)32 << 10)

#define CHECK(condition, ...)                                                 \
  do {                                                                        \
    if (!(condition)) talk_fail(__FILE__, __LINE__, #condition, __VA_ARGS__); \
  } while (0)
_Noreturn void talk_fail(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What is said of a failure besides: where the test is. */
void talk_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct talk {
  int fd; /* -1: closed */
  size_t start, end;
  char buffer[TALK_BUFFER_BYTES];
  char heard[TALK_TEXT_BYTES]; /* the last reply; see talk_hear */
  unsigned lines;              /* ends of lines in its strings */
};

/* To the port, or with port 0 to the unix socket at path. */
void talk_open(struct talk *talk, int port, const char *path);
void talk_close(struct talk *talk);

/* One command, its words separated by blanks; a word @N is N bytes. */
void talk_say(struct talk *talk, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As it stands. */
void talk_send(struct talk *talk, const char *bytes);
/*
 * The next reply as text, its parts separated by blanks, with a sign in front of each but strings:
 * "CLAIMED :4711 :60000 :1 _". Of a long string its beginning and its length: "xxx...20000". NULL:
 * the connection is closed, also when it was closed before.
 */
const char *talk_hear(struct talk *talk);
const char *talk_ask(struct talk *talk, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether the reply says, or the closed connection, that there was nothing to do it with. */
bool talk_refused(const char *reply);

#endif
