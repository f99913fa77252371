/* call.c - see call.h. */
#include "client/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/answer.h"
#include "client/clock.h"

/* ---- lists and states ---- */

static void move_call(struct idem_call *call, struct call_list *list) {
  if (call->list != NULL) TAILQ_REMOVE(call->list, call, entry);
  call->list = list;
  if (list != NULL) TAILQ_INSERT_TAIL(list, call, entry);
}

static void set_state(struct idem_call *call, enum call_state state) {
  if (call->state == CALL_QUEUED) call->async->queued--;
  call->state = state;
  if (state == CALL_QUEUED) call->async->queued++;
}

static void set_due(struct idem_call *call, int64_t due_ms) {
  call->due_ms = due_ms;
  wakeup_at(&call->async->wakeup, due_ms);
}

static void back_off(struct idem_call *call, int64_t until_ms) {
  set_state(call, CALL_BACKOFF);
  set_due(call, until_ms);
}

/* Its owner is told after all that ended before it have been delivered. */
static void queue_ended(struct idem_call *call, int64_t now) {
  set_state(call, CALL_ENDED);
  move_call(call, &call->async->ended);
  wakeup_at(&call->async->wakeup, now);
}

static void detach_flight(struct idem_call *call) {
  if (call->flight == NULL) return;
  link_forget(call->flight);
  call->flight = NULL;
}

/* ---- grants ---- */

/* Gives back a grant that is not wanted. */
static void give_back(struct idem_call *call, const struct wire_reply *granted, int64_t now) {
  const struct wire_request request = claim_give_back_request(&call->request, granted);
  const struct call_order order = {.request = &request};
  struct idem_call *back = call_create(call->async, &order, now);
  if (back != NULL) call_send_later(back, now);
}

/* A grant was overtaken, or is given back. */
static void forget_grant(struct idem_call *call) {
  tokens_remove(&call->async->tokens, &call->claim->lease);
  wire_reply_deinit(&call->granted);
}

/* Nothing has run under a grant that its owner was not told of, so that it may be given back; and
 * its key is not free: without an answer the call ends BUSY. */
static void drop_grant(struct idem_call *call, int64_t now) {
  if (call->granted.memory == NULL) return;
  outcome_unconfirmed(&call->outcome, call->grant.lease_ms);
  give_back(call, &call->granted, now);
  forget_grant(call);
}

/* ---- the end of a call ---- */

/* Does to the claim what the answer to a call on it says. */
static void conclude_claim(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  struct idem_async *async = call->async;
  struct idem_claim *claim = call->claim;
  struct lease *lease = &claim->lease;
  const struct outcome_of_call ended = {&call->outcome, &call->request, now};
  switch (claim_conclude(claim, &ended, reply)) {
    case OUTCOME_CLAIM_ENDED:
      lease_remove(lease);
      atomic_store(&lease->state, IDEM_CLAIM_ENDED);
      break;
    case OUTCOME_CLAIM_LOST:
      lease_remove(lease);
      atomic_store(&lease->state, IDEM_CLAIM_LOST);
      break;
    case OUTCOME_CLAIM_RENEWED:
      lease_renewed(&async->leases, lease, call->attempt.sent_ms, reply->number);
      if (lease->list != NULL) wakeup_at(&async->wakeup, lease->due_ms);
      break;
    case OUTCOME_CLAIM_UNCHANGED: break;
  }
  lease->muted = false;
  claim->call = NULL;
}

/* Takes over its final reply; the call goes to `ended`. */
static void end_call(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  if (call->ended != NULL) call->ended(call, reply, now);
  if (call->begins) { /* and has no claim */
    claim_destroy(call->claim);
    call->claim = NULL;
  }
  if (call->done != NULL && call->claim != NULL) {
    conclude_claim(call, reply, now);
    answer_set(&call->answer, reply->status, reply->message);
    call->answer.stale = reply->stale;
  } else if (call->done != NULL) {
    answer_take(&call->answer, reply);
  }
  wire_reply_deinit(reply);
  queue_ended(call, now);
}

/* It goes no further. A CLAIM that was sent goes on for itself: what it is still granted is given
 * back. */
