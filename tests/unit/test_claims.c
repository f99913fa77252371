/*
 * test_claims.c - CLAIMS over the shards of three loops, with whatever happens between its slices:
 * each claim that stays is told once, in the order of tokens, and nothing is left behind.
 */
#include "tests/unit/number_clock.h"
#include "tests/unit/peers.h"

#define WORKERS 3
#define LINE_BYTES 100
#define MOST 4000u
#define SLICES_A_GRANT 4u /* fewer than pages tell: these keep up with the grants */

static int setup(void **state) {
  number_clock.step_ns = TASK_SLICE_NS; /* a slice is over whenever it looks */
  return peers_setup_workers(state, WORKERS);
}

static int teardown(void **state) {
  number_clock.step_ns = 0;
  struct peers *p = *state;
  assert_int_equal(p->instance.gathered_bytes, 0);
  return peers_teardown(state);
}

/* Tokens, by the number of the key; 0: it has no open claim. */
struct granted {
  uint64_t tokens[MOST];
  size_t count;
  size_t slices;
};

static uint64_t number_after(const char *text, const char *before) {
  const char *at = strstr(text, before);
  assert_non_null(at);
  return strtoull(at + strlen(before), NULL, 10);
}

static void grant(struct peers *p, struct granted *granted) {
  char line[LINE_BYTES];
  assert_true(granted->count < MOST);
  snprintf(line, sizeof line, "CLAIM key:%zu", granted->count);
  granted->tokens[granted->count++] = number_after(ask(p, 1, line), "CLAIMED\r\n:");
}

static void grant_many(struct peers *p, struct granted *granted, size_t count) {
  while (count-- > 0) grant(p, granted);
}

static void store(struct peers *p, struct granted *granted, size_t number) {
  char line[LINE_BYTES];
  snprintf(line, sizeof line, "STORE key:%zu %llu body", number,
           (unsigned long long)granted->tokens[number]);
  assert_string_equal(ask(p, 1, line), ":0\r\n");
  granted->tokens[number] = 0;
}

/* Runs its first slice. */
static void begin(struct peers *p, const char *after) {
  const struct span argv[] = {SPAN_LITERAL("CLAIMS"), SPAN_LITERAL("AFTER"), span_of(after),
                              SPAN_LITERAL("COUNT"), SPAN_LITERAL("50")};
  struct request request = {.argv = argv,
                            .argc = sizeof argv / sizeof argv[0],
                            .command = lookup_find(p->worker.commands, argv[0])};
  execute_request(&p->worker, &p->session[0], &request);
}

struct told {
  uint64_t tokens[MOST];
  size_t count;
};

/* Adds what a reply tells; returns how many. */
static size_t hear(struct peers *p, struct told *told) {
  static const char token[] = "$5\r\ntoken\r\n:";
  const char *reply = heard(p, 0);
  size_t before = told->count;
  for (const char *at = reply; (at = strstr(at, token)) != NULL; at++) {
    assert_true(told->count < MOST);
    told->tokens[told->count++] = number_after(at, token);
  }
  assert_int_equal(number_after(reply, "*"), told->count - before);
  return told->count - before;
}

static bool is_told(const struct told *told, uint64_t token) {
  for (size_t i = 0; i < told->count; i++) {
    if (told->tokens[i] == token) return true;
  }
  return false;
}

typedef void happens(struct peers *p, struct granted *granted);

/* Pages until one is not full; `between` happens between the slices. Returns how many slices. */
static size_t page_through(struct peers *p, struct granted *granted, struct told *told,
                           happens *between) {
  size_t slices = 0;
  for (size_t in_page = 50; in_page == 50;) {
    char after[LINE_BYTES];
    snprintf(after, sizeof after, "%llu",
             (unsigned long long)(told->count > 0 ? told->tokens[told->count - 1] : 0));
    begin(p, after);
    for (; p->session[0].working; slices++) {
      if (between != NULL) between(p, granted);
      task_run(&p->worker);
    }
    in_page = hear(p, told);
  }
  for (size_t i = 1; i < told->count; i++) assert_true(told->tokens[i] > told->tokens[i - 1]);
  return slices;
}

