/*
 * begin.c - the synchronous calls about a key and a claim: begin, finish, abandon, stage, renew,
 * fetch, wait, and once, which is made of the first three.
 *
 * Invariants: everything that can fail is had before CLAIM is sent; what runs is what the server
 * granted; what ended is what the server was seen to end.
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
  const char *wrong = client_judge(client);
  return wrong != NULL ? wrong : settings_take_request(to, from);
}

/* Puts a granted claim into service. */
static void enlist(struct idem_client *client, struct idem_claim *claim,
                   const struct client_call *call, struct wire_reply *reply,
                   const struct pace_grant *grant, const struct idem_request *request) {
  claim_grant(claim, reply);
  claim->client = client;
  claim->bound = call->connection;
  if (request->flags & IDEM_NO_RENEWAL) {
    atomic_store(&claim->item.expires_ms, grant->sent_ms + grant->lease_ms);
  } else {
    keeper_add(client->keeper, &claim->item, grant->sent_ms);
  }
}

/* Renews a grant that does not count yet. *pace is that of its renewals. */
static enum idem_status renew_grant(struct idem_client *client, const struct client_call *call,
                                    struct pace *pace, struct pace_grant *grant, char *message) {
  struct wire_reply reply;
  struct client_call renewal = {.begun = true, .pace = *pace};
  renewal.request = (struct wire_request){
      .verb = WIRE_RENEW, .key = call->request.key, .token = call->item->token};
  enum idem_status status = client_make(client, &renewal, &reply);
  *pace = renewal.pace;
  if (status == IDEM_OK) {
    grant->sent_ms = renewal.sent_ms;
    grant->lease_ms = reply.number;
    grant->renewals++;
  }
  snprintf(message, IDEM_MESSAGE_BYTES, "%s", reply.message);
  wire_reply_deinit(&reply);
  return status;
}

/*
 * A grant may have expired when its answer comes, and another owner may be at work. It is renewed
 * until the answer to that has come in time. Returns IDEM_OK; IDEM_STALE: it was over, ask again;
 * or why nothing is known, with message.
 */
static enum idem_status make_sure(struct idem_client *client, const struct client_call *call,
                                  struct pace_grant *grant, char *message) {
  int64_t now = call->answered_ms;
  struct pace pace = pace_of_renewals(&call->pace, &client->settings, now);
  for (;; now = clock_ms()) {
    enum pace_verdict verdict = pace_judge_grant(&pace, grant, now);
    if (verdict == PACE_SURE) return IDEM_OK;
    if (verdict == PACE_LATE) break;
    enum idem_status status = renew_grant(client, call, &pace, grant, message);
    if (status != IDEM_OK) return status;
  }
  pace_explain_late(grant, message);
  return IDEM_UNAVAILABLE;
}

/* The grant is not used: it was over, or nobody knows. Nothing has run under it, so that it may be
 * given back. */
static void drop_grant(struct idem_client *client, struct client_call *call,
                       struct wire_reply *granted, bool over) {
  const struct wire_request unwanted = claim_give_back_request(&call->request, granted);
  if (!over) client_tell(client, &unwanted);
  client_disown(client, call->item);
  wire_reply_deinit(granted);
  if (call->connection == NULL) return;
  if (over) {
    client_give_back(client, call->connection);
  } else {
    connection_close(call->connection); /* and with it the claim that is bound to it */
  }
  call->connection = NULL;
}

/* The end of a call whose grant was heard, but could not be confirmed. */
static enum idem_status end_unsure(struct client_call *call, enum idem_status status,
                                   const char *message, struct idem_answer *answer) {
  struct wire_reply reply;
  wire_reply_fail(&reply, status, message);
  wire_busy_settle(&call->busy, &reply);
  return answer_take(answer, &reply);
}

/* Asks until the answer is certain. RUN: the claim is in service. */
static enum idem_status ask(struct idem_client *client, struct client_call *call,
                            const struct idem_request *request, struct idem_claim *claim,
                            struct idem_answer *answer) {
  char message[IDEM_MESSAGE_BYTES];
  for (;;) {
    struct wire_reply reply;
    if (client_make(client, call, &reply) != IDEM_RUN) return answer_take(answer, &reply);
    struct pace_grant grant = {.sent_ms = call->sent_ms, .lease_ms = reply.lease_ms};
    enum idem_status sure = make_sure(client, call, &grant, message);
    if (sure == IDEM_OK) {
      reply.lease_ms = grant.lease_ms;
      enlist(client, claim, call, &reply, &grant, request);
      return answer_set(answer, IDEM_RUN, NULL);
    }
    drop_grant(client, call, &reply, sure == IDEM_STALE);
    if (sure != IDEM_STALE) {
      wire_busy_grant(&call->busy, grant.lease_ms);
      return end_unsure(call, sure, message, answer);
    }
    wire_busy_overtaken(&call->busy);
    pace_heard(&call->pace, &client->settings);
  }
}

