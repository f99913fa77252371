/* connection.c - see connection.h. */
#include "client/connection.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/pace.h"
#include "client/socket.h"

/* Beyond this a send may have blocked, and the time that is left is looked up again. */
#define SURELY_BUFFERED_BYTES (64 * 1024)
/* A connection that has read more than this is not kept with its buffer. */
#define KEPT_BUFFER_BYTES (256 * 1024)
/* Of one read. */
#define INPUT_BYTES (16 * 1024)

/* ---- sockets ---- */

/* Waits until a descriptor is ready for what a result wants. False: the deadline has passed, or
 * *error is an errno. */
static bool await(int fd, enum stream_result wanted, int64_t deadline_ms, int *error) {
  struct pollfd waiting = {.fd = fd, .events = wanted == STREAM_WANTS_OUTPUT ? POLLOUT : POLLIN};
  *error = 0;
  for (;;) {
    int64_t left = clock_max(0, deadline_ms - clock_ms());
    int ready = poll(&waiting, 1, (int)clock_min(left, CLOCK_SLEEP_MAX_MS));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) *error = errno;
    if (*error != 0 || (ready == 0 && left == 0)) return false;
  }
}

/* Completes a connect that was begun. 0 or an errno. */
static int complete(int fd, int begun, int64_t deadline_ms) {
  int error = 0;
  if (begun == EINPROGRESS && !await(fd, STREAM_WANTS_OUTPUT, deadline_ms, &error))
    return error != 0 ? error : ETIMEDOUT;
  error = socket_connected(fd);
  return error != 0 ? error : socket_set_blocking(fd);
}

/* A connected, blocking descriptor, or the negative of an errno. */
static int finish_connect(int fd, int begun, int64_t deadline_ms) {
  if (fd < 0) return -begun;
  int error = complete(fd, begun, deadline_ms);
  if (error == 0) return fd;
  close(fd);
  return -error;
}

static void explain_errno(struct idem_error *error, const char *what, const char *name,
                          int number) {
  char text[64];
  const char *reason = strerror_r(number, text, sizeof text);
  snprintf(error->text, sizeof error->text, "%s %.70s: %.60s", what, name, reason);
}

static int connect_unix(const struct target *target, int64_t deadline_ms,
                        struct idem_error *error) {
  int begun, fd = socket_connect_path(target->path, &begun);
  fd = finish_connect(fd, begun, deadline_ms);
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
    int begun, begun_fd = socket_connect(each->ai_addr, each->ai_addrlen, &begun);
    fd = finish_connect(begun_fd, begun, until);
  }
  freeaddrinfo(found);
  if (fd < 0) explain_errno(error, "cannot connect to", target->name, -fd);
  return fd;
}

/* ---- open and close ---- */

static bool set_timeout(struct connection *connection, int64_t timeout_ms) {
  if (timeout_ms < 1) timeout_ms = 1;
  if (connection->timeout_ms == timeout_ms) return true;
  const struct timeval tv = {.tv_sec = (time_t)(timeout_ms / 1000),
                             .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};
  int fd = connection->transport.fd;
  bool plain = connection->transport.stream == NULL;
  if (plain && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) != 0 ||
                setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) != 0))
    return false;
  connection->timeout_ms = timeout_ms;
  return true;
}

static enum idem_status handshake(struct connection *connection, const struct target *target,
                                  int64_t deadline_ms, struct idem_error *error) {
  enum stream_result result;
  int number = 0;
  for (;;) {
    result = transport_handshake(&connection->transport);
    if (result == STREAM_DONE) return IDEM_OK;
    if (result != STREAM_WANTS_INPUT && result != STREAM_WANTS_OUTPUT)
      return transport_explain(&connection->transport, result, error->text);
    if (!await(connection->transport.fd, result, deadline_ms, &number)) break;
  }
  snprintf(error->text, sizeof error->text,
           "TLS with %.70s: no handshake in time (does it speak TLS?)", target->name);
  return IDEM_UNAVAILABLE;
}

static enum idem_status authenticate(struct connection *connection, const struct target *target,
                                     int64_t deadline_ms, struct idem_error *error) {
  if (target->password == NULL) return IDEM_OK;
  struct wire_request request = {
      .verb = WIRE_AUTH, .key = idem_text(target->password), .owner = idem_text(target->user)};
  struct wire_frame frame;
  wire_frame(&frame, &request);
  redisReply *reply = NULL;
  enum idem_status status = connection_send(connection, &frame, deadline_ms - clock_ms(), error);
  if (status == IDEM_OK) status = connection_receive(connection, deadline_ms, &reply, error);
  if (status != IDEM_OK) return status;
  status = wire_parse_auth(reply, error);
  freeReplyObject(reply);
  return status;
}

