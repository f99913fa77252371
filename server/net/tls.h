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

#include "server/commands/instance.h"

/* Zero-filled: there is none. */
struct tls {
  SSL_CTX *context; /* NULL: no tls-port */
  uint64_t changes; /* options.tls_changes when it was made */
  struct instance_tls *figures;
  struct log *log;
};

/* Call first in the process. OpenSSL's memory then comes from malloc as it is linked here, so that
 * tests can refuse it. */
void tls_begin(void);
/* Makes the context if the options have a tls-port. False with the reason. The others are borrowed.
 */
bool tls_init(struct tls *tls, const struct options *options, struct instance_tls *figures,
              struct log *log, char error[REFUSAL_BYTES]);
void tls_deinit(struct tls *tls);
/* Reads all files again, if there is a tls-port. Returns NULL, or the name of the option that was
 * refused, with the reason. */
const char *tls_renew(struct tls *tls, const struct options *options, char error[REFUSAL_BYTES]);
/* The same if CONFIG SET has changed one of the options; else nothing. */
const char *tls_follow(struct tls *tls, const struct options *options, char error[REFUSAL_BYTES]);

#endif