static enum idem_status begin(struct idem_client *client, const struct idem_request *request,
                              int64_t wait_ms, struct idem_claim **out,
                              struct idem_answer *answer) {
  char owner[SETTINGS_OWNER_BYTES];
  struct client_call call = {.wait_ms = wait_ms, .pin = (request->flags & IDEM_BIND) != 0};
  call.request = (struct wire_request){
      .verb = WIRE_CLAIM, .key = request->key, .fingerprint = request->fingerprint};
  call.request.owner = settings_owner(&client->settings, owner);
  call.request.lease_ms = request->lease_ms;
  call.request.flags = request->flags;
  if (call.request.owner.data == NULL)
    return answer_set(answer, IDEM_UNAVAILABLE, "the system has no random numbers");
  if (request->key.len > KEEPER_KEY_BYTES)
    return answer_set(answer, IDEM_TOOBIG, "a key that no server takes");
  bool renews = (request->flags & IDEM_NO_RENEWAL) == 0;
  struct idem_claim *claim = claim_create(request->key);
  if (claim == NULL || (renews && !keeper_start(client->keeper))) {
    free(claim);
    return answer_set(answer, IDEM_NO_MEMORY, "no memory or no thread for a claim");
  }
  call.item = &claim->item;
  if (ask(client, &call, request, claim, answer) != IDEM_RUN) {
    claim_destroy(claim);
    return answer->status;
  }
  answer->attempt = claim->attempt;
  answer->token = claim->item.token;
  *out = claim;
  return IDEM_RUN;
}

enum idem_status idem_begin(struct idem_client *client, const struct idem_request *request,
                            struct idem_claim **claim, struct idem_answer *answer) {
  struct idem_request own;
  *claim = NULL;
  const char *wrong = take_request(client, &own, request);
  if (wrong != NULL) return answer_set(answer, IDEM_INVALID, wrong);
  return begin(client, &own, clock_max(0, own.wait_ms), claim, answer);
}

/* ---- calls on a claim ---- */

static enum idem_status complain(struct idem_claim *claim, enum idem_status status,
                                 const char *message) {
  snprintf(claim->message, sizeof claim->message, "%s", message);
  return status;
}

static const char *judge_claim(const struct idem_claim *claim) {
  if (claim->client == NULL) return "an asynchronous claim, or its client is closed";
  const char *wrong = client_judge(claim->client);
  if (wrong != NULL) return wrong;
  return atomic_load(&claim->item.state) == IDEM_CLAIM_ENDED ? "the claim has ended" : NULL;
}

static void end_claim(struct idem_claim *claim) {
  atomic_store(&claim->item.state, IDEM_CLAIM_ENDED);
  keeper_remove(claim->client->keeper, &claim->item);
  if (claim->bound != NULL) client_give_back(claim->client, claim->bound);
  claim->bound = NULL;
}

static void lose_claim(struct idem_claim *claim) {
  keeper_remove(claim->client->keeper, &claim->item);
  atomic_store(&claim->item.state, IDEM_CLAIM_LOST);
}

/* Makes the call; its message becomes the claim's. The reply's number is all that is left of it. */
static enum idem_status make_on_claim(struct idem_claim *claim, struct client_call *call,
                                      int64_t *number) {
  struct wire_reply reply;
  enum idem_status status = client_make(claim->client, call, &reply);
  complain(claim, status, reply.message);
  *number = reply.number;
  wire_reply_deinit(&reply);
  return status;
}

static enum idem_status store(struct idem_claim *claim, const struct idem_result *result) {
  struct client_call call = {.request = claim_store_request(claim, result)};
  int64_t waiters = 0;
  enum idem_status status = make_on_claim(claim, &call, &waiters);
  if (call.ambiguous && claim->stored_ms == 0) claim->stored_ms = call.first_sent_ms;
  if (status == IDEM_STALE && claim_store_uncertain(claim, result, clock_ms())) {
    return complain(claim, IDEM_UNAVAILABLE,
                    "the reply was lost, and the result is not kept long enough to ask again");
  }
  if (status == IDEM_OK) claim->answered = waiters;
  return status;
}

