/*
 * async.c - the asynchronous calls: started, sent, repeated, ended, delivered. See async.h and
 * idem.h.
 *
 *     start -> RESTING -> SENT -> ENDED -> done()
 *                 ^  \      |
 *                 |   LINED |        LINED: waits for a link to wait on
 *                 +---------+        not answered, or BUSY while it still may wait
 */
#include "client/async.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/answer.h"
#include "client/clock.h"

/* A server that answers BUSY to a waiting call sooner does not let it wait: a pause comes in
 * between. */
#define SOON_MS 20

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
  int64_t left = clock_max(0, ms - clock_ms());
  if (async->loop.timer_start(async->timer, left) == 0) async->timer_ms = ms;
}

static void wait_until(struct idem_call *call, int64_t due_ms) {
  call->due_ms = due_ms;
  async_wake_at(call->async, due_ms);
}

/* ---- the end of a call ---- */

/* A grant that nobody wants. A record with a past (an earlier attempt, a stage) must not lose it,
 * so there the lease is cut short instead; but with HOLD that would make it UNKNOWN, and nothing
 * ran. */
static void give_back(struct idem_call *call, const struct wire_reply *reply, int64_t now) {
  struct wire_request request = {
      .verb = WIRE_RELEASE, .key = call->request.key, .token = reply->token};
  bool past = reply->attempt > 1 || reply->stage.data != NULL;
  if (past && (call->request.flags & IDEM_HOLD) == 0) {
    request.verb = WIRE_RENEW;
    request.lease_ms = 1;
  }
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

/* A begin has its answer. */
static void conclude_begin(struct idem_call *call, struct wire_reply *reply) {
  if (reply->status != IDEM_RUN) {
    claim_destroy(call->claim);
    call->claim = NULL;
    return;
  }
  claim_grant(call->claim, reply);
  bool waited = call->wait_ms > 0;
  renewal_add(call->async, call->claim, waited ? clock_ms() : call->sent_ms, !call->no_renewal);
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
  } else if (call->request.verb == WIRE_CLAIM) {
    int64_t attempt = reply->attempt;
    uint64_t token = reply->token;
    conclude_begin(call, reply);
    answer_take(&call->answer, reply);
    call->answer.attempt = attempt;
    call->answer.token = token;
    record = false;
  } else if (call->claim != NULL) {
    conclude_claim(call, reply, now);
    answer_set(&call->answer, reply->status, reply->message);
  } else {
    answer_take(&call->answer, reply);
    record = false;
  }
  if (record) wire_reply_deinit(reply);
  set_state(call, CALL_ENDED);
  move_call(call, &async->ended);
  async_wake_at(async, now);
}

