/* commands.c - see commands.h. */
#include "server/module/commands.h"

#include "server/module/alarm.h"
#include "server/module/arguments.h"
#include "server/module/blocking.h"
#include "server/module/due.h"
#include "server/module/grant.h"

#define READONLY "READONLY You can't write against a read only replica."
#define EVICTS "MISCONF maxmemory-policy has to be noeviction: a claim could be evicted"

/* ---- what the commands share ---- */

static int end(struct visit *visit) {
  due_close(visit);
  if (host.waiters.count > 0 || !list_empty(&host.undos)) alarm_set(&host);
  return API_OK;
}

static int tell(struct visit *visit, const struct reply *reply) {
  if (reply->error == NULL) visit->host->counters.answers[reply->kind]++;
  reply_write(visit->ctx, reply);
  return end(visit);
}

static int tell_kind(struct visit *visit, enum answer_kind kind) {
  return tell(visit,
              &(struct reply){.kind = kind, .record = &visit->record, .at_ms = visit->now_ms});
}

static int tell_verdict(struct visit *visit, enum rules_verdict verdict) {
  return tell_kind(visit, reply_kind(verdict));
}

/* False: the key is not for it, which it was told. A replica that others may write to grants
 * nothing: its master would not know. */
static bool open_for(struct visit *visit, RedisModuleCtx *ctx, RedisModuleString *name) {
  if (host.replica) {
    api.ReplyWithError(ctx, READONLY);
    return false;
  }
  due_open(visit, &host, ctx, name, true);
  if (visit->found != VISIT_FOREIGN) return true;
  tell_kind(visit, ANSWER_WRONGTYPE);
  return false;
}

static int refuse(RedisModuleCtx *ctx, const struct request_error *error) {
  arguments_refuse(ctx, error);
  return API_OK;
}

/* The owner has its reply, if it was granted by a hand-over. */
static void confirm(struct visit *visit) {
  undos_confirm(&visit->host->undos, visit->record.facts.token);
}

static void unbind(struct visit *visit) {
  struct bindings *bindings = &visit->host->bindings;
  if (visit->record.facts.bind)
    bindings_drop(bindings, bindings_find(bindings, visit->db, visit->text));
}

/* Memory is asked for only where the host would have to find some for a new claim: a replay and an
 * owner's STORE pass at the limit. */
static bool has_memory(const struct visit *visit) {
  return (api.GetContextFlags(visit->ctx) & API_FLAGS_OOM) == 0;
}

/* ---- CLAIM ---- */

/* A record says itself which token it had. Of a slot that may have come since the last look, which
 * did not lead yet (cluster.c), a key without a record may have had any. */
static uint64_t next_token(const struct visit *visit) {
  struct host *of = visit->host;
  bool absent = visit->record.facts.phase == RULES_ABSENT;
  if (absent && !slots_known(&of->slots, visit->text)) tokens_lead(&of->tokens);
  return tokens_peek(&of->tokens, visit->record.facts.token);
}

static enum rules_verdict decide_claim(const struct visit *visit,
                                       const struct request_claim *request,
                                       struct rules_record *facts) {
  const struct layout_record *record = &visit->record;
  bool absent = facts->phase == RULES_ABSENT;
  const struct rules_claim claim = {
      .fingerprint_matches = span_equal(record->fingerprint, request->fingerprint),
      .owner_matches = span_present(request->owner) && span_equal(record->owner, request->owner),
      .hold = request->hold,
      .bind = request->bind,
      .forgotten = request->born && absent && request->born_ms <= visit_horizon_ms(visit),
      .lease_ms = (uint32_t)request->lease_ms,
      .takeover = request->takeover,
      .token = next_token(visit),
  };
  return rules_claim(facts, &claim, visit->now_ms);
}

/* What keeps a new grant from being made. NULL: nothing does. */
static const char *obstacle(const struct visit *visit) {
  int flags = api.GetContextFlags(visit->ctx);
  if ((flags & API_FLAGS_EVICT) != 0) return EVICTS;
  return (flags & API_FLAGS_OOM) != 0 ? answer_error(ANSWER_OOM) : NULL;
}

static void bind_claim(struct visit *visit, const struct request_claim *request, bool was_bound) {
  struct bindings *bindings = &visit->host->bindings;
  if (request->bind) {
    uint64_t client_id = api.GetClientId(visit->ctx);
    bindings_set(bindings, visit->db, visit->text, client_id, visit->record.facts.token);
  } else if (was_bound) {
    bindings_drop(bindings, bindings_find(bindings, visit->db, visit->text));
  }
}

static void count_grant(struct host_counters *counters, enum rules_verdict verdict) {
  if (verdict == RULES_GRANT_AGAIN) {
    counters->granted_again++;
  } else {
    counters->granted++;
  }
}

