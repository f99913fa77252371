/*
 * ping_tls.h - TLS for `idem-server --ping`: blocking, on a connected socket.
 *
 * Its own certificate is that of the options, if they name one: a server with tls-auth-clients asks
 * for it, and most often takes its own.
 */
#ifndef IDEM_SERVER_NET_PING_TLS_H
#define IDEM_SERVER_NET_PING_TLS_H

#include <openssl/ssl.h>

#include "server/net/ping_target.h"

struct ping_tls {
  SSL_CTX *context;
  SSL *connection;
};

/* Shakes hands. False with the reason; ping_tls_close in any case. target->verifies: the
 * certificate has to be of the target's name, and signed by tls-ca-cert-file, or by who the system
 * trusts. */
bool ping_tls_open(struct ping_tls *tls, int fd, const struct ping_target *target,
                   const struct options *options, char error[REFUSAL_BYTES]);
void ping_tls_close(struct ping_tls *tls);

#endif
