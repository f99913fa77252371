/* tls.c - see tls.h. */
#include "client/tls.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(IDEM_TLS) && HIREDIS_MAJOR >= 1

#include <arpa/inet.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "client/sigpipe.h"

struct tls {
  SSL_CTX *context;
};

static void explain(struct idem_error *error, const char *what, const char *detail) {
  unsigned long code = ERR_get_error();
  const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
  snprintf(error->text, sizeof error->text, "TLS: %s%s%s%s%s", what, detail != NULL ? " " : "",
           detail != NULL ? detail : "", reason != NULL ? ": " : "", reason != NULL ? reason : "");
  ERR_clear_error();
}

static bool load_files(SSL_CTX *context, const struct idem_options *options,
                       struct idem_error *error) {
  if (options->ca_file != NULL) {
    if (SSL_CTX_load_verify_locations(context, options->ca_file, NULL) != 1) {
      explain(error, "cannot use the authorities in", options->ca_file);
      return false;
    }
  } else if (SSL_CTX_set_default_verify_paths(context) != 1) {
    explain(error, "cannot use the system's authorities", NULL);
    return false;
  }
  if (options->cert_file == NULL) return true;
  const char *key = options->key_file != NULL ? options->key_file : options->cert_file;
  if (SSL_CTX_use_certificate_chain_file(context, options->cert_file) == 1 &&
      SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1) {
    return true;
  }
  explain(error, "cannot use the certificate or key in", options->cert_file);
  return false;
}

enum idem_status tls_create(struct tls **out, const struct idem_options *options,
                            struct idem_error *error) {
  struct tls *tls = malloc(sizeof *tls);
  if (tls == NULL) return IDEM_NO_MEMORY;
  tls->context = SSL_CTX_new(TLS_client_method());
  if (tls->context == NULL) {
    free(tls);
    return IDEM_NO_MEMORY;
  }
  SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
  SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
  if (!load_files(tls->context, options, error)) {
    tls_destroy(tls);
    return IDEM_INVALID;
  }
  *out = tls;
  return IDEM_OK;
}

void tls_destroy(struct tls *tls) {
  if (tls == NULL) return;
  SSL_CTX_free(tls->context);
  free(tls);
}

/* The name or address that the certificate has to bear. */
static bool expect_host(SSL *ssl, const char *host) {
  unsigned char address[sizeof(struct in6_addr)];
  if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
  }
  return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* OpenSSL has an error of its own when it disliked what the peer said; the network's have none, but
 * for the end of input, which version 3 reports: a server that stops is not one that speaks no TLS.
 */
static bool objected(unsigned long code) {
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
  if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) return false;
#endif
  return code != 0;
}

enum idem_status tls_start(struct tls *tls, redisContext *context, const char *host,
                           struct idem_error *error) {
  SSL *ssl = SSL_new(tls->context);
  if (ssl == NULL || !expect_host(ssl, host)) {
    explain(error, "cannot begin with", host);
    SSL_free(ssl);
    return IDEM_UNAVAILABLE;
  }
  ERR_clear_error();
  /* hiredis frees ssl only when it has taken it, which it does at the end. */
  struct sigpipe sigpipe;
  sigpipe_hold(&sigpipe);
  int code = redisInitiateSSL(context, ssl);
  sigpipe_release(&sigpipe);
  if (code == REDIS_OK) return IDEM_OK;
  enum idem_status status = objected(ERR_peek_error()) ? IDEM_REFUSED : IDEM_UNAVAILABLE;
  snprintf(error->text, sizeof error->text, "TLS: no handshake with %.60s: %.70s", host,
           context->errstr);
  ERR_clear_error();
  if (context->privctx == NULL) SSL_free(ssl);
  return status;
}

void tls_expect_errors(void) { ERR_clear_error(); }

enum idem_status tls_explain_end(const char *host, char *why) {
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (!objected(code)) return IDEM_UNAVAILABLE;
  const char *reason = ERR_reason_error_string(code);
  snprintf(why, IDEM_MESSAGE_BYTES, "TLS: no handshake with %.60s: %.70s", host,
           reason != NULL ? reason : "unknown reason");
  return IDEM_REFUSED;
}

#else

enum idem_status tls_create(struct tls **tls, const struct idem_options *options,
                            struct idem_error *error) {
  (void)options;
  *tls = NULL;
  snprintf(error->text, sizeof error->text,
           "rediss:// needs TLS, which this libidem was built without (hiredis %d.%d)",
           HIREDIS_MAJOR, HIREDIS_MINOR);
  return IDEM_REFUSED;
}

void tls_destroy(struct tls *tls) { (void)tls; }

enum idem_status tls_start(struct tls *tls, redisContext *context, const char *host,
                           struct idem_error *error) {
  (void)tls;
  (void)context;
  (void)host;
  (void)error;
  return IDEM_REFUSED;
}

void tls_expect_errors(void) {}

enum idem_status tls_explain_end(const char *host, char *why) {
  (void)host;
  (void)why;
  return IDEM_UNAVAILABLE;
}

#endif
