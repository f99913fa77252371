/*
 * sync.c - the synchronous calls of idem.h about a key and a claim: begin, finish, abandon, stage,
 * renew, fetch, wait, and once, which is made of the first three.
 *
 * It has no header: these are public functions, and nothing in the library calls them. Invariants:
 * everything that can fail is had before CLAIM is sent; what runs is what the server granted; what
 * ended is what the server was seen to end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/answer.h"
#include "client/claim.h"
#include "client/client.h"
#include "client/clock.h"

#define ONCE_WAIT_MS 60000

/* ---- begin ---- */

/* Copies the request of the caller's. NULL, or what is wrong. */
static const char *take_request(const struct idem_client *client, struct idem_request *to,
                                const struct idem_request *from) {
  const char *wrong = client_check(client);
  return wrong != NULL ? wrong : settings_take_request(to, from);
}

/* Takes a claim out of the client that granted it. */
static void leave_client(struct idem_claim *claim) {
  struct idem_client *client = claim->client;
  if (!process_mark_holds(&client->settings.process)) return;
  renewer_remove(client->renewer, &claim->lease);
  if (claim->bound != NULL) connection_close(claim->bound);
  client_disown(client, &claim->lease);
}

/* Puts a granted claim into service. */
static void enlist(struct idem_client *client, struct idem_claim *claim,
                   const struct client_call *call, const struct pace_grant *grant) {
  claim->client = client;
  claim->leave = leave_client;
  claim->bound = call->connection;
  bool renews = (call->request.flags & IDEM_NO_RENEWAL) == 0;
  if (renews) renewer_add(client->renewer, &claim->lease, grant->sent_ms);
}

/* A grant that does not count yet. */
struct confirmation {
  struct idem_client *client;
  const struct client_call *call; /* the CLAIM */
  struct pace pace;               /* of the renewals */
  struct pace_grant grant;
  char message[IDEM_MESSAGE_BYTES]; /* why it cannot be confirmed */
};

static enum idem_status renew_grant(struct confirmation *c) {
  struct wire_reply reply;
  struct client_call renewal = {.begun = true, .pace = c->pace};
  renewal.request = (struct wire_request){
      .verb = WIRE_RENEW, .key = c->call->request.key, .token = c->call->lease->token};
  enum idem_status status = client_make(c->client, &renewal, &reply);
  c->pace = renewal.pace;
  if (status == IDEM_OK) pace_grant_renewed(&c->grant, renewal.attempt.sent_ms, reply.number);
  snprintf(c->message, sizeof c->message, "%s", reply.message);
  wire_reply_deinit(&reply);
  return status;
}

/*
 * A grant may have expired when its answer comes, and another owner may be at work. It is renewed
 * until the answer to that has come in time. Returns IDEM_OK; IDEM_STALE: it was overtaken, ask
 * again; or what it could not be confirmed for.
 */
static enum idem_status confirm(struct confirmation *c) {
  for (int64_t now = c->call->ended_ms;; now = clock_ms()) {
    enum pace_verdict verdict = pace_check_grant(&c->pace, &c->grant, now);
    if (verdict == PACE_SURE) return IDEM_OK;
    if (verdict == PACE_LATE) break;
    enum idem_status status = renew_grant(c);
    if (status != IDEM_OK) return status;
  }
  outcome_explain_late(&c->grant, c->message);
  return IDEM_UNAVAILABLE;
}

/* The grant is not used: it was overtaken, or that is not known. Nothing has run under it, so that
 * it may be given back. */
static void drop_grant(struct idem_client *client, struct client_call *call,
                       struct wire_reply *granted, bool overtaken) {
  const struct wire_request unwanted = claim_give_back_request(&call->request, granted);
  if (!overtaken) client_tell(client, &unwanted);
  client_disown(client, call->lease);
  wire_reply_deinit(granted);
  if (call->connection == NULL) return;
  if (overtaken) {
    client_give_back(client, call->connection);
  } else {
    connection_close(call->connection); /* and with it the claim that is bound to it */
  }
  call->connection = NULL;
}

/* The end of a call whose grant could not be confirmed. */
static enum idem_status end_unconfirmed(struct client_call *call, enum idem_status status,
                                        const char *message, struct idem_answer *answer) {
  struct wire_reply reply;
  wire_reply_fail(&reply, status, message);
  outcome_stop(&call->outcome, &reply);
  return answer_take(answer, &reply);
}

