/* TLS under a connection of the load: the same calls as send and recv, which never block. It knows
 * no command. Sessions are not resumed: each connection pays its handshake once, before the load.
 */
#ifndef IDEM_BENCH_SECURE_H
#define IDEM_BENCH_SECURE_H

#include <openssl/ssl.h>
#include <stddef.h>
#include <sys/types.h>

struct secure_options {
  const char *host;      /* that the certificate has to bear */
  const char *ca_file;   /* NULL: the system's */
  const char *cert_file; /* NULL: none; with its key, unless key_file has that */
  const char *key_file;
  int insecure; /* takes any certificate */
};

/* What all connections share; NULL, explained on stderr. SSL_CTX_free. */
SSL_CTX *secure_context(const struct secure_options *options);

/* Shakes hands on a connected, blocking socket, which does not block any more after it. NULL,
 * explained on stderr; else SSL_free, and the socket stays the caller's. */
SSL *secure_connect(SSL_CTX *context, const struct secure_options *options, int fd);

/* As send and recv with MSG_DONTWAIT: -1 with EAGAIN when it does not go now; 0 at the end of
 * input. A send that did not go is repeated with the same bytes. secure_receive reads all that has
 * come, as far as there is room. */
ssize_t secure_send(SSL *ssl, const char *data, size_t bytes);
ssize_t secure_receive(SSL *ssl, char *data, size_t room);

#endif
