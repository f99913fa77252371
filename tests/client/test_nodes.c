/*
 * test_nodes.c - nodes of a cluster that hang, that say what no node should say, or that are none:
 * what one of them does costs the keys of the others nothing. In both halves of idem.h, against
 * nodes inside the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/cluster.h"
#include "client/pace.h"
#include "tests/client/certificates.h"
#include "tests/client/pair.h"
#include "tests/client/terminator.h"
#include "tests/client/town.h"

#define TIMEOUT_MS 2000
#define NO_TABLE "-NOPERM no table for you\r\n"

static void open_at(struct pair *pair, enum half half, const struct town *town, int first, int last,
                    const struct idem_options *options) {
  char url[256];
  town_url(town, first, last, url, sizeof url);
  pair_open_url(pair, half, url, options);
}

/* Of a town in which "x" is at node 1, and all else at node 2. */
static const char *part(struct town *town, int node, const struct command *command, bool asked) {
  int owner = strcmp(command->words[1], "x") == 0 ? 1 : 2;
  if (node != owner) return town_redirect(town, node, "MOVED", owner);
  (void)asked;
  return town_own(command);
}

/* ---- tokens ---- */

static void two_nodes_may_grant_the_same_token(void **state) {
  (void)state;
  const struct idem_options options = {.deadline_ms = 1000};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, part);
    town.no_table = NO_TABLE;
    open_at(&pair, half, &town, 0, 0, &options);
    struct idem_claim *one = pair_must_begin(&pair, "x"), *other = pair_must_begin(&pair, "y");
    assert_int_equal(idem_claim_token(one), idem_claim_token(other));
    idem_claim_free(one);
    idem_claim_free(other);
    pair_close(&pair);
    town_close(&town);
  }
}

/* ---- ASK ---- */

/* Node 0 sends all to node 1, which takes its time. */
static const char *ask_elsewhere(struct town *town, int node, const struct command *command,
                                 bool asked) {
  (void)command;
  (void)asked;
  return node == 0 ? town_redirect(town, 0, "ASK", 1) : NULL;
}

/* ASKING is answered when half of the time is over, the command never. */
static const char *ask_late(struct town *town, int node) {
  (void)town;
  (void)node;
  pause_ms(TIMEOUT_MS * 3 / 4);
  return "+OK\r\n";
}

static void a_call_that_asks_has_no_more_time_than_another(void **state) {
  (void)state;
  const struct idem_options options = {.command_timeout_ms = TIMEOUT_MS, .deadline_ms = TIMEOUT_MS};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    struct idem_answer answer;
    town_open(&town, ask_elsewhere);
    town.no_table = NO_TABLE;
    town.to_asking = ask_late;
    open_at(&pair, half, &town, 0, 0, &options);
    int64_t start_ms = now_ms();
    CHECK_STATUS(&pair, pair_fetch(&pair, &answer), IDEM_UNAVAILABLE);
    int64_t took_ms = now_ms() - start_ms;
    CHECK(took_ms < TIMEOUT_MS * 3 / 2, "%s: %lld ms", pair_name(half), (long long)took_ms);
    idem_answer_clear(&answer);
    pair_close(&pair);
    town_close(&town);
  }
}

static const char *ask_the_other(struct town *town, int node, const struct command *command,
                                 bool asked) {
  (void)command;
  (void)asked;
  return town_redirect(town, node, "ASK", 1 - node);
}

static void nodes_that_ask_in_a_circle_are_given_up(void **state) {
  (void)state;
  const struct idem_options options = {.deadline_ms = 300};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    struct idem_answer answer;
    town_open(&town, ask_the_other);
    open_at(&pair, half, &town, 0, 1, &options);
    CHECK_STATUS(&pair, pair_fetch(&pair, &answer), IDEM_UNAVAILABLE);
    int heard = town.heard[0] + town.heard[1];
    /* At once so often, as far as there is time, and then with pauses. */
    CHECK(heard > 1 && heard <= PACE_REDIRECTS_MAX + 30, "%d", heard);
    idem_answer_clear(&answer);
    pair_close(&pair);
    town_close(&town);
  }
}

