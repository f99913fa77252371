/* transport.c - see transport.h. */
#include "client/transport.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Parts of a command are put together up to the size of one record of TLS, so that a short command
 * is one record and one write. */
#define RECORD_BYTES (16 * 1024)

bool transport_open(struct transport *transport, int fd, struct tls *tls,
                    const struct stream_peer *peer) {
  *transport = (struct transport){.fd = fd};
  if (tls == NULL) return true;
  transport->stream = tls_begin(tls, fd, peer);
  return transport->stream != NULL;
}

void transport_close(struct transport *transport) {
  stream_destroy(transport->stream);
  if (transport->fd >= 0) close(transport->fd);
  *transport = (struct transport){.fd = -1};
}

enum stream_result transport_handshake(struct transport *transport) {
  return transport->stream != NULL ? stream_handshake(transport->stream) : STREAM_DONE;
}

/* ---- plain text ---- */

/* After a call of the system that failed. A signal is left to the caller, who counts the time. */
static enum stream_result conclude(struct transport *transport, enum stream_result wanted) {
  transport->error = errno;
  bool again = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  return again ? wanted : STREAM_FAILED;
}

static enum stream_result read_plain(struct transport *transport, void *out, size_t size,
                                     size_t *done) {
  ssize_t got = recv(transport->fd, out, size, 0);
  if (got < 0) return conclude(transport, STREAM_WANTS_INPUT);
  *done = (size_t)got;
  return got > 0 ? STREAM_DONE : STREAM_ENDED;
}

static enum stream_result write_plain(struct transport *transport, const struct iovec *parts,
                                      size_t count, size_t *done) {
  const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = count};
  ssize_t put = sendmsg(transport->fd, &message, MSG_NOSIGNAL);
  if (put < 0) return conclude(transport, STREAM_WANTS_OUTPUT);
  *done = (size_t)put;
  return STREAM_DONE;
}

/* ---- either ---- */

enum stream_result transport_read(struct transport *transport, void *out, size_t size,
                                  size_t *done) {
  *done = 0;
  return transport->stream != NULL ? stream_read(transport->stream, out, size, done)
                                   : read_plain(transport, out, size, done);
}

/* The first part alone when it is long, else as many of them as are short together. */
static enum stream_result write_record(struct stream *stream, const struct iovec *parts,
                                       size_t count, size_t *done) {
  char record[RECORD_BYTES];
  size_t len = 0;
  if (count == 1 || parts[0].iov_len + parts[1].iov_len > sizeof record)
    return stream_write(stream, parts[0].iov_base, parts[0].iov_len, done);
  for (size_t i = 0; i < count && len + parts[i].iov_len <= sizeof record; i++) {
    memcpy(record + len, parts[i].iov_base, parts[i].iov_len);
    len += parts[i].iov_len;
  }
  return stream_write(stream, record, len, done);
}

enum stream_result transport_write(struct transport *transport, const struct iovec *parts,
                                   size_t count, size_t *done) {
  *done = 0;
  return transport->stream != NULL ? write_record(transport->stream, parts, count, done)
                                   : write_plain(transport, parts, count, done);
}

bool transport_idle(struct transport *transport) {
  if (transport->stream != NULL) return stream_peek(transport->stream) == STREAM_WANTS_INPUT;
  char byte;
  ssize_t got = recv(transport->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

bool transport_pending(const struct transport *transport) {
  return transport->stream != NULL && stream_pending(transport->stream);
}

void transport_half_close(struct transport *transport) {
  if (transport->stream != NULL) stream_half_close(transport->stream);
  shutdown(transport->fd, SHUT_WR);
}

enum idem_status transport_explain(const struct transport *transport, enum stream_result result,
                                   char *why) {
  char text[64];
  if (result == STREAM_ENDED) {
    snprintf(why, IDEM_MESSAGE_BYTES, "the server closed the connection");
    return IDEM_UNAVAILABLE;
  }
  if (transport->stream != NULL) return stream_explain(transport->stream, why);
  snprintf(why, IDEM_MESSAGE_BYTES, "%s", strerror_r(transport->error, text, sizeof text));
  return IDEM_UNAVAILABLE;
}