static void stop(struct idem_call *call, int64_t now) {
  drop_grant(call, now);
  call->cancelled = true;
  if (call->flight == NULL) return;
  bool sent = call->flight->departed;
  if (sent) call->outcome.maybe_done = true;
  if (!sent || call->request.verb != WIRE_CLAIM) detach_flight(call);
}

/* Ends it without a word of the server, for the reason that is given. */
static void end_with(struct idem_call *call, enum idem_status status, const char *why,
                     int64_t now) {
  struct wire_reply reply;
  stop(call, now);
  wire_reply_fail(&reply, status, why);
  outcome_stop(&call->outcome, &reply);
  end_call(call, &reply, now);
}

/* Its time is over. */
static void give_up(struct idem_call *call, const char *why, int64_t now) {
  struct wire_reply reply;
  stop(call, now);
  wire_reply_fail(&reply, IDEM_UNAVAILABLE, why);
  outcome_end(&call->outcome, &call->pace, now, &reply);
  end_call(call, &reply, now);
}

void call_fail(struct idem_call *call, enum idem_status status, const char *message) {
  end_with(call, status, message, clock_ms());
}

/* ---- a grant that may have expired before its owner is told ---- */

/* It waits in `ended` until its owner can be told: what is delivered before it may block the loop,
 * so only then is it known whether the lease still runs. From here on its token is known, and the
 * wait has ended. */
static void take_grant(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  call->grant = (struct pace_grant){.sent_ms = call->attempt.sent_ms, .lease_ms = reply->lease_ms};
  call->granted = *reply;
  reply->memory = NULL;
  call->claim->lease.token = call->request.token = reply->token;
  call->claim->lease.granted_by = call->node;
  tokens_add(&call->async->tokens, &call->claim->lease);
  call->asked = call->pace;
  call->pace = pace_of_renewals(&call->pace, now);
  queue_ended(call, now);
}

/* Sends the call at once as another request. */
static void change_request(struct idem_call *call, enum wire_verb verb, int64_t now) {
  move_call(call, &call->async->calls);
  call->request.verb = verb;
  back_off(call, now);
}

/* The renewal of a grant was answered for good. */
static void take_renewed(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  if (reply->status == IDEM_OK) {
    pace_grant_renewed(&call->grant, call->attempt.sent_ms, reply->number);
    queue_ended(call, now);
  } else if (reply->status == IDEM_STALE) {
    forget_grant(call);
    outcome_overtaken(&call->outcome);
    call->pace = call->asked;
    pace_heard(&call->pace);
    change_request(call, WIRE_CLAIM, now);
  } else {
    drop_grant(call, now);
    outcome_end(&call->outcome, &call->pace, now, reply);
    end_call(call, reply, now);
  }
}

/* Takes a claim out of the idem_async that granted it. */
static void leave_async(struct idem_claim *claim) {
  struct idem_async *async = claim->async;
  lease_remove(&claim->lease);
  tokens_remove(&async->tokens, &claim->lease);
  if (claim->call != NULL) claim->call->claim = NULL;
  if (claim->renewal != NULL) claim->renewal->claim = NULL;
  claim->call = claim->renewal = NULL;
  call_release_async(async);
}

/* The claim goes into service. */
static void conclude_grant(struct idem_call *call) {
  struct idem_async *async = call->async;
  struct idem_claim *claim = call->claim;
  const struct pace_grant *grant = &call->grant;
  call->granted.lease_ms = grant->lease_ms;
  claim_grant(claim, &call->granted, grant->sent_ms);
  claim->async = async;
  claim->leave = leave_async;
  async->references++;
  bool renews = (call->request.flags & IDEM_NO_RENEWAL) == 0;
  int64_t due_ms = grant->sent_ms + pace_renewal_period_ms(grant->lease_ms);
  lease_schedule(&async->leases, &claim->lease, renews ? due_ms : CLOCK_NEVER);
  wakeup_at(&async->wakeup, claim->lease.due_ms);
  answer_granted(&call->answer, claim);
}

