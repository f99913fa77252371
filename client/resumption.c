/* resumption.c - see resumption.h. */
#include "client/resumption.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

bool resumption_init(struct resumption *resumption) {
  *resumption = (struct resumption){.context = NULL};
  return pthread_mutex_init(&resumption->lock, NULL) == 0;
}

static void drop(struct resumption_kept kept) {
  SSL_SESSION_free(kept.session);
  OPENSSL_free(kept.peer);
}

void resumption_deinit(struct resumption *resumption) {
  drop(resumption->last);
  pthread_mutex_destroy(&resumption->lock);
}

/* The former one is dropped by the caller. */
static struct resumption_kept replace(struct resumption *resumption, struct resumption_kept kept) {
  struct resumption_kept former = resumption->last;
  resumption->last = kept;
  return former;
}

/* Owned by the caller; NULL: no memory. */
static char *expected_of(const SSL *ssl) {
  X509_VERIFY_PARAM *expected = SSL_get0_param((SSL *)(uintptr_t)ssl);
  const char *name = X509_VERIFY_PARAM_get0_host(expected, 0);
  return name != NULL ? OPENSSL_strdup(name) : X509_VERIFY_PARAM_get1_ip_asc(expected);
}

/* OpenSSL is in the middle of a call: it must not find an error in the thread's queue. */
static SSL_SESSION *copy(const SSL_SESSION *session) {
  ERR_set_mark();
  SSL_SESSION *made = SSL_SESSION_dup((SSL_SESSION *)(uintptr_t)session);
  ERR_pop_to_mark();
  return made;
}

static void keep(const SSL *ssl, const SSL_SESSION *session) {
  const SSL_CTX *context = SSL_get_SSL_CTX(ssl);
  struct resumption *resumption = SSL_CTX_get_app_data(context);
  struct resumption_kept unwanted = {copy(session), expected_of(ssl)};
  pthread_mutex_lock(&resumption->lock);
  bool fits = context == resumption->context && unwanted.peer != NULL;
  if (fits) unwanted = replace(resumption, unwanted);
  pthread_mutex_unlock(&resumption->lock);
  drop(unwanted);
}

/* Told of TLS 1.2 in the handshake, and of each ticket of TLS 1.3. 0: the session stays OpenSSL's.
 */
static int on_session(SSL *ssl, SSL_SESSION *session) {
  keep(ssl, session);
  return 0;
}

/* A session of TLS 1.2 that was resumed is no new one. */
static void on_progress(const SSL *ssl, int where, int value) {
  (void)value;
  if ((where & SSL_CB_HANDSHAKE_DONE) == 0 || SSL_version(ssl) >= TLS1_3_VERSION) return;
  if (SSL_session_reused(ssl)) keep(ssl, SSL_get_session(ssl));
}

void resumption_follow(struct resumption *resumption, SSL_CTX *context) {
  SSL_CTX_set_app_data(context, resumption);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, on_session);
  SSL_CTX_set_info_callback(context, on_progress);
  pthread_mutex_lock(&resumption->lock);
  resumption->context = context;
  struct resumption_kept former = replace(resumption, (struct resumption_kept){NULL, NULL});
  pthread_mutex_unlock(&resumption->lock);
  drop(former);
}

void resumption_lend(struct resumption *resumption, SSL *ssl) {
  struct resumption_kept lent = {NULL, NULL};
  char *peer = expected_of(ssl);
  pthread_mutex_lock(&resumption->lock);
  const char *kept = resumption->last.peer;
  bool fits = SSL_get_SSL_CTX(ssl) == resumption->context && kept != NULL && peer != NULL &&
              strcmp(kept, peer) == 0;
  if (fits) lent = replace(resumption, lent);
  pthread_mutex_unlock(&resumption->lock);
  OPENSSL_free(peer);
  if (lent.session != NULL) (void)SSL_set_session(ssl, lent.session); /* or a whole handshake */
  drop(lent);
}
