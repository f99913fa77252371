/* guard.c - see guard.h. RUN and REPLAY go the same way: the response is made from what is stored.
 */
#include "client/examples/guard.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct job {
  const struct guard *guard;
  const struct web_request *request;
};

/* The bytes of a result, freed with the answer that holds them. */
struct kept {
  struct web_response response;
  char *head;
};

static void kept_free(void *memory) {
  struct kept *kept = memory;
  web_response_clear(&kept->response);
  free(kept->head);
  free(kept);
}

static int keeps(const struct guard *guard, int status) {
  return guard->keeps_successes ? status >= 200 && status < 300 : status < 500;
}

/* Called by idem_once when this request is the one that runs. */
static int run_view(struct idem_claim *claim, void *context, struct idem_result *result) {
  const struct job *job = context;
  const struct guard *guard = job->guard;
  struct kept *kept = calloc(1, sizeof *kept);
  if (kept == NULL) return IDEM_WORK_FAILED;
  if (guard->view(job->request, claim, &kept->response, guard->demo) != 0) {
    kept_free(kept);
    return IDEM_WORK_FAILED;
  }
  kept->head = web_response_head(&kept->response);
  if (kept->head == NULL) {
    kept_free(kept);
    return IDEM_WORK_UNSURE; /* it has happened, only the words for it are missing */
  }
  result->body = idem_data(kept->response.body, kept->response.body_len);
  result->meta = idem_text(kept->head);
  if (keeps(guard, kept->response.status)) {
    result->ttl_ms = guard->ttl_ms;
  } else {
    result->uncached = 1;
  }
  result->release = kept_free;
  result->memory = kept;
  return IDEM_WORK_DONE;
}

static void restore(const struct idem_answer *answer, struct web_response *response) {
  int result =
      web_response_restore(response, answer->meta.data, answer->body.data, answer->body.len);
  if (result == 0 && answer->status == IDEM_REPLAY) {
    web_add_header(response, "Idempotent-Replayed", "true");
  }
}

static void translate(const struct guard *guard, const struct idem_answer *answer,
                      struct web_response *response) {
  switch (answer->status) {
    case IDEM_UNSTORED:
      fprintf(stderr, "it ran, but that is NOT stored: %s %s\n", idem_status_name(answer->store),
              answer->message);
      restore(answer, response);
      break;
    case IDEM_RUN:
    case IDEM_REPLAY: restore(answer, response); break;
    case IDEM_BUSY:
      web_problem(response, guard->busy_status, "Still running",
                  "The first request with this key is still running.");
      web_add_header(response, "Retry-After", "1");
      break;
    case IDEM_MISMATCH:
      web_problem(response, 422, "Different request", "This key was used for a different request.");
      break;
    case IDEM_TOOBIG:
      web_problem(response, 400, "Bad request", "The idempotency key is too long.");
      break;
    case IDEM_FAILED:
      web_problem(response, 500, "Internal error", "It did not work. Try again.");
      break;
    default:
      fprintf(stderr, "refused: %s %s\n", idem_status_name(answer->status), answer->message);
      web_problem(response, 503, "Unavailable",
                  "Cannot tell whether this request has run already.");
      web_add_header(response, "Retry-After", "%" PRId64, answer->retry_after_ms / 1000 + 1);
  }
}

static void run_unguarded(const struct guard *guard, const struct web_request *request,
                          struct web_response *response) {
  if (guard->view(request, NULL, response, guard->demo) == 0) return;
  web_problem(response, 500, "Internal error", "It did not work.");
}

void guard_handle(const struct guard *guard, const struct web_request *request, const char *key,
                  struct web_response *response) {
  char whole[IDEM_KEY_LIMIT];
  size_t whole_len;
  struct idem_fingerprint fingerprint;
  struct idem_answer answer;
  struct job job = {guard, request};
  if (key == NULL) {
    run_unguarded(guard, request, response);
    return;
  }
  const struct idem_bytes parts[] = {idem_text(guard->name), idem_text(key)};
  if (strlen(key) > GUARD_KEY_LIMIT ||
      idem_key(parts, 2, whole, sizeof whole, &whole_len) != IDEM_OK) {
    web_problem(response, 400, "Bad request", "The idempotency key is too long.");
    return;
  }
  struct idem_request asked = {
      .key = idem_data(whole, whole_len), .lease_ms = guard->lease_ms, .wait_ms = guard->wait_ms};
  if (guard->compares) {
    const struct idem_http_request what = {.method = idem_text(request->method),
                                           .path = idem_text(request->path),
                                           .body = idem_data(request->body, request->body_len)};
    if (idem_fingerprint(&what, &fingerprint) != IDEM_OK) {
      web_problem(response, 503, "Unavailable", "Out of memory.");
      return;
    }
    asked.fingerprint = idem_data(fingerprint.bytes, fingerprint.len);
  }
  (void)!idem_once(guard->client, &asked, run_view, &job, &answer); /* it is answer.status */
  translate(guard, &answer, response);
  idem_answer_clear(&answer);
}

int guard_serve(struct guard *guard, web_handler *route) {
  struct idem_error error;
  if (idem_open(guard->demo->server, NULL, &guard->client, &error) != IDEM_OK) {
    fprintf(stderr, "%s\n", error.text);
    return 1;
  }
  int result = web_serve(guard->demo->port, route, guard);
  idem_close(guard->client);
  return result == 0 ? 0 : 1;
}
