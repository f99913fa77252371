/*
 * tls_context.h - what connections over TLS share of OpenSSL, made from the options: certificates,
 * key, versions, ciphers. Made anew for new certificates; a connection keeps the one that it began
 * with.
 *
 * Knows no connections, and no stream.
 */
#ifndef IDEM_SERVER_NET_TLS_CONTEXT_H
#define IDEM_SERVER_NET_TLS_CONTEXT_H

#include <openssl/ssl.h>

#include "server/ops/options.h"

/* NULL with the reason, and in *option the name of the one that it is about. Else what is to be
 * warned of, or "": that others can read the key. Reads files. */
SSL_CTX *tls_context_create(const struct options *options, const char **option,
                            char error[REFUSAL_BYTES], char warning[REFUSAL_BYTES]);
void tls_context_destroy(SSL_CTX *context);
/* When the certificate of the server ends, unix time in seconds; 0: unknown. */
int64_t tls_context_ends_s(const SSL_CTX *context);

#endif
