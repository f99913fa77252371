/*
 * async.c - the asynchronous calls: started, sent, repeated, ended, delivered. See async.h and
 * idem.h.
 *
 *     start -> RESTING -> SENT -> ENDED -> done()
 *                 ^  \      |
 *                 |   LINED |        LINED: waits for a link to wait on
 *                 +---------+        not answered, or BUSY while it still may wait; from ENDED: a
 *                                    grant that must be renewed before its owner is told
 */
#include "client/async.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/answer.h"
#include "client/clock.h"
#include "client/sized.h"

/* ---- lists, timer ---- */

static void move_call(struct idem_call *call, struct call_list *list) {
  struct call_list *old = call->list;
  if (old != NULL) {
    *(call->previous != NULL ? &call->previous->next : &old->first) = call->next;
    *(call->next != NULL ? &call->next->previous : &old->last) = call->previous;
  }
  call->list = list;
  call->next = call->previous = NULL;
  if (list == NULL) return;
  call->previous = list->last;
  *(list->last != NULL ? &list->last->next : &list->first) = call;
  list->last = call;
}

static void set_state(struct idem_call *call, enum call_state state) {
  if (call->state == CALL_LINED) call->async->lined--;
  call->state = state;
  if (state == CALL_LINED) call->async->lined++;
}

void async_wake_at(struct idem_async *async, int64_t ms) {
  if (async->closed || ms >= async->timer_ms) return;
  int64_t now = clock_ms();
  int64_t left = clock_min(clock_max(0, ms - now), CLOCK_SLEEP_MAX_MS);
  if (now + left >= async->timer_ms) return;
  if (async->loop.timer_start(async->timer, left) == 0) async->timer_ms = now + left;
}

static void wait_until(struct idem_call *call, int64_t due_ms) {
  call->due_ms = due_ms;
  async_wake_at(call->async, due_ms);
}

/* ---- the end of a call ---- */

/* Its owner is told once all that ended before it has been delivered. */
static void queue_ended(struct idem_call *call, int64_t now) {
  set_state(call, CALL_ENDED);
  move_call(call, &call->async->ended);
  async_wake_at(call->async, now);
}

/* A grant that nobody wants. */
static void give_back(struct idem_call *call, const struct wire_reply *granted, int64_t now) {
  const struct wire_request request = claim_give_back_request(&call->request, granted);
  async_start_internal(call->async, &request, NULL, now);
}

/* What the answer to a call on a claim means for the claim. May change the status. */
static void conclude_claim(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  struct idem_async *async = call->async;
  struct idem_claim *claim = call->claim;
  enum wire_verb verb = call->request.verb;
  if (verb == WIRE_STORE) {
    const struct idem_result kept = {.uncached = call->request.ttl_zero,
                                     .ttl_ms = call->request.ttl_ms};
    if (call->ambiguous && claim->stored_ms == 0) claim->stored_ms = call->first_sent_ms;
    if (reply->status == IDEM_STALE && claim_store_uncertain(claim, &kept, now)) {
      reply->status = IDEM_UNAVAILABLE;
      snprintf(reply->message, sizeof reply->message,
               "the reply was lost, and the result is not kept long enough to ask again");
    }
    if (reply->status == IDEM_OK) claim->answered = reply->number;
  }
  bool released = verb == WIRE_RELEASE && reply->status == IDEM_STALE;
  bool over = reply->status == IDEM_STALE || reply->status == IDEM_CONFLICT;
  if (released || (reply->status == IDEM_OK && verb != WIRE_RENEW)) {
    renewal_remove(async, claim);
    atomic_store(&claim->item.state, IDEM_CLAIM_ENDED);
  } else if (reply->status == IDEM_OK) {
    renewal_refresh(async, claim, call->sent_ms, reply->number);
  } else if (over) {
    renewal_remove(async, claim);
    atomic_store(&claim->item.state, IDEM_CLAIM_LOST);
  }
  claim->item.muted = false;
  claim->call = NULL;
  snprintf(claim->message, sizeof claim->message, "%s", reply->message);
}

