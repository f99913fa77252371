/*
 * guard.h - a view that runs once for a key: the one call idem_once, with HTTP on both sides. The C
 * sibling of idem_flask.py.
 *
 * Rules: the view runs only under a claim (no answer from idem is a 503, never "just run it"); a
 * response is sent after it is stored; only a view that knows that it has done nothing says so,
 * any other failure, and an answer of 500 and more, is unsure: those who wait get that answer, a
 * later request is told that it is not the first attempt, or with --hold 1 nobody runs it before
 * somebody has looked; who asks, method and route are part of the record's key.
 */
#ifndef IDEM_EXAMPLES_GUARD_H
#define IDEM_EXAMPLES_GUARD_H

#include <idem.h>

#include "client/examples/demo.h"
#include "client/examples/replay.h"
#include "client/examples/web.h"

/* Fills the response (DONE), or leaves it empty: NOTHING is for what has certainly done nothing.
 * claim: NULL when there was no key. */
typedef enum idem_work guard_view(const struct web_request *request, const struct idem_claim *claim,
                                  struct web_response *response, const struct demo *demo);
/* demo_work as a part of a view. */
enum idem_work guard_work(const struct demo *demo, const char *what,
                          const struct idem_claim *claim);

struct guard {
  struct idem_client *client;
  const struct demo *demo;
  const char *name;  /* begins the keys, so that two applications can share a server */
  const char *route; /* of the view, as a pattern: "/items/NAME". Its key is not another route's */
  guard_view *view;
  int64_t lease_ms;
  int64_t wait_ms; /* how long a duplicate waits for the first; IDEM_NO_WAIT: not at all */
  int64_t ttl_ms;
  int busy_status;       /* when it still runs after that: 408 or 409 */
  const char *key_field; /* of a form or query: where the key is. It is no part of the request that
                            is compared (422 when the key comes back with another). NULL: none */
  int keeps_successes;   /* 1: only 2xx are kept; 0: what replay_keeps. The rest goes to those who
                            wait and to no one else */
};

/* key is what the caller chose, of which `found` tells. Without one the view runs unguarded. */
void guard_handle(const struct guard *guard, const struct web_request *request,
                  enum replay_key found, const char *key, struct web_response *response);

/* Opens the client, serves `route` with `guard` as its context, closes. The exit status. */
int guard_serve(struct guard *guard, web_handler *route);

#endif
