/*
 * test_tls.c - both halves over TLS: which servers are taken and which are refused, with what
 * words; deadlines through the handshake; connections that are kept, cut, renewed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/idem.h"
#include "tests/client/certificates.h"
#include "tests/client/harness.h"
#include "tests/client/pair.h"
#include "tests/client/proxy.h"
#include "tests/client/terminator.h"

#define NONE idem_data(NULL, 0)
#define BODY_BYTES (3 << 20)

/* A server behind TLS. */
struct place {
  struct certificates files;
  struct server server;
  struct terminator *terminator;
};

static void place_open(struct place *place) {
  certificates_make(&place->files);
  server_start(&place->server, 0, NULL);
  const struct terminator_options options = {.cert = place->files.server};
  place->terminator = terminator_open(place->server.port, &options);
}

static void place_close(struct place *place) {
  terminator_close(place->terminator);
  server_kill(&place->server, SIGTERM);
  certificates_remove(&place->files);
}

static void tls_url(char url[64], const char *host, int port) {
  snprintf(url, 64, "rediss://%s:%d", host, port);
}

static void open_tls(struct pair *pair, enum half half, const struct place *place,
                     const struct idem_options *options) {
  char url[64];
  tls_url(url, "127.0.0.1", terminator_port(place->terminator));
  pair_open_url(pair, half, url, options);
}

static struct idem_options trusting(const struct place *place) {
  return (struct idem_options){.ca_file = place->files.ca};
}

static void expect_absent(struct pair *pair) {
  struct idem_answer answer;
  enum idem_status status = pair_fetch(pair, &answer);
  CHECK(status == IDEM_ABSENT, "%s: %s %s", pair_name(pair->half), idem_status_name(status),
        answer.message);
  idem_answer_clear(&answer);
}

/* ---- who is taken, who is refused ---- */

struct meeting {
  const char *name;
  struct terminator_options there;
  struct idem_options here;
  const char *host;        /* NULL: 127.0.0.1 */
  const char *words;       /* in the message; NULL: it is taken */
  enum idem_status status; /* of what is not */
};

