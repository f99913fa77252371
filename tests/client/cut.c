/*
 * cut.c - every call through a proxy that cuts the connection before, in and behind each byte of
 * its request and its reply; once (the call has to succeed) and every time (it has to say that it
 * does not know).
 *
 * What counts is the server's own state, seen over a connection that is not cut: no outcome may
 * contradict it. No descriptor may be left over (memory: by the leak checkers, under which this
 * runs, too). Under TLS a cut is inside of records: nothing that was cut off may look like a reply.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/idem.h"
#include "tests/client/certificates.h"
#include "tests/client/harness.h"
#include "tests/client/proxy.h"
#include "tests/client/terminator.h"

#define SHORT_LEASE_MS 15
#define NONE idem_data(NULL, 0)

struct run {
  struct proxy *proxy;
  struct idem_client *through, *direct;
  char key[48];
  char body[64];
  struct idem_claim *claim, *holder;
  struct idem_answer answer;
  int works;
  unsigned late;
  bool request_whole; /* the server may have seen a whole request before the cut */
};

struct scenario {
  const char *name;
  void (*prepare)(struct run *run);
  enum idem_status (*act)(struct run *run);
  void (*verify)(struct run *run, enum idem_status status, bool always);
};

/* ---- pieces ---- */

static struct idem_request request_of(const struct run *run) {
  struct idem_request request;
  memset(&request, 0, sizeof request);
  request.key = idem_text(run->key);
  request.fingerprint = idem_text("fp");
  return request;
}

static struct idem_result result_of(const struct run *run) {
  struct idem_result result;
  memset(&result, 0, sizeof result);
  result.body = idem_text(run->body);
  result.meta = idem_text("meta");
  return result;
}

/* A call that is not cut. Its deadline may be too short for a busy machine all the same: then under
 * another key, because nobody knows what became of the first. */
static struct idem_claim *begin(struct run *run, struct idem_client *client, int64_t lease_ms,
                                int64_t wait_ms) {
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  enum idem_status status = IDEM_UNAVAILABLE;
  size_t len = strlen(run->key);
  for (int64_t until = now_ms() + HANG_MS; status == IDEM_UNAVAILABLE && now_ms() < until;) {
    struct idem_request request = request_of(run);
    request.lease_ms = lease_ms;
    request.wait_ms = wait_ms;
    request.flags = lease_ms != 0 ? IDEM_NO_RENEWAL : 0;
    status = idem_begin(client, &request, &claim, &answer);
    if (status == IDEM_UNAVAILABLE) snprintf(run->key + len - 6, 7, "L%05u", ++run->late % 100000);
  }
  CHECK(status == IDEM_RUN, "%s: %s %s", run->key, idem_status_name(status), answer.message);
  idem_answer_clear(&answer);
  return claim;
}

/* Storing the same bytes again is as good as once. */
static enum idem_status finish_uncut(struct run *run, const struct idem_result *result) {
  enum idem_status status = IDEM_UNAVAILABLE;
  for (int64_t until = now_ms() + HANG_MS; status == IDEM_UNAVAILABLE && now_ms() < until;)
    status = idem_finish(run->claim, result);
  return status;
}

/* What the server has under the key. */
static enum idem_status truth(struct run *run, struct idem_answer *answer) {
  return idem_fetch(run->direct, idem_text(run->key), NONE, answer);
}

static void expect_stored(struct run *run) {
  struct idem_answer answer;
  enum idem_status status = truth(run, &answer);
  CHECK(status == IDEM_REPLAY, "%s: %s", run->key, idem_status_name(status));
  CHECK(answer.body.len == strlen(run->body) &&
            memcmp(answer.body.data, run->body, answer.body.len) == 0,
        "%s: other bytes", run->key);
  idem_answer_clear(&answer);
}

static void expect_not_stored(struct run *run) {
  struct idem_answer answer;
  enum idem_status status = truth(run, &answer);
  CHECK(status != IDEM_REPLAY, "%s", run->key);
  idem_answer_clear(&answer);
}

