/*
 * http.c - a payment service with one idempotent POST, as the IETF draft
 * (draft-ietf-httpapi-idempotency-key-header) and Stripe have it.
 *
 *     POST /payments   Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"   {"amount": 5}
 *
 *     400  the key is missing or malformed, there are two, or the request makes no sense
 *     201  paid; with Idempotent-Replayed: true when that was a request before this one
 *     409  the first request with this key still runs: Retry-After says when to ask again
 *     409  without Retry-After: it is unknown whether it was paid, somebody has to look (--hold 1)
 *     410  it has run, but what is stored is not a response of this program
 *     412  the key is a UUIDv7 from a time that the server may have forgotten
 *     422  the key was used for a different request
 *     500  the payment may have been made
 *     502  idem refuses (a wrong password): it is not made
 *     503  it is unknown whether the payment was made: it is not made now
 *
 * Here the steps are taken one by one (idem_begin, idem_finish, idem_abandon); guard.c has them in
 * one call (idem_once).
 *
 *     build/release/examples/http --port 8080
 *     curl -i 127.0.0.1:8080/payments -H 'Idempotency-Key: "1"' --json '{"amount": 5}'
 */
#include <idem.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/examples/demo.h"
#include "client/examples/replay.h"
#include "client/examples/web.h"

#define TTL_MS (24 * 3600 * INT64_C(1000)) /* Stripe's: a retry after that is a new payment */
#define LEASE_MS 15000                     /* a process that died is replaced after so long */

struct service {
  struct idem_client *client;
  struct demo demo;
};

/* For this account and this endpoint: callers must not meet in each other's keys. */
struct key {
  char bytes[IDEM_KEY_LIMIT];
  size_t len;
  int64_t born_unix_ms;
};

/* 0, or it has answered. */
static int find_key(const struct web_request *request, struct web_response *response,
                    struct key *key) {
  char own[REPLAY_KEY_BYTES];
  enum replay_key found = replay_key_in_header(request, "Idempotency-Key", own);
  if (found == REPLAY_NO_KEY) {
    web_problem(response, 400, "Idempotency-Key is missing",
                "A payment requires the header Idempotency-Key.");
    return -1;
  }
  if (found == REPLAY_BAD_KEY) {
    web_problem(response, 400, "Idempotency-Key is malformed",
                "There has to be one, a quoted string of 1 to 255 characters.");
    return -1;
  }
  /* X-Account stands for what your authentication has found out. */
  if (idem_key_http(idem_text(web_header(request, "X-Account")), idem_text(request->method),
                    idem_text(request->path), idem_text(own), key->bytes, sizeof key->bytes,
                    &key->len) != IDEM_OK) {
    web_problem(response, 400, "Idempotency-Key is too long", "Account and key are too long.");
    return -1;
  }
  key->born_unix_ms = replay_born(own);
  return 0;
}

static enum idem_status store(struct idem_claim *claim, const struct web_response *response,
                              int uncached) {
  char *head = replay_head(response);
  struct idem_result result = {.body = idem_data(response->body, response->body_len),
                               .meta = idem_text(head),
                               .ttl_ms = uncached ? 0 : TTL_MS,
                               .uncached = uncached};
  enum idem_status status = head != NULL ? idem_finish(claim, &result) : IDEM_NO_MEMORY;
  free(head);
  return status;
}

/* What stands in the response is kept for the retries. */
static void keep(struct idem_claim *claim, const struct web_response *response) {
  enum idem_status status = store(claim, response, 0);
  if (status != IDEM_OK) {
    /* The payment is made and the customer hears so. After the lease the key is UNKNOWN: an
     * operator has to look. (With --hold 0 a retry pays again, unless what pays refuses it, by the
     * fencing token or by a key of its own.) */
    fprintf(stderr, "payment made, but NOT kept: %s %s\n", idem_status_name(status),
            idem_claim_message(claim));
  }
}

/* It has certainly not happened, so the next request may try again at once. */
static void give_up(struct idem_claim *claim, struct web_response *response) {
  if (idem_abandon(claim, IDEM_RELEASE_NOTHING) != IDEM_OK)
    fprintf(stderr, "not given back, the lease runs on\n");
  web_problem(response, 503, "Not paid", "The payment could not be made. Try again.");
  web_add_header(response, "Retry-After", "1");
}

/* A time-out of what pays is no proof that it did not. Whoever waits for this payment (here nobody
 * does) gets the same answer, and does not try to pay. */