/* Asks until the answer is certain. RUN: the claim is in service. */
static enum idem_status ask(struct idem_client *client, struct client_call *call,
                            struct idem_claim *claim, struct idem_answer *answer) {
  for (;;) {
    struct wire_reply reply;
    if (client_make(client, call, &reply) != IDEM_RUN) return answer_take(answer, &reply);
    struct confirmation c = {
        .client = client,
        .call = call,
        .pace = pace_of_renewals(&call->pace, call->ended_ms),
        .grant = {.sent_ms = call->attempt.sent_ms, .lease_ms = reply.lease_ms}};
    enum idem_status status = confirm(&c);
    if (status == IDEM_OK) {
      reply.lease_ms = c.grant.lease_ms;
      claim_grant(claim, &reply, c.grant.sent_ms);
      enlist(client, claim, call, &c.grant);
      return answer_granted(answer, claim);
    }
    drop_grant(client, call, &reply, status == IDEM_STALE);
    if (status != IDEM_STALE) {
      outcome_unconfirmed(&call->outcome, c.grant.lease_ms);
      return end_unconfirmed(call, status, c.message, answer);
    }
    outcome_overtaken(&call->outcome);
    pace_heard(&call->pace);
  }
}

static enum idem_status begin(struct idem_client *client, const struct idem_request *request,
                              struct idem_claim **out, struct idem_answer *answer) {
  char owner[SETTINGS_OWNER_BYTES];
  struct client_call call = {.wait_ms = clock_max(0, request->wait_ms),
                             .pin = (request->flags & IDEM_BIND) != 0};
  const struct idem_bytes name = settings_owner(&client->settings, owner);
  const char *why = NULL;
  enum idem_status status = claim_request(&call.request, request, name, &why);
  if (status != IDEM_OK) return answer_set(answer, status, why);
  bool renews = (request->flags & IDEM_NO_RENEWAL) == 0;
  struct idem_claim *claim = claim_create(request->key);
  if (claim == NULL || (renews && !renewer_start(client->renewer))) {
    claim_destroy(claim);
    return answer_set(answer, IDEM_NO_MEMORY, "no memory or no thread for a claim");
  }
  call.lease = &claim->lease;
  if (ask(client, &call, claim, answer) != IDEM_RUN) {
    claim_destroy(claim);
    return answer->status;
  }
  *out = claim;
  return IDEM_RUN;
}

enum idem_status idem_begin(struct idem_client *client, const struct idem_request *request,
                            struct idem_claim **claim, struct idem_answer *answer) {
  struct idem_request own;
  *claim = NULL;
  const char *wrong = take_request(client, &own, request);
  if (wrong != NULL) return answer_set(answer, IDEM_INVALID, wrong);
  return begin(client, &own, claim, answer);
}

/* ---- calls on a claim ---- */

/* NULL when calls may be made on it, else what is wrong. */
static const char *check_claim(const struct idem_claim *claim) {
  if (claim->client == NULL) return "an asynchronous claim, or its client is closed";
  const char *wrong = client_check(claim->client);
  return wrong != NULL ? wrong : claim_check(claim);
}

static void end_claim(struct idem_claim *claim) {
  atomic_store(&claim->lease.state, IDEM_CLAIM_ENDED);
  renewer_remove(claim->client->renewer, &claim->lease);
  if (claim->bound != NULL) client_give_back(claim->client, claim->bound);
  claim->bound = NULL;
}

static void lose_claim(struct idem_claim *claim) {
  renewer_remove(claim->client->renewer, &claim->lease);
  atomic_store(&claim->lease.state, IDEM_CLAIM_LOST);
}

/* Makes a call on a claim that was checked, and does to the claim what the answer says. */
static enum idem_status make_on_claim(struct idem_claim *claim,
                                      const struct wire_request *request) {
  struct renewer *renewer = claim->client->renewer;
  struct client_call call = {.request = *request};
  struct wire_reply reply;
  bool ends = request->verb != WIRE_RENEW;
  if (ends) renewer_mute(renewer, &claim->lease, true);
  client_make(claim->client, &call, &reply);
  const struct outcome_of_call ended = {&call.outcome, request, call.ended_ms};
  switch (claim_conclude(claim, &ended, &reply)) {
    case OUTCOME_CLAIM_ENDED: end_claim(claim); break;
    case OUTCOME_CLAIM_LOST: lose_claim(claim); break;
    case OUTCOME_CLAIM_RENEWED:
      renewer_renewed(renewer, &claim->lease, call.attempt.sent_ms, reply.number);
      break;
    case OUTCOME_CLAIM_UNCHANGED:
      if (ends) renewer_mute(renewer, &claim->lease, false);
      break;
  }
  wire_reply_deinit(&reply);
  return reply.status;
}

