/* test_input.c - the bytes that could not be run yet: what they may hold, what is adopted, when
 * they are late. */
#include "tests/unit/connections.h"

static const char *const RESULTS[] = {"OK", "OVER_BUDGET", "NO_MEMORY"};

#define assert_result(result, wanted) assert_string_equal(RESULTS[result], wanted)

#define BODY 300000u

/* Presents bytes to a reader that finds no whole command in them, and keeps them. */
static struct input *keep(struct connections *c, const char *text) {
  struct resp_reader *reader = &c->group.reader;
  struct input *input;
  size_t consumed, len = strlen(text);
  if (len > 0) assert_int_equal(resp_read(reader, text, len, &consumed), RESP_READ_MORE);
  assert_result(input_keep(&input, &c->group.budget, reader, (struct span){text, len}), "OK");
  assert_true(resp_read_idle(reader)); /* as new, for the next connection */
  return input;
}

static enum resp_read_result read_it(struct input *input) {
  size_t consumed;
  struct span bytes = input_bytes(input);
  return resp_read(&input->reader, bytes.data, bytes.len, &consumed);
}

/* More of it arrives, at once or wherever it asks for. Returns what the reader finds then. */
static enum resp_read_result take(struct input *input, const char *bytes, size_t len) {
  enum resp_read_result result = RESP_READ_MORE;
  while (len > 0) {
    size_t room, part = len;
    bool whole;
    char *to = input_room(input, &room);
    if (room > 0) part = len < room ? len : room;
    if (room > 0) memcpy(to, bytes, part);
    struct span taken = {room > 0 ? to : bytes, part};
    assert_result(input_take(input, taken, &whole), "OK");
    result = whole ? read_it(input) : RESP_READ_MORE;
    if (whole && result == RESP_READ_MORE) assert_result(input_consumed(input, 0), "OK");
    bytes += part;
    len -= part;
  }
  return result;
}

static void it_keeps_a_command_and_what_the_reader_knew(void **state) {
  struct connections *c = *state;
  struct input *input = keep(c, "*2\r\n$4\r\nEC");
  assert_int_equal(input_size(input), 10);
  assert_int_equal(c->instance.input_bytes, 10);
  assert_int_equal(take(input, "HO\r\n$5\r\nhello\r\n", 15), RESP_READ_COMMAND);
  assert_true(span_is(input->reader.argv[1], "hello"));
  assert_result(input_consumed(input, 25), "OK");
  assert_true(input_is_empty(input));
  input_destroy(input);
  assert_int_equal(c->instance.input_bytes, 0);
}

static void what_was_run_makes_room(void **state) {
  struct connections *c = *state;
  struct input *input = keep(c, "");
  take(input, "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", 24);
  assert_result(input_consumed(input, 14), "OK");
  assert_false(input_is_empty(input));
  assert_int_equal(input_bytes(input).len, 10);
  size_t size = input_size(input);
  assert_int_equal(take(input, "NG\r\n", 4), RESP_READ_COMMAND);
  assert_int_equal(input_size(input), size);
  input_destroy(input);
  input_destroy(NULL);
  assert_int_equal(input_size(NULL), 0);
}

static void all_inputs_together_have_a_budget(void **state) {
  struct connections *c = *state;
  bool whole;
  c->options.client_input_total = 100;
  char bytes[64] = {0};
  struct input *first = keep(c, ""), *second = keep(c, "");
  assert_result(input_take(first, (struct span){bytes, 60}, &whole), "OK");
  assert_result(input_take(second, (struct span){bytes, 41}, &whole), "OVER_BUDGET");
  assert_result(input_take(second, (struct span){bytes, 40}, &whole), "OK");
  assert_int_equal(c->instance.input_bytes, 100);
  input_destroy(first);
  c->options.client_input_total = 200; /* CONFIG SET */
  assert_result(input_take(second, (struct span){bytes, 64}, &whole), "OK");
  input_destroy(second);
}

static void over_budget_is_said_when_it_is_kept(void **state) {
  struct connections *c = *state;
  struct input *input;
  c->options.client_input_total = 3;
  assert_result(input_keep(&input, &c->group.budget, &c->group.reader, SPAN_LITERAL("*1\r\n")),
                "OVER_BUDGET");
  input_destroy(input);
}

/* The body of a STORE goes straight into what the engine will keep. */
static void a_long_body_is_adopted(void **state) {
  struct connections *c = *state;
  char *body = malloc(BODY + 2);
  memset(body, 'b', BODY);
  memcpy(body + BODY, "\r\n", 2);
  struct input *input = keep(c, "*4\r\n$5\r\nSTORE\r\n$1\r\nk\r\n$1\r\n7\r\n$300000\r\n");
  assert_int_equal(input->body.len, BODY);
  assert_null(input_adopted(input)); /* it is on its way */
  for (size_t at = 0; at < BODY; at += 50000) {
    take(input, body + at, 50000);
    assert_true(input->body.capacity <= 2 * input->body.arrived);
    assert_true(input_size(input) < 2 * (at + 50000) + 100);
  }
  assert_int_equal(take(input, body + BODY, 2), RESP_READ_COMMAND);
  assert_int_equal(input->reader.argv[3].len, BODY);
  struct received_body *received = input_adopted(input);
  assert_non_null(received);
  assert_ptr_equal(input->reader.argv[3].data, received->adopted.bytes + ADOPTED_BODY_HEAD_BYTES);
  assert_result(input_consumed(input, input_bytes(input).len), "OK");
  assert_null(input_adopted(input));
  assert_true(input_is_empty(input));
  input_destroy(input);
  free(body);
}

