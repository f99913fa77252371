/* runner.c - see runner.h. */
#include "tests/model/runner.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/engine/binding.h"
#include "server/engine/effect.h"
#include "server/engine/engine.h"
#include "server/engine/holding.h"
#include "server/engine/horizon.h"
#include "server/engine/image.h"
#include "server/engine/keys.h"
#include "server/engine/memory_limit.h"
#include "server/engine/name.h"
#include "server/engine/outbox.h"
#include "server/engine/pin.h"
#include "server/engine/state.h"
#include "server/engine/stats.h"
#include "server/engine/tick.h"
#include "server/engine/waiter.h"
#include "tests/model/census.h"
#include "tests/model/shadow.h"

#define HISTORY 30
#define HISTORY_BYTES 200
#define CONTENTS 12 /* owners, fingerprints, stages, bodies, metas, values */
#define LARGEST_CONTENT 20000
#define KEY_BYTES 600 /* a record of it is alone: slab.h */
#define SHORT_KEY 8
#define UUID_KEY 36         /* the engine stores UUIDs in another form */
#define LARGEST_RECORD 1000 /* with key, fingerprint and owner */
#define FIRST_TOKEN (UINT64_C(52000000) << RULES_TOKEN_SHIFT)
#define JUNK_TOKENS 5
#define MANY_KEYS 3000
#define FINISH_STEPS 100000
#define LEAVING_STEPS 4000
#define LARGEST_BUDGET 200000u

struct source {
  const uint8_t *bytes; /* NULL: from the seed */
  size_t left;
  uint64_t seed;
  bool dry;
};

struct handle { /* for the model's waiter with the same number */
  struct waiter *waiter;
  bool popped;
};

struct grant {
  uint64_t token; /* 0: not seen yet */
  uint64_t above; /* the highest token known when the grant was made; its own must be above */
  int key;
  bool taken_back;
};

struct walk { /* one SCAN, over many steps */
  bool under_way;
  uint64_t cursor;
  uint64_t births[MODEL_KEYS];
  bool visited[MODEL_KEYS];
};

struct world {
  int keys, owners, fingerprints;
  int64_t lease_ms, wait_ms, ttl_ms, stroll_ms, retention_ms; /* longest */
  int tick_chance; /* per mille, in addition to the tick after each step of time */
  bool lazy_host;  /* leaves answers in the engine's ready list for a while */
  bool limited;    /* memory */
};

struct runner {
  struct source source;
  struct world world;
  struct engine_options options;
  struct engine *engine;
  struct quotas *quotas;
  struct model model;
  struct shadow *shadow; /* NULL: in this world nobody keeps images */
  int64_t now_ms;
  uint64_t seed, step;
  struct handle handles[MODEL_WAITERS];
  struct binding *bindings[MODEL_BINDINGS];
  struct grant *grants;
  int grant_count, grant_capacity;
  int *grant_of; /* by token - FIRST_TOKEN */
  size_t token_capacity;
  uint64_t highest;
  struct walk walk;
  size_t empty_bytes;
  char keys[MODEL_KEYS][UUID_KEY + 1];
  char long_key[KEY_BYTES];
  char *contents[CONTENTS];
  char history[HISTORY][HISTORY_BYTES];
  uint64_t noted;
};

/* ---- failing ---- */

__attribute__((format(printf, 2, 3))) static void note(struct runner *r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *line = r->history[r->noted++ % HISTORY];
  int head = snprintf(line, HISTORY_BYTES, "%" PRIu64 " @%" PRId64 " ", r->step, r->now_ms);
  vsnprintf(line + head, HISTORY_BYTES - (size_t)head, format, args);
  va_end(args);
}

__attribute__((format(printf, 2, 3), noreturn)) static void fail(struct runner *r,
                                                                 const char *format, ...) {
  fflush(stdout);
  fprintf(stderr,
          "\nseed %" PRIu64 ", step %" PRIu64 ", %d keys, retention %" PRId64
          " ms. The last operations:\n",
          r->seed, r->step, r->world.keys, r->options.retention_ms);
  uint64_t first = r->noted > HISTORY ? r->noted - HISTORY : 0;
  for (uint64_t i = first; i < r->noted; i++) fprintf(stderr, "  %s\n", r->history[i % HISTORY]);
  fprintf(stderr, "engine and model differ: ");
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, "\n");
  abort();
}

/* Of what says what differs. */
static void expect_same(struct runner *r, const char *differs) {
  if (differs != NULL) fail(r, "%s", differs);
}

#define EXPECT(condition, ...) ((condition) ? (void)0 : fail(r, __VA_ARGS__))

/* ---- decisions ---- */

