/* tls.c - see tls.h. */
#include "client/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/resumption.h"
#include "client/stream.h"
#include "client/target.h"

/* The files and directories that options name. */
enum { CA_FILE, CA_DIR, CERT_FILE, KEY_FILE, PATHS };

/* Longer names are none: DNS has 253. */
#define HOST_BYTES 256

/* Tells one content of a file from another. */
struct stamp {
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec changed;
};

struct tls {
  char *paths[PATHS]; /* NULL: not given */
  char *name;         /* that certificates have to bear instead of the host's; NULL: not given */
  bool unverified;
  int version_min;
  BIO_METHOD *method;
  struct resumption resumption; /* of the context's sessions */
  pthread_mutex_t lock;
  /* Under the lock. */
  SSL_CTX *context;
  struct stamp stamps[PATHS]; /* of the files in it */
};

/* ---- the files ---- */

static void take_stamps(const struct tls *tls, struct stamp stamps[PATHS]) {
  memset(stamps, 0, PATHS * sizeof stamps[0]);
  for (int i = 0; i < PATHS; i++) {
    struct stat file;
    if (i == CA_DIR || tls->paths[i] == NULL || stat(tls->paths[i], &file) != 0) continue;
    stamps[i].device = file.st_dev;
    stamps[i].inode = file.st_ino;
    stamps[i].size = file.st_size;
    stamps[i].changed = file.st_mtim;
  }
}

static bool fail(struct idem_error *error, const char *what, const char *path) {
  unsigned long code = ERR_peek_error();
  const char *reason = code == 0                ? "not usable"
                       : ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                                                : ERR_reason_error_string(code);
  snprintf(error->text, sizeof error->text, "%s %.80s: %.60s", what, path,
           reason != NULL ? reason : "not usable");
  return false;
}

static bool load_authorities(const struct tls *tls, SSL_CTX *context, struct idem_error *error) {
  const char *file = tls->paths[CA_FILE], *dir = tls->paths[CA_DIR];
  struct stat found;
  if (file == NULL && dir == NULL)
    return SSL_CTX_set_default_verify_paths(context) == 1 || fail(error, "the system's", "CAs");
  if (file != NULL && SSL_CTX_load_verify_file(context, file) != 1)
    return fail(error, "ca_file", file);
  if (dir == NULL) return true;
  /* OpenSSL looks into it when it needs one, and says nothing when there is none. */
  if (stat(dir, &found) != 0 || !S_ISDIR(found.st_mode) ||
      SSL_CTX_load_verify_dir(context, dir) != 1)
    return fail(error, "ca_dir", dir);
  return true;
}

static bool load_certificate(const struct tls *tls, SSL_CTX *context, struct idem_error *error) {
  const char *cert = tls->paths[CERT_FILE];
  const char *key = tls->paths[KEY_FILE] != NULL ? tls->paths[KEY_FILE] : cert;
  if (cert == NULL) return true;
  if (SSL_CTX_use_certificate_chain_file(context, cert) != 1) return fail(error, "cert_file", cert);
  if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
    return fail(error, "key_file", key);
  return true;
}

/* Without it OpenSSL would ask on the terminal. */
static int no_passphrase(char *out, int size, int writing, void *context) {
  (void)out;
  (void)size;
  (void)writing;
  (void)context;
  return -1;
}

/* With all that is given. NULL: error says why; its text is left when there is no memory. */
static SSL_CTX *create_context(const struct tls *tls, struct idem_error *error) {
  ERR_clear_error();
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  if (context == NULL) return NULL;
  SSL_CTX_set_min_proto_version(context, tls->version_min);
  SSL_CTX_set_verify(context, tls->unverified ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1); /* a record in one read of the socket, not in two */
  SSL_CTX_set_default_passwd_cb(context, no_passphrase);
  if (!load_authorities(tls, context, error) || !load_certificate(tls, context, error)) {
    SSL_CTX_free(context);
    context = NULL;
  }
  ERR_clear_error();
  return context;
}

/* Files that are about to be replaced may not fit together: then the former ones stay, and the next
 * connection looks again. */
static void refresh(struct tls *tls) {
  struct stamp now[PATHS];
  struct idem_error ignored;
  take_stamps(tls, now);
  if (memcmp(now, tls->stamps, sizeof now) == 0) return;
  SSL_CTX *context = create_context(tls, &ignored);
  if (context == NULL) return;
  resumption_follow(&tls->resumption, context);
  SSL_CTX_free(tls->context);
  tls->context = context;
  memcpy(tls->stamps, now, sizeof now);
}

