/*
 * digest.h - SHA-256 of passwords: what is kept of one, and how two are compared.
 *
 * Of OpenSSL it uses libcrypto only. A password is hashed once, without salt, as Redis does, so
 * that its files can be used here; who can read the digest of a weak password can guess it.
 */
#ifndef IDEM_SERVER_OPS_DIGEST_H
#define IDEM_SERVER_OPS_DIGEST_H

#include <stdbool.h>

#include "proto/span.h"

#define DIGEST_BYTES 32u
#define DIGEST_HEX (2 * DIGEST_BYTES)

struct digest {
  unsigned char bytes[DIGEST_BYTES];
};

/* False: the library refused. */
bool digest_of(struct span text, struct digest *digest);
/* 64 lower-case hexadecimal digits, without a NUL. */
void digest_text(const struct digest *digest, char text[DIGEST_HEX]);
/* False: not 64 digits of lower case, as Redis wants them. */
bool digest_parse(struct span text, struct digest *digest);
/* In a time that does not depend on the bytes. */
bool digest_equal(const struct digest *a, const struct digest *b);

#endif
