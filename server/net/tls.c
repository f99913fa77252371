/* tls.c - see tls.h. */
#include "server/net/tls.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "server/net/tls_context.h"

#define DAY_S 86400
/* From so many days before its end on, the log warns of it at each start and reload. */
#define SOON_DAYS 14

static void *take(size_t bytes, const char *file, int line) {
  (void)file;
  (void)line;
  return malloc(bytes);
}

static void *resize(void *piece, size_t bytes, const char *file, int line) {
  (void)file;
  (void)line;
  if (bytes > 0) return realloc(piece, bytes);
  free(piece);
  return NULL;
}

static void give(void *piece, const char *file, int line) {
  (void)file;
  (void)line;
  free(piece);
}

void tls_begin(void) { CRYPTO_set_mem_functions(take, resize, give); }

static void use(struct tls *tls, SSL_CTX *context) {
  tls_context_destroy(tls->context); /* connections have it as long as they live */
  tls->context = context;
  tls->ends_s = tls_context_ends_s(context);
}

bool tls_init(struct tls *tls, const struct options *options, char error[REFUSAL_BYTES]) {
  const char *option;
  if (options->tls_port == 0) return true;
  SSL_CTX *context = tls_context_create(options, &option, error);
  if (context == NULL) return false;
  tls->changes = options->tls_changes;
  use(tls, context);
  return true;
}

void tls_deinit(struct tls *tls) {
  tls_context_destroy(tls->context);
  tls->context = NULL;
}

const char *tls_renew(struct tls *tls, const struct options *options, char error[REFUSAL_BYTES]) {
  const char *option;
  tls->changes = options->tls_changes;
  SSL_CTX *context = tls_context_create(options, &option, error);
  if (context == NULL) {
    tls->failed_renewals++;
    return option;
  }
  tls->renewals++;
  use(tls, context);
  return NULL;
}

void tls_log_end(const struct tls *tls, struct log *log, int64_t now_s) {
  int64_t days = (tls->ends_s - now_s) / DAY_S;
  if (tls->ends_s == 0) return;
  if (tls->ends_s <= now_s) {
    log_line(log, LOG_LEVEL_WARNING, "TLS: the certificate has ended: clients will refuse it");
  } else {
    log_line(log, days < SOON_DAYS ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE,
             "TLS: the certificate ends in %lld days", (long long)days);
  }
}
