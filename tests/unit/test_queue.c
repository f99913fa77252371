/* test_queue.c - what a session queues between MULTI and EXEC: how much, and what it will need. */
#include "server/commands/queue.h"

#include "tests/unit/peers.h"

static enum queue_outcome add(struct peers *p, size_t who, const char *name, struct span argument) {
  const struct span argv[] = {span_of(name), argument};
  const struct queue_command command = {
      .command = lookup_find(p->worker.commands, argv[0]), .argv = argv, .argc = 2};
  assert_non_null(command.command);
  return queue_add(&p->worker, &p->session[who], &command);
}

static void without_one_there_is_nothing(void **state) {
  struct peers *p = *state;
  struct session *session = &p->session[0];
  assert_null(queue_take(session));
  assert_int_equal(queue_length(session), -1);
  assert_int_equal(queue_bytes(session), 0);
  assert_int_equal(queue_reach(session), COMMAND_REACHES_NOTHING);
  assert_false(queue_writes(session));
  queue_spoil(session);
  queue_discard(session);
}

static void commands_come_in_order_with_copies_of_their_arguments(void **state) {
  struct peers *p = *state;
  char key[] = "a";
  assert_true(queue_begin(&p->worker, &p->session[0]));
  assert_int_equal(queue_length(&p->session[0]), 0);
  assert_int_equal(add(p, 0, "GET", span_of(key)), QUEUE_TAKEN);
  key[0] = 'b';
  assert_int_equal(add(p, 0, "DEL", span_of(key)), QUEUE_TAKEN);
  key[0] = 'x';
  struct queue *queue = queue_take(&p->session[0]);
  assert_non_null(queue);
  assert_null(session_queue(&p->session[0]));
  assert_int_equal(queue->count, 2);
  assert_string_equal(queue->first->command->name, "GET");
  assert_true(span_is(queue->first->argv[1], "a"));
  assert_string_equal(queue->first->next->command->name, "DEL");
  assert_true(span_is(queue->first->next->argv[1], "b"));
  assert_null(queue->first->next->next);
  queue_destroy(queue);
}

static void it_reaches_as_far_as_any_of_its_commands(void **state) {
  struct peers *p = *state;
  struct session *session = &p->session[0];
  queue_begin(&p->worker, session);
  assert_int_equal(queue_reach(session), COMMAND_REACHES_ALL);
  add(p, 0, "GET", SPAN_LITERAL("k"));
  assert_int_equal(queue_reach(session), COMMAND_REACHES_ALL);
  assert_false(queue_writes(session));
  add(p, 0, "INFO", SPAN_LITERAL("server"));
  add(p, 0, "DEL", SPAN_LITERAL("k"));
  assert_int_equal(queue_reach(session), COMMAND_REACHES_OTHERS);
  assert_true(queue_writes(session));
}

static void a_spoiled_one_keeps_nothing_and_needs_nothing(void **state) {
  struct peers *p = *state;
  struct session *session = &p->session[0];
  queue_begin(&p->worker, session);
  add(p, 0, "GET", SPAN_LITERAL("k"));
  queue_spoil(session);
  assert_int_equal(add(p, 0, "GET", SPAN_LITERAL("k")), QUEUE_TAKEN);
  assert_int_equal(queue_length(session), 1);
  assert_int_equal(queue_reach(session), COMMAND_REACHES_NOTHING);
}

static void bodies_are_counted_apart(void **state) {
  struct peers *p = *state;
  size_t body = (size_t)p->options.limits.body_bytes;
  char *bytes = calloc(1, body);
  assert_non_null(bytes);
  queue_begin(&p->worker, &p->session[0]);
  assert_int_equal(add(p, 0, "ECHO", (struct span){bytes, body}), QUEUE_TAKEN);
  struct queue *queue = session_queue(&p->session[0]);
  assert_int_equal(queue->body_bytes, body);
  assert_in_range(queue->bytes, 1, 200);
  assert_int_equal(queue_bytes(&p->session[0]), queue->bytes + body);
  assert_int_equal(p->instance.input_bytes, queue->bytes + body);
  assert_int_equal(add(p, 0, "ECHO", (struct span){bytes, QUEUE_BODY_BYTES}), QUEUE_TAKEN);
  assert_int_equal(queue->body_bytes, body);
  assert_int_equal(add(p, 0, "ECHO", (struct span){bytes, QUEUE_BODY_BYTES + 1}), QUEUE_FULL);
  assert_true(queue->spoiled);
  free(bytes);
  queue_discard(&p->session[0]);
  assert_int_equal(p->instance.input_bytes, 0);
}

static void all_together_have_a_limit(void **state) {
  struct peers *p = *state;
  p->options.client_input_total = 400;
  queue_begin(&p->worker, &p->session[0]);
  queue_begin(&p->worker, &p->session[1]);
  assert_int_equal(add(p, 0, "GET", SPAN_LITERAL("k")), QUEUE_TAKEN);
  char bytes[300] = {0};
  assert_int_equal(add(p, 1, "ECHO", (struct span){bytes, sizeof bytes}), QUEUE_ALL_FULL);
  assert_true(session_queue(&p->session[1])->spoiled);
  assert_false(session_queue(&p->session[0])->spoiled);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(without_one_there_is_nothing),
      TEST(commands_come_in_order_with_copies_of_their_arguments),
      TEST(it_reaches_as_far_as_any_of_its_commands),
      TEST(a_spoiled_one_keeps_nothing_and_needs_nothing),
      TEST(bodies_are_counted_apart),
      TEST(all_together_have_a_limit),
  };
  return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
