/*
 * test_table.c - which node a key is sent to, and who is asked for the table, by what is heard
 * (cluster.h). No server, no clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cluster.h"
#include "client/slot.h"
#include "tests/client/harness.h"

#define SLOT_OF_X 16287
#define LINE(address, flags, slots) \
  "0123456789012345678901234567890123456789 " address " " flags " - 0 0 1 connected " slots "\n"
#define KEY idem_text("x")

static struct target target;
static struct cluster cluster;
static int64_t now_at;

static void open_at(const char *url) {
  struct idem_error error;
  CHECK(target_parse(&target, url, &error) == IDEM_OK, "%s", error.text);
  CHECK(cluster_init(&cluster, &target), "no memory");
  now_at = 1;
}

static void close_all(void) {
  cluster_deinit(&cluster);
  target_deinit(&target);
}

/* ---- what is heard ---- */

static redisReply *reply_of(int type, const char *text, size_t len) {
  redisReply *reply = calloc(1, sizeof *reply);
  CHECK(reply != NULL, "no memory");
  reply->type = type;
  reply->len = len;
  reply->str = malloc(len + 1);
  CHECK(reply->str != NULL, "no memory");
  memcpy(reply->str, text, len);
  reply->str[len] = '\0';
  return reply;
}

/* Who is asked for the table; NULL: nobody. */
static struct node *source(void) {
  now_at += CLUSTER_REFRESH_LIMIT_MS;
  return cluster_refresh(&cluster, now_at);
}

static void learn(struct node *from, int type, const char *text) {
  struct wire_reply reply;
  wire_parse(WIRE_NODES, reply_of(type, text, strlen(text)), &reply);
  cluster_learn(&cluster, from, &reply);
  wire_reply_deinit(&reply);
}

static void show(struct node *from, const char *table) { learn(from, REDIS_REPLY_STRING, table); }

static void refuse(struct node *from, const char *text) { learn(from, REDIS_REPLY_ERROR, text); }

static void stay_silent(struct node *from) {
  struct wire_reply none;
  wire_reply_fail(&none, IDEM_UNAVAILABLE, "no answer in time");
  cluster_learn(&cluster, from, &none);
}

/* A command about "x" was answered with this error. */
static struct node *say(struct node *from, const char *text) {
  struct wire_reply reply;
  wire_parse(WIRE_FETCH, reply_of(REDIS_REPLY_ERROR, text, strlen(text)), &reply);
  struct node *asked = cluster_follow(&cluster, from, KEY, &reply);
  wire_reply_deinit(&reply);
  return asked;
}

/* ---- what is decided ---- */

static const char *text_of_route(void) {
  static char text[IDEM_MESSAGE_BYTES + 32];
  struct idem_error why = {""};
  struct node *node = NULL;
  enum idem_status status = cluster_route(&cluster, KEY, &node, &why);
  if (status == IDEM_OK) return node->target.name;
  snprintf(text, sizeof text, "%s %s", idem_status_name(status), why.text);
  return text;
}

static void check_route(const char *wanted) {
  const char *text = text_of_route();
  CHECK(strcmp(text, wanted) == 0, "%s, not %s", text, wanted);
}

static void check_no_route(const char *status) {
  const char *text = text_of_route();
  CHECK(strncmp(text, status, strlen(status)) == 0, "%s, not %s", text, status);
}

static void check_source(const char *wanted) {
  struct node *node = source();
  const char *text = node != NULL ? node->target.name : "nobody";
  CHECK(strcmp(text, wanted) == 0, "%s, not %s", text, wanted);
}

/* ---- several servers ---- */

static void servers_that_do_not_show_a_table_may_be_no_cluster(void **state) {
  (void)state;
  static const char *const refusals[] = {"NOPERM this user has no permissions",
                                         "ERR This instance has cluster support disabled",
                                         "ERR unknown command 'CLUSTER'"};
  for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
    open_at("redis://a:1,b:2");
    refuse(source(), refusals[i]);
    check_no_route("REFUSED");
    CHECK(strstr(text_of_route(), refusals[i]) != NULL, "%s", text_of_route());
    close_all();
  }
}

static void one_server_that_says_moved_needs_no_table(void **state) {
  (void)state;
  open_at("redis://a:1");
  check_route("a:1");
  say(cluster.nodes[0], "MOVED 16287 b:2");
  refuse(source(), "NOPERM this user has no permissions");
  check_route("b:2");
  close_all();
}

