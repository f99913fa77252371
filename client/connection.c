/* connection.c - see connection.h. */
#include "client/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/pace.h"
#include "client/sigpipe.h"
#include "client/socket.h"

/* Beyond this a send may have blocked, and the time that is left is looked up again. */
#define SURELY_BUFFERED_BYTES (64 * 1024)
/* A connection that has read more than this is not kept with its buffer. */
#define KEPT_BUFFER_BYTES (256 * 1024)

/* ---- sockets ---- */

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

static int open_socket(int family) {
  return socket_move(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/* A connected, blocking descriptor, or the negative of an errno. */
static int connect_address(int family, const struct sockaddr *address, socklen_t len,
                           int64_t deadline_ms) {
  int fd = open_socket(family);
  if (fd < 0) return -errno;
  int error = connect(fd, address, len) == 0 ? 0 : errno;
  /* EAGAIN is a unix socket whose backlog is full: nothing is under way. */
  if (error == EINPROGRESS || error == EINTR) error = await_connected(fd, deadline_ms);
  if (error == 0 && family != AF_UNIX && socket_is_itself(fd)) error = ECONNREFUSED;
  int flags = fcntl(fd, F_GETFL);
  if (error == 0 && (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0)) error = errno;
  if (error != 0) {
    close(fd);
    return -error;
  }
  if (family != AF_UNIX) socket_set_tcp_options(fd);
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
    /* An address that swallows packets must not use up the time of those after it. */
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
  status = wire_parse_auth(reply, error);
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
  int64_t until_ms = clock_min(deadline_ms, clock_ms() + settings->connect_timeout_ms);
  int fd = target->path != NULL ? connect_unix(target, until_ms, error)
                                : connect_tcp(target, until_ms, error);
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
      set_timeout(connection, until_ms - clock_ms()) ? IDEM_OK : IDEM_UNAVAILABLE;
  if (status == IDEM_OK && tls != NULL) {
    connection->encrypted = true;
    status = tls_start(tls, connection->context, target->host, error);
  }
  if (status == IDEM_OK) {
    until_ms = clock_min(deadline_ms, clock_ms() + settings->command_timeout_ms);
    status = authenticate(connection, target, until_ms, error);
  }
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

/* TLS writes through OpenSSL, which knows no MSG_NOSIGNAL. */
static bool send_encrypted(redisContext *context, const void *data, size_t len,
                           int64_t deadline_ms) {
  struct sigpipe sigpipe;
  int done = 0;
  sigpipe_hold(&sigpipe);
  bool sent = redisAppendFormattedCommand(context, data, len) == REDIS_OK;
  while (sent && !done && (sent = clock_ms() < deadline_ms))
    sent = redisBufferWrite(context, &done) == REDIS_OK;
  sigpipe_release(&sigpipe);
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

static enum idem_status explain_context(const struct connection *connection,
                                        struct idem_error *error) {
  const redisContext *context = connection->context;
  enum idem_status status = reply_limit_explain_end(&connection->limit, context, error->text);
  if (status != IDEM_UNAVAILABLE) return status;
  if (context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    explain_io(error, "receiving", EAGAIN);
  } else {
    snprintf(error->text, sizeof error->text, "receiving: %.120s", context->errstr);
  }
  return status;
}

/* Below TLS a read may write as well. */
static bool read_more(struct connection *connection) {
  if (!connection->encrypted) return redisBufferRead(connection->context) == REDIS_OK;
  struct sigpipe sigpipe;
  sigpipe_hold(&sigpipe);
  bool good = redisBufferRead(connection->context) == REDIS_OK;
  sigpipe_release(&sigpipe);
  return good;
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
    if (left <= 0 && (late++ == PACE_LATE_READS_MAX || !socket_readable(connection->context->fd))) {
      explain_io(error, "receiving", EAGAIN);
      return IDEM_UNAVAILABLE;
    }
    if (!set_timeout(connection, left)) break;
    if (!read_more(connection)) break;
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