/* Nobody will have the claim of a begin. */
static void discard_claim(struct idem_call *call) {
  claim_destroy(call->claim);
  call->claim = NULL;
}

/* Takes over the reply; the call goes to `ended`. */
static void end_call(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  struct idem_async *async = call->async;
  bool record = reply->memory != NULL;
  if (call->internal) {
    if (call->claim != NULL) {
      call->claim->renewal = NULL;
      renewal_answered(async, call->claim, call->sent_ms, reply);
    }
  } else if (call->begins) {
    discard_claim(call);
    answer_take(&call->answer, reply);
    record = false;
  } else if (call->claim != NULL) {
    conclude_claim(call, reply, now);
    answer_set(&call->answer, reply->status, reply->message);
  } else {
    answer_take(&call->answer, reply);
    record = false;
  }
  if (record) wire_reply_deinit(reply);
  queue_ended(call, now);
}

/* A grant is over, or is given back. */
static void forget_grant(struct idem_call *call) {
  tokens_remove(&call->async->tokens, &call->claim->item);
  wire_reply_deinit(&call->granted);
}

/* Nothing has run under a grant that nobody was told of, so that it may be given back; and its key
 * is not free: without an answer the call ends BUSY. */
static void drop_grant(struct idem_call *call, int64_t now) {
  wire_busy_grant(&call->busy, call->grant.lease_ms);
  give_back(call, &call->granted, now);
  forget_grant(call);
}

/* Ends it without a word of the server. A CLAIM under way goes on for itself: what it is still
 * granted is given back. */
static void end_with(struct idem_call *call, enum idem_status status, const char *message,
                     int64_t now) {
  struct wire_reply reply;
  if (call->granted.memory != NULL) drop_grant(call, now);
  wire_reply_fail(&reply, status, message);
  wire_busy_settle(&call->busy, &reply);
  if (call->flight != NULL && call->request.verb != WIRE_CLAIM) {
    call->flight->call = NULL;
    call->flight = NULL;
  }
  call->cancelled = true;
  end_call(call, &reply, now);
}

void async_refused(struct idem_call *call, const char *why, int64_t now) {
  if (call->cancelled) {
    async_answered(call, NULL, now);
  } else {
    end_with(call, IDEM_REFUSED, why, now);
  }
}

static void give_up(struct idem_call *call, int64_t now) {
  char message[IDEM_MESSAGE_BYTES];
  const struct idem_async *async = call->async;
  snprintf(message, sizeof message, "no answer from %.50s in %lld ms: %.70s",
           async->settings.target.name, (long long)(now - call->pace.start_ms),
           async->trouble[0] != '\0' ? async->trouble : "no answer in time");
  end_with(call, IDEM_UNAVAILABLE, message, now);
}

/* ---- attempts ---- */

/* An attempt was not answered. */
static void fail_attempt(struct idem_call *call, int64_t now) {
  const struct settings *settings = &call->async->settings;
  pace_failed(&call->pace, settings, now, call->attempt_ms);
  int64_t pause = pace_pause_ms(&call->pace, settings);
  bool once = call->internal && call->claim != NULL; /* renewal.c tries again by itself */
  if (once || now + pause >= call->pace.deadline_ms) {
    give_up(call, now);
    return;
  }
  set_state(call, CALL_RESTING);
  wait_until(call, now + pause);
}

