/*
 * test_inspect.c - what is shown of a record in every state; and that a walk over the open claims
 * shows each of them once, in the order of their tokens, while claims come, go and are taken back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/engine/binding.h"
#include "server/engine/engine.h"
#include "server/engine/inspect.h"
#include "server/engine/keys.h"
#include "server/engine/stats.h"
#include "server/engine/tick.h"
#include "server/engine/waiter.h"

#define START INT64_C(1000000)
#define LEASE_MS 100
#define RETENTION_MS 5000
#define FOREVER INT64_C(1000000000)
#define PLENTY 100000u
#define KEYS 300u
#define WAITERS 16u
#define SHOWN_MOST 4096u
#define KEY_BYTES 48

struct fixture {
  struct engine *engine;
  int64_t now_ms;
  uint64_t seed;
  struct waiter *waiters[WAITERS]; /* that are queued, or were not looked at since */
  size_t waiting;
  bool returned[KEYS]; /* a grant of the key was taken back: its token was away for a while */
};

static int set_up(void **state) {
  const struct engine_options options = {.first_token = 1000,
                                         .retention_ms = RETENTION_MS,
                                         .unknown_retention_ms = RETENTION_MS,
                                         .waiters_per_key = WAITERS,
                                         .waiters_total = WAITERS};
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  f->engine = engine_create(&options, START);
  assert_non_null(f->engine);
  f->now_ms = START;
  f->seed = UINT64_C(0x1234567887654321);
  *state = f;
  return 0;
}

static void cancel_all(struct fixture *f) {
  while (f->waiting > 0) waiter_cancel(f->engine, f->waiters[--f->waiting], f->now_ms);
}

static int tear_down(void **state) {
  struct fixture *f = *state;
  cancel_all(f);
  engine_destroy(f->engine);
  free(f);
  return 0;
}

/* ---- short ---- */

static struct engine_answer claim(struct fixture *f, const char *key, struct engine_claim as) {
  struct engine_answer answer;
  as.key = span_of(key);
  if (as.lease_ms == 0) as.lease_ms = LEASE_MS;
  engine_claim(f->engine, &as, f->now_ms, &answer);
  return answer;
}

static uint64_t claimed(struct fixture *f, const char *key, struct engine_claim as) {
  struct engine_answer answer = claim(f, key, as);
  assert_int_equal(answer.status, ENGINE_CLAIMED);
  return answer.token;
}

/* A waiter; with the fingerprint and the context of `as`. */
static void queue(struct fixture *f, const char *key, struct engine_claim as) {
  if (f->waiting == WAITERS) return;
  as.wait_ms = FOREVER;
  struct engine_answer answer = claim(f, key, as);
  if (answer.status == ENGINE_QUEUED) f->waiters[f->waiting++] = answer.waiter;
}

static void store(struct fixture *f, const char *key, uint64_t token) {
  const struct engine_store store = {.key = span_of(key),
                                     .token = token,
                                     .body = SPAN_LITERAL("body"),
                                     .meta = SPAN_LITERAL("me"),
                                     .ttl_ms = FOREVER};
  struct engine_answer answer;
  engine_store(f->engine, &store, f->now_ms, &answer);
}

static void renew(struct fixture *f, const char *key, uint64_t token) {
  const struct engine_renew renew = {
      .key = span_of(key), .token = token, .stage = SPAN_LITERAL("half")};
  struct engine_answer answer;
  engine_renew(f->engine, &renew, f->now_ms, &answer);
}

static void release(struct fixture *f, const char *key, uint64_t token) {
  const struct engine_release release = {.key = span_of(key), .token = token};
  struct engine_answer answer;
  engine_release(f->engine, &release, f->now_ms, &answer);
}

static void tick(struct fixture *f) {
  while (tick_run(f->engine, f->now_ms, PLENTY)) continue;
}

static struct inspection inspect(struct fixture *f, const char *key) {
  struct inspection shown;
  assert_int_equal(inspect_key(f->engine, span_of(key), f->now_ms, &shown), INSPECT_RECORD);
  return shown;
}