static void expect_absent(struct run *run) {
  struct idem_answer answer;
  enum idem_status status = truth(run, &answer);
  CHECK(status == IDEM_ABSENT, "%s: %s", run->key, idem_status_name(status));
  idem_answer_clear(&answer);
}

/* ---- scenarios ---- */

static void nothing(struct run *run) { (void)run; }
static void hold_through(struct run *run) { run->claim = begin(run, run->through, 0, 0); }
static void hold_through_shortly(struct run *run) {
  run->claim = begin(run, run->through, SHORT_LEASE_MS, 0);
}
static void hold_direct_shortly(struct run *run) {
  run->holder = begin(run, run->direct, SHORT_LEASE_MS, 0);
}

static void store_direct(struct run *run) {
  struct idem_claim *claim = begin(run, run->direct, 0, 0);
  struct idem_result result = result_of(run);
  CHECK(idem_finish(claim, &result) == IDEM_OK, "%s", idem_claim_message(claim));
  idem_claim_free(claim);
}

static enum idem_status act_begin(struct run *run) {
  struct idem_request request = request_of(run);
  return idem_begin(run->through, &request, &run->claim, &run->answer);
}

static void verify_begin(struct run *run, enum idem_status status, bool always) {
  CHECK(status == IDEM_RUN || (always && status == IDEM_UNAVAILABLE), "%s: %s", run->key,
        idem_status_name(status));
  CHECK((run->claim != NULL) == (status == IDEM_RUN), "%s", run->key);
  if (status != IDEM_RUN) return;
  struct idem_result result = result_of(run);
  CHECK(idem_claim_attempt(run->claim) == 1, "%s: attempt %d", run->key,
        (int)idem_claim_attempt(run->claim));
  CHECK(finish_uncut(run, &result) == IDEM_OK, "%s: %s", run->key, idem_claim_message(run->claim));
  expect_stored(run);
}

static enum idem_status act_begin_bound(struct run *run) {
  struct idem_request request = request_of(run);
  request.flags = IDEM_BIND | IDEM_HOLD;
  return idem_begin(run->through, &request, &run->claim, &run->answer);
}

/* The connection with which the claim ends may have been cut behind the reply: UNKNOWN then is what
 * the server makes of it. After a lost reply the first grant may have ended so before the
 * repetition arrives. */
static void verify_bound(struct run *run, enum idem_status status, bool always) {
  CHECK(status == IDEM_RUN || status == IDEM_UNKNOWN || (always && status == IDEM_UNAVAILABLE),
        "%s: %s", run->key, idem_status_name(status));
  CHECK(status != IDEM_UNKNOWN || run->request_whole, "%s", run->key);
  if (status != IDEM_RUN) return;
  struct idem_result result = result_of(run);
  CHECK(finish_uncut(run, &result) == IDEM_OK, "%s: %s", run->key, idem_claim_message(run->claim));
  expect_stored(run);
}

static enum idem_status act_begin_waiting(struct run *run) {
  struct idem_request request = request_of(run);
  request.wait_ms = HANG_MS;
  return idem_begin(run->through, &request, &run->claim, &run->answer);
}

static void verify_waited(struct run *run, enum idem_status status, bool always) {
  CHECK(status == IDEM_RUN || (always && status == IDEM_UNAVAILABLE), "%s: %s %s", run->key,
        idem_status_name(status), run->answer.message);
  if (status != IDEM_RUN) return;
  CHECK(idem_claim_attempt(run->claim) >= 2, "%s", run->key);
  struct idem_result result = result_of(run);
  CHECK(idem_finish(run->holder, &result) == IDEM_STALE, "%s", run->key);
  CHECK(finish_uncut(run, &result) == IDEM_OK, "%s: %s", run->key, idem_claim_message(run->claim));
  expect_stored(run);
}

static enum idem_status act_finish(struct run *run) {
  struct idem_result result = result_of(run);
  return idem_finish(run->claim, &result);
}

