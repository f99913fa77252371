/*
 * test_cluster.c - clusters: which slot a key has, what each redirect means, how the table is
 * learned and learned again. In both halves of idem.h, against nodes inside the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "client/pace.h"
#include "client/slot.h"
#include "tests/client/pair.h"
#include "tests/client/town.h"

#define BUSY "*5\r\n$4\r\nBUSY\r\n:700\r\n:5\r\n$3\r\nhim\r\n$-1\r\n"

/* ---- slots ---- */

/* 12739 is the check value of CRC16/XMODEM; the others are what Redis' CLUSTER KEYSLOT says. */
static void a_key_has_the_slot_that_redis_gives_it(void **state) {
  (void)state;
  static const struct {
    const char *key;
    unsigned slot;
  } KNOWN[] = {{"123456789", 12739},  {"", 0},         {"foo", 12182},    {"somekey", 11058},
               {"x", TOWN_SLOT_OF_X}, {"bar", 5061},   {"a{bar}b", 5061}, {"a{bar}{foo}", 5061},
               {"{bar", 4015},        {"{}bar", 6479}, {"a{}{bar}", 9827}};
  for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++) {
    unsigned slot = slot_of(idem_text(KNOWN[i].key));
    CHECK(slot == KNOWN[i].slot, "%s: %u, not %u", KNOWN[i].key, slot, KNOWN[i].slot);
  }
  assert_int_equal(slot_of(idem_data("a{b\0r}", 6)), slot_of(idem_data("b\0r", 3)));
}

/* ---- a pair of both halves in a town ---- */

static void open_at(struct pair *pair, enum half half, const struct town *town, int first,
                    int last) {
  char url[256];
  town_url(town, first, last, url, sizeof url);
  pair_open_url(pair, half, url, NULL);
}

static void fetch_nothing(struct pair *pair) {
  struct idem_answer answer;
  enum idem_status status = pair_fetch(pair, &answer);
  CHECK(status == IDEM_ABSENT, "%s: %s %s", pair_name(pair->half), idem_status_name(status),
        answer.message);
  idem_answer_clear(&answer);
}

/* Lets the background do its work until a node has heard so many commands. */
static void await_heard(struct pair *pair, const struct town *town, int node, int count) {
  int64_t until_ms = now_ms() + HANG_MS;
  while (town->heard[node] < count) {
    CHECK(now_ms() < until_ms, "%s: node %d heard %d, not %d", pair_name(pair->half), node,
          town->heard[node], count);
    if (pair->half == SYNC) {
      pause_ms(1);
    } else {
      world_run_for(&pair->world, 1);
    }
  }
}

/* Calls until the table was asked for so often. */
static void await_tables(struct pair *pair, const struct town *town, int count) {
  int64_t until_ms = now_ms() + HANG_MS;
  while (town->tables < count) {
    CHECK(now_ms() < until_ms, "%s: %d tables", pair_name(pair->half), town->tables);
    fetch_nothing(pair);
  }
}

/* ---- MOVED, the table ---- */

static void moved_is_followed_and_remembered(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, NULL);
    town.owner = 1;
    open_at(&pair, half, &town, 0, 0);
    fetch_nothing(&pair);
    fetch_nothing(&pair);
    assert_int_equal(town.heard[0], 1);
    assert_int_equal(town.heard[1], 2);
    assert_int_equal(town.tables, 1); /* the others may have moved as well */
    pair_close(&pair);
    town_close(&town);
  }
}

static const char *move_without_host(struct town *town, int node, const struct command *command,
                                     bool asked) {
  if (node == town->owner) return town_usual(town, node, command, asked);
  char *text = town->places[node].text;
  snprintf(text, sizeof town->places[node].text, "-MOVED %d %s:%d\r\n", TOWN_SLOT_OF_X,
           node == 0 ? "" : "?", town_port(town, town->owner));
  return text;
}

static void a_node_that_says_no_host_means_its_own(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, move_without_host);
    town.no_table = "-NOPERM no table for you\r\n";
    open_at(&pair, half, &town, 0, 0);
    for (int i = 0; i < 2; i++) {
      town.owner = 1 + i;
      fetch_nothing(&pair);
      assert_int_equal(town.heard[1], 1 + i); /* in the end it says where the key went */
      assert_int_equal(town.heard[2], i);
    }
    pair_close(&pair);
    town_close(&town);
  }
}

/* Of a town in which "x" is at node 1, and all else at node 2. */
static const char *part(struct town *town, int node, const struct command *command, bool asked) {
  int owner = strcmp(command->words[1], "x") == 0 ? 1 : 2;
  if (node != owner) return town_redirect(town, node, "MOVED", owner);
  (void)asked;
  return "*-1\r\n";
}

