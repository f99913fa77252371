/* world.c - see world.h: what can happen, carried out as an engine does, and compared. */
#include "tests/explore/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NOW 1000
#define LEASE 10u
#define RETENTION 1000000
#define FAR (INT64_C(1) << 50)
#define FORMER_TOKEN 5
#define CURRENT_TOKEN 10
#define NEXT_TOKEN 20

static enum rules_due due(const struct rules_record *r, int64_t closed_ms, struct rules_moment at) {
  return rules_due(r, closed_ms, at);
}

const struct world_rules WORLD_REAL = {rules_claim,   rules_read,      rules_store,     rules_renew,
                                       rules_release, rules_end_grant, rules_hand_over, due};

const char *const WORLD_PROMISE_NAMES[WORLD_PROMISES] = {
    "kept", "ONE OWNER", "EVIDENCE", "FORGOTTEN", "HOLD", "LATE", "LEASE", "NO WEDGE"};

static const char *const WORDS[] = {"", " UNSURE", " CLEAR"};

enum kind {
  CLAIM, /* flags: CLAIM_HOLD, CLAIM_BIND, CLAIM_TAKEOVER */
  STORE,
  SHARE, /* STORE with TTL 0; flags: the word */
  RENEW,
  RELEASE, /* flags: the word */
  CRASH,
  CLOSE,
  LEAVE_QUEUE,
  NEW_REQUEST,
  OPERATOR_STORES,
  OPERATOR_CLEARS,
  DEL,
  LEASE_OVER,
  RECORD_OVER,
  RESTART,
};
enum { CLAIM_HOLD = 1, CLAIM_BIND = 2, CLAIM_TAKEOVER = 4 };

/* ---- helpers ---- */

static void broke(struct world *w, enum world_promise promise, const char *why) {
  if (w->broken != WORLD_KEPT) return;
  w->broken = promise;
  w->why = why;
}

static void expect(struct world *w, bool holds, enum world_promise promise, const char *why) {
  if (!holds) broke(w, promise, why);
}

__attribute__((format(printf, 2, 3))) static void say(struct world *w, const char *format, ...) {
  if (w->text == NULL) return;
  size_t used = strlen(w->text);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(w->text + used, WORLD_TEXT - used, format, arguments);
  va_end(arguments);
}

static bool is_open(const struct world *w) {
  return w->r.phase == RULES_HELD || w->r.phase == RULES_LAPSED || w->r.phase == RULES_UNKNOWN;
}

static size_t request_of(size_t actor) { return actor == 2 ? 1 : 0; }

static unsigned may_have_acted(const struct world *w) {
  return (unsigned)w->acted[0] + w->acted[1] + w->acted_other;
}

static bool is_waiting(const struct world *w, size_t actor) {
  for (size_t i = 0; i < w->waiting; i++)
    if (w->queue[i].actor == actor) return true;
  return false;
}

static void leave_queue(struct world *w, size_t actor) {
  size_t kept = 0;
  for (size_t i = 0; i < w->waiting; i++)
    if (w->queue[i].actor != actor) w->queue[kept++] = w->queue[i];
  w->waiting = kept;
}

static enum rules_due due_at(const struct world *w, int64_t now) {
  return w->rules->due(&w->r, RULES_NEVER, (struct rules_moment){now, 0});
}

static void use_up(struct world *w) {
  if (w->current != 0) w->former = true;
  w->current = 0;
  w->owner = WORLD_NONE;
  w->nobodys = w->bound = false;
}

static void forget_grants(struct world *w) {
  memset(w->acted, 0, sizeof w->acted);
  memset(w->answered, 0, sizeof w->answered);
  w->acted_other = 0;
  w->hold_asked = false;
}

/* ---- grants ---- */

static void check_lease(struct world *w) {
  bool runs = due_at(w, w->now + LEASE - 1) == RULES_NOT_DUE;
  bool ends = due_at(w, w->now + LEASE) == RULES_LEASE_OVER;
  expect(w, w->r.phase == RULES_HELD && runs, WORLD_LEASE, "the lease is shorter than granted");
  expect(w, ends, WORLD_NO_WEDGE, "the lease does not end");
}