/* Sends it. IDEM_BUSY: it stands in line. */
static enum idem_status try_call(struct idem_call *call, int64_t now) {
  int64_t left = 0;
  bool may_wait = call->request.verb == WIRE_CLAIM || call->request.verb == WIRE_WAIT;
  if (call->wait_ms > 0 && may_wait) {
    call->request.wait_ms = left = clock_max(0, call->pace.wait_until_ms - now);
    if (left == 0 && call->request.verb == WIRE_WAIT) call->request.verb = WIRE_FETCH;
  }
  call->waits = left > 0;
  call->attempt_ms = call->sent_ms = now;
  enum idem_status status = link_send(call, now);
  if (status == IDEM_OK) {
    const struct settings *settings = &call->async->settings;
    if (call->first_sent_ms == 0) call->first_sent_ms = now;
    set_state(call, CALL_SENT);
    wait_until(call, clock_min(call->pace.deadline_ms, now + left + settings->command_timeout_ms));
  } else if (status == IDEM_BUSY) {
    set_state(call, CALL_LINED);
    wait_until(call, call->pace.deadline_ms);
  } else if (status == IDEM_NO_MEMORY) {
    end_with(call, status, "out of memory", now);
  } else {
    fail_attempt(call, now);
  }
  return status;
}

/* hiredis frees its reply after the callback; the contents move to a shell of our own. */
static redisReply *steal(redisReply *reply) {
#if HIREDIS_MAJOR >= 1
  redisReply *own = hi_malloc(sizeof *own);
#else
  redisReply *own = malloc(sizeof *own);
#endif
  if (own == NULL) return NULL;
  *own = *reply;
  memset(reply, 0, sizeof *reply);
  reply->type = REDIS_REPLY_NIL;
  return own;
}

/* Whether a BUSY is not the end: the server waits only so long in one go. */
static bool wait_on(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  const struct settings *settings = &call->async->settings;
  if (reply->status != IDEM_BUSY || now >= call->pace.wait_until_ms) return false;
  pace_heard(&call->pace, settings);
  int64_t pause = 0;
  if (now - call->sent_ms < PACE_SOON_MS) pause = pace_pause_ms(&call->pace, settings);
  if (now + pause >= call->pace.wait_until_ms) return false;
  wire_busy_keep(&call->busy, reply);
  set_state(call, CALL_RESTING);
  wait_until(call, now + pause);
  return true;
}

/* ---- a grant that may have expired before its owner hears of it ---- */

/* It waits in `ended` until its owner can be told: what is delivered before it may block the loop,
 * so only then is it known whether the lease still runs. */
static void hold_grant(struct idem_call *call, int64_t lease_ms, int64_t now) {
  call->grant.sent_ms = call->sent_ms;
  call->grant.lease_ms = lease_ms;
  queue_ended(call, now);
}

/* The claim was granted. From here on its token is known, and the wait has ended. */
static void take_grant(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  struct idem_async *async = call->async;
  call->granted = *reply;
  reply->memory = NULL;
  call->claim->item.token = call->request.token = reply->token;
  tokens_add(&async->tokens, &call->claim->item);
  call->asked = call->pace;
  call->pace = pace_of_renewals(&call->pace, &async->settings, now);
  call->grant.renewals = 0;
  hold_grant(call, reply->lease_ms, now);
}

/* Sends the call at once as another request. */
static void go_on(struct idem_call *call, enum wire_verb verb, int64_t now) {
  move_call(call, &call->async->calls);
  call->request.verb = verb;
  set_state(call, CALL_RESTING);
  wait_until(call, now);
}

/* The renewal of a grant was answered. */
static void take_renewed(struct idem_call *call, const struct wire_reply *reply, int64_t now) {
  if (reply->status == IDEM_OK) {
    call->grant.renewals++;
    hold_grant(call, reply->number, now);
  } else if (reply->status == IDEM_STALE) {
    forget_grant(call);
    wire_busy_overtaken(&call->busy);
    call->pace = call->asked;
    pace_heard(&call->pace, &call->async->settings);
    go_on(call, WIRE_CLAIM, now);
  } else {
    end_with(call, reply->status, reply->message, now);
  }
}