/* Its owner is about to be told. False: the call goes on, or has ended in another way. */
static bool conclude_in_time(struct idem_call *call, int64_t now) {
  char message[IDEM_MESSAGE_BYTES];
  switch (pace_check_grant(&call->pace, &call->grant, now)) {
    case PACE_SURE: conclude_grant(call); return true;
    case PACE_RENEW: change_request(call, WIRE_RENEW, now); break;
    case PACE_LATE:
      outcome_explain_late(&call->grant, message);
      end_with(call, IDEM_UNAVAILABLE, message, now);
      break;
  }
  return false;
}

/* ---- attempts ---- */

/* What a reply says of who has the key, and a lack of one of the node. */
static void note_topology(struct idem_call *call, const struct wire_reply *reply, int64_t now) {
  struct cluster *cluster = &call->async->cluster;
  if (call->node == NULL) return;
  if (reply->memory != NULL) {
    call->next = cluster_follow(cluster, call->node, call->request.key, reply);
  } else {
    cluster_failed(cluster, call->node, now);
  }
}

/* An attempt has ended with this reply. */
static void proceed(struct idem_call *call, struct wire_reply *reply, int64_t now) {
  /* Those of the library's own have one attempt, but for what is sent elsewhere. */
  bool once = call->ended != NULL && outcome_next(reply) != OUTCOME_REDIRECT;
  note_topology(call, reply, now);
  int64_t at_ms = once ? CLOCK_NEVER : outcome_again_at(reply, &call->pace, &call->attempt, now);
  if (at_ms != CLOCK_NEVER) {
    outcome_go_on(&call->outcome, reply);
    back_off(call, at_ms);
  } else if (call->begins && call->request.verb == WIRE_RENEW) {
    take_renewed(call, reply, now);
  } else if (call->begins && outcome_next(reply) == OUTCOME_CONFIRM) {
    take_grant(call, reply, now);
  } else {
    outcome_end(&call->outcome, &call->pace, now, reply);
    end_call(call, reply, now);
  }
}

/* A cancelled call has ended: its `done` was called before, or will be. */
static void bury(struct idem_call *call, const struct wire_reply *reply, int64_t now) {
  if (reply != NULL && reply->status == IDEM_RUN) give_back(call, reply, now);
  if (call->state == CALL_IN_FLIGHT) queue_ended(call, now);
}

/* Fills *parsed with the server's word, or with why it is none. False: the link is of no further
 * use. */
static bool parse_reply(struct idem_call *call, redisReply *reply, struct wire_reply *parsed) {
  wire_parse(call->request.verb, reply, parsed);
  if (parsed->status == IDEM_RUN && tokens_has(&call->async->tokens, call->node, parsed->token)) {
    wire_reply_deinit(parsed);
    const struct outcome_loss loss = {IDEM_UNAVAILABLE, true, "the grant of an earlier call"};
    outcome_lost(&call->outcome, &loss, parsed);
    return false;
  }
  return !parsed->spent;
}

/* For link.h. */
static bool arrived(struct idem_call *call, redisReply *reply, const struct outcome_loss *loss,
                    int64_t now) {
  struct wire_reply parsed;
  bool good = true;
  call->flight = NULL;
  if (reply != NULL) {
    good = parse_reply(call, reply, &parsed);
  } else {
    outcome_lost(&call->outcome, loss, &parsed);
  }
  if (call->cancelled) {
    bury(call, &parsed, now);
  } else {
    proceed(call, &parsed, now);
  }
  wire_reply_deinit(&parsed);
  return good;
}

/* For link.h. Connecting may have taken its time. */
static const struct wire_request *departs(struct idem_call *call, int64_t now) {
  pace_set_wait(&call->pace, &call->request, now);
  call->attempt.sent_ms = now;
  outcome_sent(&call->outcome, now);
  return &call->request;
}

/* ---- the table of a cluster ---- */

/* Calls that could not be sent without it. */
static void send_unrouted(struct idem_async *async, int64_t now) {
  struct idem_call *call;
  TAILQ_FOREACH(call, &async->calls, entry) {
    if (call->state == CALL_BACKOFF && call->unrouted) set_due(call, now);
  }
}