static struct rules_claim request(struct world *w, size_t actor, bool hold, bool bind) {
  return (struct rules_claim){
      .fingerprint_matches = true,
      .owner_matches = w->owner == actor,
      .hold = hold,
      .bind = bind,
      .forgotten = w->born[request_of(actor)] <= w->horizon,
      .lease_ms = LEASE,
      .token = w->next_token,
  };
}

/* A new grant. What the callers knew until now is still in *w. */
static void granted(struct world *w, size_t actor, const struct rules_claim *claim) {
  unsigned earlier = may_have_acted(w);
  say(w, "CLAIMED attempt %u", w->r.attempt);
  expect(w, w->r.token == w->next_token, WORLD_ONE_OWNER, "a token is given twice");
  expect(w, w->r.attempt == earlier + 1, WORLD_EVIDENCE,
         "the attempt is not 1 + the earlier grants that may have acted");
  expect(w, w->r.attempt != 1 || !w->lost[request_of(actor)], WORLD_FORGOTTEN,
         "attempt 1, though a record of its request was lost");
  bool took_over = claim->takeover != 0 && claim->takeover == w->current;
  expect(w, !w->hold_asked || took_over, WORLD_HOLD,
         "granted after HOLD without TAKEOVER and the token shown");
  w->hold_asked |= claim->hold;
  expect(w, w->r.hold == w->hold_asked, WORLD_HOLD, "HOLD is not kept as it was asked for");
  check_lease(w);
  use_up(w);
  w->current = w->next_token++;
  w->owner = (uint8_t)actor;
  w->bound = claim->bind;
  w->acted[request_of(actor)]++;
}

/* What the owner, or an operator, knows when a grant ends; of time it is RULES_UNSURE. */
static void take_back_what_was_counted(struct world *w, enum rules_word known) {
  if (known == RULES_CLEAR) forget_grants(w);
  if (known != RULES_DID_NOTHING) return;
  if (w->owner < WORLD_ACTORS) w->acted[request_of(w->owner)]--;
  if (may_have_acted(w) == 0) w->hold_asked = false;
}

/* Answers the oldest waiter. False: FORGOTTEN, and the next one is to be tried. */
static bool hand_over(struct world *w, enum rules_end end) {
  const struct world_waiter waiter = w->queue[0];
  leave_queue(w, waiter.actor);
  struct rules_claim claim = request(w, waiter.actor, waiter.hold, waiter.bind);
  say(w, "; %s, who waits: ", w->names[waiter.actor]);
  if (w->rules->hand_over(&w->r, end, &claim, w->now) == RULES_SAY_FORGOTTEN) {
    say(w, "FORGOTTEN");
    return false;
  }
  granted(w, waiter.actor, &claim);
  return true;
}

static void note_end(struct world *w, enum rules_after after) {
  static const char *const TEXTS[] = {"", "; LAPSED", "; UNKNOWN", "; ABSENT"};
  say(w, "%s", TEXTS[after]);
  if (after == RULES_TO_UNKNOWN) w->waiting = 0; /* each is answered UNKNOWN */
  if (after == RULES_TO_ABSENT) {
    expect(w, may_have_acted(w) == 0, WORLD_EVIDENCE,
           "nothing is left of a record of which a grant may have acted");
    forget_grants(w);
    use_up(w);
    w->r = (struct rules_record){0};
    return;
  }
  expect(w, w->r.phase == RULES_UNKNOWN || !w->hold_asked, WORLD_HOLD,
         "a claim with HOLD ended, and the record is not UNKNOWN");
  expect(w, w->r.attempt == may_have_acted(w), WORLD_EVIDENCE,
         "the record counts other grants than those that may have acted");
  bool stays = due_at(w, w->now + RETENTION - 1) == RULES_NOT_DUE;
  expect(w, stays, WORLD_EVIDENCE, "the record ends before its retention");
}

