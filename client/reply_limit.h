/*
 * reply_limit.h - how large a reply hiredis may build. Version 0.14 takes any: `*2147483647` alone
 * makes it allocate 16 GB and walk through all of them to free them again.
 *
 * It stands in the reader's table of functions: hiredis asks it before each object.
 *
 * Invariant: an object is built only while the reply that it belongs to is within the limits.
 */
#ifndef IDEM_CLIENT_REPLY_LIMIT_H
#define IDEM_CLIENT_REPLY_LIMIT_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "client/idem.h"

/* Fields of an array. idem's own have at most 6; a later server may say more. */
#define REPLY_LIMIT_ELEMENTS_MAX 64
/* Objects of one reply, arrays inside of arrays included. */
#define REPLY_LIMIT_OBJECTS_MAX 256

struct reply_limit {
  redisReplyObjectFunctions functions, *builder; /* in the reader; what builds */
  size_t bytes_max, bytes;                       /* of all strings of one reply */
  unsigned objects;
  bool exceeded; /* the reader is of no further use */
};

/* Puts the limit into a reader, which it must outlive. */
void reply_limit_init(struct reply_limit *limit, redisReader *reader, size_t bytes_max);
/* True when what has come so far is too much; a string that is still growing counts. */
bool reply_limit_exceeded(const struct reply_limit *limit, const redisReader *reader);
/* Why a connection is of no further use: REFUSED (this is no idem server, or a reply over the
 * limit), NO_MEMORY, or UNAVAILABLE when it is not for the reader, for which `why` is left as it
 * is. `why` has IDEM_MESSAGE_BYTES. */
enum idem_status reply_limit_explain_end(const struct reply_limit *limit, const redisReader *reader,
                                         char *why);

#endif