/* Takes over fd. */
static bool init(struct connection *connection, int fd, const struct connection_order *order) {
  const struct settings *settings = order->settings;
  const struct stream_peer peer = {order->target->host, order->provisional};
  bool opened = transport_open(&connection->transport, fd, settings->tls, &peer);
  connection->reader = redisReaderCreate();
  if (!opened || connection->reader == NULL) return false;
  /* hiredis 0.14 asserts that an allocation succeeds when it gives a large buffer back;
   * connection_reusable does instead. */
  connection->reader->maxbuf = 0;
  reply_limit_init(&connection->limit, connection->reader, settings->reply_limit_bytes);
  return true;
}

/* From connected to ready for commands. */
static enum idem_status greet(struct connection *connection, const struct connection_order *order,
                              int64_t connect_until_ms, struct idem_error *error) {
  enum idem_status status = handshake(connection, order->target, connect_until_ms, error);
  if (status != IDEM_OK) return status;
  int64_t until_ms = clock_ms() + order->settings->command_timeout_ms;
  return authenticate(connection, order->target, clock_min(order->deadline_ms, until_ms), error);
}

enum idem_status connection_open(struct connection **out, const struct connection_order *order,
                                 struct idem_error *error) {
  const struct settings *settings = order->settings;
  const struct target *target = order->target;
  *out = NULL;
  struct connection *connection = calloc(1, sizeof *connection);
  if (connection == NULL) return IDEM_NO_MEMORY;
  int64_t until_ms = clock_min(order->deadline_ms, clock_ms() + settings->connect_timeout_ms);
  int fd = target->path != NULL ? connect_unix(target, until_ms, error)
                                : connect_tcp(target, until_ms, error);
  if (fd < 0) {
    free(connection);
    return fd == -ENOMEM ? IDEM_NO_MEMORY : IDEM_UNAVAILABLE;
  }
  enum idem_status status = IDEM_NO_MEMORY;
  if (init(connection, fd, order)) status = greet(connection, order, until_ms, error);
  if (status == IDEM_OK) {
    *out = connection;
  } else {
    connection_close(connection);
  }
  return status;
}

void connection_close(struct connection *connection) {
  if (connection == NULL) return;
  transport_close(&connection->transport);
  if (connection->reader != NULL) redisReaderFree(connection->reader);
  free(connection);
}

/* ---- send ---- */

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

/* Before a write that was not possible is repeated. False: no time is left. */
static bool await_write(struct connection *connection, enum stream_result wanted,
                        int64_t deadline_ms) {
  int number = 0, fd = connection->transport.fd;
  if (connection->transport.stream != NULL && wanted != STREAM_DONE)
    return await(fd, wanted, deadline_ms, &number);
  int64_t left = deadline_ms - clock_ms();
  return left > 0 && set_timeout(connection, left);
}

static enum idem_status explain_timeout(struct idem_error *error) {
  snprintf(error->text, sizeof error->text, "no answer in time");
  return IDEM_UNAVAILABLE;
}

static enum idem_status explain_end(const struct connection *connection, const char *what,
                                    enum stream_result result, struct idem_error *error) {
  char why[IDEM_MESSAGE_BYTES];
  enum idem_status status = transport_explain(&connection->transport, result, why);
  snprintf(error->text, sizeof error->text, "%s: %.140s", what, why);
  return status;
}

/* All of it until timeout_ms from now. A short one fits into the socket's buffer: no look at the
 * clock. */
static enum idem_status send_parts(struct connection *connection, struct msghdr *message,
                                   size_t size, int64_t timeout_ms, struct idem_error *error) {
  int64_t deadline_ms = size > SURELY_BUFFERED_BYTES ? clock_ms() + timeout_ms : 0;
  if (!set_timeout(connection, timeout_ms)) return explain_timeout(error);
  for (;;) {
    size_t sent;
    enum stream_result result =
        transport_write(&connection->transport, message->msg_iov, message->msg_iovlen, &sent);
    if (result == STREAM_FAILED || result == STREAM_ENDED)
      return explain_end(connection, "sending", result, error);
    advance(message, sent);
    if (message->msg_iovlen == 0) return IDEM_OK;
    if (deadline_ms == 0) deadline_ms = clock_ms() + timeout_ms;
    if (!await_write(connection, result, deadline_ms)) return explain_timeout(error);
  }
}