static void end_grant(struct world *w, enum rules_end end, enum rules_word known) {
  take_back_what_was_counted(w, known);
  for (;;) {
    const struct rules_ending ending = {.end = end,
                                        .claim_waits = w->waiting > 0,
                                        .at_ms = w->now,
                                        .retention_ms = RETENTION,
                                        .token = w->next_token};
    enum rules_after after = w->rules->end_grant(&w->r, &ending);
    if (after != RULES_HAND_OVER) {
      note_end(w, after);
      if (known != RULES_DID_NOTHING || after == RULES_TO_ABSENT) return;
      expect(w, w->r.token == w->next_token, WORLD_ONE_OWNER, "a released token is not used up");
      use_up(w);
      w->current = w->next_token++;
      w->nobodys = true;
      return;
    }
    if (hand_over(w, end)) return;
  }
}

/* ---- commands ---- */

static void claim(struct world *w, size_t actor, unsigned flags) {
  struct rules_claim claim = request(w, actor, flags & CLAIM_HOLD, flags & CLAIM_BIND);
  if (flags & CLAIM_TAKEOVER) claim.takeover = w->current;
  bool held_by_another = w->r.phase == RULES_HELD && w->owner != actor;
  say(w, "%s: CLAIM%s%s%s%s -> ", w->names[actor], claim.hold ? " HOLD" : "",
      claim.bind ? " BIND" : "", claim.takeover ? " TAKEOVER" : "", held_by_another ? " WAIT" : "");
  switch (w->rules->claim(&w->r, &claim, w->now)) {
    case RULES_GRANT_FIRST:
    case RULES_GRANT_NEXT:
      expect(w, !held_by_another, WORLD_LEASE, "granted while another's lease runs");
      granted(w, actor, &claim);
      break;
    case RULES_GRANT_AGAIN:
      say(w, "CLAIMED again");
      expect(w, w->owner == actor && w->r.token == w->current, WORLD_ONE_OWNER,
             "the grant of another is given again");
      w->hold_asked |= claim.hold;
      w->bound = claim.bind;
      expect(w, w->r.hold == w->hold_asked, WORLD_HOLD, "an owner's retry takes HOLD away");
      check_lease(w);
      break;
    case RULES_SAY_BUSY:
      say(w, "waits");
      w->queue[w->waiting++] = (struct world_waiter){(uint8_t)actor, claim.hold, claim.bind};
      break;
    case RULES_SAY_FORGOTTEN: say(w, "FORGOTTEN"); break;
    case RULES_SAY_UNKNOWN:
      say(w, "UNKNOWN");
      expect(w, claim.takeover == 0, WORLD_NO_WEDGE, "TAKEOVER with the token shown is refused");
      break;
    default: say(w, "something else"); break;
  }
}

static void release(struct world *w, enum rules_word word) {
  enum rules_end end;
  enum rules_verdict verdict = w->rules->release(&w->r, w->current, word, &end);
  if (verdict == RULES_RELEASE) end_grant(w, end, word);
  expect(w, verdict != RULES_NOT_YOURS, word == RULES_CLEAR ? WORLD_NO_WEDGE : WORLD_LATE,
         "RELEASE with the current token is refused");
}

/* Word: of TTL 0. */
static void store(struct world *w, int64_t ttl_ms, enum rules_word word) {
  const struct rules_store store = {.token = w->current, .ttl_ms = ttl_ms};
  switch (w->rules->store(&w->r, &store, w->now)) {
    case RULES_STORED:
      say(w, " -> stored");
      for (size_t i = 0; i < w->waiting; i++) w->answered[request_of(w->queue[i].actor)] = true;
      w->waiting = 0;
      w->owner = WORLD_NONE;
      w->nobodys = w->bound = false;
      break;
    case RULES_SHARED:
      say(w, " -> shared");
      w->waiting = 0;
      release(w, word);
      break;
    default: say(w, " -> refused"); broke(w, WORLD_LATE, "STORE with the current token is refused");
  }
}