static uint64_t random_bits(struct source *s) { /* splitmix64 */
  uint64_t z = (s->seed += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static unsigned next_byte(struct source *s) {
  if (s->left == 0) {
    s->dry = true;
    return 0;
  }
  s->left--;
  return *s->bytes++;
}

/* 0 .. limit-1 */
static int pick(struct runner *r, int limit) {
  struct source *s = &r->source;
  if (s->bytes == NULL) return (int)(random_bits(s) % (uint64_t)limit);
  unsigned value = next_byte(s);
  if (limit > 256) value = value << 8 | next_byte(s);
  return (int)(value % (unsigned)limit);
}

static bool chance(struct runner *r, int percent) { return pick(r, 100) < percent; }

static int some_key(struct runner *r) { return pick(r, r->world.keys); }
/* For operations with a token: prefers a key on which the token may count. */
static int some_open_key(struct runner *r) {
  int key = some_key(r);
  for (int tries = 0; tries < 3 && (r->model.keys[key].kind != KEYS_RECORD ||
                                    r->model.keys[key].phase == RULES_DONE);
       tries++) {
    key = some_key(r);
  }
  return key;
}
static int some_content(struct runner *r, int none_percent) {
  return chance(r, none_percent) ? NONE : pick(r, CONTENTS);
}

static int64_t some_ms(struct runner *r, int64_t longest) {
  if (chance(r, 25)) return 1 + pick(r, 3); /* so that deadlines coincide */
  return 1 + pick(r, (int)longest);
}

static int some_binding(struct runner *r) {
  if (!chance(r, 30)) return NONE;
  int binding = pick(r, MODEL_BINDINGS);
  if (r->model.binding_open[binding]) return binding;
  r->bindings[binding] = binding_create(r->engine);
  EXPECT(r->bindings[binding] != NULL, "no memory for a binding");
  r->model.binding_open[binding] = true;
  return binding;
}

/* ---- from the model's numbers to bytes ---- */

static struct span key_span(struct runner *r, int key) {
  if (key == 0) return (struct span){"", 0};
  if (key == 1) return (struct span){r->long_key, KEY_BYTES};
  return (struct span){r->keys[key], key % 2 == 0 ? SHORT_KEY : UUID_KEY};
}

static int key_number(struct runner *r, struct span key) {
  if (key.len == 0) return 0;
  if (key.len == KEY_BYTES) return 1;
  EXPECT(key.len == SHORT_KEY || key.len == UUID_KEY, "a key of %zu bytes that nobody gave",
         key.len);
  int number = 0;
  for (size_t i = key.len - 4; i < key.len; i++) number = number * 10 + (key.data[i] - '0');
  EXPECT(number > 1 && number < r->world.keys && span_equal(key, key_span(r, number)),
         "a key that nobody gave");
  return number;
}

static size_t content_len(int content) {
  static const size_t LENGTHS[CONTENTS] = {0,  1,   2,    7,    8,    33,
                                           64, 100, 1000, 1000, 5000, LARGEST_CONTENT};
  return LENGTHS[content];
}

static struct span content_span(struct runner *r, int content) {
  return content == NONE ? SPAN_ABSENT : (struct span){r->contents[content], content_len(content)};
}

/* The same digits in three cases, so that a case that gets lost makes two of them equal. */
#define DIGITS "0123456789012345"
#define LOWER "9f86d081884c7d65"
static const char *const FINGERPRINTS[] = {"",
                                           LOWER,
                                           "9F86D081884C7D65",
                                           "9F86d081884c7d65",
                                           DIGITS,
                                           LOWER LOWER "9f86d081",
                                           LOWER "9",
                                           "raw",
                                           LOWER LOWER LOWER LOWER LOWER LOWER LOWER LOWER DIGITS};
#define FINGERPRINT_COUNT (int)(sizeof FINGERPRINTS / sizeof FINGERPRINTS[0])

static struct span fingerprint_span(int fingerprint) {
  return fingerprint == NONE ? SPAN_ABSENT : span_of(FINGERPRINTS[fingerprint]);
}

static bool make_contents(struct runner *r) {
  for (int c = 0; c < CONTENTS; c++) {
    r->contents[c] = malloc(content_len(c) + 1);
    if (r->contents[c] == NULL) return false;
    for (size_t i = 0; i < content_len(c); i++)
      r->contents[c][i] = (char)(c * 31 + (int)(i % 251)); /* NUL too */
  }
  for (int k = 0; k < r->world.keys; k++) {
    static const char *const BEFORE[] = {"key:", "0f8fad5b-d9cb-469f-a165-70867728",
                                         "key:", "0F8FAD5B-D9CB-469F-A165-70867728"};
    snprintf(r->keys[k], sizeof r->keys[k], "%s%04d", BEFORE[k % 4], k);
  }
  memset(r->long_key, 'k', KEY_BYTES);
  return true;
}

/* ---- tokens ---- */

static void *grown(void *old, size_t *capacity, size_t needed, size_t size) {
  if (needed <= *capacity) return old;
  size_t more = needed * 2;
  char *memory = realloc(old, more * size);
  if (memory == NULL) abort();
  memset(memory + *capacity * size, 0, (more - *capacity) * size);
  *capacity = more;
  return memory;
}

/* Notes the grants that the model has made since, and the token that theirs must be above. */
static void note_grants(struct runner *r, int key) {
  size_t capacity = (size_t)r->grant_capacity;
  r->grants = grown(r->grants, &capacity, (size_t)r->model.grants, sizeof *r->grants);
  r->grant_capacity = (int)capacity;
  for (; r->grant_count < r->model.grants; r->grant_count++) {
    r->grants[r->grant_count] = (struct grant){.above = r->highest, .key = key};
  }
}

/* A token is above all known before its grant, is never used twice, and belongs to one grant. */
static void check_token(struct runner *r, int grant, uint64_t token) {
  struct grant *g = &r->grants[grant];
  if (g->token != 0) {
    EXPECT(token == g->token, "grant %d changed its token from %" PRIu64 " to %" PRIu64, grant,
           g->token, token);
    return;
  }
  EXPECT(token > g->above, "token %" PRIu64 " of grant %d is not above %" PRIu64, token, grant,
         g->above);
  EXPECT(token >= FIRST_TOKEN && token < RULES_TOKEN_LIMIT, "token %" PRIu64 " is out of range",
         token);
  EXPECT(token - FIRST_TOKEN < 2 * (uint64_t)r->grant_count + 16,
         "token %" PRIu64 " does not count up", token);
  size_t index = (size_t)(token - FIRST_TOKEN);
  r->grant_of = grown(r->grant_of, &r->token_capacity, index + 1, sizeof *r->grant_of);
  EXPECT(r->grant_of[index] == 0, "token %" PRIu64 " was given to grant %d and to %d", token,
         r->grant_of[index] - 1, grant);
  r->grant_of[index] = grant + 1;
  g->token = token;
}

/* After a call, so that the tokens of one call may be seen in any order. */
static void raise_highest(struct runner *r, uint64_t token) {
  if (token > r->highest) r->highest = token;
}

static int grant_with(const struct runner *r, uint64_t token) {
  if (token < FIRST_TOKEN || token - FIRST_TOKEN >= r->token_capacity) return NONE;
  return r->grant_of[token - FIRST_TOKEN] - 1;
}

/* Mostly the current token; else a former one, of this or another key, or junk. */
static uint64_t some_token(struct runner *r, int key) {
  static const uint64_t JUNK[JUNK_TOKENS] = {0, 1, FIRST_TOKEN - 1, RULES_TOKEN_LIMIT, UINT64_MAX};
  const struct model_key *k = &r->model.keys[key];
  int kind = pick(r, 100);
  if (kind < 70 && k->kind == KEYS_RECORD && r->grants[k->grant.number].token != 0)
    return r->grants[k->grant.number].token;
  if (kind < 96 && r->grant_count > 0) {
    int back = pick(r, 40);
    int from = kind < 80 ? k->grant.number : r->grant_count - 1;
    int grant = from - back > 0 ? from - back : 0;
    for (int g = grant; kind < 88 && g > 0 && g > grant - 100; g--) {
      if (r->grants[g].taken_back) grant = g;
    }
    if (r->grants[grant].token != 0) return r->grants[grant].token;
  }
  return JUNK[pick(r, JUNK_TOKENS)];
}

/* ---- comparing ---- */

static void compare_blob(struct runner *r, const char *what, const struct blob *blob, int content) {
  struct span have = pin_bytes(blob), want = content_span(r, content);
  EXPECT(span_equal(have, want), "%s: %zu bytes%s, expected content %d", what, have.len,
         have.data == NULL ? " (absent)" : "", content);
}

static void compare_answer(struct runner *r, const char *who, const struct engine_answer *have,
                           const struct model_answer *want) {
  EXPECT(have->status == want->status, "%s: status %d, expected %d", who, (int)have->status,
         (int)want->status);
  EXPECT(have->attempt == want->attempt, "%s: attempt %u, expected %u", who, have->attempt,
         want->attempt);
  EXPECT(have->age_ms == want->age_ms, "%s: age %" PRId64 ", expected %" PRId64, who, have->age_ms,
         want->age_ms);
  EXPECT(have->left_ms == want->left_ms, "%s: left %" PRId64 ", expected %" PRId64, who,
         have->left_ms, want->left_ms);
  EXPECT(have->count == want->count, "%s: count %" PRIu64 ", expected %" PRIu64, who, have->count,
         want->count);
  compare_blob(r, "body", have->body, want->body);
  compare_blob(r, "meta", have->meta, want->meta);
  compare_blob(r, "stage", have->stage, want->stage);
  compare_blob(r, "owner", have->owner, want->owner);
  /* body_bytes shares its place with the fields of a grant. */
  bool done = want->status == ENGINE_DONE;
  EXPECT(span_equal(have->body_bytes, pin_bytes(have->body)) || !done, "%s: body", who);
  EXPECT(span_equal(have->meta_bytes, pin_bytes(have->meta)), "%s: meta", who);
  if (done) return;
  if (want->status == ENGINE_FORGOTTEN) {
    EXPECT(have->horizon_ms == want->horizon_ms, "%s: horizon %" PRId64 ", expected %" PRId64, who,
           have->horizon_ms, want->horizon_ms);
    return;
  }
  EXPECT(have->lease_ms == want->lease_ms, "%s: lease %" PRId64 ", expected %" PRId64, who,
         have->lease_ms, want->lease_ms);
  if (want->grant == NONE) {
    EXPECT(have->token == 0, "%s: a token without a grant", who);
  } else {
    check_token(r, want->grant, have->token);
  }
}

static const char *status_name(enum engine_status status) {
  static const char *const NAMES[] = {
      "CLAIMED",         "DONE",      "BUSY",     "LAPSED",       "UNKNOWN",
      "FORGOTTEN",       "NOTHING",   "QUEUED",   "STORED",       "RENEWED",
      "RELEASED",        "NOT_YOURS", "MISMATCH", "STALE ABSENT", "STALE STORED",
      "STALE OVERTAKEN", "CONFLICT",  "OOM",      "BUSYKEY",      "CLAIM_QUOTA",
      "WAITER_QUOTA",    "DRAINING",  "NO_ROOM",  "WRONGTYPE",    "NO_MEMORY"};
  _Static_assert(sizeof NAMES / sizeof *NAMES == ENGINE_STATUSES, "each status has a name");
  return NAMES[status];
}

/* ---- after each call: effects and ready waiters ---- */

static void judge(struct runner *r, int key) {
  model_judge(&r->model, key, r->now_ms);
  note_grants(r, key);
}

static void take_effect(struct runner *r, const struct effect *effect) {
  int key = key_number(r, effect->key);
  struct model_key *k = &r->model.keys[key];
  if (k->effect_count == 0) judge(r, key); /* a tick got to it */
  EXPECT(k->effect_count > 0, "effect %d on key %d, which did not change", (int)effect->kind, key);
  EXPECT(k->effects[0] == effect->kind, "effect %d on key %d, expected %d", (int)effect->kind, key,
         (int)k->effects[0]);
  memmove(k->effects, k->effects + 1, sizeof k->effects - sizeof k->effects[0]);
  k->effect_count--;
}

static void drain_effects(struct runner *r) {
  struct effect effect;
  while (effect_next(r->engine, &effect)) take_effect(r, &effect);
}

static bool pop_one(struct runner *r) {
  struct waiter *waiter = waiter_next_ready(r->engine, 0);
  if (waiter == NULL) return false;
  struct handle *h = waiter_context(waiter);
  int i = (int)(h - r->handles);
  struct model_waiter *w = &r->model.waiters[i];
  EXPECT(h->waiter == waiter && !h->popped, "waiter %d was answered twice", i);
  if (w->state == WAITER_WAITS) { /* a tick got to it */
    model_judge_waiter(&r->model, i, r->now_ms);
    note_grants(r, w->key);
  }
  const struct engine_answer *answer = waiter_answer(waiter);
  EXPECT(w->state == WAITER_ANSWERED, "waiter %d of key %d got %s, expected to wait on", i, w->key,
         status_name(answer->status));
  note(r, "  waiter %d of key %d: %s", i, w->key, status_name(answer->status));
  compare_answer(r, "waiter", answer, &w->answer);
  h->popped = true;
  return true;
}

static void expect_delivered(struct runner *r, int key) {
  for (int i = 0; i < MODEL_WAITERS; i++) {
    const struct model_waiter *w = &r->model.waiters[i];
    if (key != NONE && w->key != key) continue;
    EXPECT(w->state != WAITER_ANSWERED || r->handles[i].popped,
           "waiter %d of key %d still waits, expected %s", i, w->key,
           status_name(w->answer.status));
  }
  for (int k = key == NONE ? 0 : key; k < r->world.keys; k++) {
    EXPECT(r->model.keys[k].effect_count == 0, "no effect %d on key %d",
           (int)r->model.keys[k].effects[0], k);
    if (key != NONE) break;
  }
}

static void look_at_shadow(struct runner *r, int key, bool everything) {
  expect_same(r, shadow_take(r->shadow, r->now_ms));
  if (key != NONE) expect_same(r, shadow_compare_key(r->shadow, key_span(r, key), r->now_ms));
  bool all = everything && (r->world.keys != MANY_KEYS || r->step % 200 == 0);
  if (all) expect_same(r, shadow_compare_all(r->shadow, r->now_ms));
  if (all && r->step % 40 == 0) expect_same(r, shadow_compare_horizon(r->shadow, r->now_ms));
}

/* key: the key that the call looked at; NONE: the call looked at all. On other keys something may
 * still be due. */
static void settle_accounts(struct runner *r, int key, bool everything) {
  look_at_shadow(r, key, everything);
  drain_effects(r);
  bool hurried = everything || !r->world.lazy_host ||
                 r->world.limited; /* a full engine may look at any flushed key */
  if (hurried || chance(r, 50)) {
    while (pop_one(r)) continue;
    if (key != NONE || everything) expect_delivered(r, everything ? NONE : key);
    struct stats stats;
    stats_read(r->engine, &stats);
    uint64_t waiting = (uint64_t)model_waiting(&r->model, NONE);
    EXPECT(stats.waiters == waiting, "%" PRIu64 " waiters, expected %" PRIu64, stats.waiters,
           waiting);
  }
  for (int g = r->grant_count - 1; g >= 0 && g > r->grant_count - MODEL_WAITERS; g--)
    raise_highest(r, r->grants[g].token);
}

static void drain_all(struct runner *r) {
  drain_effects(r);
  while (pop_one(r)) continue;
  settle_accounts(r, NONE, false);
}

/* ---- operations ---- */

/* Checks that an OOM was right: content and a record, or a little more, would exceed the limit. */
static void expect_over_limit(struct runner *r, size_t content) {
  EXPECT(r->world.limited, "OOM without a limit");
  struct stats s;
  stats_read(r->engine, &s);
  uint64_t would = s.memory_bytes +
                   (s.phases[RULES_HELD] + 1) * memory_limit_reserve(r->options.store_reserve) +
                   content + LARGEST_RECORD + pages_growth(&r->engine->records.pages);
  EXPECT(would > r->options.memory_limit, "OOM at %" PRIu64 " bytes of %zu", s.memory_bytes,
         r->options.memory_limit);
}

/* The same of a STORE or RENEW on a record that had given its reserve back. */
static void expect_ended_over_limit(struct runner *r, int key, size_t content) {
  judge(r, key);
  const struct model_key *k = &r->model.keys[key];
  bool ended = k->kind == KEYS_RECORD && (k->phase == RULES_LAPSED || k->phase == RULES_UNKNOWN);
  EXPECT(r->world.limited && ended, "OOM where a reserve is kept");
  expect_over_limit(r, content);
}

static void queued(struct runner *r, const struct model_answer *want,
                   const struct engine_answer *have, int expected_waiter) {
  if (want->status != ENGINE_QUEUED) return;
  EXPECT(want->waiter == expected_waiter && have->waiter != NULL, "no waiter came with QUEUED");
  r->handles[want->waiter] = (struct handle){.waiter = have->waiter};
}

/* Before, at and after the horizon of the key; only where each key has a slot of its own. */
static int64_t some_birth(struct runner *r, int key) {
  if (r->world.keys == MANY_KEYS || r->world.limited || chance(r, 60)) return MODEL_NEVER;
  const struct model_key *k = &r->model.keys[key];
  if (k->horizon_most_ms > k->horizon_ms) return MODEL_NEVER;
  int64_t horizon_ms = k->horizon_ms + r->model.options.skew_ms;
  int64_t born_ms = chance(r, 50) ? horizon_ms - 1 + pick(r, 4) : r->now_ms - some_ms(r, 50);
  return born_ms > 0 ? born_ms : 0;
}

static void claim(struct runner *r, int key, int wait_percent) {
  int waiter = model_free_waiter(&r->model);
  uint64_t takeover = chance(r, 20) ? some_token(r, key) : 0;
  struct model_claim c = {
      .key = key,
      .owner = chance(r, 15) ? NONE : 1 + pick(r, r->world.owners),
      .fingerprint = pick(r, 100) < 85 ? 2 : pick(r, r->world.fingerprints) - 1,
      .lease_ms = some_ms(r, r->world.lease_ms),
      .wait_ms = waiter != NONE && chance(r, wait_percent) ? some_ms(r, r->world.wait_ms) : 0,
      .hold = chance(r, 12),
      .takeover = grant_with(r, takeover),
      .born_ms = some_birth(r, key),
      .binding = some_binding(r),
  };
  const struct engine_claim request = {
      .key = key_span(r, c.key),
      .fingerprint = fingerprint_span(c.fingerprint),
      .owner = content_span(r, c.owner),
      .lease_ms = (uint32_t)c.lease_ms,
      .wait_ms = c.wait_ms,
      .hold = c.hold,
      .takeover = takeover,
      .born = c.born_ms != MODEL_NEVER,
      .born_ms = c.born_ms,
      .binding = c.binding == NONE ? NULL : r->bindings[c.binding],
      .context = waiter == NONE ? NULL : &r->handles[waiter],
      .user = (uint16_t)(r->step % CENSUS_USERS),
  };
  struct engine_answer have;
  struct model_answer want;
  engine_claim(r->engine, &request, r->now_ms, &have);
  note(r, "CLAIM %d FP %d OWNER %d LEASE %d WAIT %d BIND %d%s TAKEOVER %d BORN %" PRId64 " -> %s",
       c.key, c.fingerprint, c.owner, (int)c.lease_ms, (int)c.wait_ms, c.binding,
       c.hold ? " HOLD" : "", c.takeover, c.born_ms == MODEL_NEVER ? -1 : c.born_ms,
       status_name(have.status));
  if (have.status == ENGINE_OOM) {
    judge(r, c.key);
    const struct model_key *k = &r->model.keys[c.key];
    EXPECT(k->kind != KEYS_RECORD || k->phase == RULES_LAPSED || k->phase == RULES_UNKNOWN,
           "OOM where nothing is granted anew");
    expect_over_limit(r, 0);
    r->model.events[EVENT_claim_refused_for_memory]++;
  } else {
    model_claim(&r->model, &c, r->now_ms, &want);
    note_grants(r, c.key);
    compare_answer(r, "CLAIM", &have, &want);
    queued(r, &want, &have, waiter);
  }
  settle_accounts(r, c.key, false);
}

static void op_claim(struct runner *r) { claim(r, some_key(r), 50); }

/* Many claims on one key, so that queues get long. */
static void op_crowd(struct runner *r) {
  int key = some_open_key(r);
  for (int n = 2 + pick(r, 5); n > 0; n--) claim(r, key, 95);
}

static void op_store(struct runner *r) {
  int key = chance(r, 70) ? some_open_key(r) : some_key(r);
  uint64_t token = some_token(r, key);
  int grant = grant_with(r, token);
  struct model_store s = {
      .key = key,
      .grant = grant,
      .taken_back = grant != NONE && r->grants[grant].taken_back,
      .body = chance(r, 70) ? 4 : pick(r, CONTENTS),
      .meta = chance(r, 60)   ? NONE
              : chance(r, 50) ? 3
                              : pick(r, CONTENTS),
      .ttl_ms = chance(r, 25) ? 0 : some_ms(r, r->world.ttl_ms),
      .word = (enum rules_word)pick(r, 3),
  };
  if (s.ttl_ms > 0) s.word = RULES_DID_NOTHING;
  const struct engine_store request = {.key = key_span(r, key),
                                       .body = content_span(r, s.body),
                                       .meta = content_span(r, s.meta),
                                       .token = token,
                                       .ttl_ms = s.ttl_ms,
                                       .word = s.word};
  struct engine_answer have;
  struct model_answer want;
  shadow_reserve(r->shadow, content_len(s.body) + (s.meta == NONE ? 0 : content_len(s.meta)));
  engine_store(r->engine, &request, r->now_ms, &have);
  note(r, "STORE %d grant %d body %d meta %d TTL %d word %d -> %s", key, s.grant, s.body, s.meta,
       (int)s.ttl_ms, (int)s.word, status_name(have.status));
  if (have.status == ENGINE_OOM) {
    expect_ended_over_limit(r, key, content_len(s.body) + LARGEST_CONTENT);
    r->model.events[EVENT_store_refused_for_memory]++;
    settle_accounts(r, key, false);
    return;
  }
  model_store(&r->model, &s, r->now_ms, &want);
  note_grants(r, key);
  compare_answer(r, "STORE", &have, &want);
  settle_accounts(r, key, false);
}

static void op_renew(struct runner *r) {
  int key = chance(r, 70) ? some_open_key(r) : some_key(r);
  uint64_t token = some_token(r, key);
  int64_t lease_ms = chance(r, 40) ? 0 : some_ms(r, r->world.lease_ms);
  int stage = some_content(r, 50);
  const struct engine_renew request = {.key = key_span(r, key),
                                       .stage = content_span(r, stage),
                                       .token = token,
                                       .lease_ms = lease_ms};
  struct engine_answer have;
  struct model_answer want;
  engine_renew(r->engine, &request, r->now_ms, &have);
  note(r, "RENEW %d grant %d LEASE %d STAGE %d -> %s", key, grant_with(r, token), (int)lease_ms,
       stage, status_name(have.status));
  if (have.status == ENGINE_OOM) {
    expect_ended_over_limit(r, key, stage == NONE ? 0 : content_len(stage));
    r->model.events[EVENT_renew_refused_for_memory]++;
    settle_accounts(r, key, false);
    return;
  }
  model_renew(&r->model, key, grant_with(r, token), lease_ms, stage, r->now_ms, &want);
  note_grants(r, key);
  compare_answer(r, "RENEW", &have, &want);
  settle_accounts(r, key, false);
}

static void op_release(struct runner *r) {
  int key = chance(r, 70) ? some_open_key(r) : some_key(r);
  uint64_t token = some_token(r, key);
  struct engine_answer have;
  struct model_answer want;
  const enum rules_word word = (enum rules_word)pick(r, 3);
  const struct engine_release release = {.key = key_span(r, key), .token = token, .word = word};
  engine_release(r->engine, &release, r->now_ms, &have);
  note(r, "RELEASE %d grant %d word %d -> %s", key, grant_with(r, token), (int)word,
       status_name(have.status));
  model_release(&r->model, key, grant_with(r, token), word, r->now_ms, &want);
  note_grants(r, key);
  compare_answer(r, "RELEASE", &have, &want);
  settle_accounts(r, key, false);
}

static void read_key(struct runner *r, bool wait) {
  int waiter = model_free_waiter(&r->model);
  struct model_read m = {
      .key = some_key(r),
      .fingerprint = chance(r, 50)   ? NONE
                     : chance(r, 80) ? 2
                                     : pick(r, r->world.fingerprints),
      .wait_ms = wait && waiter != NONE ? some_ms(r, r->world.wait_ms) : 0,
  };
  const struct engine_read request = {.key = key_span(r, m.key),
                                      .fingerprint = fingerprint_span(m.fingerprint),
                                      .wait_ms = m.wait_ms,
                                      .context = waiter == NONE ? NULL : &r->handles[waiter],
                                      .user = (uint16_t)(r->step % CENSUS_USERS)};
  struct engine_answer have;
  struct model_answer want;
  engine_read(r->engine, &request, r->now_ms, &have);
  note(r, "%s %d FP %d %d ms -> %s", wait ? "WAIT" : "FETCH", m.key, m.fingerprint, (int)m.wait_ms,
       status_name(have.status));
  model_read(&r->model, &m, r->now_ms, &want);
  note_grants(r, m.key);
  compare_answer(r, "read", &have, &want);
  queued(r, &want, &have, waiter);
  settle_accounts(r, m.key, false);
}

static void op_fetch(struct runner *r) { read_key(r, false); }
static void op_wait(struct runner *r) { read_key(r, true); }

/* ---- the server's part ---- */

/* A waiter, from a random one on; popped: one whose answer the server has taken. */
static int some_waiter(struct runner *r, bool popped) {
  int from = pick(r, MODEL_WAITERS);
  for (int n = 0; n < MODEL_WAITERS; n++) {
    int i = (from + n) % MODEL_WAITERS;
    if (r->model.waiters[i].state == WAITER_FREE) continue;
    if (!popped || r->handles[i].popped) return i;
  }
  return NONE;
}

static void settle(struct runner *r, int i) {
  note(r, "settle waiter %d", i);
  waiter_settle(r->engine, r->handles[i].waiter);
  model_settle(&r->model, i);
  r->handles[i] = (struct handle){0};
}

static void op_settle(struct runner *r) {
  for (int n = 1 + pick(r, 6); n > 0; n--) {
    int i = some_waiter(r, true);
    if (i != NONE) settle(r, i);
  }
}

/* The client has gone: the server cancels the waiter, or takes back the grant that it has taken. */
static void hang_up(struct runner *r, int i) {
  const struct model_waiter *w = &r->model.waiters[i];
  int key = w->key;
  int grant = w->state == WAITER_ANSWERED ? w->answer.grant : NONE;
  struct handle h = r->handles[i];
  note(r, "%s waiter %d of key %d", h.popped ? "take back" : "cancel", i, key);
  if (h.popped) {
    waiter_take_back(r->engine, h.waiter, r->now_ms);
    model_take_back(&r->model, i, r->now_ms);
  } else {
    waiter_cancel(r->engine, h.waiter, r->now_ms);
    model_cancel(&r->model, i, r->now_ms);
  }
  note_grants(r, key);
  if (grant != NONE) r->grants[grant].taken_back = true;
  r->handles[i] = (struct handle){0};
  settle_accounts(r, NONE, false);
}

/* The waiter that this key was handed over to, if its grant is not settled yet. */
static int granted_waiter(const struct runner *r, int key) {
  for (int i = 0; i < MODEL_WAITERS; i++) {
    const struct model_waiter *w = &r->model.waiters[i];
    if (w->state == WAITER_ANSWERED && w->key == key &&
        w->answer.grant == r->model.keys[key].grant.number)
      return i;
  }
  return NONE;
}

/* Often several in a row, down the queue. */
static void op_hang_up(struct runner *r) {
  int i = some_waiter(r, chance(r, 50));
  for (; i != NONE && !r->source.dry; i = chance(r, 50) ? granted_waiter(r, some_key(r)) : NONE)
    hang_up(r, i);
}

static void op_expire(struct runner *r) {
  int i = some_waiter(r, false);
  if (i == NONE) return;
  note(r, "expire waiter %d", i);
  waiter_expire(r->engine, r->handles[i].waiter, r->now_ms);
  model_expire(&r->model, i, r->now_ms);
  note_grants(r, r->model.waiters[i].key);
  settle_accounts(r, r->model.waiters[i].key, false);
}

/* A connection closes: first its waiters leave the queues, then its claims end. */
static void close_binding(struct runner *r, int binding) {
  for (int i = 0; i < MODEL_WAITERS; i++) {
    const struct model_waiter *w = &r->model.waiters[i];
    if (w->state != WAITER_FREE && w->binding == binding) hang_up(r, i);
  }
  note(r, "close %d", binding);
  binding_close(r->engine, r->bindings[binding], r->now_ms);
  model_close(&r->model, binding, r->now_ms);
  settle_accounts(r, NONE, false);
}

static void op_close(struct runner *r) {
  int binding = pick(r, MODEL_BINDINGS);
  if (r->model.binding_open[binding]) close_binding(r, binding);
}

/* ---- keys ---- */

/* What is asked for of each key that is deleted (commands/admission.h). */
static void expect_deleted_in(struct runner *r, struct span key, bool had_claim,
                              const struct outbox *before) {
  const struct outbox *outbox = r->engine->outbox;
  if (outbox == NULL) return;
  unsigned images = outbox->count - before->count;
  size_t bytes = outbox->len - before->len - (outbox->swept_bytes - before->swept_bytes);
  size_t absent = IMAGE_HEAD_BYTES + IMAGE_ALIGNMENT + key.len;
  size_t most = absent + (had_claim ? 2 * outbox->most_bytes : 0);
  EXPECT(bytes <= most, "DEL left %zu bytes in %u images, announced %zu", bytes, images, most);
  EXPECT(images <= (had_claim ? 3 : 1), "DEL left %u images", images);
}

static void op_delete(struct runner *r) {
  int key = some_key(r);
  struct span name = key_span(r, key);
  struct outbox before = r->engine->outbox != NULL ? *r->engine->outbox : (struct outbox){0};
  bool had_claim = keys_has_claim(r->engine, name);
  bool have = keys_delete(r->engine, name, r->now_ms);
  expect_deleted_in(r, name, had_claim, &before);
  note(r, "DEL %d -> %d", key, have);
  bool want = model_delete(&r->model, key, r->now_ms);
  note_grants(r, key);
  EXPECT(have == want, "DEL: %d, expected %d", have, want);
  settle_accounts(r, key, false);
}

static void flush(struct runner *r) {
  note(r, "FLUSHALL");
  keys_flush(r->engine, r->now_ms);
  quotas_forget_claims(r->quotas);
  model_flush(&r->model, r->now_ms);
  struct stats stats;
  stats_read(r->engine, &stats);
  EXPECT(stats.values == 0, "values are left behind FLUSHALL");
  EXPECT(stats.records == stats.phases[RULES_HELD],
         "records that nobody holds are left behind FLUSHALL");
  drain_all(r);
}

static void op_flush(struct runner *r) {
  if (r->world.keys != MANY_KEYS || chance(r, 5)) flush(r);
}

static void op_set_value(struct runner *r) {
  int key = some_key(r), value = pick(r, CONTENTS);
  int64_t deadline_ms = chance(r, 40) ? RULES_NEVER : r->now_ms - 2 + some_ms(r, r->world.ttl_ms);
  shadow_reserve(r->shadow, content_len(value));
  enum engine_status have =
      keys_set_value(r->engine, key_span(r, key), content_span(r, value), deadline_ms, r->now_ms);
  note(r, "SET %d %d until %" PRId64 " -> %s", key, value, deadline_ms, status_name(have));
  if (have == ENGINE_OOM) {
    judge(r, key);
    expect_over_limit(r, content_len(value));
    r->model.events[EVENT_value_refused_for_memory]++;
  } else {
    enum engine_status want = model_set_value(&r->model, key, value, deadline_ms, r->now_ms);
    EXPECT(have == want, "SET: %s, expected %s", status_name(have), status_name(want));
  }
  note_grants(r, key);
  settle_accounts(r, key, false);
}

static void op_set_deadline(struct runner *r) {
  int key = some_key(r);
  int64_t deadline_ms = chance(r, 20) ? RULES_NEVER : r->now_ms - 2 + some_ms(r, r->world.ttl_ms);
  bool have = keys_set_deadline(r->engine, key_span(r, key), deadline_ms, r->now_ms);
  note(r, "EXPIRE %d at %" PRId64 " -> %d", key, deadline_ms, have);
  bool want = model_set_deadline(&r->model, key, deadline_ms, r->now_ms);
  note_grants(r, key);
  EXPECT(have == want, "EXPIRE: %d, expected %d", have, want);
  settle_accounts(r, key, false);
}

static void look(struct runner *r, int key) {
  struct keys_entry have;
  struct name name;
  name_of(r->engine, key_span(r, key), &name);
  keys_prefetch(r->engine, &name); /* these change nothing */
  keys_prefetch_entry(r->engine, &name);
  keys_look(r->engine, key_span(r, key), r->now_ms, &have);
  expect_same(r, shadow_take(r->shadow, r->now_ms));
  judge(r, key);
  const struct model_key *k = &r->model.keys[key];
  EXPECT(have.kind == k->kind, "key %d is of kind %d, expected %d", key, (int)have.kind,
         (int)k->kind);
  if (k->kind == KEYS_RECORD) {
    EXPECT(have.phase == k->phase, "key %d is in phase %d, expected %d", key, (int)have.phase,
           (int)k->phase);
  }
  compare_blob(r, "look", have.body, k->body);
  bool ends = k->deadline_ms != MODEL_NEVER && !(k->kind == KEYS_RECORD && k->phase == RULES_HELD);
  int64_t left_ms = !ends ? -1 : k->deadline_ms > r->now_ms ? k->deadline_ms - r->now_ms : 0;
  EXPECT(have.left_ms == left_ms, "key %d: left %" PRId64 ", expected %" PRId64, key, have.left_ms,
         left_ms);
  size_t bytes = keys_memory(r->engine, key_span(r, key), r->now_ms);
  EXPECT((bytes > 0) == (k->kind != KEYS_ABSENT), "key %d uses %zu bytes", key, bytes);
}

static void op_look(struct runner *r) {
  int key = some_key(r);
  look(r, key);
  settle_accounts(r, key, false);
}

static void compare_figures(struct runner *r) {
  struct stats have;
  stats_read(r->engine, &have);
  uint64_t records = 0, values = 0, expiring = 0, phases[RULES_DONE + 1] = {0};
  for (int i = 0; i < r->world.keys; i++) {
    const struct model_key *k = &r->model.keys[i];
    if (!model_present(&r->model, i)) continue;
    records += k->kind == KEYS_RECORD;
    values += k->kind == KEYS_VALUE;
    if (k->kind == KEYS_RECORD) phases[k->phase]++;
    expiring +=
        k->deadline_ms != MODEL_NEVER && !(k->kind == KEYS_RECORD && k->phase == RULES_HELD);
  }
  EXPECT(have.records == records, "%" PRIu64 " records, expected %" PRIu64, have.records, records);
  EXPECT(have.values == values, "%" PRIu64 " values, expected %" PRIu64, have.values, values);
  EXPECT(have.expiring == expiring, "%" PRIu64 " keys expire, expected %" PRIu64, have.expiring,
         expiring);
  for (int p = 0; p <= RULES_DONE; p++) {
    EXPECT(have.phases[p] == phases[p], "%" PRIu64 " in phase %d, expected %" PRIu64,
           have.phases[p], p, phases[p]);
  }
  EXPECT(have.memory_bytes <= have.memory_peak_bytes, "more memory than the peak");
  if (records > 1000) r->model.events[EVENT_a_thousand_records_at_once]++;
}

static void look_at_everything(struct runner *r) {
  for (int key = 0; key < r->world.keys; key++) look(r, key);
  settle_accounts(r, NONE, true);
  compare_figures(r);
  char text[128];
  expect_same(r, census_differs(r->engine, text));
}

/* ---- scans ---- */

static void visit(void *context, struct span key, const struct keys_entry *entry) {
  struct runner *r = context;
  int number = key_number(r, key);
  EXPECT(model_present(&r->model, number), "SCAN shows key %d, which is absent", number);
  EXPECT(entry->kind == r->model.keys[number].kind, "SCAN shows another kind of key %d", number);
  EXPECT(entry->left_ms != 0 || r->options.clock_grain_ms > 0, "SCAN shows key %d, which is over",
         number);
  r->walk.visited[number] = true;
}

static void finish_walk(struct runner *r) {
  look_at_everything(r);
  for (int key = 0; key < r->world.keys; key++) {
    bool all_the_time = r->walk.births[key] != 0 && r->walk.births[key] == r->model.keys[key].birth;
    EXPECT(!all_the_time || r->walk.visited[key], "SCAN missed key %d", key);
  }
  r->model.events[EVENT_scan_through]++;
  r->walk.under_way = false;
}

static void op_scan(struct runner *r) {
  struct walk *w = &r->walk;
  if (!w->under_way) {
    *w = (struct walk){.under_way = true};
    for (int key = 0; key < r->world.keys; key++) {
      w->births[key] = model_present(&r->model, key) ? r->model.keys[key].birth : 0;
    }
  }
  for (int n = 1 + pick(r, 250); n > 0; n--) {
    w->cursor = keys_scan(r->engine, w->cursor, r->now_ms, visit, r);
    EXPECT(w->cursor >> 48 == 0, "SCAN cursor too large");
    if (w->cursor == 0) break;
  }
  note(r, "SCAN up to %" PRIx64, w->cursor);
  if (w->cursor == 0) finish_walk(r);
}

static void op_random_key(struct runner *r) {
  struct span key = keys_random(
      r->engine, r->source.bytes == NULL ? random_bits(&r->source) : (uint64_t)pick(r, 65536),
      r->now_ms);
  note(r, "RANDOMKEY");
  if (span_present(key)) {
    int number = key_number(r, key);
    EXPECT(model_present(&r->model, number), "RANDOMKEY shows key %d, which is absent", number);
    return;
  }
  /* After FLUSHALL, a key with waiters counts as absent until it is handed over. */
  for (int k = 0; k < r->world.keys; k++) {
    if (model_present(&r->model, k)) look(r, k);
    EXPECT(!model_present(&r->model, k), "RANDOMKEY did not find key %d", k);
  }
  settle_accounts(r, NONE, false);
}

/* ---- time ---- */

/* The next deadline, once all that is due has been applied. */
static int64_t earliest(const struct runner *r) {
  int64_t first = MODEL_NEVER;
  for (int i = 0; i < r->world.keys; i++) {
    const struct model_key *k = &r->model.keys[i];
    if (k->kind != KEYS_ABSENT && k->deadline_ms < first) first = k->deadline_ms;
  }
  for (int i = 0; i < MODEL_WAITERS; i++) {
    const struct model_waiter *w = &r->model.waiters[i];
    if (w->state == WAITER_WAITS && w->deadline_ms < first) first = w->deadline_ms;
  }
  return first != MODEL_NEVER ? first + r->options.clock_grain_ms : MODEL_NEVER;
}

/* An engine that has nothing to do now has applied all that is due, and does not sleep past the
 * next deadline. */
static void expect_all_judged(struct runner *r) {
  for (int key = 0; key < r->world.keys; key++) judge(r, key);
  settle_accounts(r, NONE, true);
  int64_t next_ms = tick_next_due(r->engine), first_ms = earliest(r);
  EXPECT(next_ms <= first_ms, "next due at %" PRId64 ", expected %" PRId64, next_ms, first_ms);
}

static void tick(struct runner *r, unsigned budget) {
  if (tick_next_due(r->engine) > r->now_ms) expect_all_judged(r);
  bool more = tick_run(r->engine, r->now_ms, budget);
  expect_same(r, shadow_take(r->shadow, r->now_ms));
  note(r, "tick %u -> %d", budget, more);
  drain_effects(r);
  while (pop_one(r)) continue;
  EXPECT(!more || budget < LARGEST_BUDGET, "a tick with a budget for everything left something");
  if (more) {
    settle_accounts(r, NONE, false);
    return;
  }
  EXPECT(tick_next_due(r->engine) > r->now_ms, "a tick says that it is done, and is due again");
  expect_all_judged(r);
  compare_figures(r);
}

static void op_tick(struct runner *r) {
  static const unsigned BUDGETS[] = {1, 2, 3, 7, 50, 1000, LARGEST_BUDGET};
  tick(r, BUDGETS[pick(r, (int)(sizeof BUDGETS / sizeof *BUDGETS))]);
}

static int64_t some_deadline(struct runner *r) {
  int i = chance(r, 50) ? some_waiter(r, false) : NONE;
  if (i != NONE && r->model.waiters[i].state == WAITER_WAITS)
    return r->model.waiters[i].deadline_ms;
  int64_t deadline_ms = r->model.keys[some_key(r)].deadline_ms;
  return deadline_ms != MODEL_NEVER ? deadline_ms : r->now_ms;
}

/* To a deadline, a millisecond before or after it, a little further, or far past many deadlines. */
static int64_t some_later_time(struct runner *r) {
  int kind = pick(r, 100);
  if (r->world.keys == MANY_KEYS && pick(r, 1000) > 0) kind = 80; /* so that many exist at once */
  if (kind < 25) return r->now_ms + 1;
  if (kind < 75) return some_deadline(r) - (kind < 50 ? 0 : kind < 60 ? 1 : -1);
  return r->now_ms + some_ms(r, kind < 97 ? r->world.stroll_ms : 3 * r->options.retention_ms);
}

/* What is due is applied first, because the model cannot know which leases a tick has ended while
 * there was no room. */
static void set_no_room(struct runner *r, bool no_room) {
  look_at_everything(r);
  note(r, "%s", no_room ? "no room" : "room");
  r->engine->no_room = no_room;
  model_set_no_room(&r->model, no_room);
}

/* The journal has no room for a while. */
static void op_room(struct runner *r) {
  if (r->world.keys == MANY_KEYS && !chance(r, 2)) return;
  if (r->model.no_room || chance(r, 50)) set_no_room(r, !r->model.no_room);
}

/* Soon, so that there are still some who wait. */
static void end_no_room(struct runner *r) {
  if (model_waiting(&r->model, NONE) > 0 && chance(r, 20)) flush(r);
  set_no_room(r, false);
}

static void op_time(struct runner *r) {
  if (r->model.no_room && chance(r, 15)) end_no_room(r);
  int64_t to_ms = some_later_time(r);
  if (to_ms <= r->now_ms || to_ms > r->now_ms + INT32_MAX) return;
  r->now_ms = to_ms;
  note(r, "time");
  if (pick(r, 1000) < r->world.tick_chance) op_tick(r);
}

/* What is due is applied first, because the model cannot know which claims a tick has lapsed under
 * the former retention. */
static void op_reconfigure(struct runner *r) {
  look_at_everything(r);
  r->options.retention_ms = some_ms(r, r->world.retention_ms);
  r->options.waiters_per_key = (uint32_t)(1 + pick(r, 30));
  r->options.waiters_total = (uint32_t)(1 + pick(r, 90));
  engine_reconfigure(r->engine, &r->options);
  shadow_reconfigure(r->shadow, &r->options, r->now_ms);
  r->model.options.retention_ms = r->options.retention_ms;
  r->model.options.waiters_per_key = (int)r->options.waiters_per_key;
  r->model.options.waiters_total = (int)r->options.waiters_total;
  note(r, "retention %d, waiters %u and %u", (int)r->options.retention_ms,
       r->options.waiters_per_key, r->options.waiters_total);
  if (chance(r, 30)) {
    drain_effects(r);
    r->model.effects_wanted = !r->model.effects_wanted;
    effect_want(r->engine, r->model.effects_wanted);
  }
}

static void op_look_at_everything(struct runner *r) {
  if (r->world.keys <= 16 || chance(r, 2)) look_at_everything(r);
}

struct operation {
  void (*run)(struct runner *r);
  int weight;
};

static const struct operation OPERATIONS[] = {
    {op_claim, 223},       {op_crowd, 10},
    {op_store, 60},        {op_renew, 60},
    {op_release, 50},      {op_fetch, 50},
    {op_wait, 60},         {op_settle, 60},
    {op_hang_up, 65},      {op_expire, 8},
    {op_close, 20},        {op_delete, 15},
    {op_flush, 2},         {op_set_value, 20},
    {op_set_deadline, 20}, {op_look, 30},
    {op_scan, 10},         {op_random_key, 4},
    {op_time, 190},        {op_tick, 8},
    {op_reconfigure, 2},   {op_look_at_everything, 21},
    {op_room, 12},
};
#define OPERATION_COUNT (sizeof OPERATIONS / sizeof *OPERATIONS)
#define WEIGHTS 1000

static void restart(struct runner *r) {
  if (r->shadow == NULL) return;
  expect_same(r, shadow_restart(r->shadow, r->now_ms));
  for (int key = 0; key < r->world.keys; key++)
    expect_same(r,
                shadow_expect_horizon(r->shadow, key_span(r, key), r->model.keys[key].horizon_ms));
}

static void look_after_shadow(struct runner *r) {
  if (r->shadow == NULL) return;
  if (shadow_trim(r->shadow, r->now_ms)) drain_all(r);
  if (shadow_restarts(r->shadow)) restart(r);
}

uint64_t runner_run(struct runner *r, uint64_t steps) {
  uint64_t done = 0;
  for (; done < steps && !r->source.dry; done++, r->step++) {
    int at = pick(r, WEIGHTS);
    size_t i = 0;
    while (at >= OPERATIONS[i].weight) at -= OPERATIONS[i++].weight;
    OPERATIONS[i].run(r);
    look_after_shadow(r);
  }
  return done;
}

/* ---- beginning and end ---- */

/* Few keys, so that everything collides; sometimes many, so that the table grows and shrinks. */
static void choose_world(struct runner *r) {
  static const int KEYS[] = {8, 8, 1, 3, 8, 16, 8, MANY_KEYS};
  static const int TICK_CHANCES[] = {0, 1000, 200, 20};
  r->world = (struct world){
      .keys = KEYS[pick(r, r->source.bytes == NULL ? 8 : 7)],
      .owners = 2 + pick(r, 4),
      .fingerprints = FINGERPRINT_COUNT,
      .lease_ms = 10 << pick(r, 4),
      .wait_ms = 10 << pick(r, 4),
      .ttl_ms = 20 << pick(r, 4),
      .tick_chance = TICK_CHANCES[pick(r, 4)],
      .lazy_host = chance(r, 50),
      .limited = chance(r, 15),
  };
  bool many = r->world.keys == MANY_KEYS;
  if (many) r->world.lease_ms = r->world.ttl_ms = 4000 << pick(r, 4);
  r->world.retention_ms = many ? 20000 : 400;
  r->world.stroll_ms = many ? 4 : r->world.lease_ms / 4 + 1;
  r->options = (struct engine_options){
      .first_token = FIRST_TOKEN,
      .retention_ms = some_ms(r, r->world.retention_ms),
      .unknown_retention_ms = chance(r, 70) ? some_ms(r, r->world.retention_ms) : 0,
      .born_skew_ms = chance(r, 50) ? 0 : 20,
      .horizon_bits = r->world.limited ? 0 : HORIZON_MOST_BITS,
      .clock_grain_ms = pick(r, 2),
      .store_reserve = r->world.limited ? (size_t)pick(r, 256) * 16 : 0,
      .waiters_per_key = chance(r, 70) ? 40 : 3,
      .waiters_total = chance(r, 70) ? MODEL_WAITERS / 2 : 12,
  };
  struct source secret = {.seed = r->seed}; /* too long to be taken from a fuzzer's bytes */
  for (int i = 0; i < ENGINE_HASH_SECRET_BYTES; i++)
    r->options.hash_secret[i] = (unsigned char)random_bits(&secret);
  static const int64_t STARTS[] = {0, 1, 1000000, INT64_C(1700000000000), (INT64_C(1) << 42) - 5000,
                                   63};
  r->now_ms = STARTS[pick(r, (int)(sizeof STARTS / sizeof *STARTS))];
}

static struct runner *create(const struct source *source, bool shadowed) {
  struct runner *r = calloc(1, sizeof *r);
  if (r == NULL) return NULL;
  r->source = *source;
  r->seed = source->seed;
  choose_world(r);
  r->engine = engine_create(&r->options, r->now_ms);
  r->quotas = quotas_create();
  if (r->engine == NULL || r->quotas == NULL || !make_contents(r)) abort();
  holding_begin(r->engine, r->quotas);
  model_init(&r->model,
             &(struct model_options){.retention_ms = r->options.retention_ms,
                                     .unknown_retention_ms = r->options.unknown_retention_ms,
                                     .start_ms = r->now_ms,
                                     .skew_ms = r->options.born_skew_ms,
                                     .grain_ms = r->options.clock_grain_ms,
                                     .waiters_per_key = (int)r->options.waiters_per_key,
                                     .waiters_total = (int)r->options.waiters_total,
                                     .keys = r->world.keys});
  struct stats stats;
  stats_read(r->engine, &stats);
  r->empty_bytes = stats.memory_bytes;
  if (r->world.limited)
    r->options.memory_limit =
        r->empty_bytes + (r->world.keys == MANY_KEYS ? 1000 : 100) * (size_t)pick(r, 256);
  engine_reconfigure(r->engine, &r->options);
  r->model.effects_wanted = chance(r, 60);
  effect_want(r->engine, r->model.effects_wanted);
  if (shadowed) r->shadow = shadow_create(r->engine, &r->options, r->now_ms, r->seed);
  return r;
}

struct runner *runner_from_seed(uint64_t seed, bool shadowed) {
  return create(&(struct source){.seed = seed}, shadowed);
}

struct runner *runner_from_bytes(const uint8_t *bytes, size_t size) {
  return create(&(struct source){.bytes = bytes, .left = size}, false);
}

/* What an engine keeps that was once made: the horizon, and the table of queued owners. */
static size_t kept_bytes(const struct engine *engine) {
  const struct horizon *h = &engine->horizon;
  size_t bytes = engine->queued_owners.table.memory_bytes;
  if (h->segments == NULL) return bytes;
  size_t segments = (h->slots + HORIZON_SEGMENT - 1) / HORIZON_SEGMENT;
  size_t each = h->slots < HORIZON_SEGMENT ? h->slots : HORIZON_SEGMENT;
  bytes += memory_rounded(segments * sizeof *h->segments);
  for (size_t i = 0; i < segments; i++)
    if (h->segments[i] != NULL) bytes += memory_rounded(each * sizeof **h->segments);
  return bytes;
}

static void expect_nothing_left(struct runner *r) {
  struct stats s;
  stats_read(r->engine, &s);
  EXPECT(s.records + s.values + s.waiters + s.expiring == 0,
         "%" PRIu64 " records, %" PRIu64 " values, %" PRIu64 " waiters left", s.records, s.values,
         s.waiters);
  size_t left_bytes = s.memory_bytes - kept_bytes(r->engine);
  EXPECT(left_bytes == r->empty_bytes, "%zu bytes are left, %zu at the start", left_bytes,
         r->empty_bytes);
}

static void end_everything(struct runner *r) {
  drain_all(r);
  for (int i = 0; i < MODEL_WAITERS; i++) {
    if (r->model.waiters[i].state == WAITER_FREE) continue;
    if (r->handles[i].popped && chance(r, 50)) {
      settle(r, i);
    } else {
      hang_up(r, i);
      drain_all(r);
    }
  }
  for (int i = 0; i < MODEL_WAITERS; i++) { /* those to whom the former ones handed over */
    if (r->model.waiters[i].state != WAITER_FREE) settle(r, i);
  }
  for (int b = 0; b < MODEL_BINDINGS; b++) {
    if (r->model.binding_open[b]) close_binding(r, b);
  }
  for (int key = 0; key < r->world.keys; key++) {
    keys_set_deadline(r->engine, key_span(r, key), r->now_ms + 1,
                      r->now_ms); /* strings without a time to live */
    model_set_deadline(&r->model, key, r->now_ms + 1, r->now_ms);
  }
  if (chance(r, 30)) op_flush(r);
}

static void pass_all(struct runner *r) {
  r->now_ms += 100000; /* past all leases and retentions */
  for (int n = 0; tick_next_due(r->engine) != INT64_MAX; n++) {
    EXPECT(n < FINISH_STEPS, "it never ends");
    tick(r, 100);
    if (n % 10 == 9) r->now_ms += 100000;
  }
}

/* Time goes on, and claims end, while nothing is granted. */
static void leave(struct runner *r) {
  note(r, "the server leaves");
  if (chance(r, 20)) set_no_room(r, true);
  engine_stop_grants(r->engine, r->now_ms);
  model_stop_grants(&r->model, r->now_ms);
  settle_accounts(r, NONE, false);
  runner_run(r, LEAVING_STEPS);
}

void runner_finish(struct runner *r, uint64_t events[EVENTS]) {
  restart(r);
  if (chance(r, 50)) leave(r);
  end_everything(r);
  pass_all(r);
  flush(r); /* UNKNOWN may stay for ever */
  pass_all(r);
  look_at_everything(r);
  expect_nothing_left(r);
  restart(r);
  shadow_destroy(r->shadow);
  engine_destroy(r->engine);
  quotas_destroy(r->quotas);
  for (int e = 0; e < EVENTS; e++) events[e] += r->model.events[e];
  for (int c = 0; c < CONTENTS; c++) free(r->contents[c]);
  free(r->grants);
  free(r->grant_of);
  free(r);
}