static void on_table(struct idem_call *call, const struct wire_reply *reply, int64_t now) {
  cluster_learn(&call->async->cluster, call->node, reply);
  send_unrouted(call->async, now);
}

/* Asks for it, if this is the time and it is not under way. */
static void refresh_table(const struct idem_call *asker, int64_t now) {
  struct idem_async *async = asker->async;
  const struct wire_request request = {.verb = WIRE_NODES};
  const struct call_order order = {.request = &request, .ended = on_table};
  struct node *source = cluster_refresh(&async->cluster, now);
  if (source == NULL) return;
  struct idem_call *call = call_create(async, &order, now);
  if (call == NULL) {
    const struct wire_reply none = {.status = IDEM_NO_MEMORY};
    cluster_learn(&async->cluster, source, &none);
    return;
  }
  pace_bound(&call->pace, now + pace_table_timeout_ms(&asker->pace, now));
  call->node = call->next = source;
  call_send_later(call, now);
}

/* Whom it is sent to. */
static enum idem_status find_node(struct idem_call *call, int64_t now, struct idem_error *why) {
  struct idem_async *async = call->async;
  struct node *own = call->next;
  bool is_own = call->request.verb == WIRE_NODES;
  if (!is_own) refresh_table(call, now);
  call->request.asking = own != NULL && !is_own;
  call->next = NULL;
  call->node = own;
  if (own != NULL) return IDEM_OK;
  enum idem_status status = cluster_route(&async->cluster, call->request.key, &call->node, why);
  call->unrouted = status == IDEM_UNAVAILABLE;
  return status;
}

/* ---- sending ---- */

static enum idem_status send_to_node(struct idem_call *call, int64_t now, struct link_sent *sent) {
  enum idem_status status = find_node(call, now, &sent->why);
  if (status != IDEM_OK) return status;
  const struct link_order order = {
      .call = call,
      .node = call->node,
      .waits = call->waits,
      .provisional = cluster_may_rename(&call->async->cluster, call->node, now)};
  return link_send(&call->async->links, &order, sent);
}

/* Sends it, if there is a link. */
void call_send(struct idem_call *call, int64_t now) {
  struct link_sent sent = {0};
  struct wire_reply reply;
  pace_set_wait(&call->pace, &call->request, now);
  call->waits = call->request.wait_ms > 0;
  call->attempt = (struct pace_attempt){.start_ms = now};
  call->unrouted = false;
  enum idem_status status = send_to_node(call, now, &sent);
  switch (status) {
    case IDEM_OK:
      call->flight = sent.flight;
      call->attempt.reused = sent.flight->reused;
      set_state(call, CALL_IN_FLIGHT);
      set_due(call, now + pace_timeout_ms(&call->pace, &call->request, now));
      break;
    case IDEM_BUSY:
      set_state(call, CALL_QUEUED);
      set_due(call, call->pace.give_up_at_ms);
      break;
    default:
      outcome_lost(&call->outcome, &(struct outcome_loss){status, false, sent.why.text}, &reply);
      proceed(call, &reply, now);
      break;
  }
}

void call_send_later(struct idem_call *call, int64_t now) { back_off(call, now); }

/* ---- time ---- */

/* A call's link was silent for too long. True: the link is kept, for a begin that goes no further
 * but may still be granted: that is given back. */
static bool lose_flight(struct idem_call *call, const char *why, int64_t now) {
  struct wire_reply reply;
  struct link_flight *flight = call->flight;
  bool may_grant = flight->departed && call->request.verb == WIRE_CLAIM;
  if (call->cancelled) return true;
  detach_flight(call);
  const struct outcome_loss loss = {IDEM_UNAVAILABLE, flight->departed, why};
  outcome_lost(&call->outcome, &loss, &reply);
  proceed(call, &reply, now);
  if (!may_grant || call->state != CALL_ENDED) return false;
  call->cancelled = true;
  call->flight = flight;
  flight->call = call;
  return true;
}