/* The claim goes into service. */
static void conclude_grant(struct idem_call *call) {
  struct idem_async *async = call->async;
  struct idem_claim *claim = call->claim;
  call->granted.lease_ms = call->grant.lease_ms;
  claim_grant(claim, &call->granted);
  claim->async = async;
  async->references++;
  renewal_add(async, claim, call->grant.sent_ms, !call->no_renewal);
  answer_set(&call->answer, IDEM_RUN, NULL);
  call->answer.attempt = claim->attempt;
  call->answer.token = claim->item.token;
}

/* Its owner is about to be told. False: the call goes on, or has ended in another way. */
static bool conclude_in_time(struct idem_call *call, int64_t now) {
  char message[IDEM_MESSAGE_BYTES];
  switch (pace_judge_grant(&call->pace, &call->grant, now)) {
    case PACE_SURE: conclude_grant(call); return true;
    case PACE_RENEW: go_on(call, WIRE_RENEW, now); break;
    case PACE_LATE:
      pace_explain_late(&call->grant, message);
      end_with(call, IDEM_UNAVAILABLE, message, now);
      break;
  }
  return false;
}

/* A begin was answered. True: it goes on, or has ended. */
static bool take_begun(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  if (!call->begins) return false;
  if (call->request.verb == WIRE_RENEW) {
    take_renewed(call, reply, now);
  } else if (reply->status == IDEM_RUN) {
    take_grant(call, reply, now);
  } else {
    return false;
  }
  return true;
}

/* A cancelled call was answered: its `done` was called before, or will be. */
static void bury(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  if (reply != NULL && reply->status == IDEM_RUN) give_back(call, reply, now);
  if (call->state != CALL_SENT) return;
  set_state(call, CALL_ENDED);
  move_call(call, &call->async->ended);
}

/* False: it says nothing about the call, which is tried again. */
static bool take_reply(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  struct idem_async *async = call->async;
  if (reply->status == IDEM_RUN && tokens_has(&async->tokens, reply->token)) {
    snprintf(async->trouble, sizeof async->trouble, "the grant of an earlier call");
    return false;
  }
  if (call->cancelled) {
    bury(call, reply, now);
  } else if (reply->again) {
    snprintf(async->trouble, sizeof async->trouble, "%.140s", reply->message);
    return false;
  } else if (!wait_on(call, reply, now) && !take_begun(call, reply, now)) {
    end_call(call, reply, now);
  }
  return true;
}

bool async_answered(struct idem_call *call, redisReply *reply, int64_t now) {
  redisReply *own = reply != NULL ? steal(reply) : NULL;
  struct wire_reply judged;
  bool taken = false;
  if (own != NULL) {
    wire_judge(call->request.verb, own, &judged);
    bool broken = judged.broken;
    taken = take_reply(call, &judged, now);
    wire_reply_deinit(&judged);
    if (taken) return !broken;
  }
  if (call->cancelled) {
    bury(call, NULL, now);
  } else if (reply != NULL && own == NULL) {
    end_with(call, IDEM_NO_MEMORY, "out of memory", now);
  } else {
    call->ambiguous = true;
    fail_attempt(call, now);
  }
  return reply == NULL;
}

/* ---- the timer, and the end of every entry ---- */

/* Nothing was heard on the link for too long. Its calls go elsewhere, as far as they go on. A begin
 * that does not stays, to give back what it is granted after all. */
static void abandon_link(struct link *link, int64_t now) {
  struct idem_async *async = link->async;
  bool orphans = link->state == LINK_CLOSING; /* it has some that were not delivered yet */
  snprintf(async->trouble, sizeof async->trouble, "no answer in time");
  for (struct idem_call *call = async->calls.first, *after = NULL; call != NULL; call = after) {
    after = call->next;
    struct flight *flight = call->flight;
    if (flight == NULL || flight->link != link) continue;
    if (!call->cancelled) {
      call->flight = NULL;
      flight->call = NULL;
      async_answered(call, NULL, now);
      if (call->state != CALL_ENDED || call->request.verb != WIRE_CLAIM) continue;
      call->flight = flight;
      flight->call = call;
    }
    orphans = true;
  }
  if (orphans) {
    link_half_close(link, now);
  } else {
    link_end(link);
  }
}

