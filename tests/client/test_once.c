/*
 * test_once.c - idem_once: the work runs once, is given back when it failed, and what it made is
 * the answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/idem.h"
#include "tests/client/harness.h"

static struct server server;

static struct idem_request request_of(const char *key) {
  struct idem_request request;
  memset(&request, 0, sizeof request);
  request.key = idem_text(key);
  return request;
}

static void assert_bytes(struct idem_bytes bytes, const char *expected) {
  assert_non_null(bytes.data);
  assert_int_equal(bytes.len, strlen(expected));
  assert_memory_equal(bytes.data, expected, bytes.len);
  assert_int_equal(((const char *)bytes.data)[bytes.len], 0);
}

static int write_down(struct idem_claim *claim, void *context, struct idem_result *result) {
  (void)claim;
  ++*(int *)context;
  result->body = idem_text("made");
  return IDEM_WORK_DONE;
}

static int make_on_heap(struct idem_claim *claim, void *context, struct idem_result *result) {
  (void)claim;
  (void)context;
  char *body = malloc(5);
  memcpy(body, "heap", 5);
  result->body = idem_data(body, 4);
  result->memory = body;
  result->release = free;
  return IDEM_WORK_DONE;
}

static int fail_first(struct idem_claim *claim, void *context, struct idem_result *result) {
  (void)claim;
  int *calls = context;
  result->body = idem_text("second");
  return ++*calls == 1 ? IDEM_WORK_NOTHING : IDEM_WORK_DONE;
}

static void once_runs_once(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("once");
  struct idem_answer answer;
  int runs = 0;
  assert_int_equal(idem_once(client, &request, write_down, &runs, &answer), IDEM_RUN);
  assert_bytes(answer.body, "made");
  assert_true(answer.token > 0);
  idem_answer_clear(&answer);
  assert_int_equal(idem_once(client, &request, write_down, &runs, &answer), IDEM_REPLAY);
  assert_bytes(answer.body, "made");
  idem_answer_clear(&answer);
  assert_int_equal(runs, 1);
  request = request_of("once on the heap");
  assert_int_equal(idem_once(client, &request, make_on_heap, NULL, &answer), IDEM_RUN);
  assert_bytes(answer.body, "heap");
  idem_answer_clear(&answer);
}

static void once_gives_back_what_failed(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("once fails");
  struct idem_answer answer;
  int calls = 0;
  assert_int_equal(idem_once(client, &request, fail_first, &calls, &answer), IDEM_FAILED);
  assert_int_equal(answer.work, IDEM_WORK_NOTHING);
  assert_int_equal(answer.store, IDEM_OK);
  idem_answer_clear(&answer);
  assert_int_equal(idem_once(client, &request, fail_first, &calls, &answer), IDEM_RUN);
  idem_answer_clear(&answer);
}

static void closed_server_fails_closed(void **state) {
  (void)state;
  struct server gone;
  server_start(&gone, 0, NULL);
  struct idem_options options;
  memset(&options, 0, sizeof options);
  options.deadline_ms = 2000;
  struct idem_client *client = must_open(gone.port, &options);
  assert_int_equal(idem_ping(client, NULL), IDEM_OK);
  server_kill(&gone, SIGKILL);
  struct idem_request request = request_of("gone");
  struct idem_answer answer;
  int runs = 0;
  request.wait_ms = IDEM_NO_WAIT;
  assert_int_equal(idem_once(client, &request, write_down, &runs, &answer), IDEM_UNAVAILABLE);
  assert_int_equal(runs, 0);
  CHECK(strstr(answer.message, "refused") != NULL, "%s", answer.message);
  assert_true(answer.retry_after_ms > 0);
  idem_answer_clear(&answer);
  request.flags = IDEM_FAIL_OPEN;
  assert_int_equal(idem_once(client, &request, write_down, &runs, &answer), IDEM_UNSTORED);
  assert_int_equal(runs, 1);
  assert_int_equal(answer.store, IDEM_UNAVAILABLE);
  assert_bytes(answer.body, "made");
  idem_answer_clear(&answer);
  idem_close(client);
}

/* A work that fills its memory to the last byte: what comes out has a NUL byte after it all the
 * same.
 */
static int make_to_the_brim(struct idem_claim *claim, void *context, struct idem_result *result) {
  (void)claim;
  char *body = malloc(4), *meta = context;
  memcpy(body, "brim", 4);
  result->body = idem_data(body, 4);
  result->meta = idem_data(meta, 3);
  result->memory = body;
  result->release = free;
  return IDEM_WORK_DONE;
}

static void what_comes_out_ends_with_a_nul(void **state) {
  struct idem_client *client = *state;
  struct idem_request request = request_of("brim");
  struct idem_answer answer;
  char meta[] = {'2', '0', '1', 'x'};
  assert_int_equal(idem_once(client, &request, make_to_the_brim, meta, &answer), IDEM_RUN);
  assert_bytes(answer.body, "brim");
  assert_bytes(answer.meta, "201");
  idem_answer_clear(&answer);
  assert_int_equal(idem_once(client, &request, make_to_the_brim, meta, &answer), IDEM_REPLAY);
  assert_bytes(answer.body, "brim");
  assert_bytes(answer.meta, "201");
  idem_answer_clear(&answer);
}

static int open_client(void **state) {
  server_start(&server, 0, NULL);
  *state = must_open(server.port, NULL);
  return 0;
}

static int close_client(void **state) {
  idem_close(*state);
  server_kill(&server, SIGTERM);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(once_runs_once),
      cmocka_unit_test(once_gives_back_what_failed),
      cmocka_unit_test(what_comes_out_ends_with_a_nul),
      cmocka_unit_test(closed_server_fails_closed),
  };
  return cmocka_run_group_tests_name("once", tests, open_client, close_client);
}