static void a_server_that_no_table_names_gets_no_call(void **state) {
  (void)state;
  open_at("redis://a:1,b:2");
  show(source(), LINE("a:1@1", "myself,master", "0-100"));
  check_route("a:1");
  cluster_failed(&cluster, cluster.nodes[0], now_at); /* now b is asked for the table */
  check_source("b:2");
  check_route("a:1");
  refuse(cluster.nodes[1], "ERR This instance has cluster support disabled");
  check_source("a:1");
  check_route("a:1");
  close_all();
}

/* ---- who is asked ---- */

static void a_table_without_slots_is_none(void **state) {
  (void)state;
  static const char *const tables[] = {"",
                                       "\n\n",
                                       "what is this",
                                       LINE("a:1@1", "myself,master", ""),
                                       LINE("a:1@1", "myself,slave", "0-16383"),
                                       LINE("a:0@1", "master,noaddr", "0-16383"),
                                       LINE("a:1@1", "master", "16384 0-99999999999 7-3 x -5 5-")};
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
    open_at("redis://a:1,b:2");
    show(source(), tables[i]);
    check_no_route("UNAVAILABLE");
    check_source("b:2");
    show(cluster.nodes[1], LINE("c:3@1", "master", "0-16383"));
    check_route("c:3");
    close_all();
  }
}

static void a_table_in_which_a_slot_has_two_owners_is_none(void **state) {
  (void)state;
  open_at("redis://a:1,b:2");
  show(source(), LINE("a:1@1", "master", "0-16383") LINE("c:3@1", "master", "16287"));
  check_no_route("UNAVAILABLE");
  check_source("b:2");
  close_all();
}

static void a_node_that_cannot_serve_is_not_asked_again(void **state) {
  (void)state;
  static const char *const words[] = {"CLUSTERDOWN Hash slot not served",
                                      "READONLY You can't write against a read only replica.",
                                      "MASTERDOWN Link with MASTER is down"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    open_at("redis://a:1,b:2");
    show(source(), LINE("a:1@1", "master", "0-16383"));
    say(cluster.nodes[0], words[i]);
    check_source("b:2");
    /* Only one that is asked is passed over. */
    say(cluster.nodes[0], words[i]);
    stay_silent(cluster.nodes[0]);
    check_source("b:2");
    close_all();
  }
}

static void a_node_that_refuses_its_table_is_passed_over(void **state) {
  (void)state;
  open_at("redis://a:1");
  say(cluster.nodes[0], "MOVED 16287 b:2");
  check_source("b:2");
  refuse(cluster.nodes[1], "ERR This instance has cluster support disabled");
  check_source("a:1");
  close_all();
}

static void addresses_that_are_of_the_past_are_not_asked(void **state) {
  (void)state;
  open_at("redis://a:1");
  say(cluster.nodes[0], "MOVED 16287 b:2");
  for (int i = 0; i < 100; i++) {
    char table[200];
    snprintf(table, sizeof table, LINE("10.0.0.%d:1@1", "master", "0-16383"), i);
    show(source(), table);
    cluster_failed(&cluster, cluster.nodes[0], now_at); /* stale */
  }
  stay_silent(source()); /* the one that showed the last, too */
  for (int i = 0; i < 8; i++) {
    struct node *node = source();
    const char *name = node->target.name;
    CHECK(strcmp(name, "a:1") == 0 || strcmp(name, "10.0.0.99:1") == 0, "%s", name);
    stay_silent(node);
  }
  close_all();
}

static void a_large_table_is_read(void **state) {
  (void)state;
  size_t size = 1 << 20, len = 0;
  char *table = malloc(size + 200);
  CHECK(table != NULL, "no memory");
  for (int i = 0; len < size; i++)
    len += (size_t)snprintf(table + len, 200, LINE("10.%d.%d.%d:1@1", "master", "%d"), i / 65536,
                            i / 256 % 256, i % 256, i < 16384 ? i : 16384);
  open_at("redis://a:1");
  say(cluster.nodes[0], "MOVED 16287 b:2");
  show(source(), table);
  check_route("b:2"); /* there are no more than so many nodes */
  assert_int_equal(cluster.count, CLUSTER_NODES_MAX);
  close_all();
  free(table);
}

/* ---- redirects ---- */

