/* stream.c - see stream.h. */
#include "client/stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct stream {
  SSL *ssl;
  int fd;
  struct stream_peer peer;
  int error;   /* errno of the socket; 0: none */
  bool cut;    /* the socket has ended */
  bool broken; /* nothing more can be said on it */
  enum idem_status status;
  char why[IDEM_MESSAGE_BYTES];
};

/* ---- the socket, as OpenSSL sees it ---- */

static bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

static int read_socket(BIO *bio, char *out, int size) {
  struct stream *stream = BIO_get_data(bio);
  ssize_t got;
  BIO_clear_retry_flags(bio);
  do got = recv(stream->fd, out, (size_t)size, MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got > 0) return (int)got;
  if (got == 0) {
    stream->cut = true;
    return 0;
  }
  if (would_block(errno)) {
    BIO_set_retry_read(bio);
  } else {
    stream->error = errno;
  }
  return -1;
}

static int write_socket(BIO *bio, const char *data, int len) {
  struct stream *stream = BIO_get_data(bio);
  ssize_t put;
  BIO_clear_retry_flags(bio);
  do put = send(stream->fd, data, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (put < 0 && errno == EINTR);
  if (put >= 0) return (int)put;
  if (would_block(errno)) {
    BIO_set_retry_write(bio);
  } else {
    stream->error = errno;
  }
  return -1;
}

static long control(BIO *bio, int command, long number, void *data) {
  const struct stream *stream = BIO_get_data(bio);
  (void)number;
  (void)data;
  if (command == BIO_CTRL_FLUSH) return 1;
  return command == BIO_CTRL_EOF && stream->cut;
}

BIO_METHOD *stream_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "libidem");
  if (method == NULL) return NULL;
  BIO_meth_set_read(method, read_socket);
  BIO_meth_set_write(method, write_socket);
  BIO_meth_set_ctrl(method, control);
  return method;
}

/* ---- why it failed ---- */

/* What OpenSSL, or the server by an alert, dislikes, in words for people. */
struct reason {
  int code;
  enum { OF_SETUP, OF_NAME, OF_SERVER } what; /* see status_of */
  const char *text;
};

#define ALERT(number) (SSL_AD_REASON_OFFSET + (number))

static const struct reason REASONS[] = {
    {SSL_R_WRONG_VERSION_NUMBER, OF_SETUP, "the server speaks no TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, OF_SETUP, "no version of TLS in common"},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, OF_SETUP, "no version of TLS is allowed here"},
    {ALERT(SSL_AD_PROTOCOL_VERSION), OF_SETUP, "no version of TLS in common"},
    {ALERT(SSL_AD_UNEXPECTED_MESSAGE), OF_SETUP, "the server expects no TLS at this port"},
    {ALERT(SSL_AD_HANDSHAKE_FAILURE), OF_SETUP,
     "the server refuses (no cipher in common, or it wants a certificate)"},
    {ALERT(TLS13_AD_CERTIFICATE_REQUIRED), OF_SETUP, "the server wants a certificate (cert_file)"},
    {ALERT(SSL_AD_BAD_CERTIFICATE), OF_SETUP, "the server does not take our certificate"},
    {ALERT(SSL_AD_CERTIFICATE_REVOKED), OF_SETUP, "the server says: revoked certificate"},
    {ALERT(SSL_AD_CERTIFICATE_EXPIRED), OF_SETUP, "the server says: our certificate expired"},
    {ALERT(SSL_AD_CERTIFICATE_UNKNOWN), OF_SETUP, "the server does not take our certificate"},
    {ALERT(SSL_AD_UNSUPPORTED_CERTIFICATE), OF_SETUP,
     "the server does not take our kind of certificate"},
    {ALERT(SSL_AD_UNKNOWN_CA), OF_SETUP,
     "the server does not know the authority of our certificate"},
    {ALERT(SSL_AD_ACCESS_DENIED), OF_SETUP, "the server denies access"},
    {ALERT(SSL_AD_UNRECOGNIZED_NAME), OF_NAME, "the server does not know the name"},
    {ALERT(SSL_AD_INTERNAL_ERROR), OF_SERVER, "the server has an internal error"},
    {ALERT(SSL_AD_USER_CANCELLED), OF_SERVER, "the server gave up"},
};

/* The same for its certificate. */
static const struct reason CERTIFICATES[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, OF_SETUP, "its certificate has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, OF_SETUP, "its certificate is not valid yet"},
    {X509_V_ERR_HOSTNAME_MISMATCH, OF_NAME, "its certificate has another name"},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, OF_NAME, "its certificate has another address"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, OF_SETUP,
     "unknown authority (its certificate is self-signed)"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, OF_SETUP, "unknown authority"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, OF_SETUP, "unknown authority"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, OF_SETUP, "unknown authority"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, OF_SETUP, "unknown authority"},
    {X509_V_ERR_CERT_REVOKED, OF_SETUP, "its certificate is revoked"},
};

static const struct reason *find_reason(const struct reason *table, size_t count, long code) {
  for (size_t i = 0; i < count; i++) {
    if (table[i].code == code) return &table[i];
  }
  return NULL;
}

#define FIND(table, code) find_reason(table, sizeof(table) / sizeof(table)[0], code)

static void say(struct stream *stream, enum idem_status status, const char *text) {
  stream->status = status;
  snprintf(stream->why, sizeof stream->why, "TLS with %.60s: %.80s", stream->peer.host, text);
}

