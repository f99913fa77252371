/* ping_tls.c - see ping_tls.h. */
#include "server/net/ping_tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

static bool refuse(const char *what, char error[REFUSAL_BYTES]) {
  unsigned long code = ERR_peek_error();
  const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
  return refusal_write(error, "TLS: %s: %s", what,
                       reason != NULL ? reason : "the connection ended");
}

/* Who else may write the key is not asked here: with a key that somebody has put there a ping is
 * refused, and no more; the server itself does not start with such a file. And root asks with the
 * key of the user idem, which secret_file_check would refuse. */
static bool use_certificate(SSL_CTX *context, const struct options *options,
                            char error[REFUSAL_BYTES]) {
  if (options->tls_cert_file[0] == '\0') return true;
  SSL_CTX_set_default_passwd_cb_userdata(context, options->tls_key_file_pass);
  return (SSL_CTX_use_certificate_chain_file(context, options->tls_cert_file) == 1 &&
          SSL_CTX_use_PrivateKey_file(context, options->tls_key_file, SSL_FILETYPE_PEM) == 1) ||
         refuse("tls-cert-file, tls-key-file", error);
}

static bool is_address(const char *host) {
  ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
  ASN1_OCTET_STRING_free(address);
  return address != NULL;
}

/* The name is also sent, so that a server with several certificates can choose. */
static bool set_name(SSL *connection, const char *host) {
  if (is_address(host)) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection), host) == 1;
  return SSL_set1_host(connection, host) == 1 && SSL_set_tlsext_host_name(connection, host) == 1;
}

static bool trust(struct ping_tls *tls, const struct options *options, const char *host) {
  bool named = options->tls_ca_cert_file[0] != '\0';
  SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
  SSL_set_verify(tls->connection, SSL_VERIFY_PEER, NULL);
  return (named ? SSL_CTX_load_verify_file(tls->context, options->tls_ca_cert_file) == 1
                : SSL_CTX_set_default_verify_paths(tls->context) == 1) &&
         set_name(tls->connection, host);
}

static bool refuse_handshake(const struct ping_tls *tls, char error[REFUSAL_BYTES]) {
  long result = SSL_get_verify_result(tls->connection);
  if (result == X509_V_OK) return refuse("no handshake", error);
  return refusal_write(error, "TLS: the certificate: %s", X509_verify_cert_error_string(result));
}

bool ping_tls_open(struct ping_tls *tls, int fd, const struct ping_target *target,
                   const struct options *options, char error[REFUSAL_BYTES]) {
  *tls = (struct ping_tls){.context = SSL_CTX_new(TLS_client_method())};
  if (tls->context == NULL) return refuse("no memory", error);
  SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
  if (!use_certificate(tls->context, options, error)) return false;
  tls->connection = SSL_new(tls->context);
  if (tls->connection == NULL || SSL_set_fd(tls->connection, fd) != 1)
    return refuse("no memory", error);
  if (target->verifies && !trust(tls, options, target->host))
    return refuse("tls-ca-cert-file", error);
  return SSL_connect(tls->connection) == 1 || refuse_handshake(tls, error);
}

void ping_tls_close(struct ping_tls *tls) {
  SSL_free(tls->connection);
  SSL_CTX_free(tls->context);
}