/* CLIENT PAUSE: the command was read, and is to be read once more. */
static void an_adopted_body_outlives_that_its_command_is_forgotten(void **state) {
  struct connections *c = *state;
  char *body = calloc(1, BODY + 2);
  memcpy(body + BODY, "\r\n", 2);
  struct input *input = keep(c, "*4\r\n$5\r\nSTORE\r\n$1\r\nk\r\n$1\r\n7\r\n$300000\r\n");
  assert_int_equal(take(input, body, BODY + 2), RESP_READ_COMMAND);
  resp_read_forget(&input->reader);
  assert_result(input_consumed(input, 0), "OK");
  assert_int_equal(read_it(input), RESP_READ_COMMAND);
  assert_int_equal(input->reader.argv[3].len, BODY);
  input_destroy(input);
  free(body);
}

static void what_is_no_body_is_not_adopted(void **state) {
  struct connections *c = *state;
  struct input *set = keep(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$300000\r\n");
  assert_int_equal(set->body.len, 0);
  struct input *brief = keep(c, "*4\r\n$5\r\nSTORE\r\n$1\r\nk\r\n$1\r\n7\r\n$65535\r\n");
  assert_int_equal(brief->body.len, 0);
  input_destroy(set);
  input_destroy(brief);
}

/* A mere announcement costs nothing. */
static void a_long_argument_is_read_to_where_it_is_parsed(void **state) {
  struct connections *c = *state;
  size_t room;
  struct input *input = keep(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$300000\r\n");
  assert_null(input_room(input, &room));
  assert_int_equal(room, 0);
  char *bytes = calloc(2, INPUT_READ_BYTES);
  take(input, bytes, INPUT_READ_BYTES);
  char *to = input_room(input, &room);
  assert_non_null(to);
  assert_ptr_equal(to, input->bytes + input->len);
  assert_in_range(room, INPUT_READ_BYTES, INPUT_READ_BYTES + 100);
  c->options.client_input_total = (int64_t)c->instance.input_bytes; /* then less of it may do */
  take(input, bytes, room);
  assert_null(input_room(input, &room));
  input_destroy(input);
  free(bytes);
}

static void a_command_is_late_after_ten_seconds(void **state) {
  struct connections *c = *state;
  struct worker *worker = &c->group.worker;
  struct input *first = keep(c, "*1\r\n"), *second = keep(c, "*1\r\n");
  assert_null(input_late(&c->group.budget));
  input_await(first, true);
  worker->monotonic_ms += 1;
  input_await(second, true);
  worker->monotonic_ms += INPUT_REQUEST_MS - 2;
  input_await(first, true); /* since when does not change */
  assert_null(input_late(&c->group.budget));
  worker->monotonic_ms += 1;
  assert_ptr_equal(input_late(&c->group.budget), first);
  input_await(first, false); /* what is left of it waits for us */
  assert_null(input_late(&c->group.budget));
  worker->monotonic_ms += 1;
  assert_ptr_equal(input_late(&c->group.budget), second);
  input_destroy(second);
  assert_null(input_late(&c->group.budget));
  input_destroy(first);
}

static void a_long_argument_has_as_long_after_each_part(void **state) {
  struct connections *c = *state;
  struct worker *worker = &c->group.worker;
  struct input *input = keep(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4096\r\n");
  input_await(input, true);
  worker->monotonic_ms += INPUT_REQUEST_MS - 1;
  take(input, "part", 4);
  worker->monotonic_ms += INPUT_REQUEST_MS - 1;
  assert_null(input_late(&c->group.budget));
  worker->monotonic_ms += 1;
  assert_ptr_equal(input_late(&c->group.budget), input);
  input_destroy(input);
  input = keep(c, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4095\r\n"); /* a shorter one has not */
  input_await(input, true);
  worker->monotonic_ms += INPUT_REQUEST_MS;
  take(input, "part", 4);
  assert_ptr_equal(input_late(&c->group.budget), input);
  input_destroy(input);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(it_keeps_a_command_and_what_the_reader_knew),
      TEST(what_was_run_makes_room),
      TEST(all_inputs_together_have_a_budget),
      TEST(over_budget_is_said_when_it_is_kept),
      TEST(a_long_body_is_adopted),
      TEST(an_adopted_body_outlives_that_its_command_is_forgotten),
      TEST(what_is_no_body_is_not_adopted),
      TEST(a_long_argument_is_read_to_where_it_is_parsed),
      TEST(a_command_is_late_after_ten_seconds),
      TEST(a_long_argument_has_as_long_after_each_part),
  };
  return cmocka_run_group_tests_name("input", tests, NULL, NULL);
}
