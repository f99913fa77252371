/*
 * tls.h - TLS below a hiredis connection, where hiredis has it (1.x, built with IDEM_TLS);
 * elsewhere a clear refusal.
 *
 * Certificates are checked against the authorities and against the name of the host. hiredis' own
 * setup does only the former, which is why the SSL object is made here.
 */
#ifndef IDEM_CLIENT_TLS_H
#define IDEM_CLIENT_TLS_H

#include <hiredis/hiredis.h>

#include "client/idem.h"

struct tls;

/* IDEM_OK, IDEM_REFUSED (not in this build), IDEM_INVALID (a file cannot be used) or
 * IDEM_NO_MEMORY. */
enum idem_status tls_create(struct tls **tls, const struct idem_options *options,
                            struct idem_error *error);
/* NULL is fine. */
void tls_destroy(struct tls *tls);
/* Puts TLS below a connected context: the handshake is done (blocking context) or begun. IDEM_OK,
 * UNAVAILABLE, or REFUSED: the peer speaks no TLS, or has not the certificate; error says why. */
enum idem_status tls_start(struct tls *tls, redisContext *context, const char *host,
                           struct idem_error *error);
/* A handshake that was only begun goes on inside hiredis. Before hiredis reads or writes: */
void tls_expect_errors(void);
/* ... and after that ended the connection before a reply came: REFUSED when it was OpenSSL that
 * disliked what the peer said, with IDEM_MESSAGE_BYTES at `why`; else UNAVAILABLE, `why` is left.
 */
enum idem_status tls_explain_end(const char *host, char *why);

#endif