/* The time of a call that was sent is over. The loop may have stood still meanwhile, so what the
 * socket holds comes first. */
static void lose_patience(struct idem_call *call, int64_t now) {
  const struct settings *settings = &call->async->settings;
  link_read_for(call);
  if (call->state != CALL_SENT || call->flight == NULL) return;
  struct link *link = call->flight->link;
  if (call->cancelled) { /* an orphan: nothing will come any more */
    call->flight->call = NULL;
    call->flight = NULL;
    bury(call, NULL, now);
    return;
  }
  int64_t patience = settings->command_timeout_ms + (call->waits ? call->request.wait_ms : 0);
  int64_t until = link->state == LINK_OPENING ? link->until_ms : link->heard_ms + patience;
  if (now >= until) {
    abandon_link(link, now);
  } else if (now >= call->pace.deadline_ms) {
    give_up(call, now);
  } else { /* others are being answered in front of it, or the link is young */
    wait_until(call, clock_min(until, call->pace.deadline_ms));
  }
}

static void run_due(struct idem_call *call, int64_t now) {
  switch (call->state) {
    case CALL_RESTING: try_call(call, now); break;
    case CALL_LINED:
      snprintf(call->async->trouble, sizeof call->async->trouble,
               "all waiting connections are taken");
      give_up(call, now);
      break;
    case CALL_SENT: lose_patience(call, now); break;
    case CALL_ENDED: break;
  }
}

static void on_timer(void *argument) {
  struct idem_async *async = argument;
  int64_t now = clock_ms(), next = CLOCK_NEVER;
  async->timer_ms = CLOCK_NEVER;
  /* First set aside, then run: what runs may move any other call. */
  struct call_list due = {NULL, NULL};
  for (struct idem_call *call = async->calls.first, *after = NULL; call != NULL; call = after) {
    after = call->next;
    if (call->due_ms <= now) {
      move_call(call, &due);
    } else {
      next = clock_min(next, call->due_ms);
    }
  }
  while (due.first != NULL) {
    struct idem_call *call = due.first;
    move_call(call, &async->calls);
    if (call->due_ms <= now) run_due(call, now);
    if (call->list == &async->calls) next = clock_min(next, call->due_ms);
  }
  next = clock_min(next, renewal_run(async, now));
  async_settle(async);
  if (next < CLOCK_NEVER) async_wake_at(async, clock_max(next, now + ASYNC_TICK_MS));
}

/* Tells the owner of a call that has ended, unless it has a grant that must be renewed first. */
static void deliver(struct idem_call *call) {
  struct idem_async *async = call->async;
  if (call->granted.memory != NULL && !conclude_in_time(call, clock_ms())) return;
  move_call(call, NULL);
  if (!call->internal) {
    call->done(&call->answer, call->claim, call->context);
    idem_answer_clear(&call->answer);
  }
  if (call->flight == NULL) {
    wire_reply_deinit(&call->busy);
    free(call);
    return;
  }
  /* Cancelled, but the server may still grant it: it stays until that is known. */
  call->internal = true;
  call->claim = NULL;
  set_state(call, CALL_SENT);
  move_call(call, &async->calls);
  wait_until(call, clock_ms() + async->settings.command_timeout_ms);
}

static void serve_line(struct idem_async *async, int64_t now) {
  for (struct idem_call *call = async->calls.first, *after = NULL; call != NULL; call = after) {
    after = call->next;
    if (call->state == CALL_LINED && try_call(call, now) == IDEM_BUSY) return;
  }
}

