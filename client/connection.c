/* connection.c - see connection.h. */
#include "client/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/clock.h"

/* A peer that vanished without a word is noticed while a call waits for long: after 15 + 3 * 5 s.
 */
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES 3
/* Beyond this a send may have blocked, and the time that is left is looked up again. */
#define SURELY_BUFFERED_BYTES (64 * 1024)
/* A connection that has read more than this is not kept with its buffer. */
#define KEPT_BUFFER_BYTES (256 * 1024)

/* ---- sockets ---- */

static void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

/* A port in the ephemeral range with nobody listening can be connected to itself, and then echoes
 * what it is sent. */
bool connection_is_itself(int fd) {
  struct sockaddr_storage here, there;
  memset(&here, 0, sizeof here);
  memset(&there, 0, sizeof there);
  socklen_t here_len = sizeof here, there_len = sizeof there;
  if (getsockname(fd, (struct sockaddr *)&here, &here_len) != 0) return false;
  if (getpeername(fd, (struct sockaddr *)&there, &there_len) != 0) return false;
  return here_len == there_len && memcmp(&here, &there, here_len) == 0;
}

/* Waits for a connect under way. 0 or an errno. */
static int await_connected(int fd, int64_t deadline_ms) {
  struct pollfd wanted = {.fd = fd, .events = POLLOUT};
  for (;;) {
    int64_t left = clock_max(0, deadline_ms - clock_ms());
    int ready = poll(&wanted, 1, (int)clock_min(left, CLOCK_SLEEP_MAX_MS));
    if (ready > 0) break;
    if (ready < 0 && errno != EINTR) return errno;
    if (left == 0) return ETIMEDOUT;
  }
  int error = 0;
  socklen_t len = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 ? errno : error;
}

int connection_move_descriptor(int fd) {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  int other = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  close(fd);
  return other;
}

static int open_socket(int family) {
  return connection_move_descriptor(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/* A connected, blocking descriptor, or the negative of an errno. */
static int connect_address(int family, const struct sockaddr *address, socklen_t len,
                           int64_t deadline_ms) {
  int fd = open_socket(family);
  if (fd < 0) return -errno;
  int error = connect(fd, address, len) == 0 ? 0 : errno;
  /* EAGAIN is a unix socket whose backlog is full: nothing is under way. */
  if (error == EINPROGRESS || error == EINTR) error = await_connected(fd, deadline_ms);
  if (error == 0 && family != AF_UNIX && connection_is_itself(fd)) error = ECONNREFUSED;
  int flags = fcntl(fd, F_GETFL);
  if (error == 0 && (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0)) error = errno;
  if (error != 0) {
    close(fd);
    return -error;
  }
  if (family == AF_UNIX) return fd;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
  return fd;
}

static void explain_errno(struct idem_error *error, const char *what, const char *name,
                          int number) {
  char text[64];
  const char *reason = strerror_r(number, text, sizeof text);
  snprintf(error->text, sizeof error->text, "%s %.70s: %.60s", what, name, reason);
}

static int connect_unix(const struct target *target, int64_t deadline_ms,
                        struct idem_error *error) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = -ENAMETOOLONG;
  size_t len = strlen(target->path);
  if (len < sizeof address.sun_path) {
    memcpy(address.sun_path, target->path, len + 1);
    fd = connect_address(AF_UNIX, (const struct sockaddr *)&address, sizeof address, deadline_ms);
  }
  if (fd < 0) explain_errno(error, "cannot connect to", target->name, -fd);
  return fd;
}

static int connect_tcp(const struct target *target, int64_t deadline_ms, struct idem_error *error) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
  int code = getaddrinfo(target->host, target->port, &hints, &found);
  if (code != 0) {
    snprintf(error->text, sizeof error->text, "cannot resolve %.70s: %.60s", target->host,
             gai_strerror(code));
    return code == EAI_MEMORY ? -ENOMEM : -EHOSTUNREACH;
  }
  int fd = -EHOSTUNREACH;
  for (struct addrinfo *each = found; each != NULL && fd < 0; each = each->ai_next) {
    int64_t now = clock_ms(), left = deadline_ms - now;
    /* An address that swallows packets must not use up the time of those behind it. */
    int64_t until = each->ai_next != NULL ? now + left / 2 : deadline_ms;
    fd = connect_address(each->ai_family, each->ai_addr, each->ai_addrlen, until);
  }
  freeaddrinfo(found);
  if (fd < 0) explain_errno(error, "cannot connect to", target->name, -fd);
  return fd;
}

/* ---- open and close ---- */

static bool set_timeout(struct connection *connection, int64_t timeout_ms) {
  if (timeout_ms < 1) timeout_ms = 1;
  if (connection->timeout_ms == timeout_ms) return true;
  struct timeval tv = {.tv_sec = (time_t)(timeout_ms / 1000),
                       .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};
  if (redisSetTimeout(connection->context, tv) != REDIS_OK) return false;
  connection->timeout_ms = timeout_ms;
  return true;
}

