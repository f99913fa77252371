/*
 * tls.h - TLS of one server: the present context, and its renewal when certificates change. A
 * renewal that fails changes nothing.
 *
 * tls_init and tls_renew while only the caller's thread runs: at the start, or with the other loops
 * paused. What they set is read by all loops.
 */
#ifndef IDEM_SERVER_NET_TLS_H
#define IDEM_SERVER_NET_TLS_H

#include <openssl/ssl.h>

#include "server/ops/log.h"
#include "server/ops/options.h"

/* Zero-filled: there is none. */
struct tls {
  SSL_CTX *context; /* NULL: no tls-port */
  uint64_t changes; /* options.tls_changes when it was made */
  int64_t ends_s;   /* unix time at which its certificate ends; 0: unknown */
  uint64_t renewals, failed_renewals;
  _Atomic unsigned handshakes; /* of all loops, that have something to go on with */
};

/* Call first in the process. OpenSSL's memory then comes from malloc as it is linked here, so that
 * tests can refuse it. */
void tls_begin(void);
/* Makes the context if the options have a tls-port. False with the reason. */
bool tls_init(struct tls *tls, const struct options *options, char error[REFUSAL_BYTES]);
void tls_deinit(struct tls *tls);
/* Reads all files again. Returns NULL, or the name of the option that was refused, with the reason.
 */
const char *tls_renew(struct tls *tls, const struct options *options, char error[REFUSAL_BYTES]);
/* Logs when the certificate ends: a warning when that is soon. now_s: unix time. */
void tls_log_end(const struct tls *tls, struct log *log, int64_t now_s);

#endif
