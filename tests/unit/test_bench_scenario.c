/* test_bench_scenario.c - what mixes, setups and per-key TTLs are made of, and that keys of a run
 * are UUIDs that differ. */
#include "bench/key.h"
#include "bench/mix.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct step_sizes SIZES = {.lease_ms = 60000, .ttl_ms = 1000, .body_bytes = 100};

static void keys_are_random_uuids_that_differ(void **state) {
  (void)state;
  char before[MESSAGE_KEY_BYTES] = "", key[MESSAGE_KEY_BYTES];
  for (uint64_t i = 0; i < 1000; i++) {
    key_write(key_mix(5), i, key);
    assert_memory_not_equal(key, before, sizeof key);
    assert_int_equal(key[14], '4');
    assert_non_null(strchr("89ab", key[19]));
    for (size_t at = 0; at < sizeof key; at++) {
      bool dash = at == 8 || at == 13 || at == 18 || at == 23;
      assert_true(dash ? key[at] == '-' : isxdigit((unsigned char)key[at]) != 0);
    }
    memcpy(before, key, sizeof key);
  }
  key_write(key_mix(5), 999, key);
  assert_memory_equal(key, before, sizeof key);
  key_write(key_mix(6), 999, key);
  assert_memory_not_equal(key, before, sizeof key);
}

static void a_ttl_per_key_stands_where_the_ttl_of_the_run_stood(void **state) {
  (void)state;
  struct step_sizes own = SIZES;
  own.ttl_ms = 0;
  struct message_subject subject = {.token = 1, .ttl_ms = 1000};
  memset(subject.key, 'k', sizeof subject.key);
  static const char *const names[] = {"store", "redis-store"};
  for (size_t i = 0; i < 2; i++) {
    struct scenario fixed, varied;
    char left[1024], right[1024];
    assert_null(scenario_init(&fixed, names[i], NULL, &SIZES));
    assert_null(scenario_init(&varied, names[i], NULL, &own));
    size_t last = fixed.step_count - 1;
    size_t left_bytes = message_write(&fixed.steps[last].request, &subject, left);
    size_t right_bytes = message_write(&varied.steps[last].request, &subject, right);
    assert_int_equal(left_bytes, right_bytes);
    assert_memory_equal(left, right, left_bytes);
    scenario_deinit(&fixed);
    scenario_deinit(&varied);
  }
}

static void a_mix_has_its_parts_and_their_keys(void **state) {
  (void)state;
  struct mix mix;
  assert_null(mix_init(&mix, "mixed", NULL, &SIZES));
  assert_int_equal(mix.part_count, 3);
  assert_int_equal(mix.weight_sum, 100);
  assert_string_equal(mix.parts[0].preload, "store");
  mix_deinit(&mix);
  assert_null(mix_init(&mix, "claim", NULL, &SIZES));
  assert_int_equal(mix.part_count, 1);
  assert_int_equal(mix.weight_sum, 1);
  mix_deinit(&mix);
  assert_non_null(mix_init(&mix, "nothing", NULL, &SIZES));
  mix_deinit(&mix);
}

static void the_lua_recipe_names_its_setup(void **state) {
  (void)state;
  struct scenario job;
  assert_null(scenario_init(&job, "redis-lua-job", NULL, &SIZES));
  assert_string_equal(job.setup, "redis-lua-setup");
  assert_int_equal(job.step_count, 3);
  scenario_deinit(&job);
}

/* "*6", "FP" and 16 bytes, not more; without one as before. */
static void a_claim_has_the_fingerprint_that_was_asked_for(void **state) {
  (void)state;
  struct step_sizes wanted = SIZES;
  wanted.fingerprint_bytes = 16;
  struct scenario plain, with;
  struct message_subject subject = {.token = 1};
  char text[1024];
  memset(subject.key, 'k', sizeof subject.key);
  assert_null(scenario_init(&plain, "claim", NULL, &SIZES));
  assert_null(scenario_init(&with, "claim", NULL, &wanted));
  size_t bytes = message_write(&with.steps[0].request, &subject, text);
  text[bytes] = '\0';
  assert_string_equal(text,
                      "*6\r\n$5\r\nCLAIM\r\n$36\r\nkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\r\n"
                      "$2\r\nFP\r\n$16\r\nffffffffffffffff\r\n$5\r\nLEASE\r\n$5\r\n60000\r\n");
  assert_int_equal(message_usual_bytes(&plain.steps[0].request), bytes - 31);
  scenario_deinit(&plain);
  scenario_deinit(&with);
}

static void an_echo_moves_the_bytes_of_the_step_it_is_told(void **state) {
  (void)state;
  struct step_sizes sizes = SIZES;
  struct scenario job, echo;
  assert_null(scenario_init(&job, "job", NULL, &SIZES));
  for (sizes.echo_step = 0; sizes.echo_step < job.step_count; sizes.echo_step++) {
    const struct step *step = &job.steps[sizes.echo_step];
    assert_null(scenario_init(&echo, "echo", "job", &sizes));
    assert_int_equal(echo.step_count, 1);
    assert_int_equal(message_usual_bytes(&echo.steps[0].request),
                     message_usual_bytes(&step->request));
    assert_int_equal(message_usual_bytes(&echo.steps[0].reply), message_usual_bytes(&step->reply));
    /* A floor counts bytes: what is written has as many as it was told. */
    struct message_subject subject = {.token = STEP_USUAL_TOKEN};
    char text[1024];
    memset(subject.key, 'k', sizeof subject.key);
    assert_int_equal(message_write(&echo.steps[0].request, &subject, text),
                     message_usual_bytes(&step->request));
    scenario_deinit(&echo);
  }
  assert_string_equal(scenario_init(&echo, "echo", "job", &sizes), "--like has no such --step");
  scenario_deinit(&echo);
  scenario_deinit(&job);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_are_random_uuids_that_differ),
      cmocka_unit_test(a_ttl_per_key_stands_where_the_ttl_of_the_run_stood),
      cmocka_unit_test(a_mix_has_its_parts_and_their_keys),
      cmocka_unit_test(the_lua_recipe_names_its_setup),
      cmocka_unit_test(a_claim_has_the_fingerprint_that_was_asked_for),
      cmocka_unit_test(an_echo_moves_the_bytes_of_the_step_it_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
