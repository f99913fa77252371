/* test_bench_message.c - a reply matches byte by byte, wherever it is cut, and no other reply does.
 */
#include "bench/message.h"
#include "bench/mix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define KEY "01234567-89ab-4cde-8f01-23456789abcd"

static const struct step_sizes SIZES = {.lease_ms = 60000, .ttl_ms = 5000, .body_bytes = 40};

static struct message_subject subject_of(uint64_t token) {
  struct message_subject subject = {.token = token};
  memcpy(subject.key, KEY, MESSAGE_KEY_BYTES);
  return subject;
}

static enum message_result match(const struct message *message, const char *reply,
                                 struct message_subject *subject) {
  size_t consumed = 0;
  enum message_result found = message_match(message, reply, strlen(reply), subject, &consumed);
  if (found == MESSAGE_WHOLE) assert_int_equal(consumed, strlen(reply));
  return found;
}

static void requests_are_written_as_the_protocol_says(void **state) {
  (void)state;
  struct scenario job;
  struct message_subject subject = subject_of(387654321000001);
  char out[512];
  assert_null(scenario_init(&job, "job", NULL, &SIZES));
  size_t bytes = message_write(&job.steps[0].request, &subject, out);
  static const char claim[] =
      "*4\r\n$5\r\nCLAIM\r\n$36\r\n" KEY "\r\n$5\r\nLEASE\r\n$5\r\n60000\r\n";
  assert_int_equal(bytes, sizeof claim - 1);
  assert_int_equal(bytes, message_usual_bytes(&job.steps[0].request));
  assert_memory_equal(out, claim, bytes);

  bytes = message_write(&job.steps[1].request, &subject, out);
  static const char store[] =
      "*6\r\n$5\r\nSTORE\r\n$36\r\n" KEY "\r\n$15\r\n387654321000001\r\n$40\r\n" KEY
      "bbbb\r\n$3\r\nTTL\r\n$4\r\n5000\r\n";
  assert_int_equal(bytes, sizeof store - 1);
  assert_int_equal(bytes, message_usual_bytes(&job.steps[1].request));
  assert_true(bytes <= message_most_bytes(&job.steps[1].request));
  assert_memory_equal(out, store, bytes);
  scenario_deinit(&job);
}

static void a_reply_cut_anywhere_needs_more(void **state) {
  (void)state;
  struct scenario claim;
  static const char reply[] = "*5\r\n$7\r\nCLAIMED\r\n:387654321000001\r\n:60000\r\n:1\r\n$-1\r\n";
  assert_null(scenario_init(&claim, "claim", NULL, &SIZES));
  struct message_subject subject = subject_of(0);
  size_t consumed = 0;
  for (size_t bytes = 0; bytes < sizeof reply - 1; bytes++) {
    assert_int_equal(message_match(&claim.steps[0].reply, reply, bytes, &subject, &consumed),
                     MESSAGE_MORE);
  }
  assert_int_equal(match(&claim.steps[0].reply, reply, &subject), MESSAGE_WHOLE);
  assert_true(subject.token == 387654321000001);
  scenario_deinit(&claim);
}

static void a_wrong_byte_is_seen_at_once(void **state) {
  (void)state;
  struct scenario replay;
  char reply[] = "*5\r\n$4\r\nDONE\r\n$40\r\n" KEY "bbbb\r\n$-1\r\n:3\r\n:4999\r\n";
  assert_null(scenario_init(&replay, "replay", NULL, &SIZES));
  struct message_subject subject = subject_of(0);
  size_t consumed = 0;
  assert_int_equal(match(&replay.steps[0].reply, reply, &subject), MESSAGE_WHOLE);
  for (size_t at = 0; at < sizeof reply - 1; at++) {
    char kept = reply[at];
    reply[at] = '?';
    assert_int_equal(message_match(&replay.steps[0].reply, reply, at + 1, &subject, &consumed),
                     MESSAGE_WRONG);
    reply[at] = kept;
  }
  scenario_deinit(&replay);
}

static void what_a_server_may_answer_instead_is_wrong(void **state) {
  (void)state;
  static const char *const replies[] = {
      "-ERR unknown command\r\n",
      "-OOM\r\n",
      "*-1\r\n",
      "_\r\n",
      "+OK\r\n",
      "\r\n",
      "*4\r\n$4\r\nBUSY\r\n:1\r\n:1\r\n$-1\r\n",
      "*5\r\n$7\r\nCLAIMED\r\n:\r\n:60000\r\n:1\r\n$-1\r\n",
      "*5\r\n$7\r\nCLAIMED\r\n:-5\r\n:60000\r\n:1\r\n$-1\r\n",
      "*5\r\n$7\r\nCLAIMED\r\n:123456789012345678901\r\n:60000\r\n:1\r\n$-1\r\n",
      "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:59999\r\n:1\r\n$-1\r\n",
      "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:60000\r\n:2\r\n$-1\r\n",
      "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:60000\r\n:1\r\n$0\r\n\r\n",
  };
  struct scenario claim;
  struct message_subject subject = subject_of(0);
  assert_null(scenario_init(&claim, "claim", NULL, &SIZES));
  for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
    assert_int_equal(match(&claim.steps[0].reply, replies[i], &subject), MESSAGE_WRONG);
  }
  scenario_deinit(&claim);
}

static void the_echo_moves_the_bytes_of_its_scenario(void **state) {
  (void)state;
  struct scenario replay, echo;
  assert_null(scenario_init(&replay, "replay", NULL, &SIZES));
  assert_null(scenario_init(&echo, "echo", "replay", &SIZES));
  assert_int_equal(message_usual_bytes(&echo.steps[0].request),
                   message_usual_bytes(&replay.steps[0].request));
  assert_int_equal(message_usual_bytes(&echo.steps[0].reply),
                   message_usual_bytes(&replay.steps[0].reply));
  assert_null(echo.preload);
  scenario_deinit(&replay);
  scenario_deinit(&echo);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(requests_are_written_as_the_protocol_says),
      cmocka_unit_test(a_reply_cut_anywhere_needs_more),
      cmocka_unit_test(a_wrong_byte_is_seen_at_once),
      cmocka_unit_test(what_a_server_may_answer_instead_is_wrong),
      cmocka_unit_test(the_echo_moves_the_bytes_of_its_scenario),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