void async_settle(struct idem_async *async) {
  while (async->ended.first != NULL) deliver(async->ended.first);
  int64_t now = clock_ms(); /* what was called may have taken its time */
  if (async->untidy) link_sweep(async, now);
  if (async->lined > 0) serve_line(async, now);
}

/* ---- start ---- */

/* In a child of the process that opened it the connections are the parent's. */
static bool accepts(const struct idem_async *async) {
  return async != NULL && !async->closed && process_mark_holds(&async->settings.process);
}

static size_t size_of(const struct wire_request *r) {
  return r->key.len + r->fingerprint.len + r->owner.len + r->body.len + r->meta.len + r->stage.len;
}

static void keep(struct idem_bytes *bytes, char **at) {
  if (bytes->data == NULL) return;
  if (bytes->len > 0) memcpy(*at, bytes->data, bytes->len);
  bytes->data = *at;
  *at += bytes->len;
}

static struct idem_call *create_call(struct idem_async *async, const struct wire_request *request,
                                     struct idem_claim *claim, int64_t wait_ms, int64_t now) {
  struct idem_call *call = calloc(1, sizeof *call + size_of(request) + 1);
  if (call == NULL) return NULL;
  call->async = async;
  call->request = *request;
  char *at = call->bytes;
  keep(&call->request.key, &at);
  keep(&call->request.fingerprint, &at);
  keep(&call->request.owner, &at);
  keep(&call->request.body, &at);
  keep(&call->request.meta, &at);
  keep(&call->request.stage, &at);
  call->claim = claim;
  call->wait_ms = wait_ms;
  pace_begin(&call->pace, &async->settings, now, wait_ms);
  call->state = CALL_RESTING;
  move_call(call, &async->calls);
  return call;
}

struct idem_call *async_start_internal(struct idem_async *async, const struct wire_request *request,
                                       struct idem_claim *claim, int64_t now) {
  struct idem_call *call = create_call(async, request, claim, 0, now);
  if (call == NULL) return NULL;
  call->internal = true;
  wait_until(call, now);
  return call;
}

/* Starts a call of the user. */
static enum idem_status start(struct idem_async *async, const struct wire_request *request,
                              int64_t wait_ms, idem_done_fn *done, void *context,
                              struct idem_call **out) {
  int64_t now = clock_ms();
  struct idem_call *call = create_call(async, request, NULL, wait_ms, now);
  if (call == NULL) return IDEM_NO_MEMORY;
  call->done = done;
  call->context = context;
  if (out != NULL) *out = call;
  try_call(call, now);
  return IDEM_OK;
}

enum idem_status idem_async_begin(struct idem_async *async, const struct idem_request *asked,
                                  idem_done_fn *done, void *context, struct idem_call **call) {
  char owner[SETTINGS_OWNER_BYTES];
  struct idem_request own;
  const struct idem_request *request = &own;
  if (!accepts(async) || done == NULL) return IDEM_INVALID;
  if (settings_take_request(&own, asked) != NULL) return IDEM_INVALID;
  if ((request->flags & (IDEM_BIND | IDEM_FAIL_OPEN)) || request->key.len > KEEPER_KEY_BYTES) {
    return IDEM_INVALID;
  }
  struct wire_request claim_it = {
      .verb = WIRE_CLAIM, .key = request->key, .fingerprint = request->fingerprint};
  claim_it.owner = settings_owner(&async->settings, owner);
  claim_it.lease_ms = request->lease_ms;
  claim_it.flags = request->flags;
  struct idem_claim *claim = claim_it.owner.data != NULL ? claim_create(request->key) : NULL;
  if (claim == NULL) return IDEM_NO_MEMORY;
  int64_t now = clock_ms(), wait_ms = clock_max(0, request->wait_ms);
  struct idem_call *begun = create_call(async, &claim_it, claim, wait_ms, now);
  if (begun == NULL) {
    claim_destroy(claim);
    return IDEM_NO_MEMORY;
  }
  begun->done = done;
  begun->context = context;
  begun->begins = true;
  begun->no_renewal = (request->flags & IDEM_NO_RENEWAL) != 0;
  if (call != NULL) *call = begun;
  try_call(begun, now);
  return IDEM_OK;
}