/* A STORE that was not sent. */
static const char *ask_stores(struct town *town, int node, const struct command *command,
                              bool asked) {
  if (command_is(command, "IDEM.STORE") && node == 0)
    return town->heard[0] == 2 ? town_redirect(town, 0, "ASK", 1) : "-STALE ABSENT it is gone\r\n";
  return town_usual(town, node, command, asked);
}

static const char *hang_up(struct town *town, int node) {
  (void)town;
  (void)node;
  return STRANGER_HANGS_UP;
}

/* Had it been sent, STALE could be its own doing, for nothing is kept. The other half sends both
 * together. */
static void a_command_that_asking_did_not_lead_to_was_not_sent(void **state) {
  (void)state;
  struct town town;
  struct pair pair;
  town_open(&town, ask_stores);
  town.no_table = NO_TABLE;
  town.to_asking = hang_up;
  open_at(&pair, SYNC, &town, 0, 0, NULL);
  struct idem_claim *claim = pair_must_begin(&pair, "x");
  CHECK_STATUS(&pair, pair_finish(&pair, claim, IDEM_RELEASE_NOTHING), IDEM_STALE);
  idem_claim_free(claim);
  pair_close(&pair);
  town_close(&town);
}

/* ---- nodes that hang ---- */

static void fetch_nothing(struct pair *pair, const char *key) {
  struct idem_answer answer;
  enum idem_status status = pair_fetch_key(pair, key, &answer);
  CHECK(status == IDEM_ABSENT, "%s: %s %s", pair_name(pair->half), idem_status_name(status),
        answer.message);
  idem_answer_clear(&answer);
}

/* Whoever asks it for the table still has time for the call. */
static void a_seed_that_hangs_leaves_time_for_the_next(void **state) {
  (void)state;
  const struct idem_options options = {.command_timeout_ms = TIMEOUT_MS, .deadline_ms = TIMEOUT_MS};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, NULL);
    town.owner = 1;
    town.silent = 1 << 0;
    open_at(&pair, half, &town, 0, 1, &options);
    fetch_nothing(&pair, "x");
    pair_close(&pair);
    town_close(&town);
  }
}

static void a_node_that_hangs_with_the_table_leaves_time_for_the_call(void **state) {
  (void)state;
  const struct idem_options options = {.command_timeout_ms = TIMEOUT_MS, .deadline_ms = TIMEOUT_MS};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, part);
    open_at(&pair, half, &town, 0, 2, &options);
    fetch_nothing(&pair, "x");
    fetch_nothing(&pair, "y"); /* MOVED: where it leads is asked for the table next */
    town.silent = 1 << 2;
    pause_ms(CLUSTER_REFRESH_MS + 1);
    int64_t start_ms = now_ms();
    fetch_nothing(&pair, "x");
    int64_t took_ms = now_ms() - start_ms;
    CHECK(took_ms < TIMEOUT_MS * 3 / 4, "%s: %lld ms", pair_name(half), (long long)took_ms);
    pair_close(&pair);
    town_close(&town);
  }
}

/* The first command at node 1 is answered half. */
static const char *say_half(struct town *town, int node, const struct command *command,
                            bool asked) {
  if (node != 1) return town_usual(town, node, command, asked);
  town->owner = 2;
  return "*5\r\n$4\r\nBUSY\r\n:70";
}

static void a_node_that_hangs_in_the_middle_of_a_reply_is_left(void **state) {
  (void)state;
  const struct idem_options options = {.command_timeout_ms = 200};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, say_half);
    town.owner = 1;
    open_at(&pair, half, &town, 0, 0, &options);
    fetch_nothing(&pair, "x");
    assert_int_equal(town.heard[1], 1);
    assert_int_equal(town.heard[2], 1);
    pair_close(&pair);
    town_close(&town);
  }
}

#define LONG_MS 6000 /* a lease, of which a renewal may take a third */

/* Like `part`, and the lease of "x" is long. */
static const char *part_with_leases(struct town *town, int node, const struct command *command,
                                    bool asked) {
  bool is_long = node == 1 && strcmp(command->words[1], "x") == 0;
  if (is_long && command_is(command, "IDEM.RENEW")) return ":6000\r\n";
  if (is_long && command_is(command, "IDEM.CLAIM"))
    return "*5\r\n$7\r\nCLAIMED\r\n:7\r\n:6000\r\n:1\r\n$-1\r\n";
  return part(town, node, command, asked);
}