/* ---- one record, as text ---- */

#define TEXT_BYTES 512

static void show_value(char text[TEXT_BYTES], const struct inspection *shown,
                       const struct inspection_field *field) {
  char *end = text + strlen(text);
  size_t room = (size_t)(text + TEXT_BYTES - end);
  int64_t number = field->kind == INSPECTION_INTEGER ? inspection_integer(shown, field) : 0;
  struct span bytes =
      field->kind == INSPECTION_BYTES ? inspection_bytes(shown, field) : SPAN_ABSENT;
  if (field->kind == INSPECTION_BYTES && span_present(bytes)) {
    snprintf(end, room, " %.*s='%.*s'", (int)field->name.len, field->name.data, (int)bytes.len,
             bytes.data);
  } else if (field->kind == INSPECTION_INTEGER && number != INSPECTION_NONE) {
    snprintf(end, room, " %.*s=%lld", (int)field->name.len, field->name.data, (long long)number);
  }
}

/* Only what is not null. */
static void assert_shown(struct fixture *f, const char *key, const char *expected) {
  char text[TEXT_BYTES] = "";
  struct inspection shown = inspect(f, key);
  for (size_t i = 0; i < INSPECTION_FIELD_COUNT; i++)
    show_value(text, &shown, &INSPECTION_FIELDS[i]);
  assert_string_equal(text + 1, expected);
}

static void each_state_shows_what_it_has(void **state) {
  struct fixture *f = *state;
  const struct engine_claim full = {.fingerprint = SPAN_LITERAL("f")};
  claimed(f, "plain", (struct engine_claim){0});
  claimed(f, "full",
          (struct engine_claim){
              .owner = SPAN_LITERAL("me"), .fingerprint = SPAN_LITERAL("f"), .hold = true});
  f->now_ms += 30;
  assert_shown(f, "plain",
               "key='plain' state='HELD' token=1000 attempt=1 age-ms=30 lease-left-ms=70 waiters=0 "
               "bind=0 hold=0");
  renew(f, "full", 1001);
  queue(f, "full", full);
  queue(f, "full", full);
  assert_shown(f, "full",
               "key='full' state='HELD' owner='me' token=1001 attempt=1 age-ms=30 "
               "lease-left-ms=100 stage='half' fingerprint='f' waiters=2 bind=0 hold=1");
  f->now_ms += 100;
  assert_shown(f, "plain",
               "key='plain' state='LAPSED' token=1000 attempt=1 age-ms=130 ttl-left-ms=4970 "
               "waiters=0 bind=0 hold=0");
  assert_shown(f, "full",
               "key='full' state='UNKNOWN' owner='me' token=1001 attempt=1 age-ms=130 "
               "ttl-left-ms=5000 stage='half' fingerprint='f' waiters=0 bind=0 hold=1");
  store(f, "full", 1001);
  f->now_ms += 7;
  assert_shown(f, "full",
               "key='full' state='DONE' token=1001 age-ms=7 ttl-left-ms=999999993 "
               "fingerprint='f' waiters=0 bind=0 hold=0 body-bytes=4 meta-bytes=2");
}

static void what_is_no_record_is_told_apart(void **state) {
  struct fixture *f = *state;
  struct inspection shown;
  keys_set_value(f->engine, span_of("value"), span_of("1"), RULES_NEVER, f->now_ms);
  assert_int_equal(inspect_key(f->engine, span_of("value"), f->now_ms, &shown), INSPECT_VALUE);
  assert_int_equal(inspect_key(f->engine, span_of("none"), f->now_ms, &shown), INSPECT_ABSENT);
  claimed(f, "gone", (struct engine_claim){0});
  f->now_ms += LEASE_MS + RETENTION_MS;
  assert_int_equal(inspect_key(f->engine, span_of("gone"), f->now_ms, &shown), INSPECT_ABSENT);
}

