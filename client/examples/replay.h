/*
 * replay.h - what a replay needs to know of HTTP: the caller's key, the fingerprint of a request,
 * and what is kept of a response. The C sibling of idem_http.py.
 *
 * It knows no claim and no server. Rules: one request has one key (several, an empty or a malformed
 * one is an error, never "no key"); requests that differ in method, path, query or body differ in
 * their fingerprints; what belongs to one caller or one connection is not kept.
 */
#ifndef IDEM_EXAMPLES_REPLAY_H
#define IDEM_EXAMPLES_REPLAY_H

#include <idem.h>

#include "client/examples/web.h"

#define REPLAY_KEY_LIMIT 255 /* characters of a caller's key; as Stripe has it */
#define REPLAY_KEY_BYTES (REPLAY_KEY_LIMIT + 1)

enum replay_key {
  REPLAY_NO_KEY,
  REPLAY_ONE_KEY, /* `key` has it, visible ASCII with a NUL after it */
  REPLAY_BAD_KEY  /* to be answered with 400: its sender wanted protection */
};

/* Of a header that has the key quoted ("k", as in the IETF draft) or bare (k): the same key. */
enum replay_key replay_key_in_header(const struct web_request *request, const char *name,
                                     char key[REPLAY_KEY_BYTES]);
/* Of a form or a query; of both: BAD. */
enum replay_key replay_key_in_fields(const struct web_request *request, const char *name,
                                     char key[REPLAY_KEY_BYTES]);

/* When the request was born, unix ms: a UUIDv7 says it. 0: another key, or a time in the future,
 * which is a wrong clock's. */
int64_t replay_born(const char *key);

/*
 * Over the raw bytes: a client that retries sends what it sent. Two exceptions: the boundary of a
 * multipart body is new whenever a form is sent again, so it does not count; and neither do fields
 * named key_field (NULL: none), which carry the key. 0, or -1 without memory.
 */
int replay_fingerprint(const struct web_request *request, const char *key_field,
                       struct idem_fingerprint *out);

/* Whether a response with this status is for later requests, too. Else callers that wait get it and
 * the next request runs: 5xx, and those of the table in replay.c. */
int replay_keeps(int status);

/* Status and headers as one text, to be kept beside the body, without those of the table in
 * replay.c. malloc'd; NULL without memory, and for a response that is broken. */
char *replay_head(const struct web_response *response);
/* Makes the response from what is stored, or a 410 when replay_head has not made that. */
void replay_restore(struct web_response *response, const struct idem_answer *answer);

#endif
