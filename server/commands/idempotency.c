/*
 * idempotency.c - the six commands: request -> one engine call -> answer.
 *
 * rules/request.h has the syntax and the text of each error, rules/answer.h the form of each
 * answer. Here is what only this server has: bindings, bodies that the engine adopts, and whether a
 * command may wait.
 */
#include "server/commands/idempotency.h"

#include <assert.h>
#include <stdlib.h>

#include "server/commands/admission.h"
#include "server/commands/audit.h"
#include "server/commands/born.h"
#include "server/commands/deliver.h"
#include "server/commands/reply.h"
#include "server/rules/answer.h"
#include "server/engine/binding.h"
#include "server/engine/engine.h"

size_t idempotency_limit(const struct options *options, const struct span *argv, size_t index) {
  return request_limit(&options->limits, argv, index);
}

size_t idempotency_store_limit(const struct options *options, const struct span *argv,
                               size_t index) {
  return request_store_limit(&options->limits, argv, index);
}

/* ---- what the commands share ---- */

static inline struct request_input input_of(const struct call *call) {
  return (struct request_input){call->argv, call->argc, &call->worker->options->limits};
}

/* No command waits inside EXEC, nor while the server leaves. */
static inline int64_t wait_of(const struct call *call, int64_t asked_ms) {
  if (asked_ms == 0 || call->in_exec || atomic_load(&call->worker->instance->leaving)) return 0;
  return asked_ms;
}

static void begin_wait(struct call *call, const struct engine_answer *answer) {
  assert(call->session->waiter == NULL && !call->in_exec);
  call->session->waiter = answer->waiter;
  call->session->shard = (uint8_t)shard_number(call->shard);
  call->session->waiting = true;
  call->worker->waiting_count++;
}

static inline void finish(struct call *call, const struct engine_answer *answer) {
  if (answer->status == ENGINE_NO_ROOM) {
    admission_refuse_claim(call);
  } else if (answer->status != ENGINE_QUEUED) {
    struct engine_answer told;
    deliver_answer(call->reply, call->shard, born_told(call->worker, answer, &told));
  } else {
    begin_wait(call, answer);
  }
}

/* The binding of this connection's claims in the shard. NULL: memory is short. */
static struct binding *own_binding(const struct call *call) {
  struct session_details *details = session_details(call->session);
  if (details == NULL) return NULL;
  if (details->bindings == NULL) {
    unsigned shards = keyspace_shards(call->worker->instance->keyspace);
    details->bindings = calloc(shards, sizeof(struct binding *));
    if (details->bindings == NULL) return NULL;
  }
  struct binding **own = &details->bindings[shard_number(call->shard)];
  if (*own == NULL) *own = binding_create(call->engine);
  return *own;
}

/* The body as it was received, if the engine may adopt it; else NULL. */
static struct adopted_body *adoptable_body(const struct call *call, struct span body) {
  struct received_body *received = call->request->body;
  if (received == NULL || received->adopted.bytes + ADOPTED_BODY_HEAD_BYTES != body.data)
    return NULL;
  received->shard = call->shard;
  return &received->adopted;
}

/* ---- the commands ---- */

void idempotency_claim(struct call *call) {
  const struct request_input input = input_of(call);
  struct request_claim request;
  struct request_error error;
  if (!request_parse_claim(&input, &request, &error)) {
    reply_request_error(call->reply, &error);
    return;
  }
  int64_t born_ms = 0;
  if (request.born && !born_on_engine(call, request.born_ms, &born_ms)) return;
  struct binding *binding = NULL;
  if (request.bind && (binding = own_binding(call)) == NULL) {
    resp_write_error(call->reply, answer_error(ANSWER_NO_MEMORY));
    return;
  }
  const struct engine_claim claim = {
      .name = call->name,
      .key = request.key,
      .fingerprint = request.fingerprint,
      .owner = request.owner,
      .lease_ms = (uint32_t)request.lease_ms,
      .wait_ms = wait_of(call, request.wait_ms),
      .born = request.born,
      .born_ms = born_ms,
      .takeover = request.takeover,
      .hold = request.hold,
      .binding = binding,
      .context = call->session,
      .loop_id = call->worker->number,
      .user = user_number(call->session->user),
  };
  struct engine_answer answer;
  engine_claim(call->engine, &claim, call->now_ms, &answer);
  finish(call, &answer);
}

void idempotency_store(struct call *call) {
  const struct request_input input = input_of(call);
  struct request_store request;
  struct request_error error;
  if (!request_parse_store(&input, &request, &error)) {
    reply_request_error(call->reply, &error);
    return;
  }
  const struct engine_store store = {
      .name = call->name,
      .key = request.key,
      .body = request.body,
      .meta = request.meta,
      .token = request.token,
      .ttl_ms = request.ttl_ms,
      .word = request.word,
      .adopted = adoptable_body(call, request.body),
  };
  struct engine_answer answer;
  engine_store(call->engine, &store, call->now_ms, &answer);
  if (store.word == RULES_CLEAR && answer.status == ENGINE_STORED) audit_clear(call);
  finish(call, &answer);
}

void idempotency_renew(struct call *call) {
  const struct request_input input = input_of(call);
  struct request_renew request;
  struct request_error error;
  if (!request_parse_renew(&input, &request, &error)) {
    reply_request_error(call->reply, &error);
    return;
  }
  const struct engine_renew renew = {
      .name = call->name,
      .key = request.key,
      .stage = request.stage,
      .token = request.token,
      .lease_ms = request.lease_ms,
  };
  struct engine_answer answer;
  engine_renew(call->engine, &renew, call->now_ms, &answer);
  finish(call, &answer);
}

void idempotency_release(struct call *call) {
  const struct request_input input = input_of(call);
  struct request_release request;
  struct request_error error;
  if (!request_parse_release(&input, &request, &error)) {
    reply_request_error(call->reply, &error);
    return;
  }
  const struct engine_release release = {
      .name = call->name, .key = request.key, .token = request.token, .word = request.word};
  struct engine_answer answer;
  engine_release(call->engine, &release, call->now_ms, &answer);
  if (release.word == RULES_CLEAR && answer.status == ENGINE_RELEASED) audit_clear(call);
  finish(call, &answer);
}

/* FETCH and WAIT. */
static inline void run_read(struct call *call, const struct request_read *request) {
  const struct engine_read read = {
      .name = call->name,
      .key = request->key,
      .fingerprint = request->fingerprint,
      .wait_ms = wait_of(call, request->wait_ms),
      .context = call->session,
      .loop_id = call->worker->number,
      .user = user_number(call->session->user),
  };
  struct engine_answer answer;
  engine_read(call->engine, &read, call->now_ms, &answer);
  finish(call, &answer);
}

void idempotency_fetch(struct call *call) {
  const struct request_input input = input_of(call);
  struct request_read request;
  struct request_error error;
  if (request_parse_fetch(&input, &request, &error)) {
    run_read(call, &request);
  } else {
    reply_request_error(call->reply, &error);
  }
}

void idempotency_wait(struct call *call) {
  const struct request_input input = input_of(call);
  struct request_read request;
  struct request_error error;
  if (request_parse_wait(&input, &request, &error)) {
    run_read(call, &request);
  } else {
    reply_request_error(call->reply, &error);
  }
}