static void count_doubt(struct idem_claim *claim, enum idem_claim_state state, void *context) {
  (void)claim;
  (void)state;
  ++*(_Atomic int *)context;
}

/* Lets the background do its work until a counter has come so far. */
static void await_count(struct pair *pair, const _Atomic int *counter, int wanted) {
  int64_t until_ms = now_ms() + HANG_MS;
  while (*counter < wanted) {
    CHECK(now_ms() < until_ms, "%s: %d of %d", pair_name(pair->half), *counter, wanted);
    if (pair->half == SYNC) {
      pause_ms(1);
    } else {
      world_run_for(&pair->world, 1);
    }
  }
}

/* While the renewal of "x" waits for its answer, that of "y" goes on. */
static void a_node_that_hangs_does_not_hold_up_the_renewals_of_another(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    _Atomic int doubts = 0;
    const struct idem_options options = {.on_lost = count_doubt, .lost_context = &doubts};
    struct town town;
    struct pair pair;
    town_open(&town, part_with_leases);
    town.no_table = NO_TABLE;
    open_at(&pair, half, &town, 0, 0, &options);
    struct idem_claim *hung = pair_must_hold(&pair, "x"), *well = pair_must_hold(&pair, "y");
    town.silent = 1 << 1;
    await_count(&pair, &town.unanswered, 1);
    int64_t start_ms = now_ms();
    await_count(&pair, &town.heard[2], town.heard[2] + 4);
    int64_t took_ms = now_ms() - start_ms;
    CHECK(took_ms < LONG_MS / 4, "%s: %lld ms", pair_name(half), (long long)took_ms);
    assert_int_equal(idem_claim_state(hung), IDEM_CLAIM_HELD);
    idem_claim_free(hung);
    idem_claim_free(well);
    pair_close(&pair);
    town_close(&town);
  }
}

/* ---- a wait after the table ---- */

static _Atomic int64_t waited_ms; /* as the node was told */

static const char *part_with_waits(struct town *town, int node, const struct command *command,
                                   bool asked) {
  if (command_is(command, "IDEM.WAIT")) waited_ms = strtoll(command->words[2], NULL, 10);
  return part(town, node, command, asked);
}

/* Asking for the table is part of the wait, though the connection to the node stands. */
static void a_wait_that_comes_after_the_table_is_shorter(void **state) {
  (void)state;
  const struct idem_options options = {.command_timeout_ms = TIMEOUT_MS / 4};
  struct town town;
  struct pair pair;
  struct idem_answer answer;
  town_open(&town, part_with_waits);
  open_at(&pair, SYNC, &town, 0, 2, &options);
  fetch_nothing(&pair, "x");
  fetch_nothing(&pair, "y"); /* MOVED: where it leads is asked for the table next */
  town.silent = 1 << 2;
  pause_ms(CLUSTER_REFRESH_MS + 1);
  CHECK_STATUS(&pair, pair_wait(&pair, HANG_MS, &answer), IDEM_ABSENT);
  assert_int_equal(town.unanswered, 1);
  CHECK(waited_ms <= HANG_MS - TIMEOUT_MS / 4, "told to wait for %lld ms", (long long)waited_ms);
  idem_answer_clear(&answer);
  pair_close(&pair);
  town_close(&town);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS 200

struct visitor {
  pthread_t thread;
  struct idem_client *client;
  _Atomic bool *goes_on;
  int number, claims;
};

static void *visit(void *argument) {
  struct visitor *visitor = argument;
  char key[16];
  snprintf(key, sizeof key, "key %d", visitor->number);
  while (*visitor->goes_on) {
    const struct idem_request request = {.key = idem_text(key)};
    struct idem_answer answer;
    struct idem_claim *claim = NULL;
    enum idem_status status = idem_begin(visitor->client, &request, &claim, &answer);
    CHECK(status == IDEM_RUN, "%s %s", idem_status_name(status), answer.message);
    CHECK(idem_abandon(claim, IDEM_RELEASE_NOTHING) == IDEM_OK, "%s", idem_claim_message(claim));
    idem_claim_free(claim);
    idem_answer_clear(&answer);
    visitor->claims++;
  }
  return NULL;
}

static _Atomic int tokens;

/* No two grants have one token, and the slots go round. */
static const char *move_on(struct town *town, int node, const struct command *command, bool asked) {
  char *text = town->places[node].text;
  if (town->owner != node) return town_usual(town, node, command, asked);
  if (command_is(command, "IDEM.RELEASE")) return ":1\r\n";
  if (!command_is(command, "IDEM.CLAIM")) return town_own(command);
  snprintf(text, sizeof town->places[node].text,
           "*5\r\n$7\r\nCLAIMED\r\n:%d\r\n:300\r\n:1\r\n$-1\r\n", ++tokens);
  return text;
}

/* For the race detectors above all: calls, renewals and the table, while slots move. */
static void one_client_serves_threads_while_slots_move(void **state) {
  (void)state;
  struct town town;
  struct pair pair;
  struct visitor visitors[THREADS];
  _Atomic bool goes_on = true;
  town_open(&town, move_on);
  open_at(&pair, SYNC, &town, 0, 2, NULL);
  for (int i = 0; i < THREADS; i++) {
    visitors[i] = (struct visitor){.client = pair.client, .goes_on = &goes_on, .number = i};
    CHECK(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]) == 0, "no thread");
  }
  for (int i = 0; i < ROUNDS; i++) {
    town.owner = i % TOWN_NODES;
    pause_ms(2);
  }
  goes_on = false;
  for (int i = 0; i < THREADS; i++) {
    pthread_join(visitors[i].thread, NULL);
    CHECK(visitors[i].claims > 0, "thread %d had no claim", i);
  }
  pair_close(&pair);
  town_close(&town);
}