enum idem_status idem_finish(struct idem_claim *claim, const struct idem_result *result) {
  struct idem_result own;
  const char *wrong = check_claim(claim);
  if (wrong == NULL) wrong = claim_take_result(&own, result);
  if (wrong != NULL) return claim_set_message(claim, IDEM_INVALID, wrong);
  const struct wire_request request = claim_store_request(claim, &own);
  return make_on_claim(claim, &request);
}

enum idem_status idem_abandon(struct idem_claim *claim, enum idem_release how) {
  const char *wrong = check_claim(claim);
  if (wrong == NULL) wrong = claim_check_release(how);
  if (wrong != NULL) return claim_set_message(claim, IDEM_INVALID, wrong);
  const struct wire_request request = claim_release_request(claim, how);
  return make_on_claim(claim, &request);
}

static enum idem_status renew(struct idem_claim *claim, int64_t lease_ms, struct idem_bytes stage) {
  const char *wrong = check_claim(claim);
  if (wrong == NULL && (lease_ms < 0 || lease_ms > SETTINGS_MS_MAX))
    wrong = "lease_ms is out of range";
  if (wrong != NULL) return claim_set_message(claim, IDEM_INVALID, wrong);
  const struct wire_request request = claim_renew_request(claim, lease_ms, stage);
  return make_on_claim(claim, &request);
}

enum idem_status idem_stage(struct idem_claim *claim, struct idem_bytes stage) {
  if (stage.data == NULL) return claim_set_message(claim, IDEM_INVALID, "no stage");
  return renew(claim, 0, stage);
}

enum idem_status idem_renew(struct idem_claim *claim, int64_t lease_ms) {
  return renew(claim, lease_ms, idem_data(NULL, 0));
}

/* ---- without a claim: release, fetch, wait ---- */

enum idem_status idem_release(struct idem_client *client, struct idem_bytes key, uint64_t token,
                              enum idem_release how, struct idem_error *error) {
  struct idem_error ignored;
  if (error == NULL) error = &ignored;
  const char *wrong = client_check(client);
  if (wrong == NULL && key.data == NULL) wrong = "no key";
  if (wrong == NULL) wrong = claim_check_release(how);
  snprintf(error->text, sizeof error->text, "%s", wrong != NULL ? wrong : "");
  if (wrong != NULL) return IDEM_INVALID;
  struct client_call call = {
      .request = {.verb = WIRE_RELEASE, .key = key, .token = token, .release = how}};
  struct wire_reply reply;
  enum idem_status status = client_make(client, &call, &reply);
  memcpy(error->text, reply.message, sizeof error->text);
  if (status == IDEM_STALE)
    snprintf(error->text, sizeof error->text, "the token is not that of the key, or it is stored");
  wire_reply_deinit(&reply);
  return status;
}

static enum idem_status look(struct idem_client *client, struct client_call *call,
                             struct idem_answer *answer) {
  const char *wrong = client_check(client);
  if (wrong == NULL && call->request.key.data == NULL) wrong = "no key";
  if (wrong != NULL) return answer_set(answer, IDEM_INVALID, wrong);
  struct wire_reply reply;
  client_make(client, call, &reply);
  return answer_take(answer, &reply);
}

enum idem_status idem_fetch(struct idem_client *client, struct idem_bytes key,
                            struct idem_bytes fingerprint, struct idem_answer *answer) {
  struct client_call call = {
      .request = {.verb = WIRE_FETCH, .key = key, .fingerprint = fingerprint}};
  return look(client, &call, answer);
}

enum idem_status idem_wait(struct idem_client *client, struct idem_bytes key,
                           struct idem_bytes fingerprint, int64_t wait_ms,
                           struct idem_answer *answer) {
  if (wait_ms < 1 || wait_ms > SETTINGS_MS_MAX)
    return answer_set(answer, IDEM_INVALID, "wait_ms is out of range");
  struct client_call call = {.request = {.verb = WIRE_WAIT, .key = key, .fingerprint = fingerprint},
                             .wait_ms = wait_ms};
  return look(client, &call, answer);
}

