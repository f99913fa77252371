/*
 * adopted_body.h - a large body that a STORE takes over instead of copying it: bytes from malloc,
 * exactly ADOPTED_BODY_HEAD_BYTES for the engine and then those of the body.
 *
 *     bytes -> [head][body................]      becomes a blob (blob.h) as it lies
 */
#ifndef IDEM_SERVER_ENGINE_ADOPTED_BODY_H
#define IDEM_SERVER_ENGINE_ADOPTED_BODY_H

#define ADOPTED_BODY_HEAD_BYTES 8u
#define ADOPTED_BODY_LEAST_BYTES 8192u /* of the body: a smaller one lies with others */

struct blob;

struct adopted_body {
  char *bytes;        /* the caller's, until `taken` is set */
  struct blob *taken; /* set when the engine has taken the bytes over: the caller releases this
                         (pin.h), and does not free the bytes */
};

#endif