static void verify_finish(struct run *run, enum idem_status status, bool always) {
  CHECK(status == IDEM_OK || (always && status == IDEM_UNAVAILABLE), "%s: %s", run->key,
        idem_status_name(status));
  if (status == IDEM_OK) expect_stored(run);
  if (status != IDEM_UNAVAILABLE) return;
  /* The same bytes may be stored again, and then it is seen; other bytes are a conflict if the
   * first arrived. */
  CHECK(idem_claim_state(run->claim) == IDEM_CLAIM_HELD, "%s", run->key);
  struct idem_result same = result_of(run), other = same;
  other.body = idem_text("other");
  if (run->request_whole) {
    enum idem_status again = finish_uncut(run, &other);
    CHECK(again == IDEM_CONFLICT || again == IDEM_OK, "%s: %s", run->key, idem_status_name(again));
    if (again == IDEM_CONFLICT) expect_stored(run);
  } else {
    CHECK(finish_uncut(run, &same) == IDEM_OK, "%s: %s", run->key, idem_claim_message(run->claim));
    expect_stored(run);
  }
}

static enum idem_status act_finish_uncached(struct run *run) {
  struct idem_result result = result_of(run);
  result.uncached = IDEM_RELEASE_NOTHING;
  return idem_finish(run->claim, &result);
}

static void verify_finish_uncached(struct run *run, enum idem_status status, bool always) {
  bool lost = run->request_whole && status == IDEM_UNAVAILABLE;
  CHECK(status == IDEM_OK || lost || (always && status == IDEM_UNAVAILABLE), "%s: %s", run->key,
        idem_status_name(status));
  expect_not_stored(run);
  if (!lost) return;
  enum idem_status again = act_finish_uncached(run);
  CHECK(again == IDEM_UNAVAILABLE || again == IDEM_OK, "%s: %s", run->key, idem_status_name(again));
}

static enum idem_status act_abandon(struct run *run) {
  return idem_abandon(run->claim, IDEM_RELEASE_NOTHING);
}

static void verify_abandon(struct run *run, enum idem_status status, bool always) {
  CHECK(status == IDEM_OK || (run->request_whole && status == IDEM_STALE) ||
            (always && status == IDEM_UNAVAILABLE),
        "%s: %s", run->key, idem_status_name(status));
  if (status != IDEM_UNAVAILABLE) expect_absent(run);
}

/* With UNSURE the token stays that of the record, so that a repetition is recognized. */
static enum idem_status act_abandon_unsure(struct run *run) {
  return idem_abandon(run->claim, IDEM_RELEASE_UNSURE);
}

static enum idem_status act_finish_unsure(struct run *run) {
  struct idem_result result = result_of(run);
  result.uncached = IDEM_RELEASE_UNSURE;
  return idem_finish(run->claim, &result);
}

static void verify_unsure(struct run *run, enum idem_status status, bool always) {
  CHECK(status == IDEM_OK || (always && status == IDEM_UNAVAILABLE), "%s: %s", run->key,
        idem_status_name(status));
  if (status != IDEM_OK) return;
  run->holder = begin(run, run->direct, 0, IDEM_NO_WAIT);
  CHECK(idem_claim_attempt(run->holder) == 2, "%s: attempt %lld", run->key,
        (long long)idem_claim_attempt(run->holder));
}

static enum idem_status act_stage(struct run *run) {
  return idem_stage(run->claim, idem_text("half"));
}

static void verify_stage(struct run *run, enum idem_status status, bool always) {
  CHECK(status == IDEM_OK || (always && status == IDEM_UNAVAILABLE), "%s: %s", run->key,
        idem_status_name(status));
  if (status != IDEM_OK) return;
  run->holder = begin(run, run->direct, 0, HANG_MS);
  struct idem_bytes stage = idem_claim_stage(run->holder);
  CHECK(stage.len == 4 && memcmp(stage.data, "half", 4) == 0, "%s", run->key);
}

static enum idem_status act_fetch(struct run *run) {
  return idem_fetch(run->through, idem_text(run->key), idem_text("fp"), &run->answer);
}

static enum idem_status act_wait(struct run *run) {
  return idem_wait(run->through, idem_text(run->key), idem_text("fp"), HANG_MS, &run->answer);
}