static void bind_is_shown(void **state) {
  struct fixture *f = *state;
  struct binding *binding = binding_create(f->engine);
  claimed(f, "bound", (struct engine_claim){.binding = binding});
  assert_int_equal(inspect(f, "bound").bind, 1);
  binding_close(f->engine, binding, f->now_ms);
}

/* ---- walks ---- */

struct walked {
  struct fixture *fixture;
  uint64_t tokens[SHOWN_MOST];
  size_t count, at_once; /* at_once: it takes so many in a call */
  size_t taken;
  char keys[SHOWN_MOST][KEY_BYTES];
};

static bool note(void *context, const struct inspection *shown) {
  struct walked *walked = context;
  assert_true(walked->count < SHOWN_MOST && walked->taken < walked->at_once);
  assert_true(shown->key.len < sizeof walked->keys[0]);
  memcpy(walked->keys[walked->count], shown->key.data, shown->key.len);
  walked->keys[walked->count][shown->key.len] = '\0';
  walked->tokens[walked->count++] = (uint64_t)shown->token;
  return ++walked->taken < walked->at_once;
}

static struct walked *walked_of(struct fixture *f, size_t at_once) {
  struct walked *walked = calloc(1, sizeof *walked);
  assert_non_null(walked);
  walked->fixture = f;
  walked->at_once = at_once;
  return walked;
}

static void walk_on(struct fixture *f, struct inspect_walk *walk, unsigned budget) {
  ((struct walked *)walk->context)->taken = 0;
  inspect_walk_on(f->engine, walk, budget, f->now_ms);
  assert_true(((struct walked *)walk->context)->taken <= budget);
}

/* The keys that a walk shows, one after the other; the walk is made in calls of every size. */
static void assert_walk_shows(struct fixture *f, struct inspect_walk as, const char *expected) {
  if (as.end == 0) as.end = inspect_end(f->engine);
  for (unsigned budget = 1; budget < 6; budget++) {
    struct walked *walked = walked_of(f, 6 - budget);
    struct inspect_walk walk = as;
    walk.visit = note;
    walk.context = walked;
    while (!walk.ended) walk_on(f, &walk, budget);
    char text[TEXT_BYTES] = "";
    for (size_t i = 0; i < walked->count; i++)
      snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i > 0 ? " " : "",
               walked->keys[i]);
    assert_string_equal(text, expected);
    free(walked);
  }
}

static void a_walk_shows_what_matches(void **state) {
  struct fixture *f = *state;
  claimed(f, "a", (struct engine_claim){.lease_ms = 50});
  claimed(f, "b", (struct engine_claim){.lease_ms = 50, .hold = true});
  claimed(f, "aa", (struct engine_claim){.lease_ms = 5000});
  f->now_ms += 60;
  claimed(f, "0f8fad5b-d9cb-469f-a165-70867728950e", (struct engine_claim){.lease_ms = 5000});
  store(f, "done", claimed(f, "done", (struct engine_claim){0}));
  keys_set_value(f->engine, span_of("value"), span_of("1"), RULES_NEVER, f->now_ms);
  assert_walk_shows(f, (struct inspect_walk){0}, "a b aa 0f8fad5b-d9cb-469f-a165-70867728950e");
  assert_walk_shows(f, (struct inspect_walk){.phase = RULES_LAPSED}, "a");
  assert_walk_shows(f, (struct inspect_walk){.phase = RULES_UNKNOWN}, "b");
  assert_walk_shows(f, (struct inspect_walk){.phase = RULES_HELD, .older_ms = 60}, "aa");
  assert_walk_shows(f, (struct inspect_walk){.older_ms = 61}, "");
  assert_walk_shows(f, (struct inspect_walk){.prefix = span_of("a")}, "a aa");
  assert_walk_shows(f, (struct inspect_walk){.prefix = span_of("0f8fad5b-d")},
                    "0f8fad5b-d9cb-469f-a165-70867728950e");
  assert_walk_shows(f, (struct inspect_walk){.after = 1000, .end = 1003}, "b aa");
  claimed(f, "x", (struct engine_claim){.fingerprint = SPAN_LITERAL("f")});
  for (char next = 0; next < 3; next++) /* what may lie after the key is not of it */
    assert_walk_shows(f, (struct inspect_walk){.prefix = {(char[]){'x', next}, 2}}, "");
}