static void renew(struct world *w) {
  bool renewed = w->rules->renew(&w->r, w->current, LEASE, w->now) == RULES_RENEWED;
  expect(w, renewed, WORLD_LATE, "RENEW by the owner is refused");
  if (renewed) check_lease(w);
}

/* ---- what comes from elsewhere ---- */

static void close_connection(struct world *w) {
  w->bound = false;
  if (!w->r.bind) return;
  if (w->r.phase == RULES_HELD)
    end_grant(w, RULES_END_BIND_CLOSED, RULES_UNSURE);
  else
    w->r.bind = false;
}

/* Its process begins anew, with another OWNER and without its token. */
static void crash(struct world *w, uint8_t actor) {
  close_connection(w);
  if (w->owner == actor) w->owner = WORLD_NONE;
}

static void new_request(struct world *w) {
  w->acted_other = (uint8_t)(w->acted_other + w->acted[1]);
  w->acted[1] = 0;
  w->answered[1] = w->lost[1] = false;
  w->born[1] = w->now;
}

static void lose_record(struct world *w) {
  for (size_t i = 0; i < WORLD_REQUESTS; i++) w->lost[i] |= w->acted[i] > 0 || w->answered[i];
  forget_grants(w);
  use_up(w);
  w->r = (struct rules_record){0};
}

static void record_over(struct world *w) {
  expect(w, w->r.phase != RULES_UNKNOWN, WORLD_HOLD, "UNKNOWN ends by itself");
  w->now = w->r.deadline_ms > w->now ? w->r.deadline_ms : w->now;
  if (w->horizon < w->r.since_ms) w->horizon = w->r.since_ms;
  lose_record(w);
}

static void restart(struct world *w) {
  w->waiting = 0;
  w->horizon = w->now;
  lose_record(w);
}

static void lease_over(struct world *w) {
  w->now = w->r.deadline_ms;
  end_grant(w, RULES_END_LEASE_OVER, RULES_UNSURE);
}

static void del(struct world *w) {
  if (w->r.phase == RULES_HELD) {
    end_grant(w, RULES_END_CLEARED, RULES_CLEAR);
    return;
  }
  forget_grants(w);
  use_up(w);
  w->r = (struct rules_record){0};
}

static void apply_actor(struct world *w, struct world_event event) {
  const char *name = w->names[event.actor];
  switch ((enum kind)event.kind) {
    case CLAIM: claim(w, event.actor, event.flags); break;
    case STORE:
      say(w, "%s: STORE", name);
      store(w, 1000, RULES_DID_NOTHING);
      break;
    case SHARE:
      say(w, "%s: STORE TTL 0%s", name, WORDS[event.flags]);
      store(w, 0, (enum rules_word)event.flags);
      break;
    case RENEW:
      say(w, "%s: RENEW", name);
      renew(w);
      break;
    case RELEASE:
      say(w, "%s: RELEASE%s", name, WORDS[event.flags]);
      release(w, (enum rules_word)event.flags);
      break;
    case CRASH:
      say(w, "%s crashes", name);
      crash(w, event.actor);
      break;
    case CLOSE:
      say(w, "%s loses its connection", name);
      close_connection(w);
      break;
    case LEAVE_QUEUE:
      say(w, "%s stops waiting", name);
      leave_queue(w, event.actor);
      break;
    default: say(w, "%s begins a new request", name); new_request(w);
  }
}

static void apply_others(struct world *w, struct world_event event) {
  switch ((enum kind)event.kind) {
    case OPERATOR_STORES:
      say(w, "an operator: STORE with the token shown");
      store(w, 1000, RULES_DID_NOTHING);
      break;
    case OPERATOR_CLEARS:
      say(w, "an operator: RELEASE CLEAR with the token shown");
      release(w, RULES_CLEAR);
      break;
    case DEL:
      say(w, "an operator: DEL");
      del(w);
      break;
    case LEASE_OVER:
      say(w, "the lease ends");
      lease_over(w);
      break;
    case RECORD_OVER:
      say(w, w->r.phase == RULES_DONE ? "the TTL ends" : "the retention ends");
      record_over(w);
      break;
    default: say(w, "the server restarts, its memory is lost"); restart(w);
  }
}