static void write_grant(struct visit *visit, const struct request_claim *request,
                        enum rules_verdict verdict, const struct rules_record *facts) {
  visit->record.facts = *facts;
  switch (verdict) {
    case RULES_GRANT_FIRST:
      visit->record = (struct layout_record){
          .facts = *facts, .fingerprint = request->fingerprint, .owner = request->owner};
      tokens_note(&visit->host->tokens, facts->token);
      visit_create(visit);
      return;
    case RULES_GRANT_NEXT:
      tokens_note(&visit->host->tokens, facts->token);
      visit->record.owner = request->owner;
      break;
    default: confirm(visit);
  }
  visit_commit(visit);
}

static int grant_claim(struct visit *visit, const struct request_claim *request,
                       enum rules_verdict verdict, const struct rules_record *facts) {
  bool was_bound = visit->record.facts.bind;
  write_grant(visit, request, verdict, facts);
  bind_claim(visit, request, was_bound);
  count_grant(&visit->host->counters, verdict);
  return tell_verdict(visit, verdict);
}

static int queue_claim(struct visit *visit, const struct request_claim *request) {
  const struct waiter as = {
      .claims = true,
      .hold = request->hold,
      .bind = request->bind,
      .born = request->born,
      .lease_ms = (uint32_t)request->lease_ms,
      .born_ms = request->born_ms,
      .owner = request->owner,
  };
  if (!blocking_begin(visit, &as, request->wait_ms)) return tell_kind(visit, ANSWER_BUSYKEY);
  return end(visit);
}

static int claim_record(struct visit *visit, const struct request_claim *request) {
  struct rules_record facts = visit->record.facts;
  enum rules_verdict verdict = decide_claim(visit, request, &facts);
  if (verdict == RULES_SAY_BUSY && request->wait_ms > 0 && blocking_is_allowed(visit->ctx))
    return queue_claim(visit, request);
  if (verdict > RULES_GRANT_AGAIN) {
    const struct reply reply = {
        .kind = reply_kind(verdict),
        .record = &visit->record,
        .at_ms = visit->now_ms,
        .number = verdict == RULES_SAY_FORGOTTEN ? visit_horizon_ms(visit) : 0};
    return tell(visit, &reply);
  }
  const char *error = verdict == RULES_GRANT_AGAIN ? NULL : obstacle(visit);
  if (error == NULL) return grant_claim(visit, request, verdict, &facts);
  if (error != answer_error(ANSWER_OOM)) return tell(visit, &(struct reply){.error = error});
  return tell_kind(visit, ANSWER_OOM);
}

int commands_claim(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  const struct request_limits *limits = &host.settings.limits;
  struct arguments arguments;
  struct request_claim request;
  struct request_error error;
  if (!arguments_take(&arguments, ctx, argv, argc, 2, limits, request_limit)) return API_OK;
  if (!request_parse_claim(&arguments.input, &request, &error)) return refuse(ctx, &error);
  int64_t latest_ms = host_now_ms(&host) + host.settings.born_skew_ms;
  if (request.born && request.born_ms > latest_ms)
    return refuse(ctx, &(struct request_error){.fault = REQUEST_BORN_LATER});
  struct visit visit;
  if (!open_for(&visit, ctx, argv[1])) return API_OK;
  return claim_record(&visit, &request);
}

/* ---- STORE ---- */

static int tell_stored(struct visit *visit, int64_t waiters) {
  return tell(visit, &(struct reply){.kind = ANSWER_STORED, .number = waiters});
}

static int keep_response(struct visit *visit, const struct request_store *request,
                         const struct rules_record *facts) {
  if (visit->record.facts.phase != RULES_HELD && !has_memory(visit))
    return tell_kind(visit, ANSWER_OOM);
  confirm(visit);
  unbind(visit);
  visit->record.facts = *facts;
  visit->record.owner = SPAN_ABSENT;
  visit->record.extra = request->meta;
  visit->record.body = request->body;
  visit_commit(visit);
  const struct reply done = {.kind = ANSWER_DONE, .record = &visit->record, .at_ms = visit->now_ms};
  return tell_stored(visit, grant_tell_all(visit, &done));
}

/* TTL 0: the waiters get it, it is not kept, and the grant ends as by RELEASE. */
static int share_response(struct visit *visit, const struct request_store *request) {
  const struct layout_record shared = {
      .facts = {.phase = RULES_DONE, .since_ms = visit->now_ms, .deadline_ms = visit->now_ms},
      .extra = request->meta,
      .body = request->body,
  };
  confirm(visit);
  int64_t waiters = grant_tell_all(
      visit, &(struct reply){.kind = ANSWER_DONE, .record = &shared, .at_ms = visit->now_ms});
  enum rules_end end;
  if (rules_release(&visit->record.facts, request->token, request->word, &end) == RULES_RELEASE)
    grant_end(visit, end, visit->now_ms);
  return tell_stored(visit, waiters);
}

static bool same_bytes(const struct visit *visit, const struct request_store *request) {
  return visit->record.facts.phase == RULES_DONE && span_equal(visit->record.body, request->body) &&
         span_equal(visit->record.extra, request->meta);
}

