/* talk.c - see talk.h. */
#include "tests/shortage/talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define COMMAND_BYTES ((size_t)256 << 10)
#define KEPT_OF_A_STRING 100u

static char note[200], last_said[200];

void talk_note(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(note, sizeof note, format, arguments);
  va_end(arguments);
}

_Noreturn void talk_fail(const char *file, int line, const char *condition, const char *format,
                         ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s:%d: %s: ", file, line, condition);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, " (%s; last said: %s)\n", note, last_said);
  va_end(arguments);
  abort();
}

/* ---- the socket ---- */

static bool connect_to(int fd, int port, const char *path) {
  struct sockaddr_in in = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  if (port != 0) return connect(fd, (const struct sockaddr *)&in, sizeof in) == 0;
  snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
  return connect(fd, (const struct sockaddr *)&un, sizeof un) == 0;
}

void talk_open(struct talk *talk, int port, const char *path) {
  struct timeval hang = {.tv_sec = TALK_HANG_S};
  talk->start = talk->end = 0;
  talk->fd = socket(port != 0 ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(talk->fd >= 0, "no socket: %s", strerror(errno));
  setsockopt(talk->fd, SOL_SOCKET, SO_RCVTIMEO, &hang, sizeof hang);
  setsockopt(talk->fd, SOL_SOCKET, SO_SNDTIMEO, &hang, sizeof hang);
  CHECK(connect_to(talk->fd, port, path), "cannot connect: %s", strerror(errno));
}

bool talk_open_tls(struct talk *talk, int port) {
  int on = 1;
  talk_open(talk, port, NULL);
  setsockopt(talk->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* records are small */
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  talk->ssl = SSL_new(context);
  SSL_CTX_free(context);
  CHECK(talk->ssl != NULL && SSL_set_fd(talk->ssl, talk->fd) == 1, "no TLS here");
  if (SSL_connect(talk->ssl) == 1) return true;
  talk_close(talk);
  return false;
}

void talk_close(struct talk *talk) {
  SSL_free(talk->ssl);
  talk->ssl = NULL;
  if (talk->fd >= 0) close(talk->fd);
  talk->fd = -1;
}

static void send_all(struct talk *talk, const char *data, size_t len) {
  while (len > 0 && talk->fd >= 0) {
    ssize_t sent = talk->ssl != NULL ? SSL_write(talk->ssl, data, (int)len)
                                     : send(talk->fd, data, len, MSG_NOSIGNAL);
    CHECK(sent > 0 || errno != EAGAIN, "the server takes nothing: it hangs");
    if (sent <= 0) return; /* closed; replies sent before that can still be read */
    data += sent;
    len -= (size_t)sent;
  }
}

void talk_send(struct talk *talk, const char *bytes) { send_all(talk, bytes, strlen(bytes)); }

/* -1: closed. */
static int next_byte(struct talk *talk) {
  if (talk->start < talk->end) return (unsigned char)talk->buffer[talk->start++];
  if (talk->fd < 0) return -1;
  errno = 0;
  ssize_t got = talk->ssl != NULL ? SSL_read(talk->ssl, talk->buffer, sizeof talk->buffer)
                                  : recv(talk->fd, talk->buffer, sizeof talk->buffer, 0);
  CHECK(got >= 0 || errno != EAGAIN, "no reply, and not closed: it hangs");
  if (got <= 0) {
    talk_close(talk);
    return -1;
  }
  talk->start = 1;
  talk->end = (size_t)got;
  return (unsigned char)talk->buffer[0];
}

/* ---- commands ---- */

static size_t put_word(char *to, size_t room, const char *word, size_t len) {
  bool is_size = len > 1 && word[0] == '@';
  size_t bytes = is_size ? strtoul(word + 1, NULL, 10) : len;
  CHECK(bytes + 32 < room, "a command of more than %zu bytes", COMMAND_BYTES);
  size_t at = (size_t)sprintf(to, "$%zu\r\n", bytes);
  if (is_size) {
    memset(to + at, 'x', bytes);
  } else {
    memcpy(to + at, word, bytes);
  }
  memcpy(to + at + bytes, "\r\n", 2);
  return at + bytes + 2;
}

static void say(struct talk *talk, const char *line) {
  static char bytes[COMMAND_BYTES];
  snprintf(last_said, sizeof last_said, "%.190s", line);
  size_t words = 1;
  for (const char *p = line; *p != '\0'; p++) words += *p == ' ';
  size_t at = (size_t)sprintf(bytes, "*%zu\r\n", words);
  for (const char *word = line; word != NULL;) {
    const char *end = strchr(word, ' ');
    size_t len = end != NULL ? (size_t)(end - word) : strlen(word);
    at += put_word(bytes + at, sizeof bytes - at, word, len);
    word = end != NULL ? end + 1 : NULL;
  }
  send_all(talk, bytes, at);
}

void talk_say(struct talk *talk, const char *format, ...) {
  char line[TALK_TEXT_BYTES];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  say(talk, line);
}

/* ---- replies ---- */

static void add(struct talk *talk, const char *text, size_t len) {
  size_t have = strlen(talk->heard), room = sizeof talk->heard - 1 - have;
  if (len > room) len = room;
  memcpy(talk->heard + have, text, len);
  talk->heard[have + len] = '\0';
}

static bool read_line(struct talk *talk, char *line, size_t room) {
  size_t len = 0;
  for (int c; (c = next_byte(talk)) != '\n';) {
    if (c < 0) return false;
    if (c != '\r' && len < room - 1) line[len++] = (char)c;
  }
  line[len] = '\0';
  return true;
}

static bool read_string(struct talk *talk, long len) {
  for (long i = 0; i < len + 2; i++) {
    int c = next_byte(talk);
    char byte = (char)c;
    if (c < 0) return false;
    if (i < len && c == '\n') talk->lines++;
    if (i < len && i < (long)KEPT_OF_A_STRING) add(talk, &byte, 1);
  }
  if (len <= (long)KEPT_OF_A_STRING) return true;
  char cut[32];
  add(talk, cut, (size_t)sprintf(cut, "...%ld", len));
  return true;
}

static bool read_part(struct talk *talk) {
  char line[TALK_TEXT_BYTES];
  if (!read_line(talk, line, sizeof line)) return false;
  if (talk->heard[0] != '\0') add(talk, " ", 1);
  long count = strtol(line + 1, NULL, 10);
  switch (line[0]) {
    case '$':
    case '=':
      if (count >= 0) return read_string(talk, count);
      add(talk, "_", 1);
      return true;
    case '%': count *= 2; break;
    case '*':
    case '~':
    case '>': break;
    case '+':
    case '-':
    case ':':
    case '_':
    case '#':
    case ',': add(talk, line, strlen(line)); return true;
    default: CHECK(false, "no reply begins with '%s'", line);
  }
  for (long i = 0; i < count; i++) {
    if (!read_part(talk)) return false;
  }
  if (count < 0) add(talk, "_", 1);
  return true;
}

const char *talk_hear(struct talk *talk) {
  talk->heard[0] = '\0';
  talk->lines = 0;
  return read_part(talk) ? talk->heard : NULL;
}

const char *talk_ask(struct talk *talk, const char *format, ...) {
  char line[TALK_TEXT_BYTES];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  say(talk, line);
  return talk_hear(talk);
}

bool talk_refused(const char *reply) {
  if (reply == NULL) return true;
  return reply[0] == '-' &&
         (strstr(reply, "memory") != NULL || strstr(reply, "max number of clients") != NULL);
}