/* Starts a call on a claim; `mute`: its end may make a renewal under way STALE. */
static enum idem_status start_on_claim(struct idem_claim *claim, const struct wire_request *request,
                                       bool mute, idem_done_fn *done, void *context,
                                       struct idem_call **call) {
  struct idem_async *async = claim->async;
  if (!accepts(async) || done == NULL || claim->call != NULL) return IDEM_INVALID;
  if (atomic_load(&claim->item.state) == IDEM_CLAIM_ENDED) return IDEM_INVALID;
  int64_t now = clock_ms();
  struct idem_call *begun = create_call(async, request, claim, 0, now);
  if (begun == NULL) return IDEM_NO_MEMORY;
  begun->done = done;
  begun->context = context;
  claim->call = begun;
  claim->item.muted = mute;
  if (call != NULL) *call = begun;
  try_call(begun, now);
  return IDEM_OK;
}

enum idem_status idem_async_finish(struct idem_claim *claim, const struct idem_result *result,
                                   idem_done_fn *done, void *context, struct idem_call **call) {
  struct idem_result own;
  if (claim_take_result(&own, result) != NULL) return IDEM_INVALID;
  struct wire_request request = claim_store_request(claim, &own);
  return start_on_claim(claim, &request, true, done, context, call);
}

enum idem_status idem_async_abandon(struct idem_claim *claim, idem_done_fn *done, void *context,
                                    struct idem_call **call) {
  struct wire_request request = {
      .verb = WIRE_RELEASE, .key = claim->item.key, .token = claim->item.token};
  return start_on_claim(claim, &request, true, done, context, call);
}

enum idem_status idem_async_stage(struct idem_claim *claim, struct idem_bytes stage,
                                  idem_done_fn *done, void *context, struct idem_call **call) {
  if (stage.data == NULL) return IDEM_INVALID;
  struct wire_request request = {
      .verb = WIRE_RENEW, .key = claim->item.key, .token = claim->item.token, .stage = stage};
  return start_on_claim(claim, &request, false, done, context, call);
}

enum idem_status idem_async_fetch(struct idem_async *async, struct idem_bytes key,
                                  struct idem_bytes fingerprint, idem_done_fn *done, void *context,
                                  struct idem_call **call) {
  if (!accepts(async) || done == NULL || key.data == NULL) return IDEM_INVALID;
  struct wire_request request = {.verb = WIRE_FETCH, .key = key, .fingerprint = fingerprint};
  return start(async, &request, 0, done, context, call);
}

enum idem_status idem_async_wait(struct idem_async *async, struct idem_bytes key,
                                 struct idem_bytes fingerprint, int64_t wait_ms, idem_done_fn *done,
                                 void *context, struct idem_call **call) {
  if (!accepts(async) || done == NULL || key.data == NULL) return IDEM_INVALID;
  if (wait_ms < 1 || wait_ms > SETTINGS_MS_MAX) return IDEM_INVALID;
  struct wire_request request = {.verb = WIRE_WAIT, .key = key, .fingerprint = fingerprint};
  return start(async, &request, wait_ms, done, context, call);
}

void idem_async_cancel(struct idem_call *call) {
  if (call == NULL || (call->state == CALL_ENDED && call->granted.memory == NULL)) return;
  int64_t now = clock_ms();
  struct link *link = call->flight != NULL ? call->flight->link : NULL;
  bool waits = call->state == CALL_SENT && call->waits;
  end_with(call, IDEM_CANCELLED, "cancelled", now);
  if (waits) link_half_close(link, now);
}

/* ---- open, close ---- */

static void release(struct idem_async *async) {
  if (--async->references > 0) return;
  tokens_deinit(&async->tokens);
  free(async);
}

