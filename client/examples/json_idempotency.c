/*
 * json_idempotency.c - a JSON endpoint that demands X-Idempotency-Key and caches its successes for
 * an hour.
 *
 *     400  no key, two, a malformed one, or not a payment
 *     409  the first one still runs after the wait (10 s, or --wait-ms); see Retry-After
 *     422  the key came before with another request
 *     2xx  kept with its headers for an hour, replayed with Idempotent-Replayed: true
 *     else not kept: callers that wait for it get it too (one failure is not run fifty times),
 *          and the next request with the key runs anew
 *     409  it may have been paid, and nobody knows: somebody has to look (--hold 1, the default)
 *     412  the key is a UUIDv7 from a time that the server may have forgotten
 *
 *     build/release/examples/json_idempotency --port 5004
 *     curl -i 127.0.0.1:5004/payments -H 'X-Idempotency-Key: 1' --json '{"amount": 5}'
 */
#include <string.h>

#include "client/examples/guard.h"

#define TTL_MS (3600 * INT64_C(1000))
#define LEASE_MS 30000
#define ROUTE "/payments"
#define CREDIT 1000000 /* a payment over it is declined */

static enum idem_work create_payment(const struct web_request *request,
                                     const struct idem_claim *claim, struct web_response *response,
                                     const struct demo *demo) {
  char payment[DEMO_ID_BYTES];
  long amount;
  if (demo_amount(request->body, request->body_len, &amount) != 0)
    return IDEM_WORK_NOTHING; /* the route has looked */
  enum idem_work work = guard_work(demo, "payment", claim);
  if (work != IDEM_WORK_DONE) return work;
  if (amount > CREDIT) {
    web_problem(response, 402, "Declined", "The card is not good for this amount.");
    return IDEM_WORK_DONE;
  }
  demo_id(payment);
  web_answer(response, 201, "application/json", "{\"payment\": \"%s\", \"amount\": %ld}\n", payment,
             amount);
  web_add_header(response, "Location", ROUTE "/%s", payment);
  return IDEM_WORK_DONE;
}

static void route(const struct web_request *request, struct web_response *response, void *context) {
  char key[REPLAY_KEY_BYTES];
  enum replay_key found = replay_key_in_header(request, "X-Idempotency-Key", key);
  long amount;
  if (strcmp(request->path, ROUTE) != 0 || strcmp(request->method, "POST") != 0) {
    web_problem(response, 404, "Not found", "There is only POST " ROUTE ".");
  } else if (found == REPLAY_NO_KEY) {
    web_problem(response, 400, "Bad request", "The header X-Idempotency-Key is required.");
  } else if (demo_amount(request->body, request->body_len, &amount) != 0) {
    web_problem(response, 400, "Bad request", "amount must be an integer.");
  } else {
    guard_handle(context, request, found, key, response);
  }
}

int main(int argc, char **argv) {
  struct demo demo = {.port = 5004, .lease_ms = LEASE_MS, .wait_ms = 10000, .hold = 1};
  demo_options(&demo, argc, argv);
  struct guard guard = {.demo = &demo,
                        .name = "json",
                        .route = ROUTE,
                        .view = create_payment,
                        .lease_ms = demo.lease_ms,
                        .wait_ms = demo.wait_ms,
                        .ttl_ms = TTL_MS,
                        .busy_status = 409,
                        .keeps_successes = 1};
  return guard_serve(&guard, route);
}