static void all_shards_are_told_in_the_order_of_tokens(void **state) {
  struct peers *p = *state;
  struct granted granted = {.count = 0};
  struct told told = {.count = 0};
  grant_many(p, &granted, 1000);
  size_t slices = page_through(p, &granted, &told, NULL);
  assert_int_equal(told.count, 1000);
  for (size_t i = 0; i < 1000; i++) assert_int_equal(told.tokens[i], granted.tokens[i]);
  assert_true(slices > 1000);
}

static void grant_between(struct peers *p, struct granted *granted) {
  if (++granted->slices % SLICES_A_GRANT == 0) grant(p, granted);
}

/* No page skips a claim because its shard was looked at before it was granted, and another shard
 * after. */
static void grants_between_slices_are_told_by_later_pages(void **state) {
  struct peers *p = *state;
  struct granted granted = {.count = 0};
  struct told told = {.count = 0};
  grant_many(p, &granted, 60);
  for (unsigned round = 0; round < 60; round++) page_through(p, &granted, &told, grant_between);
  page_through(p, &granted, &told, NULL);
  assert_true(granted.count > 500);
  assert_int_equal(granted.count, told.count);
  for (size_t i = 0; i < granted.count; i++) assert_true(is_told(&told, granted.tokens[i]));
}

static void store_between(struct peers *p, struct granted *granted) {
  for (size_t number = 0; number < granted->count; number += 7) {
    if (granted->tokens[number] == 0) continue;
    store(p, granted, number);
    return;
  }
}

static void ends_between_slices_hide_no_other(void **state) {
  struct peers *p = *state;
  struct granted granted = {.count = 0};
  struct told told = {.count = 0};
  grant_many(p, &granted, 1000);
  page_through(p, &granted, &told, store_between);
  for (size_t i = 0; i < granted.count; i++)
    assert_true(granted.tokens[i] == 0 || is_told(&told, granted.tokens[i]));
  assert_true(told.count < 1000);
}

/* The next slice frees it all: teardown looks. */
static void a_session_may_end_between_slices(void **state) {
  struct peers *p = *state;
  struct granted granted = {.count = 0};
  grant_many(p, &granted, 300);
  for (unsigned slices = 0; slices < 80; slices += 13) {
    begin(p, "0");
    for (unsigned i = 0; i < slices; i++) task_run(&p->worker);
    assert_true(p->session[0].working);
    setup_session_deinit(&p->session[0], &p->worker);
    setup_session_init(&p->session[0], &p->worker);
    assert_true(task_ready(&p->worker));
    assert_null(task_run(&p->worker));
    assert_false(task_ready(&p->worker));
    assert_int_equal(p->instance.gathered_bytes, 0);
  }
}

static void in_a_transaction_it_is_one_slice(void **state) {
  struct peers *p = *state;
  struct granted granted = {.count = 0};
  grant_many(p, &granted, 300);
  ask(p, 0, "MULTI");
  ask(p, 0, "CLAIMS COUNT 200");
  const struct span argv[] = {SPAN_LITERAL("EXEC")};
  struct request request = {
      .argv = argv, .argc = 1, .command = lookup_find(p->worker.commands, argv[0])};
  execute_request(&p->worker, &p->session[0], &request);
  assert_false(p->session[0].working);
  assert_memory_equal(heard(p, 0), "*1\r\n*200\r\n", 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(all_shards_are_told_in_the_order_of_tokens),
      TEST(grants_between_slices_are_told_by_later_pages),
      TEST(ends_between_slices_hide_no_other),
      TEST(a_session_may_end_between_slices),
      TEST(in_a_transaction_it_is_one_slice),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