static void a_redirect_that_is_no_address_leads_nowhere(void **state) {
  (void)state;
  char longer[400];
  memset(longer, 'h', sizeof longer);
  memcpy(longer, "MOVED 1 ", 8);
  memcpy(longer + 316, ":63791", 7);
  const char *const texts[] = {"MOVED",
                               "MOVED 1",
                               "MOVED 1 nowhere",
                               "MOVED 1 here:0",
                               "MOVED 1 h:65536",
                               "MOVED 1 h:1234567",
                               "MOVED 1 h:-1",
                               "MOVED 99999999999999999999 h:",
                               "ASK 1 h:0",
                               "ASK",
                               longer};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    open_at("redis://a:1");
    assert_null(say(cluster.nodes[0], texts[i]));
    CHECK(strcmp(text_of_route(), "a:1") == 0, "%s: %s", texts[i], text_of_route());
    assert_int_equal(cluster.count, 1);
    close_all();
  }
}

/* The slot is that of the key, whatever the node says. */
static void a_redirect_is_about_the_slot_of_the_key(void **state) {
  (void)state;
  open_at("redis://a:1");
  say(cluster.nodes[0], "MOVED 4294967295 b:2");
  check_route("b:2");
  say(cluster.nodes[1], "MOVED 16287 b:2"); /* to itself */
  check_route("b:2");
  close_all();
}

/* ---- names ---- */

#define NAMED LINE("10.0.0.2:2@1,two.example,shard-id=7", "master", "0-16383")

static void under_tls_a_node_is_called_by_the_name_that_the_table_has(void **state) {
  (void)state;
  open_at("rediss://a:1");
  check_route("a:1");
  say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
  check_no_route("UNAVAILABLE"); /* its name comes first */
  check_source("a:1");           /* of one whose name is known */
  show(cluster.nodes[0], NAMED);
  check_route("two.example:2");
  /* From now on the address means that name. */
  say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
  check_route("two.example:2");
  struct node *asked = say(cluster.nodes[0], "ASK 16287 10.0.0.2:2");
  CHECK(asked != NULL && strcmp(asked->target.name, "two.example:2") == 0, "no name");
  close_all();
}

static void under_tls_ask_comes_after_the_name_too(void **state) {
  (void)state;
  open_at("rediss://a:1");
  assert_null(say(cluster.nodes[0], "ASK 16287 10.0.0.2:2"));
  check_route("a:1");
  check_source("a:1");
  show(cluster.nodes[0],
       LINE("a:1@1", "master", "0-16383") LINE("10.0.0.2:2@1,two.example", "master", ""));
  struct node *asked = say(cluster.nodes[0], "ASK 16287 10.0.0.2:2");
  CHECK(asked != NULL && strcmp(asked->target.name, "two.example:2") == 0, "no name");
  close_all();
}

static void an_address_that_has_no_name_is_taken_as_it_is(void **state) {
  (void)state;
  open_at("rediss://a:1");
  say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
  refuse(source(), "NOPERM this user has no permissions");
  check_route("10.0.0.2:2");
  close_all();
  open_at("rediss://a:1");
  say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
  show(source(), LINE("10.0.0.2:2@1,", "master", "0-16383"));
  check_route("10.0.0.2:2");
  close_all();
  open_at("redis://a:1"); /* nor in plain text */
  say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
  check_route("10.0.0.2:2");
  show(source(), NAMED);
  check_route("10.0.0.2:2");
  close_all();
}

/* An address may come to be another node's. */
static void an_address_means_the_name_of_the_last_table(void **state) {
  (void)state;
  open_at("rediss://a:1");
  say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
  show(source(), NAMED);
  cluster_failed(&cluster, cluster.nodes[0], now_at);
  show(source(), LINE("10.0.0.2:2@1,new.example", "master", "0-16383"));
  say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
  check_route("new.example:2");
  close_all();
}

static void check_rename(const struct node *node, bool wanted) {
  bool may = cluster_may_rename(&cluster, node, now_at);
  CHECK(may == wanted, "%s: %s", node->target.name, may ? "it may" : "it may not");
}

static void a_server_of_the_url_gets_no_other_name(void **state) {
  (void)state;
  open_at("rediss://a:1,10.0.0.2:2");
  show(source(), LINE("10.0.0.2:2@1", "master", "0-16383") LINE("c:3@1", "master", ""));
  check_route("10.0.0.2:2");
  check_rename(cluster.nodes[0], false);
  check_rename(cluster.nodes[1], false);
  close_all();
}

