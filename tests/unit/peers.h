/*
 * peers.h - a worker without a network, or several, and sessions that speak to it in words: for
 * tests of what stands between several sessions.
 *
 * Time is the test's. What a session was told is taken with heard(), as text. Of several workers
 * session n is with worker n modulo workers, and nothing runs by itself: a test says end_turn() for
 * the loop that a worker would have.
 */
#ifndef IDEM_TESTS_UNIT_PEERS_H
#define IDEM_TESTS_UNIT_PEERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "server/commands/execute.h"
#include "server/commands/deliver.h"
#include "server/commands/incoming.h"
#include "server/commands/outputs.h"
#include "server/commands/setup.h"
#include "server/commands/task.h"
#include "server/engine/waiter.h"

#define PEERS 8
#define PEER_WORDS 16
#define PEERS_FURTHER 2

struct peers {
  struct options options;
  struct log log; /* writes nothing */
  struct instance instance;
  struct worker worker, further[PEERS_FURTHER];
  struct session session[PEERS];
  uint64_t stamp_ns;      /* the latest reading of the clock in this batch; 0: none yet */
  uint64_t woken;         /* a bit for each worker */
  unsigned times_seen;    /* how often the clock was looked at anew */
  unsigned stops, goings; /* how often the others were paused, and resumed */
  char *text;             /* what heard() gave last */
};

static inline struct peers *peers_of(struct instance *instance) {
  return LIST_ENTRY(instance, struct peers, instance);
}

static inline struct worker *worker_number(struct peers *p, size_t number) {
  return number == 0 ? &p->worker : &p->further[number - 1];
}

static inline struct worker *worker_of(struct peers *p, size_t who) {
  return worker_number(p, who % p->instance.worker_count);
}

static inline void peers_wake(struct instance *instance, uint64_t workers) {
  assert_true(workers >> instance->worker_count == 0);
  peers_of(instance)->woken |= workers;
}

static inline void peers_pause(struct worker *worker) {
  struct peers *p = peers_of(worker->instance);
  assert_int_equal(p->stops++, p->goings);
}

static inline void peers_resume(struct worker *worker) {
  struct peers *p = peers_of(worker->instance);
  assert_int_equal(++p->goings, p->stops);
}

/* Both clocks of all workers. */
static inline void peers_pass_ms(struct peers *p, int64_t ms) {
  for (unsigned i = 0; i < p->instance.worker_count; i++) {
    worker_number(p, i)->now_ms += ms;
    worker_number(p, i)->monotonic_ms += ms;
  }
}

/* Time is the test's. */
static inline void peers_see_time(struct worker *worker) {
  peers_of(worker->instance)->times_seen++;
}

static void peers_describe(const struct session *session, struct session_address *address) {
  *address = (struct session_address){.fd = -1};
  snprintf(address->peer, sizeof address->peer, "127.0.0.1:%d", 5000 + (int)session->id);
}

static inline int peers_setup_workers(void **state, unsigned workers) {
  struct peers *p = calloc(1, sizeof *p);
  assert_non_null(p);
  options_init(&p->options);
  p->log.fd = -1;
  struct engine_options engine_options = {
      .first_token = 1, .retention_ms = 60000, .waiters_per_key = 100, .waiters_total = 100};
  struct keyspace *keyspace = keyspace_create(&engine_options, workers, 1000);
  assert_non_null(keyspace);
  assert_true(setup_instance_init(&p->instance, keyspace, &p->options, &p->log, 1000));
  p->instance.describe = peers_describe;
  p->instance.wake = peers_wake;
  p->instance.pause_others = peers_pause;
  p->instance.resume_others = peers_resume;
  p->instance.see_time = peers_see_time;
  wall_clock_init(&p->instance.wall, 1000, INT64_C(1700000000123));
  for (unsigned i = 0; i < workers; i++) {
    assert_true(setup_worker_init(worker_number(p, i), &p->instance, 1000));
  }
  for (size_t i = 0; i < PEERS; i++) setup_session_init(&p->session[i], worker_of(p, i));
  *state = p;
  return 0;
}

