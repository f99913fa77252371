/* ping.c - see ping.h. */
#include "server/net/ping.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/net/address.h"
#include "server/net/ping_tls.h"
#include "server/net/proxy_header.h"
#include "server/ops/options_networks.h"

#define PROGRAM "idem-server --ping: "
#define LINE_BYTES 256 /* of an answer that is looked at */
#define COMMAND_BYTES (OPTIONS_PASSWORD_MAX + PING_USER_BYTES + 64)

/* ---- the end of its time ---- */

static void on_alarm(int number) {
  static const char text[] = PROGRAM "no answer within 2 s\n";
  (void)number;
  (void)!write(STDERR_FILENO, text, sizeof text - 1);
  _exit(PING_SILENT);
}
_Static_assert(PING_SECONDS == 2, "as the text says");

static void start_alarm(void) {
  const struct sigaction action = {.sa_handler = on_alarm};
  sigset_t alarms;
  sigaction(SIGALRM, &action, NULL);
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  sigprocmask(SIG_UNBLOCK, &alarms, NULL);
  alarm(PING_SECONDS);
}

/* ---- the connection ---- */

static int tell(const char *what, const char *why) {
  fprintf(stderr, PROGRAM "%s: %s\n", what, why);
  return -1;
}

static int connect_unix(const struct ping_target *target) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(target->host) >= sizeof address.sun_path)
    return tell(target->host, strerror(ENAMETOOLONG));
  memcpy(address.sun_path, target->host, strlen(target->host) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
  return tell(target->host, strerror(errno));
}

/* The first address of the name that takes a connection. */
static int connect_tcp(const struct ping_target *target) {
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  char shown[PING_HOST_BYTES + 16];
  struct addrinfo *found = NULL;
  int fd = -1, failed = getaddrinfo(target->host, target->port, &hints, &found), error = 0;
  snprintf(shown, sizeof shown, "%s port %s", target->host, target->port);
  if (failed != 0) return tell(shown, gai_strerror(failed));
  for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
    fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) == 0) continue;
    error = errno;
    if (fd >= 0) close(fd);
    fd = -1;
  }
  freeaddrinfo(found);
  return fd >= 0 ? fd : tell(shown, strerror(error));
}

/* ---- the talk ---- */

struct link {
  int fd;
  struct ping_tls *tls; /* NULL: none */
};

static ssize_t send_some(const struct link *link, const char *bytes, size_t len) {
  return link->tls != NULL ? SSL_write(link->tls->connection, bytes, (int)len)
                           : send(link->fd, bytes, len, MSG_NOSIGNAL);
}

static ssize_t receive_byte(const struct link *link, char *byte) {
  return link->tls != NULL ? SSL_read(link->tls->connection, byte, 1) : recv(link->fd, byte, 1, 0);
}

static bool send_all(const struct link *link, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t sent = send_some(link, bytes, len);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes += sent;
    len -= (size_t)sent;
  }
  return true;
}

/* Up to the end of the line, which is not in it; false: it ended before. */
static bool receive_line(const struct link *link, char line[LINE_BYTES]) {
  size_t len = 0;
  for (;;) {
    ssize_t got = receive_byte(link, line + len);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    if (line[len] == '\n' || len == LINE_BYTES - 1) break;
    if (line[len] != '\r') len++;
  }
  line[len] = '\0';
  return true;
}

/* Sends a command; PING_PONG: the answer was the expected one. */
static enum ping_result ask(const struct link *link, struct span command, const char *expected) {
  char line[LINE_BYTES], shown[REFUSAL_SHOWN_BYTES];
  if (!send_all(link, command.data, command.len) || !receive_line(link, line)) {
    tell("no answer", "the connection ended");
    return PING_SILENT;
  }
  if (strcmp(line, expected) == 0) return PING_PONG;
  tell("it answered", refusal_show(span_of(line), shown));
  return PING_UNEXPECTED;
}

static enum ping_result authenticate(const struct link *link, const struct ping_target *target,
                                     const char *password) {
  char command[COMMAND_BYTES];
  const char *user = target->user;
  int len =
      user[0] == '\0'
          ? snprintf(command, sizeof command, "*2\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n",
                     strlen(password), password)
          : snprintf(command, sizeof command, "*3\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                     strlen(user), user, strlen(password), password);
  enum ping_result result = ask(link, (struct span){command, (size_t)len}, "+OK");
  explicit_bzero(command, sizeof command);
  return result;
}

static enum ping_result talk(const struct link *link, const struct ping_target *target,
                             const struct options *options) {
  const char *password = options->password != NULL ? options->password : "";
  bool named = target->user[0] != '\0' || password[0] != '\0';
  enum ping_result result = named ? authenticate(link, target, password) : PING_PONG;
  return result != PING_PONG ? result : ask(link, SPAN_LITERAL("*1\r\n$4\r\nPING\r\n"), "+PONG");
}

static enum ping_result talk_in_secret(int fd, const struct ping_target *target,
                                       const struct options *options) {
  struct ping_tls tls;
  char error[REFUSAL_BYTES];
  enum ping_result result = PING_UNEXPECTED;
  if (ping_tls_open(&tls, fd, target, options, error)) {
    result = talk(&(struct link){fd, &tls}, target, options);
  } else {
    tell(target->host, error);
  }
  ping_tls_close(&tls);
  return result;
}

/* Where a load balancer would have to say for whom it speaks, we say that it is for ourselves. */
static bool send_header(int fd, const struct options *options) {
  struct in6_addr own;
  if (!address_own(fd, &own) || !options_networks_have(options->proxy_protocol, &own)) return true;
  struct span header = proxy_header_local();
  return send_all(&(struct link){fd, NULL}, header.data, header.len);
}

enum ping_result ping_run(const struct ping_target *target, const struct options *options) {
  start_alarm();
  int fd = target->kind == PING_UNIX ? connect_unix(target) : connect_tcp(target);
  enum ping_result result = PING_SILENT;
  if (fd < 0) return result;
  if (!target->own || target->kind == PING_UNIX || send_header(fd, options))
    result = target->kind == PING_TLS ? talk_in_secret(fd, target, options)
                                      : talk(&(struct link){fd, NULL}, target, options);
  close(fd);
  return result;
}