static void what_moved_said_of_a_slot_is_kept_for_it_alone(void **state) {
  (void)state;
  static const char *const keys[] = {"x", "y", "x", "y"};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    struct idem_answer answer;
    town_open(&town, part);
    town.no_table = "-NOPERM no table for you\r\n";
    open_at(&pair, half, &town, 0, 0);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
      enum idem_status status = pair_fetch_key(&pair, keys[i], &answer);
      CHECK_STATUS(&pair, status, IDEM_ABSENT);
      idem_answer_clear(&answer);
    }
    /* "y" was asked at node 1 once, where "x" had gone. */
    assert_int_equal(town.heard[0], 1);
    assert_int_equal(town.heard[1], 3);
    assert_int_equal(town.heard[2], 2);
    pair_close(&pair);
    town_close(&town);
  }
}

static void the_table_sends_each_key_to_its_node(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, NULL);
    town.owner = 2;
    open_at(&pair, half, &town, 0, 1);
    fetch_nothing(&pair);
    assert_int_equal(town.heard[0] + town.heard[1], 0);
    assert_int_equal(town.tables, 1);
    pair_close(&pair);
    town_close(&town);
  }
}

static void a_seed_that_is_gone_is_passed_over(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    char url[256];
    town_open(&town, NULL);
    town.owner = 2;
    town_url(&town, 0, 1, url, sizeof url);
    town_lose(&town, 0);
    pair_open_url(&pair, half, url, NULL);
    fetch_nothing(&pair);
    assert_int_equal(town.heard[2], 1);
    pair_close(&pair);
    town_close(&town);
  }
}

static void check_refused(enum half half, const char *no_table, const char *why) {
  struct town town;
  struct pair pair;
  struct idem_answer answer;
  town_open(&town, NULL);
  town.no_table = no_table;
  open_at(&pair, half, &town, 0, 2);
  for (int i = 0; i < 2; i++) {
    enum idem_status status = pair_fetch(&pair, &answer);
    CHECK_STATUS(&pair, status, IDEM_REFUSED);
    CHECK(strstr(answer.message, why) != NULL, "%s", answer.message);
    idem_answer_clear(&answer);
  }
  assert_int_equal(town.heard[0] + town.heard[1] + town.heard[2], 0);
  pair_close(&pair);
  town_close(&town);
}

static void several_servers_that_are_no_cluster_are_refused(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    check_refused(half, "-ERR This instance has cluster support disabled\r\n", "is no cluster");
    check_refused(half, "-NOPERM no table for you\r\n", "may not be asked for its table");
  }
}

/* ---- ASK ---- */

static const char *ask_once(struct town *town, int node, const struct command *command,
                            bool asked) {
  if (node == 0 && town->heard[0] == 1) return town_redirect(town, 0, "ASK", 1);
  return town_usual(town, node, command, asked);
}

static void ask_is_followed_once_and_asking(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, ask_once);
    open_at(&pair, half, &town, 0, 0);
    fetch_nothing(&pair);
    assert_int_equal(town.asked[1], 1);
    assert_int_equal(town.heard[1], 1);
    fetch_nothing(&pair);
    assert_int_equal(town.heard[0], 2);
    assert_int_equal(town.heard[1], 1);
    assert_int_equal(town.asked[0], 0);
    pair_close(&pair);
    town_close(&town);
  }
}

/* ---- words that mean: again ---- */

/* What the first command is answered with. */
static const char *first_answer;

static const char *refuse_once(struct town *town, int node, const struct command *command,
                               bool asked) {
  /* A replica stays one, a master that starts reads for minutes: only the table tells who is not.
   */
  bool lasts = strncmp(first_answer, "-READONLY", 9) == 0 ||
               strncmp(first_answer, "-LOADING", 8) == 0 ||
               strncmp(first_answer, "-NOREPLICAS", 11) == 0;
  if (node == 0 && lasts) {
    town->owner = 1;
    return first_answer;
  }
  if (node == 0 && town->heard[0] == 1) return first_answer;
  return town_usual(town, node, command, asked);
}

static void words_of_a_cluster_that_changes_are_asked_again(void **state) {
  (void)state;
  static const char *const words[] = {"-TRYAGAIN later\r\n", "-CLUSTERDOWN it is\r\n",
                                      "-READONLY I am a replica\r\n",
                                      "-LOADING Redis is loading the dataset in memory\r\n",
                                      "-NOREPLICAS Not enough good replicas to write.\r\n"};
  const struct idem_options options = {.deadline_ms = 5000};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    for (enum half half = 0; half < HALVES; half++) {
      struct town town;
      struct pair pair;
      char url[256];
      first_answer = words[i];
      town_open(&town, refuse_once);
      town_url(&town, 0, 2, url, sizeof url);
      pair_open_url(&pair, half, url, &options);
      fetch_nothing(&pair);
      CHECK(town.heard[town.owner] == (town.owner == 0 ? 2 : 1), "%s: heard %d", words[i],
            town.heard[town.owner]);
      /* After all but the first the table may be another one: it is asked for again, soon. */
      if (i > 0) await_tables(&pair, &town, 2);
      pair_close(&pair);
      town_close(&town);
    }
  }
}

