/* tls_context.c - see tls_context.h. */
#include "server/net/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/ops/options_check.h"
#include "server/ops/options_file.h"
#include "server/ops/secret_file.h"

/* Forward secrecy and authenticated encryption, which every client since 2014 has. */
#define DEFAULT_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
/* A client may choose any of them; X448 and P-521 would cost the server ten times as much. */
#define GROUPS "X25519:P-256:P-384"
/* Bytes of certificates that a client may send. */
#define CLIENT_CHAIN_BYTES (32 * 1024)
/* A ticket carries the certificate of the client, and one is enough to connect again. */
#define TICKETS 1u

struct making {
  SSL_CTX *context;
  const struct options *options;
  const char **option; /* that a refusal is about */
  char *error, *warning;
};

/* ---- refusals: "OPTION VALUE: reason" ---- */

static bool refuse(struct making *making, const char *option, const char *value,
                   const char *reason) {
  char shown[REFUSAL_SHOWN_BYTES];
  *making->option = option;
  return refusal_write(making->error, "%s %s: %s", option, refusal_show(span_of(value), shown),
                       reason);
}

/* What OpenSSL found first. */
static bool refuse_by_openssl(struct making *making, const char *option, const char *value,
                              const char *otherwise) {
  unsigned long code = ERR_peek_error();
  const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
  if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE)
    reason = otherwise;
  return refuse(making, option, value, reason != NULL ? reason : otherwise);
}

/* OpenSSL would wait in a named pipe until somebody writes, and the server with it. */
static bool can_read(struct making *making, const char *option, const char *path) {
  struct stat stat_of_file;
  if (access(path, R_OK) != 0 || stat(path, &stat_of_file) != 0)
    return refuse(making, option, path, strerror(errno));
  return !S_ISFIFO(stat_of_file.st_mode) || refuse(making, option, path, "it is a pipe");
}

/* ---- parts ---- */

static bool set_versions(struct making *making) {
  struct options_tls_versions versions;
  *making->option = "tls-protocols";
  if (!options_check_tls_versions(making->options, &versions, making->error)) return false;
  int least = versions.v1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
  int most = versions.v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
  return (SSL_CTX_set_min_proto_version(making->context, least) == 1 &&
          SSL_CTX_set_max_proto_version(making->context, most) == 1) ||
         refuse(making, "tls-protocols", making->options->tls_protocols,
                "this OpenSSL does not speak them");
}

static bool set_ciphers(struct making *making) {
  const struct options *options = making->options;
  const char *ciphers = options->tls_ciphers[0] != '\0' ? options->tls_ciphers : DEFAULT_CIPHERS;
  const char *suites = options->tls_ciphersuites;
  if (SSL_CTX_set_cipher_list(making->context, ciphers) != 1)
    return refuse_by_openssl(making, "tls-ciphers", ciphers, "no such cipher");
  if (suites[0] != '\0' && SSL_CTX_set_ciphersuites(making->context, suites) != 1)
    return refuse_by_openssl(making, "tls-ciphersuites", suites, "no such ciphersuite");
  return SSL_CTX_set1_groups_list(making->context, GROUPS) == 1 ||
         refuse_by_openssl(making, "tls-ciphers", ciphers, "no elliptic curves");
}

/* userdata: the options. Returns the length, 0 for none. */
static int give_password(char *buffer, int size, int writes, void *userdata) {
  const struct options *options = userdata;
  size_t len = strlen(options->tls_key_file_pass);
  (void)writes;
  if (len > (size_t)size) return 0;
  memcpy(buffer, options->tls_key_file_pass, len);
  return (int)len;
}

static const char *key_reason(const struct options *options) {
  return options->tls_key_file_pass[0] != '\0'
             ? "no private key in it, or tls-key-file-pass is wrong"
             : "no private key in it, or it needs tls-key-file-pass";
}

static bool use_key(struct making *making, const struct options_file *file) {
  void *options = (void *)(uintptr_t)making->options;
  BIO *bio = BIO_new_mem_buf(file->bytes, (int)file->len);
  EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, give_password, options) : NULL;
  bool done = key != NULL && SSL_CTX_use_PrivateKey(making->context, key) == 1;
  EVP_PKEY_free(key);
  BIO_free(bio);
  return done;
}

/* Who else writes the file may be the server from then on: that is refused. Who reads it may be,
 * too, but many a deployment gives a group the right to: that is warned of. */
static bool check_key_file(struct making *making, const struct options_file *file) {
  struct secret_file secret = {
      .path = file->path, .stat = &file->stat, .what = "a private key", .anybody_reads = true};
  *making->option = "tls-key-file";
  if (!secret_file_check(&secret, making->error)) return false;
  secret.anybody_reads = false;
  if (secret_file_check(&secret, making->warning)) making->warning[0] = '\0';
  return true;
}

/* Read once, so that the file that is checked is the one that is used. */
static bool load_key(struct making *making) {
  const char *path = making->options->tls_key_file;
  struct options_file file;
  *making->option = "tls-key-file";
  if (!options_file_read(path, &file, making->error)) return false;
  bool safe = check_key_file(making, &file), used = safe && use_key(making, &file);
  options_file_deinit(&file);
  if (!safe || used) return used;
  if (ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH)
    return refuse(making, "tls-key-file", path, "it is not the key of tls-cert-file");
  return refuse(making, "tls-key-file", path, key_reason(making->options));
}