static enum idem_status authenticate(struct connection *connection, const struct target *target,
                                     int64_t deadline_ms, struct idem_error *error) {
  if (target->password == NULL) return IDEM_OK;
  struct wire_request request = {
      .verb = WIRE_AUTH, .key = idem_text(target->password), .owner = idem_text(target->user)};
  struct wire_frame frame;
  wire_frame(&frame, &request);
  redisReply *reply = NULL;
  if (!connection_send(connection, &frame, deadline_ms - clock_ms(), error))
    return IDEM_UNAVAILABLE;
  enum idem_status status = connection_receive(connection, deadline_ms, &reply, error);
  if (status != IDEM_OK) return status;
  status = wire_judge_auth(reply, error);
  freeReplyObject(reply);
  return status;
}

enum idem_status connection_open(struct connection **out, const struct settings *settings,
                                 int64_t deadline_ms, struct idem_error *error) {
  const struct target *target = &settings->target;
  struct tls *tls = settings->tls;
  *out = NULL;
  struct connection *connection = calloc(1, sizeof *connection);
  if (connection == NULL) return IDEM_NO_MEMORY;
  int fd = target->path != NULL ? connect_unix(target, deadline_ms, error)
                                : connect_tcp(target, deadline_ms, error);
  if (fd < 0) {
    free(connection);
    return fd == -ENOMEM ? IDEM_NO_MEMORY : IDEM_UNAVAILABLE;
  }
  connection->context = redisConnectFd(fd);
  if (connection->context == NULL || connection->context->err != 0) {
    if (connection->context == NULL) close(fd);
    connection_close(connection);
    return IDEM_NO_MEMORY;
  }
  /* hiredis 0.14 asserts that an allocation succeeds when it gives a large buffer back;
   * connection_reusable does instead. */
  connection->context->reader->maxbuf = 0;
  reply_limit_init(&connection->limit, connection->context->reader, settings->reply_limit_bytes);
  enum idem_status status =
      set_timeout(connection, deadline_ms - clock_ms()) ? IDEM_OK : IDEM_UNAVAILABLE;
  if (status == IDEM_OK && tls != NULL) {
    connection->encrypted = true;
    status = tls_start(tls, connection->context, target->host, error);
  }
  if (status == IDEM_OK) status = authenticate(connection, target, deadline_ms, error);
  if (status == IDEM_OK) {
    *out = connection;
  } else {
    connection_close(connection);
  }
  return status;
}

void connection_close(struct connection *connection) {
  if (connection == NULL) return;
  redisFree(connection->context);
  free(connection);
}

/* ---- send ---- */

/* TLS writes through OpenSSL, which knows no MSG_NOSIGNAL: SIGPIPE is held back, and taken away if
 * it came. */