static int store_record(struct visit *visit, const struct request_store *request) {
  struct rules_record facts = visit->record.facts;
  const struct rules_store store = {request->token, same_bytes(visit, request), request->ttl_ms};
  enum rules_verdict verdict = rules_store(&facts, &store, visit->now_ms);
  switch (verdict) {
    case RULES_STORED: return keep_response(visit, request, &facts);
    case RULES_SHARED: return share_response(visit, request);
    default: return tell_verdict(visit, verdict);
  }
}

int commands_store(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  const struct request_limits *limits = &host.settings.limits;
  struct arguments arguments;
  struct request_store request;
  struct request_error error;
  if (!arguments_take(&arguments, ctx, argv, argc, 4, limits, request_store_limit)) return API_OK;
  if (!request_parse_store(&arguments.input, &request, &error)) return refuse(ctx, &error);
  struct visit visit;
  if (!open_for(&visit, ctx, argv[1])) return API_OK;
  return store_record(&visit, &request);
}

/* ---- RENEW, RELEASE ---- */

static int renew_record(struct visit *visit, const struct request_renew *request) {
  struct rules_record facts = visit->record.facts;
  enum rules_verdict verdict =
      rules_renew(&facts, request->token, (uint32_t)request->lease_ms, visit->now_ms);
  if (verdict != RULES_RENEWED) return tell_verdict(visit, verdict);
  if (visit->record.facts.phase != RULES_HELD && !has_memory(visit))
    return tell_kind(visit, ANSWER_OOM);
  confirm(visit);
  facts.bind = visit_is_bound(visit);
  visit->record.facts = facts;
  if (span_present(request->stage)) visit->record.extra = request->stage;
  visit_commit(visit);
  return tell_verdict(visit, verdict);
}

int commands_renew(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  const struct request_limits *limits = &host.settings.limits;
  struct arguments arguments;
  struct request_renew request;
  struct request_error error;
  if (!arguments_take(&arguments, ctx, argv, argc, 3, limits, request_limit)) return API_OK;
  if (!request_parse_renew(&arguments.input, &request, &error)) return refuse(ctx, &error);
  struct visit visit;
  if (!open_for(&visit, ctx, argv[1])) return API_OK;
  return renew_record(&visit, &request);
}

int commands_release(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  const struct request_limits *limits = &host.settings.limits;
  struct arguments arguments;
  struct request_release request;
  struct request_error error;
  if (!arguments_take(&arguments, ctx, argv, argc, 3, limits, request_limit)) return API_OK;
  if (!request_parse_release(&arguments.input, &request, &error)) return refuse(ctx, &error);
  struct visit visit;
  if (!open_for(&visit, ctx, argv[1])) return API_OK;
  enum rules_end how;
  enum rules_verdict verdict =
      rules_release(&visit.record.facts, request.token, request.word, &how);
  if (verdict == RULES_RELEASE) {
    confirm(&visit);
    grant_end(&visit, how, visit.now_ms);
  }
  return tell_verdict(&visit, verdict);
}

/* ---- FETCH, WAIT ---- */

static int read_record(struct visit *visit, const struct request_read *request) {
  bool differs = span_present(request->fingerprint) &&
                 !span_equal(visit->record.fingerprint, request->fingerprint);
  enum rules_verdict verdict = rules_read(&visit->record.facts, differs);
  if (verdict != RULES_SAY_BUSY || request->wait_ms == 0 || !blocking_is_allowed(visit->ctx))
    return tell_verdict(visit, verdict);
  const struct waiter as = {.checks = span_present(request->fingerprint)};
  if (!blocking_begin(visit, &as, request->wait_ms))
    return tell_kind(visit, ANSWER_BUSYKEY);
  return end(visit);
}

int commands_fetch(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  const struct request_limits *limits = &host.settings.limits;
  struct arguments arguments;
  struct request_read request;
  struct request_error error;
  if (!arguments_take(&arguments, ctx, argv, argc, 2, limits, request_limit)) return API_OK;
  if (!request_parse_fetch(&arguments.input, &request, &error)) return refuse(ctx, &error);
  struct visit visit;
  due_open_to_read(&visit, &host, ctx, argv[1]);
  if (visit.found == VISIT_FOREIGN) return tell_kind(&visit, ANSWER_WRONGTYPE);
  return read_record(&visit, &request);
}

int commands_wait(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  const struct request_limits *limits = &host.settings.limits;
  struct arguments arguments;
  struct request_read request;
  struct request_error error;
  if (!arguments_take(&arguments, ctx, argv, argc, 3, limits, request_limit)) return API_OK;
  if (!request_parse_wait(&arguments.input, &request, &error)) return refuse(ctx, &error);
  struct visit visit;
  if (!open_for(&visit, ctx, argv[1])) return API_OK;
  return read_record(&visit, &request);
}