static bool load_certificate(struct making *making) {
  const struct options *options = making->options;
  const char *cert = options->tls_cert_file, *key = options->tls_key_file;
  if (!can_read(making, "tls-cert-file", cert) || !can_read(making, "tls-key-file", key))
    return false;
  if (SSL_CTX_use_certificate_chain_file(making->context, cert) != 1)
    return refuse_by_openssl(making, "tls-cert-file", cert, "no certificate in it (PEM)");
  if (!load_key(making)) return false;
  return SSL_CTX_check_private_key(making->context) == 1 ||
         refuse(making, "tls-key-file", key, "it is not the key of tls-cert-file");
}

static const char *text_or_null(const char *text) { return text[0] != '\0' ? text : NULL; }

/* The names of its CAs are sent to the client, so that it can choose a certificate. */
static bool name_authorities(struct making *making, const char *path) {
  STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
  if (names == NULL)
    return refuse_by_openssl(making, "tls-ca-cert-file", path, "no certificate in it (PEM)");
  SSL_CTX_set_client_CA_list(making->context, names);
  return true;
}

/* What OpenSSL works out of a certificate at its first use (its extensions) is worked out before
 * the loops share it. OpenSSL itself tells others by atomics, which ThreadSanitizer does not see.
 */
static void prepare_authorities(const struct making *making) {
  STACK_OF(X509) *all = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(making->context));
  for (int i = 0; i < sk_X509_num(all); i++) X509_check_purpose(sk_X509_value(all, i), -1, 0);
  sk_X509_pop_free(all, X509_free);
}

static bool load_authorities(struct making *making) {
  const char *file = text_or_null(making->options->tls_ca_cert_file);
  const char *directory = text_or_null(making->options->tls_ca_cert_dir);
  if (file != NULL && !can_read(making, "tls-ca-cert-file", file)) return false;
  if (directory != NULL && !can_read(making, "tls-ca-cert-dir", directory)) return false;
  if (file != NULL && SSL_CTX_load_verify_file(making->context, file) != 1)
    return refuse_by_openssl(making, "tls-ca-cert-file", file, "no certificate in it (PEM)");
  if (directory != NULL && SSL_CTX_load_verify_dir(making->context, directory) != 1)
    return refuse_by_openssl(making, "tls-ca-cert-dir", directory, "it cannot be used");
  prepare_authorities(making);
  return file == NULL || name_authorities(making, file);
}

static bool ask_clients(struct making *making) {
  int mode = SSL_VERIFY_NONE;
  if (making->options->tls_auth_clients != OPTIONS_TLS_AUTH_CLIENTS_NO) mode = SSL_VERIFY_PEER;
  if (making->options->tls_auth_clients == OPTIONS_TLS_AUTH_CLIENTS_YES)
    mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(making->context, mode, NULL);
  SSL_CTX_set_max_cert_list(making->context, CLIENT_CHAIN_BYTES);
  return mode == SSL_VERIFY_NONE || load_authorities(making);
}

/* A ticket opens with the keys of this context only: after a reload clients are checked by the new
 * CAs. */
static void set_tickets(struct making *making) {
  static const unsigned char id[] = "idem";
  const struct options *options = making->options;
  SSL_CTX *context = making->context;
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_session_id_context(context, id, sizeof id - 1);
  SSL_CTX_set_timeout(context, (long)options->tls_session_cache_timeout_s);
  SSL_CTX_set_num_tickets(context, options->tls_session_caching ? TICKETS : 0);
  if (!options->tls_session_caching) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
}

static void set_modes(struct making *making) {
  SSL_CTX_set_options(making->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  if (making->options->tls_prefer_server_ciphers)
    SSL_CTX_set_options(making->context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(making->context, SSL_MODE_RELEASE_BUFFERS);
}

/* ---- the whole ---- */

SSL_CTX *tls_context_create(const struct options *options, const char **option,
                            char error[REFUSAL_BYTES], char warning[REFUSAL_BYTES]) {
  struct making making = {.options = options, .option = option, .error = error, .warning = warning};
  warning[0] = '\0';
  *option = "tls-cert-file";
  ERR_clear_error();
  making.context = SSL_CTX_new(TLS_server_method());
  if (making.context == NULL) {
    refusal_write(error, "TLS: out of memory, or OpenSSL cannot be used");
    return NULL;
  }
  set_modes(&making);
  set_tickets(&making);
  bool done = set_versions(&making) && set_ciphers(&making) && load_certificate(&making) &&
              ask_clients(&making);
  ERR_clear_error();
  if (done) return making.context;
  SSL_CTX_free(making.context);
  return NULL;
}

void tls_context_destroy(SSL_CTX *context) { SSL_CTX_free(context); }

int64_t tls_context_ends_s(const SSL_CTX *context) {
  const X509 *certificate = SSL_CTX_get0_certificate(context);
  struct tm end;
  if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1) return 0;
  return (int64_t)timegm(&end);
}