/* Each is judged at the moment at which it is shown, though nothing ticked. */
static void what_is_due_is_applied_before_it_is_shown(void **state) {
  struct fixture *f = *state;
  claimed(f, "lapses", (struct engine_claim){0});
  claimed(f, "is handed over", (struct engine_claim){0});
  queue(f, "is handed over", (struct engine_claim){0});
  claimed(f, "lapses later", (struct engine_claim){.lease_ms = 2 * LEASE_MS});
  claimed(f, "stays", (struct engine_claim){.lease_ms = 100000});
  uint64_t end = inspect_end(f->engine);
  f->now_ms += LEASE_MS;
  assert_walk_shows(f, (struct inspect_walk){.end = end, .phase = RULES_LAPSED}, "lapses");
  assert_walk_shows(f, (struct inspect_walk){0}, "lapses lapses later stays is handed over");
  f->now_ms += LEASE_MS;
  assert_walk_shows(f, (struct inspect_walk){.end = end, .phase = RULES_HELD}, "stays");
  f->now_ms += RETENTION_MS;
  assert_walk_shows(f, (struct inspect_walk){.end = end}, "stays");
}

static void flushed_claims_are_not_shown(void **state) {
  struct fixture *f = *state;
  claimed(f, "a", (struct engine_claim){0});
  claimed(f, "b", (struct engine_claim){0});
  keys_flush(f->engine, f->now_ms);
  claimed(f, "b", (struct engine_claim){0});
  assert_walk_shows(f, (struct inspect_walk){0}, "b");
}

/* ---- random lives ---- */

static size_t random_below(struct fixture *f, size_t end) {
  f->seed ^= f->seed << 13;
  f->seed ^= f->seed >> 7;
  f->seed ^= f->seed << 17;
  return (size_t)(f->seed >> 11) % end;
}

static void name_key(char text[KEY_BYTES], size_t number) {
  if (number % 2 == 0) {
    snprintf(text, KEY_BYTES, "key-%zu", number);
  } else {
    snprintf(text, KEY_BYTES, "0f8fad5b-d9cb-469f-a165-%012zu", number);
  }
}

/* The token of an open claim; 0: it is none. */
static uint64_t open_token(struct fixture *f, const char *key) {
  struct inspection shown;
  if (inspect_key(f->engine, span_of(key), f->now_ms, &shown) != INSPECT_RECORD) return 0;
  return span_is(shown.state, "DONE") ? 0 : (uint64_t)shown.token;
}

static void take_back_or_settle(struct fixture *f) {
  for (struct waiter *waiter; (waiter = waiter_next_ready(f->engine, 0)) != NULL;) {
    size_t at = 0;
    while (f->waiters[at] != waiter) at++;
    f->waiters[at] = f->waiters[--f->waiting];
    if (random_below(f, 2) == 0) {
      *(bool *)waiter_context(waiter) = true;
      waiter_take_back(f->engine, waiter, f->now_ms);
    } else {
      waiter_settle(f->engine, waiter);
    }
  }
}

static void live(struct fixture *f) {
  char key[KEY_BYTES];
  size_t number = random_below(f, KEYS);
  name_key(key, number);
  uint64_t token = open_token(f, key);
  switch (random_below(f, 16)) {
    case 0: store(f, key, token); break;
    case 1: release(f, key, token); break;
    case 2: renew(f, key, token); break;
    case 3: keys_delete(f->engine, span_of(key), f->now_ms); break;
    case 4: f->now_ms += (int64_t)random_below(f, 20); break;
    case 5: tick(f); break;
    case 6: take_back_or_settle(f); break;
    case 7: queue(f, key, (struct engine_claim){.context = &f->returned[number]}); break;
    case 8:
      if (random_below(f, 200) == 0) keys_flush(f->engine, f->now_ms);
      break;
    default:
      claim(f, key,
            (struct engine_claim){.hold = random_below(f, 3) == 0,
                                  .lease_ms = 1 + (uint32_t)random_below(f, 1000)});
      break;
  }
}