static const char *unblock_once(struct town *town, int node, const struct command *command,
                                bool asked) {
  if (node == 0 && town->heard[0] == 1) {
    town->owner = 1;
    return "-UNBLOCKED force unblock from blocking operation\r\n";
  }
  if (node == town->owner && command_is(command, "IDEM.WAIT")) return "*-1\r\n";
  return town_usual(town, node, command, asked);
}

static void a_wait_goes_on_at_the_node_that_has_the_key_now(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    struct idem_answer answer;
    town_open(&town, unblock_once);
    open_at(&pair, half, &town, 0, 0);
    enum idem_status status = pair_wait(&pair, HANG_MS / 2, &answer);
    CHECK_STATUS(&pair, status, IDEM_ABSENT);
    assert_int_equal(town.heard[1], 1);
    idem_answer_clear(&answer);
    pair_close(&pair);
    town_close(&town);
  }
}

static const char *unblock_often(struct town *town, int node, const struct command *command,
                                 bool asked) {
  if (town->heard[node] <= PACE_REDIRECTS_MAX) return "-UNBLOCKED by a change\r\n";
  return town_usual(town, node, command, asked);
}

/* No pause comes in between, and no time-out begins: with one that doubles from a minute on, the
 * call would not end. */
static void an_unblocked_wait_is_no_failure(void **state) {
  (void)state;
  const struct idem_options options = {.backoff_first_ms = HANG_MS, .backoff_max_ms = HANG_MS};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    struct idem_answer answer;
    char url[256];
    town_open(&town, unblock_often);
    town_url(&town, 0, 0, url, sizeof url);
    pair_open_url(&pair, half, url, &options);
    enum idem_status status = pair_wait(&pair, HANG_MS / 2, &answer);
    CHECK_STATUS(&pair, status, IDEM_ABSENT);
    idem_answer_clear(&answer);
    pair_close(&pair);
    town_close(&town);
  }
}

/* There may be one link to wait on, and it leads to another node. */
static void an_idle_link_makes_room_for_a_wait_elsewhere(void **state) {
  (void)state;
  const struct idem_options options = {.async_waits = 1};
  struct town town;
  struct pair pair;
  struct idem_answer answer;
  char url[256];
  town_open(&town, NULL);
  town_url(&town, 0, 0, url, sizeof url);
  pair_open_url(&pair, ASYNC, url, &options);
  for (town.owner = 0; town.owner < 2; town.owner++) {
    enum idem_status status = pair_wait(&pair, HANG_MS / 2, &answer);
    CHECK_STATUS(&pair, status, IDEM_ABSENT);
    idem_answer_clear(&answer);
  }
  pair_close(&pair);
  town_close(&town);
}

/* A node that is gone would keep the places of the pool for ever: each call would connect anew. */
static void an_idle_connection_makes_room_for_one_elsewhere(void **state) {
  (void)state;
  const struct idem_options options = {.idle_connections = 1};
  struct town town;
  struct pair pair;
  char url[256];
  town_open(&town, NULL);
  town_url(&town, 0, 0, url, sizeof url);
  pair_open_url(&pair, SYNC, url, &options);
  fetch_nothing(&pair);
  town.owner = 1;
  for (int i = 0; i < 4; i++) fetch_nothing(&pair);
  int connections = stranger_connections(town.nodes[1]);
  CHECK(connections == 1, "%d connections to one node", connections);
  pair_close(&pair);
  town_close(&town);
}

/* ---- a node that is gone ---- */

static void a_node_that_is_gone_has_the_table_asked_again(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, NULL);
    town.owner = 1;
    open_at(&pair, half, &town, 0, 2);
    fetch_nothing(&pair);
    town.owner = 2;
    town_lose(&town, 1);
    fetch_nothing(&pair);
    assert_int_equal(town.heard[2], 1);
    pair_close(&pair);
    town_close(&town);
  }
}

/* ---- what cannot be followed ---- */

static const char *move_in_circles(struct town *town, int node, const struct command *command,
                                   bool asked) {
  (void)command;
  (void)asked;
  return town_redirect(town, node, "MOVED", 1 - node);
}