/* ---- once ---- */

static void release_result(const struct idem_result *result) {
  if (result->release != NULL) result->release(result->memory);
}

/* A copy of what the work made, and what it left to be freed. */
struct copy {
  void (*release)(void *memory);
  void *memory;
  char bytes[];
};

static void release_copy(void *memory) {
  struct copy *copy = memory;
  if (copy->release != NULL) copy->release(copy->memory);
  free(copy);
}

/* Copies bytes and a NUL byte to *at, if there are any bytes to copy. */
static struct idem_bytes copy_bytes(struct idem_bytes bytes, char **at) {
  if (bytes.data == NULL) return bytes;
  char *out = *at;
  if (bytes.len > 0) memcpy(out, bytes.data, bytes.len);
  out[bytes.len] = '\0';
  *at += bytes.len + 1;
  return idem_data(out, bytes.len);
}

/* What the work made goes into the answer, copied: there a NUL byte follows, as after all that
 * comes out of the library. Without memory for the copy the work's own bytes have to do. */
static void put_result(struct idem_answer *answer, const struct idem_result *result) {
  const struct idem_bytes body = result->body.data != NULL ? result->body : idem_text("");
  struct copy *copy = malloc(sizeof *copy + body.len + 1 + result->meta.len + 1);
  answer->body = body;
  answer->meta = result->meta;
  answer->release = result->release;
  answer->memory = result->memory;
  if (copy == NULL) return;
  *copy = (struct copy){.release = result->release, .memory = result->memory};
  char *at = copy->bytes;
  answer->body = copy_bytes(body, &at);
  answer->meta = copy_bytes(result->meta, &at);
  answer->release = release_copy;
  answer->memory = copy;
}

static enum idem_status settle(struct idem_claim *claim, int work, const struct idem_result *result,
                               struct idem_answer *answer) {
  if (work == IDEM_WORK_DONE) {
    put_result(answer, result);
    answer->store = idem_finish(claim, result);
    answer->status = answer->store == IDEM_OK ? IDEM_RUN : IDEM_UNSTORED;
  } else {
    release_result(result);
    answer->work = work;
    answer->status = IDEM_FAILED;
    answer->store =
        idem_abandon(claim, work == IDEM_WORK_NOTHING ? IDEM_RELEASE_NOTHING : IDEM_RELEASE_UNSURE);
  }
  if (answer->store == IDEM_STALE) answer->stale = idem_claim_stale(claim);
  snprintf(answer->message, sizeof answer->message, "%s", claim->message);
  return answer->status;
}

/* The server did not answer, and the caller wants the work done all the same. */
static enum idem_status run_unprotected(idem_work_fn *work, void *context,
                                        struct idem_answer *answer) {
  struct idem_result result = {.size = sizeof result};
  int outcome = work(NULL, context, &result);
  answer->store = IDEM_UNAVAILABLE;
  answer->retry_after_ms = 0;
  if (outcome == IDEM_WORK_DONE) {
    put_result(answer, &result);
    return answer->status = IDEM_UNSTORED;
  }
  release_result(&result);
  answer->work = outcome;
  return answer->status = IDEM_FAILED;
}

enum idem_status idem_once(struct idem_client *client, const struct idem_request *request,
                           idem_work_fn *work, void *context, struct idem_answer *answer) {
  struct idem_request own;
  const char *wrong = take_request(client, &own, request);
  if (wrong != NULL) return answer_set(answer, IDEM_INVALID, wrong);
  struct idem_claim *claim = NULL;
  if (own.wait_ms == 0) own.wait_ms = ONCE_WAIT_MS;
  enum idem_status status = begin(client, &own, &claim, answer);
  if (status == IDEM_UNAVAILABLE && (own.flags & IDEM_FAIL_OPEN)) {
    idem_answer_clear(answer);
    answer_set(answer, IDEM_UNAVAILABLE, "ran without protection: the server was unavailable");
    return run_unprotected(work, context, answer);
  }
  if (status != IDEM_RUN) return status;
  struct idem_result result = {.size = sizeof result};
  int outcome = work(claim, context, &result);
  status = settle(claim, outcome, &result, answer);
  idem_claim_free(claim);
  return status;
}
