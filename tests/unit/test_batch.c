/* test_batch.c - how far commands are read ahead, and what is found out about them meanwhile. */
#include "tests/unit/peers.h"

#include "server/net/batch.h"
#include "server/net/input.h"

/* What a connection has of its group: a reader and a batch. */
struct reading {
  struct resp_reader reader;
  struct batch batch;
};

static void reading_init(struct reading *r, struct peers *p) {
  input_init_reader(&r->reader, &p->worker);
  r->batch.first = 0;
}

static void read_text(struct reading *r, struct peers *p, const char *text) {
  batch_read(&r->batch, &r->reader, &p->worker, text, strlen(text), 100);
}

/* How many commands are read, given the first and a PING after it. Only one with a key has a name.
 */
static unsigned read_with_ping(struct peers *p, const char *first) {
  struct reading r;
  reading_init(&r, p);
  char text[1024];
  snprintf(text, sizeof text, "%s*1\r\n$4\r\nPING\r\n", first);
  read_text(&r, p, text);
  const struct batch_item *item = r.batch.items;
  assert_true(item[0].start == 0 && item[0].end == strlen(first));
  if (item[0].request.argc < 2) assert_null(item[0].request.name);
  resp_read_deinit(&r.reader);
  return r.batch.count;
}

static void it_reads_on_after_short_commands(void **state) {
  assert_int_equal(read_with_ping(*state, "*1\r\n$4\r\nPING\r\n"), 2);
  assert_int_equal(read_with_ping(*state, "*2\r\n$4\r\necho\r\n$0\r\n\r\n"), 2);
  assert_int_equal(read_with_ping(*state, "*2\r\n$5\r\nCLAIM\r\n$1\r\nk\r\n"), 2);
  assert_int_equal(read_with_ping(*state, "*2\r\n$10\r\nIDEM.CLAIM\r\n$1\r\nk\r\n"), 2);
  assert_int_equal(read_with_ping(*state, "*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n"), 2);
  assert_int_equal(read_with_ping(*state, "*1\r\n$3\r\nGET\r\n"), 2); /* too few: it will say so */
}

static void it_stops_after_what_may_change_how_bytes_are_read(void **state) {
  assert_int_equal(read_with_ping(*state, "*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"), 1);
  assert_int_equal(read_with_ping(*state, "*1\r\n$5\r\nHELLO\r\n"), 1);
  assert_int_equal(read_with_ping(*state, "*1\r\n$5\r\nRESET\r\n"), 1);
  assert_int_equal(read_with_ping(*state, "*1\r\n$4\r\nQUIT\r\n"), 1);
  assert_int_equal(read_with_ping(*state, "*1\r\n$4\r\nEXEC\r\n"), 1);
  assert_int_equal(read_with_ping(*state, "*2\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n"), 1);
  assert_int_equal(read_with_ping(*state, "*1\r\n$7\r\nunknown\r\n"), 1);
  assert_int_equal(read_with_ping(*state, "PING\r\n"), 1);
}

static void a_long_command_is_left_to_the_reader(void **state) {
  struct peers *p = *state;
  struct reading r;
  reading_init(&r, p);
  read_text(&r, p,
            "*9\r\n$3\r\nDEL\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n"
            "$1\r\n7\r\n$1\r\n8\r\n*1\r\n$4\r\nPING\r\n");
  assert_int_equal(r.batch.count, 1);
  const struct request *request = &r.batch.items[0].request;
  assert_int_equal(request->argc, 9);
  assert_true(span_is(request->argv[8], "8"));
  assert_false(request->sizes_fit);
  resp_read_deinit(&r.reader);
}

static void what_is_not_all_there_ends_it(void **state) {
  struct peers *p = *state;
  struct reading r;
  reading_init(&r, p);
  read_text(&r, p, "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$5\r\nhel");
  assert_int_equal(r.batch.count, 2);
  assert_int_equal(r.batch.items[0].result, RESP_READ_COMMAND);
  assert_int_equal(r.batch.items[1].result, RESP_READ_MORE);
  assert_null(r.batch.items[1].request.name);
  read_text(&r, p, "*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n*1\r\n$4\r\nPING\r\n");
  assert_int_equal(r.batch.count, 1); /* the reader had begun with it */
  assert_true(span_is(r.batch.items[0].request.argv[1], "hello"));
  resp_read_deinit(&r.reader);
}

static void limits_are_the_readers(void **state) {
  struct peers *p = *state;
  char key[1025 + 1], text[1200];
  memset(key, 'k', 1025);
  struct reading r;
  reading_init(&r, p);
  snprintf(text, sizeof text, "*2\r\n$5\r\nFETCH\r\n$1024\r\n%.1024s\r\n", key);
  read_text(&r, p, text);
  assert_int_equal(r.batch.items[0].result, RESP_READ_COMMAND);
  assert_true(r.batch.items[0].request.sizes_fit);
  assert_int_equal(r.batch.items[0].request.bytes, strlen(text));
  snprintf(text, sizeof text, "*2\r\n$5\r\nFETCH\r\n$1025\r\n%.1025s\r\n", key);
  read_text(&r, p, text);
  assert_int_equal(r.batch.items[0].result, RESP_READ_TOOBIG);
  assert_int_equal(r.reader.toobig_limit, 1024);
  r.reader.command_limit = 8;
  read_text(&r, p, "*2\r\n$4\r\nECHO\r\n$4\r\nfour\r\n");
  assert_int_equal(r.batch.items[0].result, RESP_READ_COMMAND);
  read_text(&r, p, "*2\r\n$4\r\nECHO\r\n$5\r\nfiver\r\n");
  assert_int_equal(r.batch.items[0].result, RESP_READ_TOOBIG);
  r.reader.command_limit = 0;
  r.reader.unauthenticated = true;
  read_text(&r, p, "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n");
  assert_int_equal(r.batch.count, 1);
  resp_read_deinit(&r.reader);
}

static void one_key_has_a_name_and_no_more_are_read_than_asked(void **state) {
  struct peers *p = *state;
  struct reading r;
  reading_init(&r, p);
  read_text(&r, p, "*2\r\n$5\r\nFETCH\r\n$1\r\na\r\n*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n");
  assert_int_equal(r.batch.count, 2);
  struct name name;
  keyspace_name(p->instance.keyspace, SPAN_LITERAL("a"), &name);
  assert_int_equal(r.batch.items[0].request.name->hash, name.hash);
  assert_null(r.batch.items[1].request.name);

  char pings[40 * 14 + 1] = "";
  for (int i = 0; i < 40; i++) memcpy(pings + i * 14, "*1\r\n$4\r\nPING\r\n", 15);
  read_text(&r, p, pings);
  assert_int_equal(r.batch.count, BATCH_COMMANDS);
  assert_int_equal(r.batch.items[BATCH_COMMANDS - 1].end, BATCH_COMMANDS * 14);
  batch_read(&r.batch, &r.reader, &p->worker, pings, sizeof pings - 1, 3);
  assert_int_equal(r.batch.count, 3);
  resp_read_deinit(&r.reader);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_setup, peers_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(it_reads_on_after_short_commands),
      TEST(it_stops_after_what_may_change_how_bytes_are_read),
      TEST(a_long_command_is_left_to_the_reader),
      TEST(what_is_not_all_there_ends_it),
      TEST(limits_are_the_readers),
      TEST(one_key_has_a_name_and_no_more_are_read_than_asked),
  };
  return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