static void nodes_that_do_not_agree_are_given_up(void **state) {
  (void)state;
  const struct idem_options options = {.deadline_ms = 300};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    struct idem_answer answer;
    char url[256];
    town_open(&town, move_in_circles);
    town.no_table = "-NOPERM no table for you\r\n";
    town_url(&town, 0, 0, url, sizeof url);
    pair_open_url(&pair, half, url, &options);
    enum idem_status status = pair_fetch(&pair, &answer);
    CHECK_STATUS(&pair, status, IDEM_UNAVAILABLE);
    CHECK(strstr(answer.message, "MOVED") != NULL, "%s", answer.message);
    int heard = town.heard[0] + town.heard[1];
    /* At once so often, and then with pauses, of which each is half as long as the longest at
     * least. */
    CHECK(heard > PACE_REDIRECTS_MAX && heard <= PACE_REDIRECTS_MAX + 30, "%d", heard);
    idem_answer_clear(&answer);
    pair_close(&pair);
    town_close(&town);
  }
}

static const char *say_first(struct town *town, int node, const struct command *command,
                             bool asked) {
  return town->heard[node] == 1 ? first_answer : town_usual(town, node, command, asked);
}

static void a_redirect_to_nowhere_is_no_more_than_a_failure(void **state) {
  (void)state;
  static const char *const texts[] = {
      "-MOVED\r\n",          "-MOVED 1\r\n",          "-MOVED 1 nowhere\r\n",
      "-MOVED 1 here:0\r\n", "-ASK 1 here:70000\r\n", "-ASK\r\n",
      "-MOVED 1 :x\r\n"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    for (enum half half = 0; half < HALVES; half++) {
      struct town town;
      struct pair pair;
      first_answer = texts[i];
      town_open(&town, say_first);
      open_at(&pair, half, &town, 0, 0);
      fetch_nothing(&pair);
      assert_int_equal(town.heard[0], 2);
      pair_close(&pair);
      town_close(&town);
    }
  }
}

/* ---- claims ---- */

static void renewals_and_the_result_follow_the_key(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, NULL);
    open_at(&pair, half, &town, 0, 0);
    struct idem_claim *claim = pair_must_hold(&pair, "x");
    await_heard(&pair, &town, 0, 2);
    town.owner = 1;
    await_heard(&pair, &town, 1, 2);
    assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_OK);
    idem_claim_free(claim);
    pair_close(&pair);
    town_close(&town);
  }
}

static const char *ask_for_renewals(struct town *town, int node, const struct command *command,
                                    bool asked) {
  if (node == 0 && command_is(command, "IDEM.RENEW")) return town_redirect(town, 0, "ASK", 1);
  return town_usual(town, node, command, asked);
}

static void renewals_of_a_key_on_its_way_ask(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, ask_for_renewals);
    open_at(&pair, half, &town, 0, 0);
    struct idem_claim *claim = pair_must_hold(&pair, "x");
    await_heard(&pair, &town, 1, 2);
    assert_int_equal(town.asked[1], town.heard[1]);
    assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_OK);
    idem_claim_free(claim);
    pair_close(&pair);
    town_close(&town);
  }
}

static void a_renewal_finds_the_node_that_took_over(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, NULL);
    open_at(&pair, half, &town, 0, 2);
    struct idem_claim *claim = pair_must_hold(&pair, "x");
    town.owner = 2;
    town_lose(&town, 0);
    await_heard(&pair, &town, 2, 2);
    assert_int_equal(idem_claim_state(claim), IDEM_CLAIM_HELD);
    CHECK_STATUS(&pair, pair_finish(&pair, claim, 0), IDEM_OK);
    idem_claim_free(claim);
    pair_close(&pair);
    town_close(&town);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_key_has_the_slot_that_redis_gives_it),
      cmocka_unit_test(moved_is_followed_and_remembered),
      cmocka_unit_test(a_node_that_says_no_host_means_its_own),
      cmocka_unit_test(what_moved_said_of_a_slot_is_kept_for_it_alone),
      cmocka_unit_test(the_table_sends_each_key_to_its_node),
      cmocka_unit_test(a_seed_that_is_gone_is_passed_over),
      cmocka_unit_test(several_servers_that_are_no_cluster_are_refused),
      cmocka_unit_test(ask_is_followed_once_and_asking),
      cmocka_unit_test(words_of_a_cluster_that_changes_are_asked_again),
      cmocka_unit_test(a_wait_goes_on_at_the_node_that_has_the_key_now),
      cmocka_unit_test(an_unblocked_wait_is_no_failure),
      cmocka_unit_test(an_idle_link_makes_room_for_a_wait_elsewhere),
      cmocka_unit_test(an_idle_connection_makes_room_for_one_elsewhere),
      cmocka_unit_test(a_node_that_is_gone_has_the_table_asked_again),
      cmocka_unit_test(nodes_that_do_not_agree_are_given_up),
      cmocka_unit_test(a_redirect_to_nowhere_is_no_more_than_a_failure),
      cmocka_unit_test(renewals_and_the_result_follow_the_key),
      cmocka_unit_test(renewals_of_a_key_on_its_way_ask),
      cmocka_unit_test(a_renewal_finds_the_node_that_took_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