/* Of all keys, by asking for each. */
static void read_tokens(struct fixture *f, uint64_t tokens[KEYS]) {
  for (size_t i = 0; i < KEYS; i++) {
    char key[KEY_BYTES];
    name_key(key, i);
    tokens[i] = open_token(f, key);
  }
}

static size_t times_shown(const struct walked *walked, uint64_t token) {
  size_t times = 0;
  for (size_t i = 0; i < walked->count; i++) times += walked->tokens[i] == token;
  return times;
}

static void assert_rising(const struct walked *walked, const struct inspect_walk *walk) {
  for (size_t i = 0; i < walked->count; i++) {
    assert_true(walked->tokens[i] < walk->end && walked->tokens[i] > 0);
    assert_true(i == 0 || walked->tokens[i] > walked->tokens[i - 1]);
  }
}

/* Between its calls anything happens, `steps` times. */
static void walk_while_living(struct fixture *f, unsigned steps) {
  uint64_t before[KEYS], after[KEYS];
  struct walked *walked = walked_of(f, 1 + random_below(f, 8));
  struct inspect_walk walk = {.end = inspect_end(f->engine), .visit = note, .context = walked};
  memset(f->returned, 0, sizeof f->returned);
  if (steps > 0) read_tokens(f, before);
  while (!walk.ended) {
    walk_on(f, &walk, 1 + (unsigned)random_below(f, 10));
    for (unsigned i = 0; i < steps; i++) live(f);
  }
  read_tokens(f, after);
  assert_rising(walked, &walk);
  size_t stayed = 0;
  for (size_t i = 0; i < KEYS; i++) {
    bool stays = after[i] != 0 && after[i] < walk.end && !f->returned[i] &&
                 (steps == 0 || before[i] == after[i]);
    stayed += stays;
    if (stays) assert_int_equal(times_shown(walked, after[i]), 1);
  }
  if (steps == 0) assert_int_equal(walked->count, stayed);
  free(walked);
}

static uint64_t oldest_ms(struct fixture *f, const char *phase) {
  uint64_t oldest = 0;
  for (size_t i = 0; i < KEYS; i++) {
    char key[KEY_BYTES];
    struct inspection shown;
    name_key(key, i);
    if (inspect_key(f->engine, span_of(key), f->now_ms, &shown) != INSPECT_RECORD) continue;
    if (span_is(shown.state, phase) && (uint64_t)shown.age_ms > oldest)
      oldest = (uint64_t)shown.age_ms;
  }
  return oldest;
}

static void assert_oldest_are_right(struct fixture *f) {
  struct stats stats = {0};
  uint64_t held = oldest_ms(f, "HELD"), unknown = oldest_ms(f, "UNKNOWN"); /* what is due is over */
  stats_read_oldest(f->engine, f->now_ms, &stats);
  assert_int_equal(stats.oldest_held_ms, held);
  assert_int_equal(stats.oldest_unknown_ms, unknown);
}

static void a_walk_shows_all_that_stay_once(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 400; i++) {
    for (unsigned step = 0; step < 50; step++) live(f);
    walk_while_living(f, i % 4);
    assert_oldest_are_right(f);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(each_state_shows_what_it_has),
      TEST(what_is_no_record_is_told_apart),
      TEST(bind_is_shown),
      TEST(a_walk_shows_what_matches),
      TEST(what_is_due_is_applied_before_it_is_shown),
      TEST(flushed_claims_are_not_shown),
      TEST(a_walk_shows_all_that_stay_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
