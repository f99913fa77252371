/* test_argument_limits.c - how long each argument may be, and what it is called when it is longer.
 */
#include "server/commands/argument_limits.h"

#include "tests/unit/peers.h"

#define WORDS_MAX 8

/* The limit of the last word, as the reader asks for it: knowing the words before it. */
static size_t limit_of_last(struct peers *p, const char *line) {
  struct span argv[WORDS_MAX];
  size_t argc = 0;
  for (const char *word = line; word != NULL; argc++) {
    assert_true(argc < WORDS_MAX);
    argv[argc] = (struct span){word, strcspn(word, " ")};
    word = strchr(word, ' ');
    if (word != NULL) word++;
  }
  return argument_limits_argument(&p->worker, argv, argc - 1);
}

static void keys_and_values_have_theirs(void **state) {
  struct peers *p = *state;
  size_t key = (size_t)p->options.limits.key_bytes, body = (size_t)p->options.limits.body_bytes;
  assert_int_equal(limit_of_last(p, "SET k"), key);
  assert_int_equal(limit_of_last(p, "SET k v"), body);
  assert_int_equal(limit_of_last(p, "DEL a b c"), key);
  assert_int_equal(limit_of_last(p, "ECHO x"), body);
}

static void a_name_may_be_as_long_as_can_be_quoted(void **state) {
  struct peers *p = *state;
  assert_int_equal(limit_of_last(p, "SET"), 1024);
  assert_int_equal(limit_of_last(p, "nope"), 1024);
  assert_int_equal(limit_of_last(p, "nope x"), p->options.limits.body_bytes);
}

static void a_row_may_have_its_own(void **state) {
  struct peers *p = *state;
  assert_int_equal(limit_of_last(p, "CLAIM k FP x"), p->options.limits.fingerprint_bytes);
  assert_int_equal(limit_of_last(p, "claim k owner x"), p->options.limits.owner_bytes);
  assert_int_equal(limit_of_last(p, "IDEM.RENEW k 1 STAGE x"), p->options.limits.stage_bytes);
  assert_int_equal(limit_of_last(p, "STORE k 1 b"), p->options.limits.body_bytes);
  assert_int_equal(limit_of_last(p, "STORE k 1 b META x"), p->options.limits.meta_bytes);
  assert_int_equal(limit_of_last(p, "KEYS x"), 2 * p->options.limits.key_bytes);
  assert_int_equal(limit_of_last(p, "PUBLISH c x"), p->options.limits.body_bytes);
  assert_in_range(limit_of_last(p, "SUBSCRIBE c"), p->options.limits.key_bytes,
                  p->options.limits.key_bytes + 64);
}

/* What the last word is called, as the reader asks for it. */
static void expect_name(struct peers *p, const char *line, const char *name) {
  struct span argv[WORDS_MAX];
  size_t argc = 0;
  for (const char *word = line; word != NULL; argc++) {
    assert_true(argc < WORDS_MAX);
    argv[argc] = (struct span){word, strcspn(word, " ")};
    word = strchr(word, ' ');
    if (word != NULL) word++;
  }
  assert_string_equal(argument_limits_name_argument(&p->worker, argv, argc - 1), name);
}

static void an_argument_that_is_too_big_has_a_name(void **state) {
  struct peers *p = *state;
  expect_name(p, "SET", "argument");
  expect_name(p, "SET k", "key");
  expect_name(p, "SET k v", "argument");
  expect_name(p, "DEL a b", "key");
  expect_name(p, "nope x", "argument");
  expect_name(p, "ECHO x", "argument");
  expect_name(p, "CLAIM k", "key");
  expect_name(p, "claim k fp x", "fingerprint");
  expect_name(p, "IDEM.CLAIM k OWNER x", "owner");
  expect_name(p, "RENEW k 1 STAGE x", "stage");
  expect_name(p, "CLAIM k LEASE x", "argument");
  expect_name(p, "STORE k 1", "argument");
  expect_name(p, "STORE k 1 b", "body");
  expect_name(p, "IDEM.STORE k META b", "body"); /* its place counts, not the word before */
  expect_name(p, "STORE k 1 b META x", "meta");
  expect_name(p, "FETCH k FP x", "fingerprint");
}

static void a_command_fits_when_each_argument_does(void **state) {
  struct peers *p = *state;
  char key[1025] = {0};
  assert_int_equal(p->options.limits.key_bytes, sizeof key - 1);
  const struct command *del = lookup_find(p->worker.commands, SPAN_LITERAL("DEL"));
  struct span argv[] = {SPAN_LITERAL("DEL"), {key, 1024}, {key, 1024}};
  assert_int_equal(argument_limits_first_over(&p->worker, del, argv, 3), 3);
  argv[2].len = 1025;
  assert_int_equal(argument_limits_first_over(&p->worker, del, argv, 2), 2);
  assert_int_equal(argument_limits_first_over(&p->worker, del, argv, 3), 2);
}

static void only_the_body_of_a_store_may_be_adopted(void **state) {
  struct peers *p = *state;
  const struct span store[] = {SPAN_LITERAL("store"), SPAN_LITERAL("k"), SPAN_LITERAL("1")};
  const struct span prefixed[] = {SPAN_LITERAL("IDEM.STORE")}, set[] = {SPAN_LITERAL("SET")},
                    unknown[] = {SPAN_LITERAL("nope")};
  for (size_t i = 0; i < WORDS_MAX; i++)
    assert_int_equal(argument_limits_is_adoptable(&p->worker, store, i), i == COMMAND_BODY);
  assert_true(argument_limits_is_adoptable(&p->worker, prefixed, COMMAND_BODY));
  assert_false(argument_limits_is_adoptable(&p->worker, set, COMMAND_BODY));
  assert_false(argument_limits_is_adoptable(&p->worker, unknown, COMMAND_BODY));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(keys_and_values_have_theirs),
      TEST(a_name_may_be_as_long_as_can_be_quoted),
      TEST(a_row_may_have_its_own),
      TEST(an_argument_that_is_too_big_has_a_name),
      TEST(a_command_fits_when_each_argument_does),
      TEST(only_the_body_of_a_store_may_be_adopted),
  };
  return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