void world_apply(struct world *w, struct world_event event) {
  w->now++;
  if (w->text != NULL) w->text[0] = '\0';
  if (event.kind <= NEW_REQUEST)
    apply_actor(w, event);
  else
    apply_others(w, event);
}

/* ---- what may happen ---- */

static void add(struct world_event *events, size_t *count, enum kind kind, size_t actor,
                unsigned flags) {
  events[(*count)++] = (struct world_event){(uint8_t)kind, (uint8_t)actor, (uint8_t)flags};
}

static void add_claims(const struct world *w, size_t actor, struct world_event *events,
                       size_t *count) {
  if (w->r.phase == RULES_DONE || is_waiting(w, actor)) return;
  bool queues = w->r.phase == RULES_HELD && w->owner != actor;
  if (queues && w->waiting == WORLD_QUEUE) return;
  unsigned takeover = w->r.phase == RULES_UNKNOWN ? CLAIM_TAKEOVER : 0;
  for (unsigned flags = 0; flags < 4; flags++) add(events, count, CLAIM, actor, flags | takeover);
}

static void add_owners(const struct world *w, struct world_event *events, size_t *count) {
  const size_t owner = w->owner;
  if (owner == WORLD_NONE) return;
  for (unsigned word = RULES_DID_NOTHING; word <= RULES_CLEAR; word++)
    add(events, count, RELEASE, owner, word);
  add(events, count, STORE, owner, 0);
  add(events, count, RENEW, owner, 0);
  if (w->r.bind) add(events, count, CLOSE, owner, 0);
  add(events, count, CRASH, owner, 0);
  for (unsigned word = RULES_DID_NOTHING; word <= RULES_CLEAR; word++)
    add(events, count, SHARE, owner, word);
}

size_t world_events(const struct world *w, struct world_event events[WORLD_MOST_EVENTS]) {
  size_t count = 0;
  const bool ended = w->r.phase == RULES_LAPSED || w->r.phase == RULES_UNKNOWN;
  for (size_t actor = 0; actor < WORLD_ACTORS; actor++) {
    add_claims(w, actor, events, &count);
    if (is_waiting(w, actor)) add(events, &count, LEAVE_QUEUE, actor, 0);
  }
  if (w->owner != 2 && !is_waiting(w, 2)) add(events, &count, NEW_REQUEST, 2, 0);
  if (w->r.phase == RULES_HELD) add(events, &count, LEASE_OVER, WORLD_NONE, 0);
  if (is_open(w)) add_owners(w, events, &count);
  if (ended) add(events, &count, OPERATOR_STORES, WORLD_NONE, 0);
  if (ended) add(events, &count, OPERATOR_CLEARS, WORLD_NONE, 0);
  if (w->r.phase != RULES_ABSENT) add(events, &count, DEL, WORLD_NONE, 0);
  if (due_at(w, FAR) == RULES_GONE) add(events, &count, RECORD_OVER, WORLD_NONE, 0);
  add(events, &count, RESTART, WORLD_NONE, 0);
  return count;
}

/* ---- what is true in every world ---- */

static bool same_record(const struct rules_record *a, const struct rules_record *b) {
  return a->phase == b->phase && a->token == b->token && a->attempt == b->attempt &&
         a->hold == b->hold && a->bind == b->bind && a->nobody == b->nobody &&
         a->since_ms == b->since_ms && a->deadline_ms == b->deadline_ms;
}

/* A caller without BORN and with an OWNER of its own. */
static enum rules_verdict newcomer(struct rules_record *r, const struct world *w,
                                   uint64_t takeover) {
  const struct rules_claim claim = {
      .fingerprint_matches = true, .takeover = takeover, .lease_ms = LEASE, .token = w->next_token};
  return w->rules->claim(r, &claim, w->now);
}