/* ---- what is asked for ---- */

/* The host without what no certificate bears: the zone of an IPv6 address, the dot after a name. */
static void copy_host(char out[HOST_BYTES], const char *host) {
  size_t len = strlen(host);
  if (strchr(host, ':') != NULL) len = strcspn(host, "%");
  if (len > 1 && host[len - 1] == '.') len--;
  snprintf(out, HOST_BYTES, "%.*s", (int)len, host);
}

static bool copy_paths(struct tls *tls, const struct idem_options *options) {
  const char *const given[PATHS] = {options->ca_file, options->ca_dir, options->cert_file,
                                    options->key_file};
  for (int i = 0; i < PATHS; i++) {
    if (given[i] == NULL) continue;
    tls->paths[i] = strdup(given[i]);
    if (tls->paths[i] == NULL) return false;
  }
  return true;
}

static const char *check(const struct idem_options *options) {
  if (options->key_file != NULL && options->cert_file == NULL) return "key_file without cert_file";
  if (options->server_name != NULL && options->server_name[0] == '\0')
    return "an empty server_name";
  if (options->tls_version_min > IDEM_TLS_1_3) return "tls_version_min is no version of TLS";
  if (options->tls_flags & ~(unsigned)IDEM_TLS_INSECURE_ANY_CERTIFICATE)
    return "an unknown flag in tls_flags";
  return NULL;
}

static enum idem_status init(struct tls *tls, const struct idem_options *options,
                             struct idem_error *error) {
  tls->name = options->server_name != NULL ? strdup(options->server_name) : NULL;
  tls->method = stream_method();
  if ((tls->name == NULL) != (options->server_name == NULL)) return IDEM_NO_MEMORY;
  if (tls->method == NULL || !copy_paths(tls, options)) return IDEM_NO_MEMORY;
  tls->unverified = (options->tls_flags & IDEM_TLS_INSECURE_ANY_CERTIFICATE) != 0;
  tls->version_min = options->tls_version_min == IDEM_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
  take_stamps(tls, tls->stamps);
  tls->context = create_context(tls, error);
  if (tls->context != NULL) {
    resumption_follow(&tls->resumption, tls->context);
    return IDEM_OK;
  }
  return error->text[0] != '\0' ? IDEM_INVALID : IDEM_NO_MEMORY;
}

static bool init_locks(struct tls *tls) {
  if (pthread_mutex_init(&tls->lock, NULL) != 0) return false;
  if (resumption_init(&tls->resumption)) return true;
  pthread_mutex_destroy(&tls->lock);
  return false;
}

enum idem_status tls_create(struct tls **out, const struct idem_options *options,
                            struct idem_error *error) {
  const char *wrong = check(options);
  if (wrong != NULL) {
    snprintf(error->text, sizeof error->text, "%s", wrong);
    return IDEM_INVALID;
  }
  struct tls *tls = calloc(1, sizeof *tls);
  if (tls == NULL) return IDEM_NO_MEMORY;
  if (!init_locks(tls)) {
    free(tls);
    return IDEM_NO_MEMORY;
  }
  enum idem_status status = init(tls, options, error);
  if (status == IDEM_OK) {
    *out = tls;
  } else {
    tls_destroy(tls);
  }
  return status;
}

void tls_destroy(struct tls *tls) {
  if (tls == NULL) return;
  for (int i = 0; i < PATHS; i++) free(tls->paths[i]);
  free(tls->name);
  SSL_CTX_free(tls->context);
  resumption_deinit(&tls->resumption);
  BIO_meth_free(tls->method);
  pthread_mutex_destroy(&tls->lock);
  free(tls);
}

/* ---- a session ---- */

/* Asks for the name, and has it looked for in the certificate. */
static bool expect_host(SSL *ssl, const char *host) {
  char name[HOST_BYTES];
  copy_host(name, host);
  if (target_is_numeric(name)) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

struct stream *tls_begin(struct tls *tls, int fd, const struct stream_peer *peer) {
  const struct stream_peer named = {.host = tls->name};
  struct stream *stream = NULL;
  if (tls->name != NULL) peer = &named;
  pthread_mutex_lock(&tls->lock);
  refresh(tls);
  SSL *ssl = SSL_new(tls->context);
  pthread_mutex_unlock(&tls->lock);
  if (ssl != NULL && expect_host(ssl, peer->host)) {
    resumption_lend(&tls->resumption, ssl);
    stream = stream_create(ssl, tls->method, fd, peer);
  }
  if (stream == NULL) SSL_free(ssl);
  ERR_clear_error();
  return stream;
}
