/*
 * request_claims.h - what CLAIMS asks: arguments -> struct request_claims.
 *
 * Its options are of other kinds than those of the commands in request.h: a state, a prefix, a
 * position. Pure, as request.h; the errors that both can make have the same texts.
 */
#ifndef IDEM_SERVER_RULES_REQUEST_CLAIMS_H
#define IDEM_SERVER_RULES_REQUEST_CLAIMS_H

#include "server/rules/request.h"
#include "server/rules/rules.h"

#define REQUEST_CLAIMS_COUNT 100 /* unless told otherwise */
#define REQUEST_CLAIMS_COUNT_MAX 10000

struct request_claims {
  enum rules_phase phase; /* RULES_ABSENT: any */
  struct span prefix;     /* of the key's text; absent: any. Borrowed */
  int64_t older_ms;       /* the least age */
  uint64_t after;         /* the token after which to begin */
  unsigned count;
};

/* false: the arguments are wrong, `error` has the text to reply, and the request is undefined. The
 * first error counts, from left to right. */
bool request_claims_parse(const struct request_input *input, struct request_claims *claims,
                          char error[REQUEST_ERROR_BYTES]);
/* As request_limit. */
size_t request_claims_limit(const struct request_limits *limits, const struct span *argv,
                            size_t index);

#endif