enum idem_status connection_send(struct connection *connection, const struct wire_frame *frame,
                                 int64_t timeout_ms, struct idem_error *error) {
  struct iovec parts[WIRE_PARTS];
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)frame->count};
  memcpy(parts, frame->parts, (size_t)frame->count * sizeof parts[0]);
  connection->fresh = frame->size <= SURELY_BUFFERED_BYTES;
  return send_parts(connection, &message, frame->size, timeout_ms, error);
}

enum idem_status connection_ask(struct connection *connection, int64_t timeout_ms,
                                struct idem_error *error) {
  const struct wire_request request = {.verb = WIRE_ASKING};
  struct wire_frame frame;
  struct wire_reply parsed;
  redisReply *reply = NULL;
  int64_t deadline_ms = clock_ms() + timeout_ms;
  wire_frame(&frame, &request);
  enum idem_status status = connection_send(connection, &frame, timeout_ms, error);
  if (status == IDEM_OK) status = connection_receive(connection, deadline_ms, &reply, error);
  if (status != IDEM_OK) return status;
  wire_parse(WIRE_ASKING, reply, &parsed);
  snprintf(error->text, sizeof error->text, "%s", parsed.message);
  wire_reply_deinit(&parsed);
  return parsed.status == IDEM_OK ? IDEM_OK : IDEM_UNAVAILABLE;
}

enum idem_status connection_send_bytes(struct connection *connection, const void *data, size_t len,
                                       int64_t timeout_ms, struct idem_error *error) {
  struct iovec part = {(void *)(uintptr_t)data, len};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  return send_parts(connection, &message, len, timeout_ms, error);
}

/* ---- receive ---- */

/* Why there is no reply: the reader's word first. */
static enum idem_status explain_receive(const struct connection *connection,
                                        enum stream_result result, struct idem_error *error) {
  enum idem_status status =
      reply_limit_explain_end(&connection->limit, connection->reader, error->text);
  if (status != IDEM_UNAVAILABLE) return status;
  return explain_end(connection, "receiving", result, error);
}

/* One read, for which it waits left_ms at most. DONE: the reader has it. A WANTS means that nothing
 * has come; the caller looks at the time. */
static enum stream_result read_more(struct connection *connection, int64_t left_ms) {
  char input[INPUT_BYTES];
  size_t got;
  struct transport *transport = &connection->transport;
  bool waits = transport->stream != NULL && !transport_pending(transport);
  int number = 0;
  if (waits && !await(transport->fd, STREAM_WANTS_INPUT, clock_ms() + left_ms, &number))
    return STREAM_WANTS_INPUT;
  if (!set_timeout(connection, left_ms)) return STREAM_WANTS_INPUT;
  enum stream_result result = transport_read(transport, input, sizeof input, &got);
  if (result == STREAM_DONE) redisReaderFeed(connection->reader, input, got);
  return result;
}

enum idem_status connection_receive(struct connection *connection, int64_t deadline_ms,
                                    redisReply **reply, struct idem_error *error) {
  redisReader *reader = connection->reader;
  enum stream_result result = STREAM_DONE;
  void *found = NULL;
  for (int late = 0; result != STREAM_ENDED && result != STREAM_FAILED;) {
    if (redisReaderGetReply(reader, &found) != REDIS_OK) break;
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
    if (left <= 0) {
      bool more =
          socket_readable(connection->transport.fd) || transport_pending(&connection->transport);
      if (late++ == PACE_LATE_READS_MAX || !more) return explain_timeout(error);
    }
    result = read_more(connection, clock_max(left, 0));
  }
  return explain_receive(connection, result, error);
}

/* ---- keeping ---- */

bool connection_alive(struct connection *connection) {
  return transport_idle(&connection->transport);
}

bool connection_quiet(struct connection *connection) {
  const redisReader *reader = connection->reader;
  if (reader->pos < reader->len) return false;
  return !transport_pending(&connection->transport) || transport_idle(&connection->transport);
}

bool connection_reusable(struct connection *connection) {
  return connection->reader->err == 0 && connection_quiet(connection) && !connection->swollen;
}