/* Nothing was heard on the link for too long. Its calls go elsewhere, as far as they go on. */
static void abandon_link(struct idem_async *async, struct link *link, const char *why,
                         int64_t now) {
  bool kept = link->state == LINK_CLOSING; /* it has some that were not delivered yet */
  for (struct idem_call *call = TAILQ_FIRST(&async->calls), *next = NULL; call != NULL;
       call = next) {
    next = TAILQ_NEXT(call, entry);
    if (call->flight == NULL || call->flight->link != link) continue;
    if (lose_flight(call, why, now)) kept = true;
  }
  if (kept) {
    link_half_close(link, now);
  } else {
    link_end(link, why);
  }
}

/* The time of a call in flight is over. The loop may have stood still meanwhile, so what the socket
 * holds comes first. */
static void time_out(struct idem_call *call, int64_t now) {
  struct idem_async *async = call->async;
  for (int i = 0; i < PACE_LATE_READS_MAX && call->flight != NULL; i++) {
    if (!link_read(call->flight->link)) break;
  }
  if (call->state != CALL_IN_FLIGHT || call->flight == NULL) return;
  struct link *link = call->flight->link;
  if (call->cancelled) { /* it waited for a grant to give back, which will not come */
    detach_flight(call);
    bury(call, NULL, now);
    return;
  }
  char why[IDEM_MESSAGE_BYTES];
  link_explain_silence(link, why);
  int64_t timeout_ms = async->settings.command_timeout_ms + call->request.wait_ms;
  int64_t until_ms = link_opening(link) ? link->until_ms : link->heard_ms + timeout_ms;
  if (now >= until_ms) {
    abandon_link(async, link, why, now);
  } else if (now >= call->pace.give_up_at_ms) {
    give_up(call, why, now);
  } else { /* others are being answered before it, or the link is young */
    set_due(call, clock_min(until_ms, call->pace.give_up_at_ms));
  }
}

static void run_due(struct idem_call *call, int64_t now) {
  switch (call->state) {
    case CALL_BACKOFF: call_send(call, now); break;
    case CALL_QUEUED: give_up(call, "all waiting connections are taken", now); break;
    case CALL_IN_FLIGHT: time_out(call, now); break;
    case CALL_ENDED: break;
  }
}

int64_t call_run_due(struct idem_async *async, int64_t now) {
  int64_t next_ms = CLOCK_NEVER;
  /* First set aside, then run: what runs may move any other call. */
  struct call_list due = TAILQ_HEAD_INITIALIZER(due);
  for (struct idem_call *call = TAILQ_FIRST(&async->calls), *next = NULL; call != NULL;
       call = next) {
    next = TAILQ_NEXT(call, entry);
    if (call->due_ms <= now) {
      move_call(call, &due);
    } else {
      next_ms = clock_min(next_ms, call->due_ms);
    }
  }
  for (struct idem_call *call; (call = TAILQ_FIRST(&due)) != NULL;) {
    move_call(call, &async->calls);
    if (call->due_ms <= now) run_due(call, now);
    if (call->list == &async->calls) next_ms = clock_min(next_ms, call->due_ms);
  }
  return next_ms;
}

/* ---- the end of every entry ---- */

/* Tells the owner of a call that has ended, unless it has a grant that must be renewed first. */
static void deliver(struct idem_call *call) {
  if (call->granted.memory != NULL && !conclude_in_time(call, clock_ms())) return;
  move_call(call, NULL);
  if (call->done != NULL) {
    call->done(&call->answer, call->claim, call->context);
    idem_answer_clear(&call->answer);
  }
  if (call->flight == NULL) {
    outcome_deinit(&call->outcome);
    free(call);
    return;
  }
  /* Cancelled, but the server may still grant it: it stays until that is known. */
  call->done = NULL;
  call->begins = false;
  call->claim = NULL;
  set_state(call, CALL_IN_FLIGHT);
  move_call(call, &call->async->calls);
  set_due(call, clock_ms() + call->async->settings.command_timeout_ms);
}

static void serve_queue(struct idem_async *async, int64_t now) {
  for (struct idem_call *call = TAILQ_FIRST(&async->calls), *next = NULL; call != NULL;
       call = next) {
    next = TAILQ_NEXT(call, entry);
    if (call->state != CALL_QUEUED) continue;
    call_send(call, now);
    if (call->state == CALL_QUEUED) return; /* no link is free */
  }
}