static void check_meeting(const struct place *place, const struct meeting *meeting) {
  char url[64];
  terminator_set(place->terminator, &meeting->there);
  tls_url(url, meeting->host != NULL ? meeting->host : "127.0.0.1",
          terminator_port(place->terminator));
  for (enum half half = SYNC; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    pair_open_url(&pair, half, url, &meeting->here);
    enum idem_status status = pair_fetch(&pair, &answer);
    enum idem_status wanted = meeting->words == NULL ? IDEM_ABSENT : meeting->status;
    CHECK(status == wanted, "%s, %s: %s %s", meeting->name, pair_name(half),
          idem_status_name(status), answer.message);
    CHECK(meeting->words == NULL || strstr(answer.message, meeting->words) != NULL, "%s, %s: %s",
          meeting->name, pair_name(half), answer.message);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

static void a_server_with_the_right_certificate_is_taken(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct certificates *files = &place.files;
  const struct terminator_options good = {.cert = files->server};
  const struct terminator_options old = {.cert = files->server, .version_max = TLS1_2_VERSION};
  const struct terminator_options asks = {.cert = files->server, .client_ca = files->ca};
  const struct terminator_options named = {.cert = files->named};
  const struct terminator_options expired = {.cert = files->expired};
  const struct meeting meetings[] = {
      {"by its address", good, {.ca_file = files->ca}, NULL, NULL, 0},
      {"by its name", good, {.ca_file = files->ca}, "localhost", NULL, 0},
      {"TLS 1.2", old, {.ca_file = files->ca}, NULL, NULL, 0},
      {"at least 1.3",
       good,
       {.ca_file = files->ca, .tls_version_min = IDEM_TLS_1_3},
       NULL,
       NULL,
       0},
      {"we have one", asks, {.ca_file = files->ca, .cert_file = files->client}, NULL, NULL, 0},
      {"under another name",
       named,
       {.ca_file = files->ca, .server_name = "other.example"},
       NULL,
       NULL,
       0},
      {"any at all",
       expired,
       {.tls_flags = IDEM_TLS_INSECURE_ANY_CERTIFICATE},
       "localhost",
       NULL,
       0},
  };
  for (size_t i = 0; i < sizeof meetings / sizeof meetings[0]; i++)
    check_meeting(&place, &meetings[i]);
  place_close(&place);
}

static void others_are_refused_and_told_why(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct certificates *files = &place.files;
  const struct idem_options trust = {.ca_file = files->ca};
  const struct idem_options hurried = {
      .ca_file = files->ca, .deadline_ms = 200, .connect_timeout_ms = 150};
  const struct terminator_options good = {.cert = files->server};
  const struct terminator_options old = {.cert = files->server, .version_max = TLS1_2_VERSION};
  const struct terminator_options asks = {.cert = files->server, .client_ca = files->ca};
  const struct terminator_options asks_old = {
      .cert = files->server, .client_ca = files->ca, .version_max = TLS1_2_VERSION};
  const struct meeting meetings[] = {
      {"unknown CA", good, {.ca_file = files->other_ca}, NULL, "unknown authority", IDEM_REFUSED},
      {"the system's CAs", good, {.ca_file = NULL}, NULL, "unknown authority", IDEM_REFUSED},
      {"expired", {.cert = files->expired}, trust, NULL, "has expired", IDEM_REFUSED},
      {"another address", {.cert = files->named}, trust, NULL, "another address", IDEM_REFUSED},
      {"another name", {.cert = files->named}, trust, "localhost", "another name", IDEM_REFUSED},
      {"another name than asked for",
       good,
       {.ca_file = files->ca, .server_name = "other.example"},
       NULL,
       "another name",
       IDEM_REFUSED},
      {"too old",
       old,
       {.ca_file = files->ca, .tls_version_min = IDEM_TLS_1_3},
       NULL,
       "no version of TLS in common",
       IDEM_REFUSED},
      {"no TLS", {.manner = TERMINATOR_PLAIN}, trust, NULL, "speaks no TLS", IDEM_REFUSED},
      {"wants one", asks, trust, NULL, "wants a certificate", IDEM_REFUSED},
      {"wants one, 1.2", asks_old, trust, NULL, "wants a certificate", IDEM_REFUSED},
      {"takes ours not",
       asks,
       {.ca_file = files->ca, .cert_file = files->stranger},
       NULL,
       "does not",
       IDEM_REFUSED},
      {"takes ours not, 1.2",
       asks_old,
       {.ca_file = files->ca, .cert_file = files->stranger},
       NULL,
       "does not",
       IDEM_REFUSED},
      {"hangs up",
       {.manner = TERMINATOR_HANGS_UP},
       hurried,
       NULL,
       "hung up during the handshake",
       IDEM_UNAVAILABLE},
      {"stalls",
       {.manner = TERMINATOR_STALLS},
       hurried,
       NULL,
       "no handshake in time",
       IDEM_UNAVAILABLE},
  };
  for (size_t i = 0; i < sizeof meetings / sizeof meetings[0]; i++)
    check_meeting(&place, &meetings[i]);
  place_close(&place);
}

static void schemes(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct idem_options options = trusting(&place);
  static const struct {
    const char *scheme;
    bool tls;
  } all[] = {{"idems", true}, {"REDISS", true}, {"idem", false}, {"redis", false}};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    for (enum half half = SYNC; half < HALVES; half++) {
      char url[64];
      struct pair pair;
      snprintf(url, sizeof url, "%s://127.0.0.1:%d", all[i].scheme,
               all[i].tls ? terminator_port(place.terminator) : place.server.port);
      pair_open_url(&pair, half, url, &options);
      expect_absent(&pair);
      pair_close(&pair);
    }
  }
  place_close(&place);
}

/* An alert, which is what many servers answer to plain text. */
static const char *say_alert(const struct command *command, void *context) {
  (void)command;
  (void)context;
  return "\x15\x03\x03";
}

static void a_plain_client_is_told_of_tls(void **state) {
  (void)state;
  for (enum half half = SYNC; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    pair_open(&pair, half, say_alert, NULL, NULL);
    enum idem_status status = pair_fetch(&pair, &answer);
    CHECK(status == IDEM_REFUSED && strstr(answer.message, "speaks TLS here") != NULL, "%s: %s %s",
          pair_name(half), idem_status_name(status), answer.message);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
}

/* ---- files and options ---- */

static void check_invalid(const struct idem_options *options, const char *words) {
  struct idem_client *client = NULL;
  struct idem_error error;
  enum idem_status status = idem_open("rediss://localhost", options, &client, &error);
  CHECK(status == IDEM_INVALID && client == NULL, "%s: %s", words, idem_status_name(status));
  CHECK(strstr(error.text, words) != NULL, "%s: %s", words, error.text);
}

static void a_file_that_cannot_be_used_is_named(void **state) {
  (void)state;
  struct certificates files;
  certificates_make(&files);
  check_invalid(&(struct idem_options){.ca_file = "/no/ca"}, "ca_file /no/ca: No such file");
  check_invalid(&(struct idem_options){.ca_dir = "/no/dir"}, "ca_dir /no/dir");
  check_invalid(&(struct idem_options){.ca_dir = files.ca}, "ca_dir");
  check_invalid(&(struct idem_options){.cert_file = "/no/cert"},
                "cert_file /no/cert: No such file");
  check_invalid(&(struct idem_options){.cert_file = files.ca}, "key_file");
  check_invalid(&(struct idem_options){.cert_file = files.client, .key_file = files.server},
                "key values mismatch");
  check_invalid(&(struct idem_options){.key_file = files.client}, "key_file without cert_file");
  check_invalid(&(struct idem_options){.server_name = ""}, "server_name");
  check_invalid(&(struct idem_options){.tls_version_min = 99}, "tls_version_min");
  check_invalid(&(struct idem_options){.tls_flags = 2}, "tls_flags");
  certificates_remove(&files);
}

/* OpenSSL finds an authority in a directory by the hash of its name. */
static void authorities_may_lie_in_a_directory(void **state) {
  (void)state;
  struct place place;
  char dir[CERTIFICATES_PATH + 8], command[3 * CERTIFICATES_PATH], link[CERTIFICATES_PATH + 32];
  place_open(&place);
  snprintf(dir, sizeof dir, "%s/dir", place.files.dir);
  assert_int_equal(mkdir(dir, 0700), 0);
  snprintf(command, sizeof command, "openssl x509 -noout -hash -in %s", place.files.ca);
  FILE *pipe = popen(command, "r");
  char hash[16] = "";
  CHECK(pipe != NULL && fscanf(pipe, "%15s", hash) == 1, "no hash");
  pclose(pipe);
  snprintf(link, sizeof link, "%.130s/%s.0", dir, hash);
  assert_int_equal(symlink(place.files.ca, link), 0);
  for (enum half half = SYNC; half < HALVES; half++) {
    struct pair pair;
    open_tls(&pair, half, &place, &(struct idem_options){.ca_dir = dir});
    expect_absent(&pair);
    pair_close(&pair);
  }
  unlink(link);
  rmdir(dir);
  place_close(&place);
}

/* A renewed certificate is taken by the next connection, and one that makes no sense is not. */
static void a_file_that_changes_is_read_again(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  char own[CERTIFICATES_PATH + 8];
  snprintf(own, sizeof own, "%s/own.pem", place.files.dir);
  for (enum half half = SYNC; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    const struct idem_options options = {.ca_file = place.files.ca, .cert_file = own};
    certificates_replace(own, place.files.stranger);
    terminator_set(place.terminator, &(struct terminator_options){.cert = place.files.server,
                                                                  .client_ca = place.files.ca});
    open_tls(&pair, half, &place, &options);
    enum idem_status status = pair_fetch(&pair, &answer);
    CHECK(status == IDEM_REFUSED, "%s: %s %s", pair_name(half), idem_status_name(status),
          answer.message);
    idem_answer_clear(&answer);
    certificates_replace(own, place.files.client);
    expect_absent(&pair);
    terminator_end_all(place.terminator, TERMINATOR_CLOSES);
    certificates_replace(own, place.files.ca); /* has no key */
    expect_absent(&pair);
    pair_close(&pair);
  }
  unlink(own);
  place_close(&place);
}

/* ---- connections ---- */

/* Session tickets come unasked, and are no reason to close. */
static void a_connection_is_kept(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct idem_options options = trusting(&place);
  for (enum half half = SYNC; half < HALVES; half++) {
    struct pair pair;
    int before = terminator_connections(place.terminator);
    open_tls(&pair, half, &place, &options);
    for (int i = 0; i < 5; i++) expect_absent(&pair);
    assert_int_equal(terminator_connections(place.terminator), before + 1);
    pair_close(&pair);
  }
  for (int64_t until = now_ms() + HANG_MS; terminator_closed(place.terminator) < 2; pause_ms(1))
    CHECK(now_ms() < until, "a client did not say close_notify");
  place_close(&place);
}

static void until_connections(struct place *place, struct pair *pair, int count) {
  for (int64_t until = now_ms() + HANG_MS; terminator_connections(place->terminator) < count;) {
    if (pair->half == ASYNC) world_run_for(&pair->world, 1);
    expect_absent(pair);
    CHECK(now_ms() < until, "%d connections", terminator_connections(place->terminator));
  }
}

static void a_kept_connection_that_has_ended_is_replaced(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct idem_options options = trusting(&place);
  for (enum half half = SYNC; half < HALVES; half++) {
    struct pair pair;
    int before = terminator_connections(place.terminator);
    open_tls(&pair, half, &place, &options);
    expect_absent(&pair);
    terminator_end_all(place.terminator, TERMINATOR_CLOSES);
    until_connections(&place, &pair, before + 2);
    terminator_end_all(place.terminator, TERMINATOR_CUTS);
    until_connections(&place, &pair, before + 3);
    terminator_say(place.terminator, "-ERR unasked\r\n");
    until_connections(&place, &pair, before + 4);
    terminator_say(place.terminator, "$"); /* the beginning of one */
    until_connections(&place, &pair, before + 5);
    pair_close(&pair);
  }
  place_close(&place);
}

/* ---- sessions that are resumed ---- */

/* Ends the connection, and has a call make the next one. Whether that resumed a session. */
static bool resumes(struct place *place, struct pair *pair, enum terminator_end how) {
  int resumed = terminator_resumed(place->terminator);
  terminator_end_all(place->terminator, how);
  until_connections(place, pair, terminator_connections(place->terminator) + 1);
  return terminator_resumed(place->terminator) > resumed;
}

#define CHECK_RESUMES(place, pair, how, wanted)                                                \
  CHECK(resumes(place, pair, how) == (wanted), "%s, version %#x: %s", pair_name((pair)->half), \
        (unsigned)version, (wanted) ? "it did not resume" : "it resumed")

static void check_resumption(struct place *place, enum half half, int version) {
  struct pair pair;
  char ca[CERTIFICATES_PATH + 8];
  const struct terminator_options there = {.cert = place->files.server, .version_max = version};
  snprintf(ca, sizeof ca, "%s/copy", place->files.dir);
  certificates_replace(ca, place->files.ca);
  terminator_set(place->terminator, &there);
  open_tls(&pair, half, place, &(struct idem_options){.ca_file = ca});
  expect_absent(&pair);
  CHECK_RESUMES(place, &pair, TERMINATOR_CLOSES, true);
  CHECK_RESUMES(place, &pair, TERMINATOR_CUTS, true); /* OpenSSL drops its own one then */
  CHECK_RESUMES(place, &pair, TERMINATOR_CLOSES, true);
  terminator_set(place->terminator, &there);
  CHECK_RESUMES(place, &pair, TERMINATOR_CLOSES, false); /* the server has forgotten it */
  CHECK_RESUMES(place, &pair, TERMINATOR_CLOSES, true);
  certificates_replace(ca, place->files.ca);
  CHECK_RESUMES(place, &pair, TERMINATOR_CLOSES, false); /* other files here */
  CHECK_RESUMES(place, &pair, TERMINATOR_CLOSES, true);
  pair_close(&pair);
  unlink(ca);
}

static void the_next_connection_resumes_the_session(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  for (enum half half = SYNC; half < HALVES; half++) {
    check_resumption(&place, half, TLS1_2_VERSION);
    check_resumption(&place, half, TLS1_3_VERSION);
  }
  place_close(&place);
}

/* Who is not trusted any more is not taken because of a session. */
static void an_authority_that_is_replaced_is_trusted_no_more(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  char ca[CERTIFICATES_PATH + 8];
  snprintf(ca, sizeof ca, "%s/copy", place.files.dir);
  for (enum half half = SYNC; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    certificates_replace(ca, place.files.ca);
    open_tls(&pair, half, &place, &(struct idem_options){.ca_file = ca});
    expect_absent(&pair);
    certificates_replace(ca, place.files.other_ca);
    terminator_end_all(place.terminator, TERMINATOR_CLOSES);
    if (half == ASYNC) world_run_for(&pair.world, 1);
    enum idem_status status = pair_fetch(&pair, &answer);
    CHECK(status == IDEM_REFUSED, "%s: %s %s", pair_name(half), idem_status_name(status),
          answer.message);
    idem_answer_clear(&answer);
    pair_close(&pair);
  }
  unlink(ca);
  place_close(&place);
}

static void a_server_that_comes_back_is_found(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct idem_options options = trusting(&place);
  for (enum half half = SYNC; half < HALVES; half++) {
    struct pair pair;
    open_tls(&pair, half, &place, &options);
    expect_absent(&pair);
    server_kill(&place.server, SIGKILL);
    server_start(&place.server, place.server.port, NULL);
    expect_absent(&pair);
    pair_close(&pair);
  }
  place_close(&place);
}

/* Many records each way, and what does not fit into the socket at once. */
static void large_bodies_pass(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct idem_options options = trusting(&place);
  char *body = malloc(BODY_BYTES);
  for (size_t i = 0; i < BODY_BYTES; i++) body[i] = (char)(i * 7919 >> 5);
  for (enum half half = SYNC; half < HALVES; half++) {
    struct pair pair;
    struct idem_answer answer;
    open_tls(&pair, half, &place, &options);
    struct idem_claim *claim = pair_must_begin(&pair, "x");
    const struct idem_result result = {.body = idem_data(body, BODY_BYTES), .ttl_ms = 60000};
    enum idem_status status = pair_store(&pair, claim, &result);
    CHECK(status == IDEM_OK, "%s: %s", pair_name(half), idem_claim_message(claim));
    idem_claim_free(claim);
    status = pair_fetch(&pair, &answer);
    CHECK(status == IDEM_REPLAY && answer.body.len == BODY_BYTES &&
              memcmp(answer.body.data, body, BODY_BYTES) == 0,
          "%s: %s %s", pair_name(half), idem_status_name(status), answer.message);
    idem_answer_clear(&answer);
    pair_close(&pair);
    server_kill(&place.server, SIGKILL);
    server_start(&place.server, place.server.port, NULL);
  }
  free(body);
  place_close(&place);
}

/* What has left the socket already is told by no event. With records of 5000 bytes the last one
 * lies in OpenSSL when as much has been read as one turn of the loop reads. */
static void what_lies_in_the_stream_is_read(void **state) {
  (void)state;
  static char body[72000];
  struct place place;
  place_open(&place);
  terminator_set(place.terminator,
                 &(struct terminator_options){.cert = place.files.server, .record_bytes = 5000});
  const struct idem_options options = {.ca_file = place.files.ca,
                                       .command_timeout_ms = HANG_MS / 8};
  struct pair pair;
  open_tls(&pair, ASYNC, &place, &options);
  struct idem_claim *claim = pair_must_begin(&pair, "x");
  const struct idem_result result = {.body = idem_data(body, sizeof body)};
  assert_int_equal(pair_store(&pair, claim, &result), IDEM_OK);
  idem_claim_free(claim);
  for (int i = 0; i < 10; i++) {
    struct seen seen = {.world = &pair.world};
    int64_t start = now_ms();
    assert_int_equal(
        idem_async_fetch(pair.world.async, idem_text("x"), NONE, world_on_done, &seen, NULL),
        IDEM_OK);
    pair.world.open++;
    for (int turn = 0; turn < 2; turn++) uv_run(&pair.world.loop, UV_RUN_NOWAIT);
    pause_ms(3); /* all of it comes, and is read at once */
    world_finish_all(&pair.world);
    CHECK(seen.status == IDEM_REPLAY && seen.answer.body.len == sizeof body, "%s %s",
          idem_status_name(seen.status), seen.answer.message);
    CHECK(now_ms() - start < HANG_MS / 8, "it was read when its time was over");
    idem_answer_clear(&seen.answer);
  }
  pair_close(&pair);
  place_close(&place);
}

/* The connection breaks at each of many bytes of the first handshake: the call goes on with
 * another.
 */
static void a_handshake_may_be_cut_anywhere(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct idem_options options = {
      .ca_file = place.files.ca, .backoff_first_ms = 1, .backoff_max_ms = 1};
  struct proxy *proxy = proxy_open(terminator_port(place.terminator));
  char url[64];
  tls_url(url, "127.0.0.1", proxy_port(proxy));
  for (enum half half = SYNC; half < HALVES; half++) {
    for (size_t at = 0; at < 1200; at += 29) {
      struct pair pair;
      const struct proxy_plan plan = {at % 2 == 0 || at > 250 ? PROXY_REPLY : PROXY_REQUEST, at,
                                      at % 3 == 0, 1};
      proxy_arm(proxy, plan);
      pair_open_url(&pair, half, url, &options);
      expect_absent(&pair);
      pair_close(&pair);
    }
  }
  proxy_close(proxy);
  place_close(&place);
}

/* ---- the loop goes on ---- */

struct ticks {
  uv_timer_t timer;
  int count;
};

static void on_tick(uv_timer_t *timer) { ((struct ticks *)timer->data)->count++; }

static void a_handshake_does_not_block_the_loop(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct idem_options options = {
      .ca_file = place.files.ca, .connect_timeout_ms = 100, .deadline_ms = 250};
  struct pair pair;
  struct ticks ticks = {.count = 0};
  struct idem_answer answer;
  terminator_set(place.terminator, &(struct terminator_options){.manner = TERMINATOR_STALLS});
  open_tls(&pair, ASYNC, &place, &options);
  uv_timer_init(&pair.world.loop, &ticks.timer);
  ticks.timer.data = &ticks;
  uv_timer_start(&ticks.timer, on_tick, 5, 5);
  enum idem_status status = pair_fetch(&pair, &answer);
  CHECK(status == IDEM_UNAVAILABLE, "%s", idem_status_name(status));
  CHECK(ticks.count >= 5, "%d ticks", ticks.count);
  idem_answer_clear(&answer);
  uv_close((uv_handle_t *)&ticks.timer, NULL);
  pair_close(&pair);
  place_close(&place);
}

/* ---- processes ---- */

/* What a child does with its copy says nothing on the parent's connection. */
static void a_fork_leaves_the_connection_alone(void **state) {
  (void)state;
  struct place place;
  place_open(&place);
  const struct idem_options options = trusting(&place);
  struct pair pair;
  open_tls(&pair, SYNC, &place, &options);
  expect_absent(&pair);
  pid_t child = fork();
  if (child == 0) {
    struct idem_answer answer;
    bool right = idem_fetch(pair.client, idem_text("x"), NONE, &answer) == IDEM_INVALID;
    idem_close(pair.client);
    _exit(right ? 0 : 1);
  }
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  expect_absent(&pair);
  assert_int_equal(terminator_connections(place.terminator), 1);
  pair_close(&pair);
  place_close(&place);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_server_with_the_right_certificate_is_taken),
      cmocka_unit_test(others_are_refused_and_told_why),
      cmocka_unit_test(schemes),
      cmocka_unit_test(a_plain_client_is_told_of_tls),
      cmocka_unit_test(a_file_that_cannot_be_used_is_named),
      cmocka_unit_test(authorities_may_lie_in_a_directory),
      cmocka_unit_test(a_file_that_changes_is_read_again),
      cmocka_unit_test(a_connection_is_kept),
      cmocka_unit_test(a_kept_connection_that_has_ended_is_replaced),
      cmocka_unit_test(the_next_connection_resumes_the_session),
      cmocka_unit_test(an_authority_that_is_replaced_is_trusted_no_more),
      cmocka_unit_test(a_server_that_comes_back_is_found),
      cmocka_unit_test(large_bodies_pass),
      cmocka_unit_test(what_lies_in_the_stream_is_read),
      cmocka_unit_test(a_handshake_may_be_cut_anywhere),
      cmocka_unit_test(a_handshake_does_not_block_the_loop),
      cmocka_unit_test(a_fork_leaves_the_connection_alone),
  };
  return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