/* ---- TLS ---- */

struct walls {
  struct certificates files;
  struct terminator *terminators[TOWN_NODES];
};

/* The nodes are reached through TLS alone, and bear the name localhost. */
static void walls_build(struct walls *walls, struct town *town) {
  certificates_make(&walls->files);
  const struct terminator_options options = {.cert = walls->files.local};
  town->host_name = "localhost";
  for (int i = 0; i < TOWN_NODES; i++) {
    walls->terminators[i] = terminator_open(town->ports[i], &options);
    town->ports[i] = terminator_port(walls->terminators[i]);
  }
}

static void walls_tear_down(struct walls *walls) {
  for (int i = 0; i < TOWN_NODES; i++) terminator_close(walls->terminators[i]);
  certificates_remove(&walls->files);
}

static const char *ask_once(struct town *town, int node, const struct command *command,
                            bool asked) {
  if (node == 1 && !asked) return town_redirect(town, 1, "ASK", 2);
  return town_usual(town, node, command, asked);
}

static void a_redirect_by_address_finds_the_name_of_the_certificate(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct walls walls;
    struct pair pair;
    char url[64];
    town_open(&town, ask_once);
    walls_build(&walls, &town);
    town.owner = 1; /* after MOVED, ASK */
    const struct idem_options options = {.ca_file = walls.files.ca};
    snprintf(url, sizeof url, "rediss://localhost:%d", town_port(&town, 0));
    pair_open_url(&pair, half, url, &options);
    for (int i = 0; i < 2; i++) fetch_nothing(&pair, "x");
    assert_int_equal(town.asked[2], 2);
    pair_close(&pair);
    walls_tear_down(&walls);
    town_close(&town);
  }
}

/* The address is all that there will be, for the user may not ask for a table; and its certificate
 * does not bear it. */
static void a_node_without_a_name_is_refused_by_its_certificate(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct walls walls;
    struct pair pair;
    struct idem_answer answer;
    char url[64];
    town_open(&town, NULL);
    walls_build(&walls, &town);
    town.owner = 1;
    town.no_table = NO_TABLE;
    snprintf(url, sizeof url, "rediss://localhost:%d", town_port(&town, 0));
    const struct idem_options plain = {.ca_file = walls.files.ca};
    pair_open_url(&pair, half, url, &plain);
    CHECK_STATUS(&pair, pair_fetch(&pair, &answer), IDEM_REFUSED);
    CHECK(strstr(answer.message, "127.0.0.1") != NULL, "%s", answer.message);
    idem_answer_clear(&answer);
    pair_close(&pair);
    const struct idem_options named = {.ca_file = walls.files.ca, .server_name = "localhost"};
    pair_open_url(&pair, half, url, &named);
    CHECK_STATUS(&pair, pair_fetch(&pair, &answer), IDEM_ABSENT);
    idem_answer_clear(&answer);
    pair_close(&pair);
    walls_tear_down(&walls);
    town_close(&town);
  }
}