static void deliver_all(struct idem_async *async) {
  for (struct idem_call *call; (call = TAILQ_FIRST(&async->ended)) != NULL;) deliver(call);
}

void call_settle(struct idem_async *async) {
  deliver_all(async);
  int64_t now = clock_ms(); /* what was called may have taken its time */
  if (async->links.untidy) link_sweep(&async->links, now);
  if (async->queued > 0) serve_queue(async, now);
}

static void settle(void *context) { call_settle(context); }

/* ---- life ---- */

static size_t size_of(const struct wire_request *r) {
  return r->key.len + r->fingerprint.len + r->owner.len + r->body.len + r->meta.len + r->stage.len;
}

static void keep(struct idem_bytes *bytes, char **at) {
  if (bytes->data == NULL) return;
  if (bytes->len > 0) memcpy(*at, bytes->data, bytes->len);
  bytes->data = *at;
  *at += bytes->len;
}

struct idem_call *call_create(struct idem_async *async, const struct call_order *order,
                              int64_t now) {
  struct idem_call *call = calloc(1, sizeof *call + size_of(order->request) + 1);
  if (call == NULL) return NULL;
  call->async = async;
  call->request = *order->request;
  char *at = call->bytes;
  keep(&call->request.key, &at);
  keep(&call->request.fingerprint, &at);
  keep(&call->request.owner, &at);
  keep(&call->request.body, &at);
  keep(&call->request.meta, &at);
  keep(&call->request.stage, &at);
  call->claim = order->claim;
  call->begins = order->begins;
  call->done = order->done;
  call->context = order->context;
  call->ended = order->ended;
  pace_begin(&call->pace, &async->settings, now, order->wait_ms);
  call->state = CALL_BACKOFF;
  call->due_ms = CLOCK_NEVER;
  move_call(call, &async->calls);
  return call;
}

bool call_init(struct idem_async *async) {
  static const struct link_user user = {.departs = departs, .arrived = arrived, .settle = settle};
  if (!cluster_init(&async->cluster, &async->settings.target)) return false;
  async->references = 1;
  TAILQ_INIT(&async->calls);
  TAILQ_INIT(&async->ended);
  TAILQ_INIT(&async->leases);
  tokens_init(&async->tokens);
  async->links = (struct link_set){.settings = &async->settings,
                                   .loop = &async->loop,
                                   .wakeup = &async->wakeup,
                                   .user = &user,
                                   .context = async};
  link_set_init(&async->links);
  for (unsigned i = 0; i < async->cluster.count; i++) link_resolve(async->cluster.nodes[i]);
  return true;
}

void call_release_async(struct idem_async *async) {
  if (--async->references > 0) return;
  tokens_deinit(&async->tokens);
  free(async);
}

/* A call that is not the user's goes without a word. */
static void close_call(struct idem_call *call, int64_t now) {
  detach_flight(call);
  if (call->done != NULL) {
    end_with(call, IDEM_CANCELLED, "closed", now);
    return;
  }
  if (call->ended != NULL && call->claim != NULL) call->claim->renewal = NULL;
  queue_ended(call, now);
}

void call_close_all(struct idem_async *async, int64_t now) {
  struct idem_call *call = TAILQ_FIRST(&async->ended);
  for (struct idem_call *next = NULL; call != NULL; call = next) {
    next = TAILQ_NEXT(call, entry);
    if (call->granted.memory != NULL) end_with(call, IDEM_CANCELLED, "closed", now);
  }
  while ((call = TAILQ_FIRST(&async->calls)) != NULL) close_call(call, now);
  TAILQ_FOREACH(call, &async->ended, entry) detach_flight(call);
  deliver_all(async);
}

void idem_async_cancel(struct idem_call *call) {
  if (call == NULL || (call->state == CALL_ENDED && call->granted.memory == NULL)) return;
  int64_t now = clock_ms();
  struct link *link = call->flight != NULL ? call->flight->link : NULL;
  bool hang_up = call->state == CALL_IN_FLIGHT && call->waits;
  end_with(call, IDEM_CANCELLED, "cancelled", now);
  if (hang_up) link_half_close(link, now);
}