static bool is_grant(enum rules_verdict verdict) {
  return verdict == RULES_GRANT_FIRST || verdict == RULES_GRANT_NEXT ||
         verdict == RULES_GRANT_AGAIN;
}

/* Owners that were overtaken, with any token that was used up. */
static void check_former_owners(struct world *w) {
  if (!w->former) return;
  struct rules_record r = w->r;
  const struct rules_store store = {.token = FORMER_TOKEN, .same_bytes = true, .ttl_ms = 1000};
  enum rules_end end;
  enum rules_verdict verdict = w->rules->store(&r, &store, w->now);
  expect(w, verdict >= RULES_STALE_ABSENT, WORLD_ONE_OWNER, "a former owner's STORE is accepted");
  verdict = w->rules->renew(&r, FORMER_TOKEN, LEASE, w->now);
  expect(w, verdict >= RULES_STALE_ABSENT, WORLD_ONE_OWNER, "a former owner's RENEW is accepted");
  for (int word = RULES_DID_NOTHING; word <= RULES_CLEAR; word++) {
    verdict = w->rules->release(&r, FORMER_TOKEN, (enum rules_word)word, &end);
    expect(w, verdict == RULES_NOT_YOURS, WORLD_ONE_OWNER, "a former owner's RELEASE is accepted");
  }
  expect(w, same_record(&r, &w->r), WORLD_ONE_OWNER, "a former owner changes the record");
  if (w->r.phase != RULES_UNKNOWN) return;
  verdict = newcomer(&r, w, FORMER_TOKEN);
  expect(w, !is_grant(verdict), WORLD_HOLD, "TAKEOVER with a former token is granted");
}

static void check_readers(struct world *w) {
  static const enum rules_verdict SAID[] = {RULES_SAY_NOTHING, RULES_SAY_BUSY, RULES_SAY_LAPSED,
                                            RULES_SAY_UNKNOWN, RULES_SAY_DONE};
  bool told = w->rules->read(&w->r, false) == SAID[w->r.phase];
  expect(w, told, WORLD_EVIDENCE, "a reader is not told what there is");
}

static void check_held(struct world *w) {
  struct rules_record r = w->r;
  bool granted = is_grant(newcomer(&r, w, 0)) || is_grant(newcomer(&r, w, w->current));
  expect(w, !granted, WORLD_LEASE, "granted while another's lease runs");
  expect(w, w->r.bind == w->bound, WORLD_LEASE, "BIND is not what the owner asked for last");
}

static void check_unknown(struct world *w) {
  struct rules_record r = w->r;
  expect(w, !is_grant(newcomer(&r, w, 0)), WORLD_HOLD, "UNKNOWN is granted without TAKEOVER");
}

static void check_done(struct world *w) {
  struct rules_record r = w->r;
  struct rules_store store = {.token = w->current, .ttl_ms = 1000};
  bool conflict = w->rules->store(&r, &store, w->now) == RULES_CONFLICT;
  expect(w, conflict && same_record(&r, &w->r), WORLD_ONE_OWNER, "a grant stores twice");
  store.same_bytes = true;
  bool same = w->rules->store(&r, &store, w->now) == RULES_SAME_STORED;
  expect(w, same, WORLD_LATE, "the same STORE again is refused");
}

/* It was struck out, and its number belongs to nobody. */
static void check_nobody(struct world *w) {
  struct rules_record r = w->r;
  enum rules_end end;
  bool refused = w->rules->release(&r, w->current, RULES_DID_NOTHING, &end) == RULES_NOT_YOURS;
  expect(w, refused, WORLD_EVIDENCE, "RELEASE with nobody's token strikes out an earlier grant");
  refused = w->rules->renew(&r, w->current, LEASE, w->now) == RULES_STALE_OVERTAKEN;
  expect(w, refused, WORLD_ONE_OWNER, "RENEW with nobody's token is accepted");
}

