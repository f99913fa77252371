/* resumption.c - see resumption.h. */
#include "client/resumption.h"

#include <openssl/err.h>

bool resumption_init(struct resumption *resumption) {
  *resumption = (struct resumption){.last = NULL};
  return pthread_mutex_init(&resumption->lock, NULL) == 0;
}

void resumption_deinit(struct resumption *resumption) {
  SSL_SESSION_free(resumption->last);
  pthread_mutex_destroy(&resumption->lock);
}

/* The former one is freed by the caller. */
static SSL_SESSION *replace(struct resumption *resumption, SSL_SESSION *session) {
  SSL_SESSION *former = resumption->last;
  resumption->last = session;
  return former;
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
  SSL_SESSION *unwanted = copy(session);
  pthread_mutex_lock(&resumption->lock);
  if (context == resumption->context) unwanted = replace(resumption, unwanted);
  pthread_mutex_unlock(&resumption->lock);
  SSL_SESSION_free(unwanted);
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
  SSL_SESSION *former = replace(resumption, NULL);
  pthread_mutex_unlock(&resumption->lock);
  SSL_SESSION_free(former);
}

void resumption_lend(struct resumption *resumption, SSL *ssl) {
  pthread_mutex_lock(&resumption->lock);
  bool fits = SSL_get_SSL_CTX(ssl) == resumption->context;
  SSL_SESSION *session = fits ? replace(resumption, NULL) : NULL;
  pthread_mutex_unlock(&resumption->lock);
  if (session == NULL) return;
  (void)SSL_set_session(ssl, session); /* without it the handshake is a whole one */
  SSL_SESSION_free(session);
}