static inline int peers_setup(void **state) { return peers_setup_workers(state, 1); }

static inline int peers_teardown(void **state) {
  struct peers *p = *state;
  for (size_t i = 0; i < PEERS; i++) setup_session_deinit(&p->session[i], worker_of(p, i));
  assert_int_equal(p->stops, p->goings);
  for (unsigned i = 0; i < p->instance.worker_count; i++) {
    struct worker *worker = worker_number(p, i);
    assert_int_equal(worker->session_count, 0);
    assert_int_equal(worker->waiting_count, 0);
    assert_int_equal(worker->monitor_count, 0);
    setup_worker_deinit(worker);
  }
  setup_instance_deinit(&p->instance);
  keyspace_destroy(p->instance.keyspace);
  options_deinit(&p->options);
  free(p->text);
  free(p);
  return 0;
}

/* The output as it goes over the wire. */
static inline void copy_output(char *to, const struct resp_output *out) {
  size_t at = 0;
  for (size_t i = 0; i < out->ref_count; i++) {
    const struct resp_output_ref *ref = &out->refs[i];
    memcpy(to, out->bytes + at, ref->at - at);
    to += ref->at - at;
    at = ref->at;
    memcpy(to, ref->data, ref->len);
    to += ref->len;
  }
  if (out->len > at) memcpy(to, out->bytes + at, out->len - at);
}

/* What the session was told since it was last asked. Empty when nothing. */
static inline struct span heard_bytes(struct peers *p, size_t who) {
  struct session *session = &p->session[who];
  struct worker *worker = worker_of(p, who);
  struct resp_output *out = session->out;
  assert_true(out == NULL || !out->failed);
  size_t len = out != NULL ? resp_output_size(out) : 0;
  free(p->text);
  p->text = calloc(1, len + 1);
  assert_non_null(p->text);
  if (out != NULL) {
    copy_output(p->text, out);
    outputs_unpin(worker, out, 0);
    outputs_give(worker, out);
  }
  session->out = NULL;
  list_remove(&session->unsent);
  return (struct span){p->text, len};
}

static inline const char *heard(struct peers *p, size_t who) { return heard_bytes(p, who).data; }

static inline void say_spans(struct peers *p, size_t who, const struct span *argv, size_t argc) {
  struct request request = {
      .argv = argv,
      .argc = argc,
      .command = lookup_find(p->worker.commands, argv[0]),
      .stamp_ns = p->stamp_ns,
  };
  incoming_deliver(worker_of(p, who)); /* as the network does before commands that have arrived */
  execute_request(worker_of(p, who), &p->session[who], &request);
  p->stamp_ns = request.stamp_ns;
  while (p->session[who].working) task_run(worker_of(p, who));
}

/* One command, its words separated by single blanks. */
static inline void say(struct peers *p, size_t who, const char *line) {
  struct span argv[PEER_WORDS];
  size_t argc = 0;
  for (const char *word = line;; word = strchr(word, ' ') + 1) {
    assert_true(argc < PEER_WORDS);
    argv[argc++] = (struct span){word, strcspn(word, " ")};
    if (strchr(word, ' ') == NULL) break;
  }
  say_spans(p, who, argv, argc);
}

/* What the loop of a worker does after the commands of a turn. */
static inline void end_turn(struct peers *p, size_t number) {
  struct worker *worker = worker_number(p, number);
  struct keyspace *keyspace = p->instance.keyspace;
  p->woken &= ~(UINT64_C(1) << number);
  uint64_t shards = keyspace_take_ready(keyspace, (unsigned)number);
  for (; shards != 0; shards &= shards - 1) {
    struct shard *shard = keyspace_shard(keyspace, (unsigned)__builtin_ctzll(shards));
    struct waiter *waiter;
    while ((waiter = waiter_next_ready(shard_engine(shard), (unsigned)number)) != NULL)
      deliver_waiter(worker, waiter);
  }
  incoming_deliver(worker);
}

static inline const char *ask(struct peers *p, size_t who, const char *line) {
  say(p, who, line);
  return heard(p, who);
}

#endif
