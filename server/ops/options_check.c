/* options_check.c - see options_check.h. */
#include "server/ops/options_check.h"

#include <string.h>

#include "server/ops/options_bind.h"

/* ---- addresses ---- */

static bool refuse_stranger(struct span address, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  return refusal_write(
      error,
      "other machines can reach bind %s and there is no password: set requirepass in a "
      "configuration file (chmod 600) or requirepass-file, or bind 127.0.0.1 only, or set "
      "insecure yes",
      refusal_show(address, shown));
}

static bool refuse_plain(const struct options *options, struct span address,
                         char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  return refusal_write(
      error,
      "other machines can reach bind %s, where port %lld speaks without TLS: set tls-port, "
      "tls-cert-file and tls-key-file, and port 0; or bind 127.0.0.1 only, or set insecure plain",
      refusal_show(address, shown), (long long)options->port);
}

static bool check_address(const struct options *options, struct span address,
                          char error[REFUSAL_BYTES]) {
  if (options_bind_is_loopback(address) || options->insecure == OPTIONS_INSECURE_YES) return true;
  if (!options_need_password(options)) return refuse_stranger(address, error);
  if (options_listen_plain(options) && options->insecure == OPTIONS_INSECURE_NO)
    return refuse_plain(options, address, error);
  return true;
}

static bool check_listeners(const struct options *options, char error[REFUSAL_BYTES]) {
  const char *cursor = options->bind;
  struct span address;
  bool any = false;
  while (options_bind_next(&cursor, &address)) {
    any = true;
    if (!check_address(options, address, error)) return false;
  }
  if (any || options->unixsocket[0] != '\0') return true;
  return refusal_write(error, "nothing to listen on: bind is empty and there is no unixsocket");
}

/* ---- TLS ---- */

static bool refuse_version(struct span word, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  return refusal_write(error,
                       "bad value '%s' in tls-protocols: expected TLSv1.2, TLSv1.3, or both with a "
                       "blank between them",
                       refusal_show(word, shown));
}

bool options_check_tls_versions(const struct options *options,
                                struct options_tls_versions *versions, char error[REFUSAL_BYTES]) {
  *versions = (struct options_tls_versions){false, false};
  for (const char *at = options->tls_protocols + strspn(options->tls_protocols, " ");
       *at != '\0';) {
    struct span word = {at, strcspn(at, " ")};
    bool is_1_2 = span_is(word, "TLSv1.2"), is_1_3 = span_is(word, "TLSv1.3");
    if (!is_1_2 && !is_1_3) return refuse_version(word, error);
    versions->v1_2 |= is_1_2;
    versions->v1_3 |= is_1_3;
    at += word.len;
    at += strspn(at, " ");
  }
  return versions->v1_2 || versions->v1_3 || refuse_version(SPAN_LITERAL(""), error);
}

static bool check_files(const struct options *options, char error[REFUSAL_BYTES]) {
  bool has_ca = options->tls_ca_cert_file[0] != '\0' || options->tls_ca_cert_dir[0] != '\0';
  if (options->tls_cert_file[0] == '\0')
    return refusal_write(error, "tls-port needs tls-cert-file, the certificate of the server");
  if (options->tls_key_file[0] == '\0')
    return refusal_write(error, "tls-port needs tls-key-file, the key of its certificate");
  if (options->tls_auth_clients == OPTIONS_TLS_AUTH_CLIENTS_NO || has_ca) return true;
  return refusal_write(error,
                       "tls-auth-clients asks clients for a certificate: set tls-ca-cert-file or "
                       "tls-ca-cert-dir, by which it is checked, or tls-auth-clients no");
}

static bool check_tls(const struct options *options, char error[REFUSAL_BYTES]) {
  struct options_tls_versions versions;
  if (!options_check_tls_versions(options, &versions, error)) return false;
  if (options->tls_port == 0) return true;
  if (options->tls_port == options->port)
    return refusal_write(error, "port and tls-port are both %lld: each needs a port of its own",
                         (long long)options->port);
  if (options->bind[0] == '\0')
    return refusal_write(error, "tls-port needs an address to listen on, and bind is empty");
  return check_files(options, error);
}

/* ---- the whole ---- */

/* Only numbers are compared here, so their shown form is the plain one. */
static bool refuse_order(const char *low, int64_t low_value, const char *high, int64_t high_value,
                         char error[REFUSAL_BYTES]) {
  return refusal_write(error,
                       "%s (%lld) is more than %s (%lld): lower the first or raise the second", low,
                       (long long)low_value, high, (long long)high_value);
}

bool options_check(const struct options *options, char error[REFUSAL_BYTES]) {
  if (options->limits.lease_ms > options->limits.lease_max_ms) {
    return refuse_order("lease", options->limits.lease_ms, "lease-max",
                        options->limits.lease_max_ms, error);
  }
  if (options->limits.ttl_ms > options->limits.ttl_max_ms) {
    return refuse_order("ttl", options->limits.ttl_ms, "ttl-max", options->limits.ttl_max_ms,
                        error);
  }
  if (options->waiters_per_key > options->waiters_total) {
    return refuse_order("waiters-per-key", options->waiters_per_key, "waiters-total",
                        options->waiters_total, error);
  }
  if (__builtin_popcountll((uint64_t)options->horizon_slots) != 1) {
    return refusal_write(error, "horizon-slots (%lld) is not a power of two",
                         (long long)options->horizon_slots);
  }
  if (options->appendonly == OPTIONS_APPENDONLY_YES && options->dir[0] == '\0') {
    return refusal_write(error, "appendonly yes needs dir, the directory of the journal");
  }
  return check_tls(options, error) && check_listeners(options, error);
}