/* Of the socket, if it was that. */
static bool explain_socket(struct stream *stream) {
  char text[64];
  bool secured = SSL_is_init_finished(stream->ssl) != 0;
  if (stream->error != 0) {
    say(stream, IDEM_UNAVAILABLE, strerror_r(stream->error, text, sizeof text));
  } else if (stream->cut) {
    say(stream, IDEM_UNAVAILABLE,
        secured ? "the connection was cut off" : "the server hung up during the handshake");
  }
  return stream->error != 0 || stream->cut;
}

/* Trying again cures what is wrong with the server, and with a name in the place of which a better
 * one may come. */
static enum idem_status status_of(const struct stream *stream, const struct reason *reason) {
  bool passes = reason->what == OF_SERVER || (reason->what == OF_NAME && stream->peer.provisional);
  return passes ? IDEM_UNAVAILABLE : IDEM_REFUSED;
}

/* What is not in the tables is refused, in OpenSSL's own words. */
static void say_reason(struct stream *stream, const struct reason *known, const char *otherwise) {
  if (known != NULL) {
    say(stream, status_of(stream, known), known->text);
  } else {
    say(stream, IDEM_REFUSED, otherwise != NULL ? otherwise : "unknown error");
  }
}

static void explain_error(struct stream *stream, unsigned long code) {
  int reason = ERR_GET_REASON(code);
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    long verified = SSL_get_verify_result(stream->ssl);
    say_reason(stream, FIND(CERTIFICATES, verified), X509_verify_cert_error_string(verified));
  } else {
    say_reason(stream, FIND(REASONS, reason), ERR_reason_error_string(code));
  }
}

/* OpenSSL has an error of its own when it disliked what the peer said. The network's have none; for
 * the end of input version 3 has one, which says no more than the socket did. */
static void note_failure(struct stream *stream) {
  unsigned long code = ERR_peek_error();
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
  if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) code = 0;
#endif
  stream->broken = true;
  if (code != 0 && ERR_GET_LIB(code) == ERR_LIB_SSL) {
    explain_error(stream, code);
  } else if (!explain_socket(stream)) {
    say(stream, IDEM_UNAVAILABLE, "failed");
  }
}

enum idem_status stream_explain(const struct stream *stream, char *why) {
  memcpy(why, stream->why, IDEM_MESSAGE_BYTES);
  return stream->status;
}

/* ---- what OpenSSL returned ---- */

static enum stream_result conclude(struct stream *stream, int code) {
  enum stream_result result = STREAM_FAILED;
  switch (SSL_get_error(stream->ssl, code)) {
    case SSL_ERROR_NONE: result = STREAM_DONE; break;
    case SSL_ERROR_WANT_READ: result = STREAM_WANTS_INPUT; break;
    case SSL_ERROR_WANT_WRITE: result = STREAM_WANTS_OUTPUT; break;
    case SSL_ERROR_ZERO_RETURN: result = STREAM_ENDED; break;
    default: note_failure(stream); break;
  }
  ERR_clear_error();
  return result;
}

enum stream_result stream_handshake(struct stream *stream) {
  ERR_clear_error();
  return conclude(stream, SSL_do_handshake(stream->ssl));
}

enum stream_result stream_read(struct stream *stream, void *out, size_t size, size_t *done) {
  *done = 0;
  ERR_clear_error();
  return conclude(stream, SSL_read_ex(stream->ssl, out, size, done));
}

enum stream_result stream_peek(struct stream *stream) {
  char byte;
  size_t done;
  ERR_clear_error();
  return conclude(stream, SSL_peek_ex(stream->ssl, &byte, 1, &done));
}

/* A server that refuses the client's certificate says so after the handshake (TLS 1.3) and hangs
 * up: a write may see the end of the socket before anyone has read why. */
static void look_for_last_words(struct stream *stream) {
  enum idem_status status = stream->status;
  char why[IDEM_MESSAGE_BYTES];
  memcpy(why, stream->why, sizeof why);
  stream->error = 0;
  (void)stream_peek(stream);
  if (stream->status == IDEM_REFUSED) return;
  stream->status = status;
  memcpy(stream->why, why, sizeof why);
}

enum stream_result stream_write(struct stream *stream, const void *data, size_t len, size_t *done) {
  *done = 0;
  ERR_clear_error();
  enum stream_result result = conclude(stream, SSL_write_ex(stream->ssl, data, len, done));
  if (result == STREAM_FAILED && stream->error != 0) look_for_last_words(stream);
  return result;
}

bool stream_pending(const struct stream *stream) { return SSL_has_pending(stream->ssl) == 1; }

void stream_half_close(struct stream *stream) {
  if (stream->broken || !SSL_is_init_finished(stream->ssl)) return;
  ERR_clear_error();
  (void)SSL_shutdown(stream->ssl);
  ERR_clear_error();
}

/* ---- life ---- */

struct stream *stream_create(SSL *ssl, BIO_METHOD *method, int fd, const struct stream_peer *peer) {
  struct stream *stream = calloc(1, sizeof *stream);
  BIO *bio = BIO_new(method);
  if (stream == NULL || bio == NULL) {
    free(stream);
    BIO_free(bio);
    return NULL;
  }
  *stream = (struct stream){.ssl = ssl, .fd = fd, .peer = *peer, .status = IDEM_UNAVAILABLE};
  BIO_set_data(bio, stream);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_connect_state(ssl);
  return stream;
}

void stream_destroy(struct stream *stream) {
  if (stream == NULL) return;
  stream_half_close(stream);
  SSL_free(stream->ssl);
  ERR_clear_error();
  free(stream);
}