enum idem_status idem_finish(struct idem_claim *claim, const struct idem_result *result) {
  struct idem_result own;
  claim->message[0] = '\0';
  const char *wrong = judge_claim(claim);
  if (wrong == NULL) wrong = claim_take_result(&own, result);
  if (wrong != NULL) return complain(claim, IDEM_INVALID, wrong);
  keeper_mute(claim->client->keeper, &claim->item, true);
  enum idem_status status = store(claim, &own);
  if (status == IDEM_OK) {
    end_claim(claim);
  } else if (status == IDEM_STALE || status == IDEM_CONFLICT) {
    lose_claim(claim);
  } else {
    keeper_mute(claim->client->keeper, &claim->item, false);
  }
  return status;
}

enum idem_status idem_abandon(struct idem_claim *claim) {
  claim->message[0] = '\0';
  const char *wrong = judge_claim(claim);
  if (wrong != NULL) return complain(claim, IDEM_INVALID, wrong);
  struct client_call call = {
      .request = {.verb = WIRE_RELEASE, .key = claim->item.key, .token = claim->item.token}};
  int64_t released = 0;
  keeper_mute(claim->client->keeper, &claim->item, true);
  enum idem_status status = make_on_claim(claim, &call, &released);
  if (status == IDEM_STALE) complain(claim, status, "not the owner any more");
  if (status == IDEM_OK || status == IDEM_STALE) {
    end_claim(claim);
  } else {
    keeper_mute(claim->client->keeper, &claim->item, false);
  }
  return status;
}

static enum idem_status renew(struct idem_claim *claim, int64_t lease_ms, struct idem_bytes stage) {
  claim->message[0] = '\0';
  const char *wrong = judge_claim(claim);
  if (wrong == NULL && (lease_ms < 0 || lease_ms > SETTINGS_MS_MAX))
    wrong = "lease_ms is out of range";
  if (wrong != NULL) return complain(claim, IDEM_INVALID, wrong);
  struct client_call call = {
      .request = {.verb = WIRE_RENEW, .key = claim->item.key, .token = claim->item.token}};
  call.request.lease_ms = lease_ms;
  call.request.stage = stage;
  int64_t granted_ms = 0;
  enum idem_status status = make_on_claim(claim, &call, &granted_ms);
  if (status == IDEM_OK)
    keeper_renewed(claim->client->keeper, &claim->item, call.sent_ms, granted_ms);
  if (status == IDEM_STALE) lose_claim(claim);
  return status;
}

enum idem_status idem_stage(struct idem_claim *claim, struct idem_bytes stage) {
  if (stage.data == NULL) return complain(claim, IDEM_INVALID, "no stage");
  return renew(claim, 0, stage);
}

enum idem_status idem_renew(struct idem_claim *claim, int64_t lease_ms) {
  return renew(claim, lease_ms, idem_data(NULL, 0));
}

/* ---- fetch, wait ---- */

static enum idem_status look(struct idem_client *client, struct client_call *call,
                             struct idem_answer *answer) {
  const char *wrong = client_judge(client);
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
    if (work == IDEM_WORK_FAILED) answer->store = idem_abandon(claim);
  }
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

static int64_t once_wait_ms(const struct idem_request *request) {
  if (request->wait_ms == IDEM_NO_WAIT) return 0;
  return request->wait_ms != 0 ? request->wait_ms : ONCE_WAIT_MS;
}

enum idem_status idem_once(struct idem_client *client, const struct idem_request *request,
                           idem_work_fn *work, void *context, struct idem_answer *answer) {
  struct idem_request own;
  const char *wrong = take_request(client, &own, request);
  if (wrong != NULL) return answer_set(answer, IDEM_INVALID, wrong);
  struct idem_claim *claim = NULL;
  enum idem_status status = begin(client, &own, once_wait_ms(&own), &claim, answer);
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

/* ---- the end of a claim ---- */

void idem_claim_free(struct idem_claim *claim) {
  if (claim == NULL) return;
  struct idem_client *client = claim->client;
  if (client != NULL) {
    bool ours = process_mark_holds(&client->settings.process);
    if (ours) keeper_remove(client->keeper, &claim->item);
    if (ours && claim->bound != NULL) connection_close(claim->bound);
    if (ours) client_disown(client, &claim->item);
  }
  if (claim->async != NULL) claim_leave_async(claim);
  claim_destroy(claim);
}