/* What ends UNKNOWN, each with the token shown. */
static void check_operator(struct world *w) {
  struct rules_record r = w->r;
  enum rules_end end;
  bool granted = newcomer(&r, w, w->r.token) == RULES_GRANT_NEXT;
  expect(w, granted, WORLD_NO_WEDGE, "TAKEOVER with the token shown is refused");
  bool clears = w->rules->release(&w->r, w->r.token, RULES_CLEAR, &end) == RULES_RELEASE &&
                end == RULES_END_CLEARED;
  expect(w, clears, WORLD_NO_WEDGE, "RELEASE CLEAR with the token shown is refused");
}

/* Nobody is there: time alone ends every lease, and answers those who wait. */
static void check_held_progress(struct world *w) {
  struct world alone = *w;
  alone.text = NULL;
  for (int leases = 0; leases <= WORLD_QUEUE && alone.r.phase == RULES_HELD; leases++) {
    alone.now++;
    lease_over(&alone);
  }
  expect(w, alone.r.phase != RULES_HELD, WORLD_NO_WEDGE, "it stays HELD");
  if (alone.broken == WORLD_NO_WEDGE) broke(w, alone.broken, alone.why);
}

static void check_progress(struct world *w) {
  if (w->r.phase == RULES_HELD) {
    check_held_progress(w);
    return;
  }
  expect(w, w->waiting == 0, WORLD_NO_WEDGE, "a caller waits, and nothing will answer it");
  if (w->r.phase == RULES_UNKNOWN) {
    check_operator(w);
    return;
  }
  struct rules_record r = w->r;
  enum rules_verdict verdict = newcomer(&r, w, 0);
  bool served =
      verdict == RULES_SAY_DONE || verdict == RULES_GRANT_FIRST || verdict == RULES_GRANT_NEXT;
  expect(w, served, WORLD_NO_WEDGE, "nobody else is there, and a newcomer is refused");
}

void world_check(struct world *w) {
  check_readers(w);
  check_former_owners(w);
  if (w->nobodys) check_nobody(w);
  if (is_open(w))
    expect(w, w->r.attempt == may_have_acted(w), WORLD_EVIDENCE,
           "the record counts other grants than those that may have acted");
  if (w->r.phase == RULES_HELD) check_held(w);
  if (w->r.phase == RULES_UNKNOWN) check_unknown(w);
  if (w->r.phase == RULES_DONE) check_done(w);
  check_progress(w);
}

/* ---- the beginning, and a world as a number ---- */

void world_begin(struct world *w, const struct world_rules *rules) {
  *w = (struct world){.now = NOW,
                      .horizon = 0,
                      .next_token = NEXT_TOKEN,
                      .born = {10, 10},
                      .owner = WORLD_NONE,
                      .rules = rules,
                      .names = {"a", "b", "c"}};
}

struct bits {
  uint64_t value;
  unsigned used;
};

static void put(struct bits *bits, unsigned width, uint64_t value) {
  assert(value >> width == 0 && bits->used + width <= 64);
  bits->value |= value << bits->used;
  bits->used += width;
}

static uint64_t take(struct bits *bits, unsigned width) {
  uint64_t value = bits->value & ((UINT64_C(1) << width) - 1);
  bits->value >>= width;
  return value;
}

static uint64_t renamed(uint64_t actor, bool swap) { return swap && actor < 2 ? 1 - actor : actor; }

static void put_record(struct bits *bits, const struct world *w) {
  put(bits, 3, w->r.phase);
  put(bits, 1, w->r.hold);
  put(bits, 1, w->r.bind);
  put(bits, 1, w->r.nobody);
  put(bits, 1, w->r.phase == RULES_UNKNOWN && w->r.deadline_ms != RULES_NEVER);
  put(bits, 4, w->r.attempt);
}