static void admit(struct idem_claim *claim, struct web_response *response) {
  web_problem(response, 500, "Internal error", "The payment may have been made.");
  if (store(claim, response, IDEM_RELEASE_UNSURE) != IDEM_OK)
    fprintf(stderr, "not told: the lease runs on\n");
}

static void pay(const struct service *service, struct idem_claim *claim, long amount,
                struct web_response *response) {
  char id[DEMO_ID_BYTES];
  demo_id(id);
  switch (
      demo_work(&service->demo, "payment", idem_claim_token(claim), idem_claim_attempt(claim))) {
    case DEMO_DONE: break;
    case DEMO_DID_NOTHING: give_up(claim, response); return;
    default: admit(claim, response); return;
  }
  web_answer(response, 201, "application/json", "{\"payment\": \"%s\", \"amount\": %ld}\n", id,
             amount);
  web_add_header(response, "Location", "/payments/%s", id);
  keep(claim, response);
}

static void answer_without_paying(const struct idem_answer *answer, struct web_response *response) {
  switch (answer->status) {
    case IDEM_REPLAY: replay_restore(response, answer); return;
    case IDEM_BUSY:
      web_problem(response, 409, "A request is outstanding",
                  "The first request with this key still runs.");
      /* Not the rest of its lease, which is the time to wait should it have died: it is likely to
       * be done soon. */
      web_add_header(response, "Retry-After", "1");
      return;
    case IDEM_UNKNOWN:
      web_problem(response, 409, "Outcome unknown",
                  "This payment may have been made. Somebody has to look.");
      return;
    case IDEM_FORGOTTEN:
      web_problem(response, 412, "Too old",
                  "This payment may have been made already: its response may be forgotten.");
      return;
    case IDEM_MISMATCH:
      web_problem(response, 422, "Idempotency-Key is already used",
                  "This key was used for a different request.");
      return;
    case IDEM_UNAVAILABLE:
    case IDEM_NO_MEMORY:
      web_problem(response, 503, "Unavailable",
                  "Cannot tell whether this payment was made; it was not made now.");
      web_add_header(response, "Retry-After", "%" PRId64, answer->retry_after_ms / 1000 + 1);
      break;
    default:
      web_problem(response, 502, "Bad gateway",
                  "Cannot tell whether this payment was made; it was not made now.");
  }
  fprintf(stderr, "refused: %s %s\n", idem_status_name(answer->status), answer->message);
}

static void create_payment(const struct service *service, const struct web_request *request,
                           struct web_response *response) {
  struct key key;
  long amount;
  if (find_key(request, response, &key) != 0) return;
  if (demo_amount(request->body, request->body_len, &amount) != 0) {
    web_problem(response, 400, "Bad request", "The body is to be {'amount': a number}.");
    return;
  }
  struct idem_fingerprint fingerprint;
  if (replay_fingerprint(request, NULL, &fingerprint) != 0) {
    web_problem(response, 503, "Unavailable", "Out of memory.");
    return;
  }
  const struct idem_request claimed = {.key = idem_data(key.bytes, key.len),
                                       .fingerprint = idem_data(fingerprint.bytes, fingerprint.len),
                                       .lease_ms = service->demo.lease_ms,
                                       .born_unix_ms = key.born_unix_ms,
                                       .flags = service->demo.hold ? IDEM_HOLD : 0};
  struct idem_claim *claim;
  struct idem_answer answer;
  if (idem_begin(service->client, &claimed, &claim, &answer) == IDEM_RUN) {
    pay(service, claim, amount, response);
  } else {
    answer_without_paying(&answer, response);
  }
  idem_claim_free(claim);
  idem_answer_clear(&answer);
}

static void route(const struct web_request *request, struct web_response *response, void *context) {
  if (strcmp(request->path, "/payments") != 0) {
    web_problem(response, 404, "Not found", "There is only /payments.");
  } else if (strcmp(request->method, "POST") != 0) {
    web_problem(response, 405, "Method not allowed", "There is only POST.");
    web_add_header(response, "Allow", "POST");
  } else {
    create_payment(context, request, response);
  }
}

int main(int argc, char **argv) {
  struct service service = {.demo = {.port = 8080, .lease_ms = LEASE_MS, .hold = 1}};
  struct idem_error error;
  demo_options(&service.demo, argc, argv);
  if (idem_open(service.demo.server, NULL, &service.client, &error) != IDEM_OK) {
    fprintf(stderr, "%s\n", error.text);
    return 1;
  }
  int result = web_serve(service.demo.port, route, &service);
  idem_close(service.client);
  return result == 0 ? 0 : 1;
}
