/* guard.c - see guard.h. */
#include "client/examples/guard.h"

#include <inttypes.h>
#include <stdlib.h>

#define GUARD_BAD_KEY                                                                          \
  "There has to be one idempotency key: a quoted string, or visible ASCII without quotes and " \
  "commas, of 1 to 255 characters."

struct job {
  const struct guard *guard;
  const struct web_request *request;
  struct web_response *response;
  char *head; /* what is stored beside the response's body, borrowed by the result; malloc'd */
};

enum idem_work guard_work(const struct demo *demo, const char *what,
                          const struct idem_claim *claim) {
  uint64_t token = claim != NULL ? idem_claim_token(claim) : 0;
  switch (demo_work(demo, what, token, claim != NULL ? idem_claim_attempt(claim) : 0)) {
    case DEMO_DONE: return IDEM_WORK_DONE;
    case DEMO_DID_NOTHING: return IDEM_WORK_NOTHING;
    default: return IDEM_WORK_UNSURE;
  }
}

static int keeps(const struct guard *guard, int status) {
  if (guard->keeps_successes && (status < 200 || status > 299)) return 0;
  return replay_keeps(status);
}

static void answer_failure(int work, struct web_response *response) {
  web_response_clear(response);
  if (work == IDEM_WORK_NOTHING) {
    web_problem(response, 503, "Unavailable", "Nothing has been done. Try again.");
    web_add_header(response, "Retry-After", "1");
  } else {
    web_problem(response, 500, "Internal error", "It may have been done.");
  }
}

/* Called by idem_once when this request is the one that runs. A failure has a response, too: with
 * IDEM_WORK_UNSURE those who wait would run the view, one after the other. */
static int run_view(struct idem_claim *claim, void *context, struct idem_result *result) {
  struct job *job = context;
  const struct guard *guard = job->guard;
  struct web_response *response = job->response;
  enum idem_work work = guard->view(job->request, claim, response, guard->demo);
  if (work == IDEM_WORK_NOTHING) return (int)work;
  if (work == IDEM_WORK_DONE) job->head = replay_head(response);
  if (job->head == NULL) { /* it may have been done, or it has been and the words are missing */
    answer_failure(IDEM_WORK_UNSURE, response);
    job->head = replay_head(response);
  }
  if (job->head == NULL) return IDEM_WORK_UNSURE; /* no memory for anything that could be shared */
  result->body = idem_data(response->body, response->body_len);
  result->meta = idem_text(job->head);
  if (keeps(guard, response->status)) {
    result->ttl_ms = guard->ttl_ms;
  } else {
    /* A 4xx is the view's own decision; a 5xx does not say how far it came. */
    result->uncached = response->status < 500 ? IDEM_RELEASE_NOTHING : IDEM_RELEASE_UNSURE;
  }
  return IDEM_WORK_DONE;
}

static void translate(const struct guard *guard, const struct idem_answer *answer,
                      struct web_response *response) {
  switch (answer->status) {
    case IDEM_RUN: break; /* run_view has filled it, a failure too, and with more than is stored */
    case IDEM_UNSTORED:
      fprintf(stderr, "it ran, but that is NOT stored: %s %s\n", idem_status_name(answer->store),
              answer->message);
      break;
    case IDEM_REPLAY: replay_restore(response, answer); break;
    case IDEM_BUSY:
      web_problem(response, guard->busy_status, "Still running",
                  "The first request with this key is still running.");
      web_add_header(response, "Retry-After", "1");
      break;
    case IDEM_UNKNOWN:
      web_problem(response, 409, "Outcome unknown",
                  "An earlier request with this key may have been done. Somebody has to look.");
      break;
    case IDEM_FORGOTTEN:
      web_problem(response, 412, "Too old",
                  "This request may have been done already: its response may be forgotten. Look "
                  "before you send it with a new key.");
      break;
    case IDEM_MISMATCH:
      web_problem(response, 422, "Different request", "This key was used for a different request.");
      break;
    case IDEM_TOOBIG:
      web_problem(response, 400, "Bad request", "The idempotency key is too long.");
      break;
    case IDEM_FAILED: answer_failure(answer->work, response); break;
    default:
      fprintf(stderr, "refused: %s %s\n", idem_status_name(answer->status), answer->message);
      web_problem(response, 503, "Unavailable",
                  "Cannot tell whether this request has run already.");
      web_add_header(response, "Retry-After", "%" PRId64, answer->retry_after_ms / 1000 + 1);
  }
}

static void run_claimed(const struct guard *guard, const struct web_request *request,
                        const struct idem_request *claimed, struct web_response *response) {
  struct job job = {.guard = guard, .request = request, .response = response};
  struct idem_answer answer;
  (void)!idem_once(guard->client, claimed, run_view, &job, &answer); /* it is answer.status */
  translate(guard, &answer, response);
  idem_answer_clear(&answer);
  free(job.head);
}

static void run_unguarded(const struct guard *guard, const struct web_request *request,
                          struct web_response *response) {
  enum idem_work work = guard->view(request, NULL, response, guard->demo);
  if (work != IDEM_WORK_DONE) answer_failure((int)work, response);
}

void guard_handle(const struct guard *guard, const struct web_request *request,
                  enum replay_key found, const char *key, struct web_response *response) {
  char whole[IDEM_KEY_LIMIT];
  size_t whole_len;
  struct idem_fingerprint fingerprint;
  if (found == REPLAY_NO_KEY) {
    run_unguarded(guard, request, response);
    return;
  }
  /* X-Account stands for what your authentication has found out: no caller may meet another one's
   * responses. */
  const struct idem_bytes parts[] = {idem_text(guard->name),
                                     idem_text(web_header(request, "X-Account")),
                                     idem_text(request->method), idem_text(guard->route),
                                     idem_text(found == REPLAY_ONE_KEY ? key : NULL)};
  if (found != REPLAY_ONE_KEY || idem_key(parts, 5, whole, sizeof whole, &whole_len) != IDEM_OK) {
    web_problem(response, 400, "Bad request", GUARD_BAD_KEY);
    return;
  }
  if (replay_fingerprint(request, guard->key_field, &fingerprint) != 0) {
    web_problem(response, 503, "Unavailable", "Out of memory.");
    return;
  }
  const struct idem_request claimed = {.key = idem_data(whole, whole_len),
                                       .fingerprint = idem_data(fingerprint.bytes, fingerprint.len),
                                       .lease_ms = guard->lease_ms,
                                       .wait_ms = guard->wait_ms,
                                       .born_unix_ms = replay_born(key),
                                       .flags = guard->demo->hold ? IDEM_HOLD : 0};
  run_claimed(guard, request, &claimed, response);
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
