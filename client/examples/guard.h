/*
 * guard.h - a view that runs once for a key: the one call idem_once, with HTTP on both sides. The C
 * sibling of idem_flask.py.
 *
 * Rules: the view runs only under a claim (no answer from idem is a 503, never "just run it"); what
 * is kept is the whole response as the client gets it; a view that fails gives the claim back.
 */
#ifndef IDEM_EXAMPLES_GUARD_H
#define IDEM_EXAMPLES_GUARD_H

#include <idem.h>

#include "client/examples/demo.h"
#include "client/examples/web.h"

#define GUARD_KEY_LIMIT 255 /* bytes of a caller's key; longer ones are answered with 400 */

/* Fills the response. Nonzero: it did not happen, and the next request may run it at once. claim:
 * NULL when there was no key. */
typedef int guard_view(const struct web_request *request, const struct idem_claim *claim,
                       struct web_response *response, const struct demo *demo);

struct guard {
  struct idem_client *client;
  const struct demo *demo;
  const char *name; /* begins the keys, so that two applications can share a server */
  guard_view *view;
  int64_t lease_ms;
  int64_t wait_ms; /* how long a duplicate waits for the first; IDEM_NO_WAIT: not at all */
  int64_t ttl_ms;
  int busy_status;     /* when it still runs after that: 408 or 409 */
  int compares;        /* 1: 422 when the key comes back with another request */
  int keeps_successes; /* 1: only 2xx are kept; 0: everything below 500. The rest goes to those who
                          wait and to no one else */
};

/* key is what the caller chose; NULL: the view runs unguarded. */
void guard_handle(const struct guard *guard, const struct web_request *request, const char *key,
                  struct web_response *response);

/* Opens the client, serves `route` with `guard` as its context, closes. The exit status. */
int guard_serve(struct guard *guard, web_handler *route);

#endif