void claim_leave_async(struct idem_claim *claim) {
  renewal_remove(claim->async, claim);
  tokens_remove(&claim->async->tokens, &claim->item);
  if (claim->call != NULL) claim->call->claim = NULL;
  if (claim->renewal != NULL) claim->renewal->claim = NULL;
  claim->call = claim->renewal = NULL;
  release(claim->async);
  claim->async = NULL;
}

SIZED_ASSERT_FULL(struct idem_loop, SIZED_LOOP_0_1);

/* Copies the caller's loop. False: something is missing. */
static bool take_loop(struct idem_loop *to, const struct idem_loop *from) {
  if (from == NULL || !sized_copy(to, sizeof *to, from, SIZED_LOOP_0_1)) return false;
  return to->watch != NULL && to->want != NULL && to->unwatch != NULL && to->timer != NULL &&
         to->timer_start != NULL && to->timer_free != NULL;
}

static enum idem_status async_init(struct idem_async *async, const char *url,
                                   const struct idem_options *options, const struct idem_loop *loop,
                                   struct idem_error *error) {
  enum idem_status status = settings_init(&async->settings, url, options, error);
  if (status != IDEM_OK) return status;
  async->loop = *loop;
  async->timer_ms = CLOCK_NEVER;
  async->references = 1;
  tokens_init(&async->tokens);
  link_resolve(async); /* when that fails, it is tried again when an address is needed */
  async->timer = loop->timer(loop->loop, on_timer, async);
  if (async->timer != NULL) return IDEM_OK;
  settings_deinit(&async->settings);
  return IDEM_NO_MEMORY;
}

enum idem_status idem_async_open(const char *url, const struct idem_options *options,
                                 const struct idem_loop *loop, struct idem_async **out,
                                 struct idem_error *error) {
  struct idem_error ignored;
  struct idem_loop own;
  if (error == NULL) error = &ignored;
  error->text[0] = '\0';
  *out = NULL;
  if (!take_loop(&own, loop)) {
    snprintf(error->text, sizeof error->text, "an incomplete struct idem_loop");
    return IDEM_INVALID;
  }
  struct idem_async *async = calloc(1, sizeof *async);
  enum idem_status status =
      async == NULL ? IDEM_NO_MEMORY : async_init(async, url, options, &own, error);
  if (status == IDEM_NO_MEMORY) snprintf(error->text, sizeof error->text, "out of memory");
  if (status != IDEM_OK) {
    free(async);
    return status;
  }
  *out = async;
  return IDEM_OK;
}

void idem_async_close(struct idem_async *async) {
  if (async == NULL || !process_mark_holds(&async->settings.process)) return;
  async->closed = true; /* from here on nothing is started */
  int64_t now = clock_ms();
  for (struct idem_call *call = async->ended.first, *after = NULL; call != NULL; call = after) {
    after = call->next;
    if (call->granted.memory != NULL) end_with(call, IDEM_CANCELLED, "closed", now);
  }
  while (async->calls.first != NULL) {
    struct idem_call *call = async->calls.first;
    if (call->flight != NULL) call->flight->call = NULL;
    call->flight = NULL;
    if (call->internal) {
      if (call->claim != NULL) call->claim->renewal = NULL;
      move_call(call, &async->ended);
    } else {
      end_with(call, IDEM_CANCELLED, "closed", now);
    }
  }
  for (struct idem_call *call = async->ended.first; call != NULL; call = call->next) {
    if (call->flight != NULL) call->flight->call = NULL;
    call->flight = NULL;
  }
  while (async->ended.first != NULL) deliver(async->ended.first);
  renewal_orphan_all(async);
  for (struct link *link = async->links; link != NULL; link = link->next) link_end(link);
  link_sweep(async, now);
  async->loop.timer_free(async->timer);
  settings_deinit(&async->settings);
  release(async);
}