/* Ends it without a word of the server. What is under way goes on for itself. */
static void end_with(struct idem_call *call, enum idem_status status, const char *message,
                     int64_t now) {
  struct wire_reply reply;
  memset(&reply, 0, sizeof reply);
  reply.status = status;
  snprintf(reply.message, sizeof reply.message, "%s", message);
  bool begins = call->request.verb == WIRE_CLAIM;
  if (call->flight != NULL && !begins) {
    call->flight->call = NULL;
    call->flight = NULL;
  }
  call->cancelled = true;
  end_call(call, &reply, now);
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
  if (call->wait_ms > 0) {
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

/* hiredis frees its reply behind the callback; the contents move to a shell of our own. */
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
static bool wait_on(struct idem_call *call, const struct wire_reply *reply, int64_t now) {
  const struct settings *settings = &call->async->settings;
  if (reply->status != IDEM_BUSY || now >= call->pace.wait_until_ms) return false;
  pace_heard(&call->pace, settings);
  int64_t pause = 0;
  if (now - call->sent_ms < SOON_MS) pause = pace_pause_ms(&call->pace, settings);
  if (now + pause >= call->pace.wait_until_ms) return false;
  set_state(call, CALL_RESTING);
  wait_until(call, now + pause);
  return true;
}

bool async_answered(struct idem_call *call, redisReply *reply, int64_t now) {
  redisReply *own = reply != NULL ? steal(reply) : NULL;
  struct wire_reply judged;
  if (own != NULL) wire_judge(call->request.verb, own, &judged);
  bool good = own == NULL ? reply == NULL : !judged.broken && !judged.again;
  if (call->cancelled) {
    if (own != NULL && judged.status == IDEM_RUN) give_back(call, &judged, now);
    if (own != NULL) wire_reply_deinit(&judged);
    if (call->state == CALL_SENT) { /* delivered before: nobody waits for the memory */
      set_state(call, CALL_ENDED);
      move_call(call, &call->async->ended);
    }
  } else if (reply == NULL) {
    call->ambiguous = true;
    fail_attempt(call, now);
  } else if (own == NULL) {
    end_with(call, IDEM_NO_MEMORY, "out of memory", now);
  } else if (judged.again) {
    snprintf(call->async->trouble, sizeof call->async->trouble, "%.140s", judged.message);
    wire_reply_deinit(&judged);
    fail_attempt(call, now);
  } else if (wait_on(call, &judged, now)) {
    wire_reply_deinit(&judged);
  } else {
    end_call(call, &judged, now);
  }
  return good;
}

/* ---- the timer, and the end of every entry ---- */

/* Patience with a call that was sent is over. */
static void lose_patience(struct idem_call *call, int64_t now) {
  struct link *link = call->flight->link;
  if (call->cancelled) { /* an orphan: nothing will come any more */
    call->flight->call = NULL;
    call->flight = NULL;
    set_state(call, CALL_ENDED);
    move_call(call, &call->async->ended);
    return;
  }
  int64_t until = link->heard_ms + call->async->settings.command_timeout_ms;
  bool alive = !call->waits && now < until;
  if (alive && now < call->pace.deadline_ms) { /* others are being answered in front of it */
    wait_until(call, clock_min(until, call->pace.deadline_ms));
  } else if (alive) {
    give_up(call, now);
  } else {
    snprintf(call->async->trouble, sizeof call->async->trouble, "no answer in time");
    link_end(link); /* answers this call, and the others on it, with nothing */
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

static void deliver(struct idem_call *call) {
  struct idem_async *async = call->async;
  move_call(call, NULL);
  if (!call->internal) {
    call->done(&call->answer, call->claim, call->context);
    idem_answer_clear(&call->answer);
  }
  if (call->flight == NULL) {
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
  int64_t now = clock_ms();
  while (async->ended.first != NULL) deliver(async->ended.first);
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

enum idem_status idem_async_begin(struct idem_async *async, const struct idem_request *request,
                                  idem_done_fn *done, void *context, struct idem_call **call) {
  char owner[SETTINGS_OWNER_BYTES];
  if (!accepts(async) || done == NULL) return IDEM_INVALID;
  if (settings_judge_request(request) != NULL) return IDEM_INVALID;
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
  if (claim_judge_result(result) != NULL) return IDEM_INVALID;
  struct wire_request request = claim_store_request(claim, result);
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
  if (call == NULL || call->state == CALL_ENDED) return;
  int64_t now = clock_ms();
  struct link *link = call->flight != NULL ? call->flight->link : NULL;
  bool waits = call->state == CALL_SENT && call->waits;
  end_with(call, IDEM_CANCELLED, "cancelled", now);
  if (waits) link_half_close(link, now);
}

/* ---- open, close ---- */

void claim_leave_async(struct idem_claim *claim) {
  renewal_remove(claim->async, claim);
  if (claim->call != NULL) claim->call->claim = NULL;
  if (claim->renewal != NULL) claim->renewal->claim = NULL;
  claim->call = claim->renewal = NULL;
}

static bool loop_complete(const struct idem_loop *loop) {
  return loop != NULL && loop->watch != NULL && loop->want != NULL && loop->unwatch != NULL &&
         loop->timer != NULL && loop->timer_start != NULL && loop->timer_free != NULL;
}

static enum idem_status async_init(struct idem_async *async, const char *url,
                                   const struct idem_options *options, const struct idem_loop *loop,
                                   struct idem_error *error) {
  enum idem_status status = settings_init(&async->settings, url, options, error);
  if (status != IDEM_OK) return status;
  async->loop = *loop;
  async->timer_ms = CLOCK_NEVER;
  status = link_resolve(async, error);
  if (status == IDEM_OK) {
    async->timer = loop->timer(loop->loop, on_timer, async);
    if (async->timer == NULL) status = IDEM_NO_MEMORY;
  }
  if (status != IDEM_OK) settings_deinit(&async->settings);
  return status;
}

enum idem_status idem_async_open(const char *url, const struct idem_options *options,
                                 const struct idem_loop *loop, struct idem_async **out,
                                 struct idem_error *error) {
  struct idem_error ignored;
  if (error == NULL) error = &ignored;
  error->text[0] = '\0';
  *out = NULL;
  if (!loop_complete(loop)) {
    snprintf(error->text, sizeof error->text, "an incomplete struct idem_loop");
    return IDEM_INVALID;
  }
  struct idem_async *async = calloc(1, sizeof *async);
  enum idem_status status =
      async == NULL ? IDEM_NO_MEMORY : async_init(async, url, options, loop, error);
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
  free(async);
}