static void a_node_of_the_table_gets_another_name_for_some_time(void **state) {
  (void)state;
  open_at("rediss://a:1");
  say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
  show(source(), LINE("10.0.0.2:2@1,", "master", "0-16383"));
  struct node *node = cluster.nodes[1];
  now_at += 10 * CLUSTER_NAMING_MS; /* it has worked for long */
  check_rename(node, true);
  cluster_failed(&cluster, node, now_at);
  now_at += CLUSTER_NAMING_MS - 1;
  cluster_failed(&cluster, node, now_at);
  check_rename(node, true);
  now_at += 1;
  check_rename(node, false);
  say(node, "TRYAGAIN it is heard again");
  check_rename(node, true);
  cluster_failed(&cluster, node, now_at);
  now_at += CLUSTER_NAMING_MS;
  show(node, LINE("10.0.0.2:2@1,", "master", "0-16383")); /* its table is a word, too */
  check_rename(node, true);
  close_all();
}

static void no_name_comes_where_no_table_may_be_asked_for(void **state) {
  (void)state;
  open_at("rediss://a:1");
  say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
  check_rename(cluster.nodes[1], true);
  refuse(source(), "NOPERM this user has no permissions");
  check_rename(cluster.nodes[1], false);
  cluster_failed(&cluster, cluster.nodes[1], now_at);
  show(source(), NAMED); /* now it may */
  check_rename(cluster.nodes[2], true);
  close_all();
}

/* What it says of names is not believed, either. */
static void a_table_that_is_none_changes_no_name(void **state) {
  (void)state;
  static const char *const tables[] = {
      LINE("10.0.0.2:2@1,two.example", "master", "0-16383") LINE("c:3@1", "master", "16287"),
      LINE("10.0.0.2:2@1,new.example", "master", "0-16383") LINE("c:3@1", "master", "16287"),
      LINE("10.0.0.9:2@1,two.example", "master", "")};
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
    open_at("rediss://a:1");
    say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
    show(source(), NAMED);
    cluster_failed(&cluster, cluster.nodes[0], now_at);
    show(source(), tables[i]);
    say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
    check_route("two.example:2");
    close_all();
  }
}

/* It has a name for as long as the others remember it. */
static void a_dead_node_with_a_name_is_not_asked(void **state) {
  (void)state;
  static const char *const tables[] = {
      NAMED LINE("10.0.0.3:3@1,three.example", "master,fail", ""),
      NAMED LINE("10.0.0.3:3@1,three.example", "slave,fail", ""),
      NAMED LINE("10.0.0.3:3@1,three.example", "slave,fail,noaddr", ""),
      NAMED LINE("10.0.0.3:3@1,three.example", "handshake", "")};
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
    open_at("rediss://a:1");
    say(cluster.nodes[0], "MOVED 16287 10.0.0.2:2");
    show(source(), tables[i]);
    for (int turn = 0; turn < 6; turn++) {
      cluster_failed(&cluster, cluster.nodes[cluster.source], now_at);
      const char *name = source()->target.name;
      CHECK(strcmp(name, "three.example:3") != 0, "table %zu: %s", i, name);
    }
    close_all();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(servers_that_do_not_show_a_table_may_be_no_cluster),
      cmocka_unit_test(one_server_that_says_moved_needs_no_table),
      cmocka_unit_test(a_server_that_no_table_names_gets_no_call),
      cmocka_unit_test(a_table_without_slots_is_none),
      cmocka_unit_test(a_table_in_which_a_slot_has_two_owners_is_none),
      cmocka_unit_test(a_node_that_cannot_serve_is_not_asked_again),
      cmocka_unit_test(a_node_that_refuses_its_table_is_passed_over),
      cmocka_unit_test(addresses_that_are_of_the_past_are_not_asked),
      cmocka_unit_test(a_large_table_is_read),
      cmocka_unit_test(a_redirect_that_is_no_address_leads_nowhere),
      cmocka_unit_test(a_redirect_is_about_the_slot_of_the_key),
      cmocka_unit_test(under_tls_a_node_is_called_by_the_name_that_the_table_has),
      cmocka_unit_test(under_tls_ask_comes_after_the_name_too),
      cmocka_unit_test(an_address_that_has_no_name_is_taken_as_it_is),
      cmocka_unit_test(an_address_means_the_name_of_the_last_table),
      cmocka_unit_test(a_server_of_the_url_gets_no_other_name),
      cmocka_unit_test(a_node_of_the_table_gets_another_name_for_some_time),
      cmocka_unit_test(no_name_comes_where_no_table_may_be_asked_for),
      cmocka_unit_test(a_table_that_is_none_changes_no_name),
      cmocka_unit_test(a_dead_node_with_a_name_is_not_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