#define ALL_TABLES 1000000

/* Enough for a name that comes, and less than CLUSTER_NAMING_MS. */
#define NAMING_MS 1000

/* The second node has all slots, and what it is called by comes from the table. */
static void open_to_second(struct pair *pair, enum half half, struct town *town,
                           const struct idem_options *options) {
  char url[64];
  town->owner = 1;
  snprintf(url, sizeof url, "rediss://localhost:%d", town_port(town, 0));
  pair_open_url(pair, half, url, options);
}

static void check_fetch(struct pair *pair, enum idem_status wanted, const char *words) {
  struct idem_answer answer;
  CHECK_STATUS(pair, pair_fetch(pair, &answer), wanted);
  CHECK(strstr(answer.message, words) != NULL, "%s: %s", pair_name(pair->half), answer.message);
  idem_answer_clear(&answer);
}

/* Between TLS and a town, with either half. */
static void behind_walls(void (*check)(enum half half, struct town *town, struct walls *walls)) {
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct walls walls;
    town_open(&town, NULL);
    walls_build(&walls, &town);
    check(half, &town, &walls);
    walls_tear_down(&walls);
    town_close(&town);
  }
}

/* Its name reaches the table after its address. */
static void wait_for_a_name(enum half half, struct town *town, struct walls *walls) {
  struct pair pair;
  town->nameless = 2;
  const struct idem_options options = {.ca_file = walls->files.ca};
  open_to_second(&pair, half, town, &options);
  fetch_nothing(&pair, "x");
  CHECK(town->tables > 2, "%s: %d tables", pair_name(half), town->tables);
  pair_close(&pair);
}

static void a_call_waits_for_the_name_of_a_new_node(void **state) {
  (void)state;
  behind_walls(wait_for_a_name);
}

/* The same call may be made again, and the message says what it lacked. */
static void lack_a_name(enum half half, struct town *town, struct walls *walls) {
  struct pair pair;
  town->nameless = ALL_TABLES;
  const struct idem_options options = {.ca_file = walls->files.ca, .deadline_ms = NAMING_MS};
  open_to_second(&pair, half, town, &options);
  check_fetch(&pair, IDEM_UNAVAILABLE, "its certificate has another address");
  town->nameless = 0;
  fetch_nothing(&pair, "x");
  pair_close(&pair);
}

static void a_name_that_does_not_come_in_time_is_unavailable(void **state) {
  (void)state;
  behind_walls(lack_a_name);
}

/* A node that was renamed, and the table that has its former name. */
static void lack_the_name_of_the_table(enum half half, struct town *town, struct walls *walls) {
  struct pair pair;
  const struct terminator_options other = {.cert = walls->files.named};
  const struct terminator_options renewed = {.cert = walls->files.local};
  terminator_set(walls->terminators[1], &other);
  const struct idem_options options = {.ca_file = walls->files.ca, .deadline_ms = NAMING_MS};
  open_to_second(&pair, half, town, &options);
  check_fetch(&pair, IDEM_UNAVAILABLE, "its certificate has another name");
  terminator_set(walls->terminators[1], &renewed);
  fetch_nothing(&pair, "x");
  pair_close(&pair);
}

static void a_name_of_the_table_that_is_not_borne_is_unavailable(void **state) {
  (void)state;
  behind_walls(lack_the_name_of_the_table);
}