static void verify_replay(struct run *run, enum idem_status status, bool always) {
  CHECK(status == IDEM_REPLAY || (always && status == IDEM_UNAVAILABLE), "%s: %s %s", run->key,
        idem_status_name(status), run->answer.message);
  if (status != IDEM_REPLAY) return;
  CHECK(run->answer.body.len == strlen(run->body), "%s", run->key);
  CHECK(memcmp(run->answer.body.data, run->body, run->answer.body.len) == 0, "%s", run->key);
}

static int work(struct idem_claim *claim, void *context, struct idem_result *result) {
  struct run *run = context;
  (void)claim;
  run->works++;
  *result = result_of(run);
  return IDEM_WORK_DONE;
}

static enum idem_status act_once(struct run *run) {
  struct idem_request request = request_of(run);
  return idem_once(run->through, &request, work, run, &run->answer);
}

static void verify_once(struct run *run, enum idem_status status, bool always) {
  if (!always)
    CHECK(status == IDEM_RUN, "%s: %s %s", run->key, idem_status_name(status), run->answer.message);
  CHECK(status == IDEM_RUN || status == IDEM_UNSTORED || status == IDEM_UNAVAILABLE, "%s: %s",
        run->key, idem_status_name(status));
  CHECK(run->works == (status == IDEM_UNAVAILABLE ? 0 : 1), "%s: %d runs", run->key, run->works);
  if (status == IDEM_RUN) expect_stored(run);
}

static const struct scenario SCENARIOS[] = {
    {"begin", nothing, act_begin, verify_begin},
    {"begin-bound", nothing, act_begin_bound, verify_bound},
    {"begin-waiting", hold_direct_shortly, act_begin_waiting, verify_waited},
    {"finish", hold_through, act_finish, verify_finish},
    {"finish-uncached", hold_through, act_finish_uncached, verify_finish_uncached},
    {"finish-unsure", hold_through, act_finish_unsure, verify_unsure},
    {"abandon", hold_through, act_abandon, verify_abandon},
    {"abandon-unsure", hold_through, act_abandon_unsure, verify_unsure},
    {"stage", hold_through_shortly, act_stage, verify_stage},
    {"fetch", store_direct, act_fetch, verify_replay},
    {"wait", store_direct, act_wait, verify_replay},
    {"once", nothing, act_once, verify_once},
};

#define SCENARIO_COUNT (sizeof SCENARIOS / sizeof SCENARIOS[0])

/* ---- all of them, at all bytes ---- */

static const struct proxy_plan NO_CUT = {PROXY_REQUEST, 0, false, 0};

/* One call with one plan. False: its deadline was over before anything could be cut. */
static bool play(struct run *run, const struct scenario *scenario, struct proxy_plan plan,
                 size_t request_len) {
  static int serial;
  bool always = plan.times > 1;
  snprintf(run->key, sizeof run->key, "%.15s-%s%04d-%06d", scenario->name,
           plan.side == PROXY_REQUEST ? "q" : "p", (int)plan.bytes, ++serial);
  snprintf(run->body, sizeof run->body, "body of %s", run->key);
  run->claim = run->holder = NULL;
  run->works = 0;
  run->request_whole = plan.side == PROXY_REPLY || plan.bytes >= request_len;
  memset(&run->answer, 0, sizeof run->answer);
  proxy_arm(run->proxy, NO_CUT);
  scenario->prepare(run);
  proxy_arm(run->proxy, plan);
  enum idem_status status = scenario->act(run);
  int cuts = proxy_cuts(run->proxy);
  proxy_arm(run->proxy, NO_CUT);
  bool in_time = cuts > 0 || status != IDEM_UNAVAILABLE;
  CHECK(cuts > 0 || (always && !in_time), "%s: nothing was cut", run->key);
  scenario->verify(run, status, always);
  idem_answer_clear(&run->answer);
  idem_claim_free(run->claim);
  idem_claim_free(run->holder);
  return in_time;
}

