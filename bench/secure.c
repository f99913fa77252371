/* OpenSSL; see the header. */
#include "bench/secure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>

static void explain(const char *what) {
  unsigned long code = ERR_peek_last_error();
  const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
  fprintf(stderr, "idem-bench: TLS: %s: %s\n", what, reason != NULL ? reason : "failed");
  ERR_clear_error();
}

/* What cannot be used, or NULL. */
static const char *load_files(SSL_CTX *context, const struct secure_options *options) {
  const char *key = options->key_file != NULL ? options->key_file : options->cert_file;
  int loaded = options->ca_file != NULL ? SSL_CTX_load_verify_file(context, options->ca_file)
                                        : SSL_CTX_set_default_verify_paths(context);
  if (loaded != 1) return options->ca_file != NULL ? options->ca_file : "the system's CAs";
  if (options->cert_file == NULL) return NULL;
  if (SSL_CTX_use_certificate_chain_file(context, options->cert_file) != 1)
    return options->cert_file;
  return SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 ? NULL : key;
}

SSL_CTX *secure_context(const struct secure_options *options) {
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  const char *wrong = context != NULL ? load_files(context, options) : "no memory";
  if (wrong != NULL) {
    explain(wrong);
    SSL_CTX_free(context);
    return NULL;
  }
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, options->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(context, 1); /* a record in one read of the socket */
  return context;
}

static bool expect_host(SSL *ssl, const char *host) {
  unsigned char address[sizeof(struct in6_addr)];
  if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
  return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

SSL *secure_connect(SSL_CTX *context, const struct secure_options *options, int fd) {
  SSL *ssl = SSL_new(context);
  int flags = fcntl(fd, F_GETFL);
  if (ssl != NULL && expect_host(ssl, options->host) && SSL_set_fd(ssl, fd) == 1 &&
      SSL_connect(ssl) == 1 && flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)
    return ssl;
  explain("handshake");
  SSL_free(ssl);
  return NULL;
}

/* errno for what OpenSSL could not do; 0: the end of input. */
static int error_of(SSL *ssl, int code) {
  int kind = SSL_get_error(ssl, code);
  if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return EAGAIN;
  bool system = kind == SSL_ERROR_SYSCALL && errno != 0;
  ERR_clear_error();
  if (kind == SSL_ERROR_ZERO_RETURN) return 0;
  return system ? errno : EPROTO;
}

ssize_t secure_send(SSL *ssl, const char *data, size_t bytes) {
  size_t done = 0;
  int code = SSL_write_ex(ssl, data, bytes, &done);
  if (code == 1) return (ssize_t)done;
  errno = error_of(ssl, code);
  return -1;
}

ssize_t secure_receive(SSL *ssl, char *data, size_t room) {
  size_t bytes = 0, got = 0;
  int code = 1;
  do {
    code = SSL_read_ex(ssl, data + bytes, room - bytes, &got);
    if (code == 1) bytes += got;
  } while (code == 1 && bytes < room && SSL_has_pending(ssl));
  if (bytes > 0) return (ssize_t)bytes;
  errno = error_of(ssl, code);
  return errno == 0 ? 0 : -1;
}