static bool send_encrypted(redisContext *context, const void *data, size_t len,
                           int64_t deadline_ms) {
  sigset_t pipe_only, before, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  int done = 0;
  bool sent = redisAppendFormattedCommand(context, data, len) == REDIS_OK;
  while (sent && !done && (sent = clock_ms() < deadline_ms))
    sent = redisBufferWrite(context, &done) == REDIS_OK;
  if (!sent && !sigismember(&pending, SIGPIPE)) {
    struct timespec none = {0, 0};
    while (sigtimedwait(&pipe_only, NULL, &none) < 0 && errno == EINTR) continue;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return sent;
}

/* Drops what was sent from the front of the parts. */
static void advance(struct msghdr *message, size_t sent) {
  while (message->msg_iovlen > 0 && sent >= message->msg_iov->iov_len) {
    sent -= message->msg_iov->iov_len;
    message->msg_iov++;
    message->msg_iovlen--;
  }
  if (message->msg_iovlen == 0) return;
  message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + sent;
  message->msg_iov->iov_len -= sent;
}

/* All of it until timeout_ms from now. A short one fits into the socket's buffer: no look at the
 * clock. */
static bool send_parts(struct connection *connection, struct iovec *parts, size_t count,
                       size_t size, int64_t timeout_ms) {
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
  int64_t deadline_ms = size > SURELY_BUFFERED_BYTES ? clock_ms() + timeout_ms : 0;
  for (;;) {
    ssize_t sent = sendmsg(connection->context->fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno != EINTR) return false;
    if (sent > 0) advance(&message, (size_t)sent);
    if (message.msg_iovlen == 0) return true;
    int64_t now = clock_ms();
    if (deadline_ms == 0) deadline_ms = now + timeout_ms;
    if (now >= deadline_ms || !set_timeout(connection, deadline_ms - now)) {
      errno = EAGAIN;
      return false;
    }
  }
}

static void explain_io(struct idem_error *error, const char *what, int number) {
  if (number == EAGAIN || number == EWOULDBLOCK) {
    snprintf(error->text, sizeof error->text, "no answer in time");
    return;
  }
  char text[64];
  snprintf(error->text, sizeof error->text, "%s: %s", what, strerror_r(number, text, sizeof text));
}

bool connection_send(struct connection *connection, const struct wire_frame *frame,
                     int64_t timeout_ms, struct idem_error *error) {
  if (!set_timeout(connection, timeout_ms)) {
    explain_io(error, "setting a timeout", errno);
    return false;
  }
  if (connection->encrypted) {
    char *bytes = malloc(frame->size);
    if (bytes == NULL) {
      explain_io(error, "sending", ENOMEM);
      return false;
    }
    wire_copy(frame, bytes);
    bool sent = connection_send_bytes(connection, bytes, frame->size, timeout_ms, error);
    free(bytes);
    return sent;
  }
  struct iovec parts[WIRE_PARTS];
  memcpy(parts, frame->parts, (size_t)frame->count * sizeof parts[0]);
  connection->fresh = frame->size <= SURELY_BUFFERED_BYTES;
  if (send_parts(connection, parts, (size_t)frame->count, frame->size, timeout_ms)) return true;
  explain_io(error, "sending", errno);
  return false;
}

bool connection_send_bytes(struct connection *connection, const void *data, size_t len,
                           int64_t timeout_ms, struct idem_error *error) {
  if (!set_timeout(connection, timeout_ms)) {
    explain_io(error, "setting a timeout", errno);
    return false;
  }
  if (connection->encrypted) {
    if (send_encrypted(connection->context, data, len, clock_ms() + timeout_ms)) return true;
    snprintf(error->text, sizeof error->text, "sending: %.120s", connection->context->errstr);
    return false;
  }
  struct iovec part = {(void *)(uintptr_t)data, len};
  if (send_parts(connection, &part, 1, len, timeout_ms)) return true;
  explain_io(error, "sending", errno);
  return false;
}

/* ---- receive ---- */

/* What the socket held when the deadline was noticed is still worth reading: the process may have
 * stood still. Reads of that. */
#define LATE_READS_MAX 64

static enum idem_status explain_context(const struct connection *connection,
                                        struct idem_error *error) {
  const redisContext *context = connection->context;
  if (reply_limit_exceeded(&connection->limit, context->reader)) {
    snprintf(error->text, sizeof error->text, "a reply over %zu bytes or %d fields",
             connection->limit.bytes_max, REPLY_ELEMENTS_MAX);
    return IDEM_REFUSED;
  }
  if (context->err == REDIS_ERR_OOM) return IDEM_NO_MEMORY;
  if (context->err == REDIS_ERR_PROTOCOL) {
    snprintf(error->text, sizeof error->text, "this is no idem server: %.120s", context->errstr);
    return IDEM_REFUSED;
  }
  if (context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    explain_io(error, "receiving", EAGAIN);
  } else {
    snprintf(error->text, sizeof error->text, "receiving: %.120s", context->errstr);
  }
  return IDEM_UNAVAILABLE;
}

static bool readable(const struct connection *connection) {
  struct pollfd wanted = {.fd = connection->context->fd, .events = POLLIN};
  return poll(&wanted, 1, 0) > 0;
}

enum idem_status connection_receive(struct connection *connection, int64_t deadline_ms,
                                    redisReply **reply, struct idem_error *error) {
  const redisReader *reader = connection->context->reader;
  void *found = NULL;
  for (int late = 0;;) {
    if (redisGetReplyFromReader(connection->context, &found) != REDIS_OK) break;
    if (found != NULL) {
      *reply = found;
      return IDEM_OK;
    }
    if (reply_limit_exceeded(&connection->limit, reader)) break;
    if (reader->len > KEPT_BUFFER_BYTES) connection->swollen = true;
    /* The usual case is one read after a send: the socket's own timeout, just set, bounds it
     * without a look at the clock. */
    int64_t left = connection->fresh ? connection->timeout_ms : deadline_ms - clock_ms();
    connection->fresh = false;
    if (left <= 0 && (late++ == LATE_READS_MAX || !readable(connection))) {
      explain_io(error, "receiving", EAGAIN);
      return IDEM_UNAVAILABLE;
    }
    if (!set_timeout(connection, left)) break;
    if (redisBufferRead(connection->context) != REDIS_OK) break;
  }
  return explain_context(connection, error);
}

/* ---- keeping ---- */

/* Of TLS, too: what it says of itself (session tickets) comes before the first reply, and a later
 * word costs no more than a new connection. */
bool connection_alive(const struct connection *connection) {
  char byte = 0;
  ssize_t got = recv(connection->context->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

bool connection_quiet(const struct connection *connection) {
  const redisReader *reader = connection->context->reader;
  return reader->pos == reader->len;
}

bool connection_reusable(const struct connection *connection) {
  const redisContext *context = connection->context;
  return context->err == 0 && context->reader->err == 0 && connection_quiet(connection) &&
         !connection->swollen;
}