/* What the user has named gets no other name, whatever table lists it. */
static void lack_the_name_of_the_user(enum half half, struct town *town, struct walls *walls) {
  struct pair pair;
  char url[128];
  town->nameless = ALL_TABLES;
  town->owner = 1;
  const struct idem_options plain = {.ca_file = walls->files.ca, .deadline_ms = NAMING_MS};
  snprintf(url, sizeof url, "rediss://localhost:%d,127.0.0.1:%d", town_port(town, 0),
           town_port(town, 1));
  pair_open_url(&pair, half, url, &plain);
  check_fetch(&pair, IDEM_REFUSED, "its certificate has another address");
  pair_close(&pair);
  const struct terminator_options other = {.cert = walls->files.named};
  terminator_set(walls->terminators[1], &other);
  const struct idem_options named = {
      .ca_file = walls->files.ca, .server_name = "localhost", .deadline_ms = NAMING_MS};
  open_to_second(&pair, half, town, &named);
  check_fetch(&pair, IDEM_REFUSED, "its certificate has another name");
  pair_close(&pair);
}

static void a_name_of_the_user_that_is_not_borne_is_refused(void **state) {
  (void)state;
  behind_walls(lack_the_name_of_the_user);
}

/* That is no matter of names. */
static void show_an_expired_one(enum half half, struct town *town, struct walls *walls) {
  struct pair pair;
  const struct terminator_options expired = {.cert = walls->files.expired};
  terminator_set(walls->terminators[1], &expired);
  const struct idem_options options = {.ca_file = walls->files.ca};
  open_to_second(&pair, half, town, &options);
  check_fetch(&pair, IDEM_REFUSED, "its certificate has expired");
  pair_close(&pair);
}

static void a_certificate_that_has_expired_is_refused(void **state) {
  (void)state;
  behind_walls(show_an_expired_one);
}

#define CLAIMS 16

/* The slots go to a node whose name no table tells, so that nothing can be sent until the leases
 * end, one shortly after the other. */
static void renewals_that_lead_nowhere_leave_doubt(void **state) {
  (void)state;
  for (enum half half = 0; half < HALVES; half++) {
    _Atomic int doubts = 0;
    struct town town;
    struct walls walls;
    struct pair pair;
    struct idem_claim *claims[CLAIMS];
    char text[64];
    town_open(&town, move_on);
    walls_build(&walls, &town);
    const struct idem_options options = {
        .ca_file = walls.files.ca, .on_lost = count_doubt, .lost_context = &doubts};
    snprintf(text, sizeof text, "rediss://localhost:%d", town_port(&town, 0));
    pair_open_url(&pair, half, text, &options);
    for (int i = 0; i < CLAIMS; i++) {
      snprintf(text, sizeof text, "key %d", i);
      claims[i] = pair_must_hold(&pair, text);
      pause_ms(1);
    }
    town.no_table = "$0\r\n\r\n";
    town.owner = 1;
    await_count(&pair, &doubts, CLAIMS);
    for (int i = 0; i < CLAIMS; i++) idem_claim_free(claims[i]);
    pair_close(&pair);
    walls_tear_down(&walls);
    town_close(&town);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_nodes_may_grant_the_same_token),
      cmocka_unit_test(a_call_that_asks_has_no_more_time_than_another),
      cmocka_unit_test(nodes_that_ask_in_a_circle_are_given_up),
      cmocka_unit_test(a_command_that_asking_did_not_lead_to_was_not_sent),
      cmocka_unit_test(a_seed_that_hangs_leaves_time_for_the_next),
      cmocka_unit_test(a_node_that_hangs_with_the_table_leaves_time_for_the_call),
      cmocka_unit_test(a_node_that_hangs_in_the_middle_of_a_reply_is_left),
      cmocka_unit_test(a_node_that_hangs_does_not_hold_up_the_renewals_of_another),
      cmocka_unit_test(a_wait_that_comes_after_the_table_is_shorter),
      cmocka_unit_test(one_client_serves_threads_while_slots_move),
      cmocka_unit_test(a_redirect_by_address_finds_the_name_of_the_certificate),
      cmocka_unit_test(a_node_without_a_name_is_refused_by_its_certificate),
      cmocka_unit_test(a_call_waits_for_the_name_of_a_new_node),
      cmocka_unit_test(a_name_that_does_not_come_in_time_is_unavailable),
      cmocka_unit_test(a_name_of_the_table_that_is_not_borne_is_unavailable),
      cmocka_unit_test(a_name_of_the_user_that_is_not_borne_is_refused),
      cmocka_unit_test(a_certificate_that_has_expired_is_refused),
      cmocka_unit_test(renewals_that_lead_nowhere_leave_doubt),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