static uint64_t pack(const struct world *w, bool swap) {
  struct bits bits = {0};
  put_record(&bits, w);
  put(&bits, 2, renamed(w->owner, swap));
  put(&bits, 1, w->former);
  put(&bits, 1, w->nobodys);
  put(&bits, 1, w->bound);
  put(&bits, 1, w->hold_asked);
  put(&bits, 4, w->acted_other);
  for (size_t i = 0; i < WORLD_REQUESTS; i++) {
    put(&bits, 4, w->acted[i]);
    put(&bits, 1, w->answered[i]);
    put(&bits, 1, w->lost[i]);
    put(&bits, 1, w->born[i] <= w->horizon);
    put(&bits, 1, w->r.phase != RULES_ABSENT && w->born[i] <= w->r.since_ms);
  }
  for (size_t i = 0; i < WORLD_QUEUE; i++) {
    struct world_waiter waiter = {.actor = WORLD_NONE};
    if (i < w->waiting) waiter = w->queue[i];
    put(&bits, 2, renamed(waiter.actor, swap));
    put(&bits, 1, waiter.hold);
    put(&bits, 1, waiter.bind);
  }
  return bits.value;
}

uint64_t world_pack(const struct world *w, bool *swapped) {
  uint64_t plain = pack(w, false), other = pack(w, true);
  *swapped = other < plain;
  return *swapped ? other : plain;
}

/* Births between two times that are known: the age of the record and the horizon. */
static void take_times(struct world *w, const bool forgotten[WORLD_REQUESTS],
                       const bool older[WORLD_REQUESTS]) {
  bool record_later = false;
  for (size_t i = 0; i < WORLD_REQUESTS; i++) record_later |= older[i] && !forgotten[i];
  w->horizon = record_later ? 20 : 40;
  w->r.since_ms = record_later ? 40 : 20;
  for (size_t i = 0; i < WORLD_REQUESTS; i++) {
    w->born[i] = 30;
    if (forgotten[i] == older[i]) w->born[i] = older[i] ? 10 : 50;
  }
}

static void take_record(struct bits *bits, struct rules_record *r) {
  r->phase = (uint8_t)take(bits, 3);
  r->hold = take(bits, 1);
  r->bind = take(bits, 1);
  r->nobody = take(bits, 1);
  bool ends = take(bits, 1);
  r->attempt = (uint32_t)take(bits, 4);
  r->lease_ms = LEASE;
  r->deadline_ms = NOW + (r->phase == RULES_HELD ? LEASE / 2 : RETENTION / 2);
  if (r->phase == RULES_UNKNOWN && !ends) r->deadline_ms = RULES_NEVER;
}

void world_unpack(uint64_t packed, struct world *w, const struct world_rules *rules) {
  struct bits bits = {packed, 0};
  bool forgotten[WORLD_REQUESTS], older[WORLD_REQUESTS];
  world_begin(w, rules);
  take_record(&bits, &w->r);
  w->owner = (uint8_t)take(&bits, 2);
  w->former = take(&bits, 1);
  w->nobodys = take(&bits, 1);
  w->bound = take(&bits, 1);
  w->hold_asked = take(&bits, 1);
  w->acted_other = (uint8_t)take(&bits, 4);
  for (size_t i = 0; i < WORLD_REQUESTS; i++) {
    w->acted[i] = (uint8_t)take(&bits, 4);
    w->answered[i] = take(&bits, 1);
    w->lost[i] = take(&bits, 1);
    forgotten[i] = take(&bits, 1);
    older[i] = take(&bits, 1);
  }
  take_times(w, forgotten, older);
  for (size_t i = 0; i < WORLD_QUEUE; i++) {
    w->queue[i].actor = (uint8_t)take(&bits, 2);
    w->queue[i].hold = take(&bits, 1);
    w->queue[i].bind = take(&bits, 1);
    if (w->queue[i].actor != WORLD_NONE) w->waiting = i + 1;
  }
  if (w->r.phase == RULES_ABSENT) {
    w->r = (struct rules_record){0};
  } else {
    w->r.token = w->current = CURRENT_TOKEN;
  }
}
