/* tls.c - see tls.h. */
#include "server/net/tls.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "server/base/clock.h"
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

/* ---- certificates ---- */

/* A warning when it ends soon. */
static void log_end(const struct tls *tls, int64_t ends_s) {
  int64_t left_s = ends_s - clock_wall_ns() / 1000000000, days = left_s / DAY_S;
  if (ends_s == 0) return;
  if (left_s <= 0) {
    log_line(tls->log, LOG_LEVEL_WARNING, "TLS: the certificate has ended: clients will refuse it");
  } else {
    log_line(tls->log, days < SOON_DAYS ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE,
             "TLS: the certificate ends in %lld days", (long long)days);
  }
}

/* Returns NULL, or the option that was refused. */
static const char *make(struct tls *tls, const struct options *options, char error[REFUSAL_BYTES]) {
  const char *option;
  char warning[REFUSAL_BYTES];
  SSL_CTX *context = tls_context_create(options, &option, error, warning);
  tls->changes = options->tls_changes;
  if (context == NULL) return option;
  tls_context_destroy(tls->context); /* connections have it as long as they live */
  tls->context = context;
  tls->figures->ends_s = tls_context_ends_s(context);
  log_end(tls, tls->figures->ends_s);
  if (warning[0] != '\0') log_line(tls->log, LOG_LEVEL_WARNING, "TLS: %s", warning);
  return NULL;
}

bool tls_init(struct tls *tls, const struct options *options, struct instance_tls *figures,
              struct log *log, char error[REFUSAL_BYTES]) {
  *tls = (struct tls){.figures = figures, .log = log};
  figures->port = options->tls_port;
  return options->tls_port == 0 || make(tls, options, error) == NULL;
}

void tls_deinit(struct tls *tls) {
  tls_context_destroy(tls->context);
  tls->context = NULL;
}

const char *tls_renew(struct tls *tls, const struct options *options, char error[REFUSAL_BYTES]) {
  if (tls->context == NULL) return NULL;
  const char *refused = make(tls, options, error);
  tls->figures->renewals += refused == NULL;
  tls->figures->failed_renewals += refused != NULL;
  return refused;
}

const char *tls_follow(struct tls *tls, const struct options *options, char error[REFUSAL_BYTES]) {
  if (tls->changes == options->tls_changes) return NULL;
  const char *refused = tls_renew(tls, options, error);
  if (refused != NULL)
    log_line(tls->log, LOG_LEVEL_WARNING, "CONFIG SET: TLS stays as it was: %s", error);
  return refused;
}