/* What one undisturbed call takes. */
static void measure(struct run *run, const struct scenario *scenario, size_t *len) {
  struct run dry = *run;
  dry.claim = dry.holder = NULL;
  dry.works = 0;
  snprintf(dry.key, sizeof dry.key, "%.15s-q0000-%06d", scenario->name, 999999);
  snprintf(dry.body, sizeof dry.body, "body of %s", dry.key);
  scenario->prepare(&dry);
  CHECK(idem_ping(run->through, NULL) == IDEM_OK,
        "no connection"); /* its handshake is not counted */
  proxy_arm(run->proxy, NO_CUT);
  enum idem_status status = scenario->act(&dry);
  len[PROXY_REQUEST] = proxy_passed(run->proxy, PROXY_REQUEST);
  len[PROXY_REPLY] = proxy_passed(run->proxy, PROXY_REPLY);
  scenario->verify(&dry, status, false);
  idem_answer_clear(&dry.answer);
  idem_claim_free(dry.claim);
  idem_claim_free(dry.holder);
}

static void sweep(struct run *run, const struct scenario *scenario, const size_t *len, bool always,
                  size_t step) {
  int count = 0;
  for (int side = 0; side < 2; side++) {
    for (size_t at = 0; at <= len[side]; at += step) {
      struct proxy_plan plan = {(enum proxy_side)side, at, at % 2 == 1, always ? 1 << 20 : 1};
      int64_t until = now_ms() + HANG_MS;
      while (!play(run, scenario, plan, len[PROXY_REQUEST]))
        CHECK(now_ms() < until, "%s: nothing is cut", run->key);
      count++;
    }
  }
  printf("  %-16s %-6s %4d cuts (request %zu, reply %zu bytes)\n", scenario->name,
         always ? "always" : "once", count, len[PROXY_REQUEST], len[PROXY_REPLY]);
  fflush(stdout);
}

/* TLS between the proxy and the server. */
struct cover {
  struct certificates files;
  struct terminator *terminator;
};

static void cover_open(struct cover *cover, int port) {
  certificates_make(&cover->files);
  const struct terminator_options options = {.cert = cover->files.server};
  cover->terminator = terminator_open(port, &options);
}

static void cover_close(const struct cover *cover) {
  terminator_close(cover->terminator);
  certificates_remove(&cover->files);
}

static struct idem_client *open_through(const struct run *run, const struct cover *cover,
                                        struct idem_options *options) {
  char url[64];
  if (cover->terminator == NULL) return must_open(proxy_port(run->proxy), options);
  options->ca_file = cover->files.ca;
  snprintf(url, sizeof url, "rediss://127.0.0.1:%d", proxy_port(run->proxy));
  return must_open_url(url, options);
}

/* cut [step of the positions [deadline of a call that is cut every time, ms [tls]]] */
int main(int argc, char **argv) {
  size_t step = argc > 1 ? (size_t)atoi(argv[1]) : 1, len[SCENARIO_COUNT][2];
  int64_t brief_ms = argc > 2 ? atoi(argv[2]) : 20;
  struct server server;
  struct cover cover = {.terminator = NULL};
  server_start(&server, 0, NULL);
  if (argc > 3) cover_open(&cover, server.port);
  struct run run;
  memset(&run, 0, sizeof run);
  run.proxy = proxy_open(argc > 3 ? terminator_port(cover.terminator) : server.port);
  run.direct = must_open(server.port, NULL);
  int before = open_descriptors();
  for (int always = 0; always < 2; always++) {
    struct idem_options options;
    memset(&options, 0, sizeof options);
    options.backoff_first_ms = 1;
    options.backoff_max_ms = 2;
    options.deadline_ms = always ? brief_ms : 0;
    run.through = open_through(&run, &cover, &options);
    for (size_t i = 0; i < SCENARIO_COUNT; i++) {
      if (!always) measure(&run, &SCENARIOS[i], len[i]);
      sweep(&run, &SCENARIOS[i], len[i], always, always ? 2 * step + 1 : step);
    }
    idem_close(run.through);
  }
  int after = before + 100;
  for (int64_t until = now_ms() + HANG_MS; after > before + 1 && now_ms() < until; pause_ms(5))
    after = open_descriptors();
  CHECK(after <= before + 1, "%d descriptors, before %d", after,
        before); /* the direct client's own connection */
  idem_close(run.direct);
  proxy_close(run.proxy);
  if (argc > 3) cover_close(&cover);
  server_kill(&server, SIGTERM);
  return 0;
}
