/*
 * peers.h - a host without a network, or several, and clients that speak to it in words: for tests
 * of what stands between several clients.
 *
 * Time is the test's. What a client was told is taken with heard(), as text. Of several hosts
 * client n is with host n modulo hosts, and nothing runs by itself: a test says end_turn() for the
 * loop that a host would have.
 */
#ifndef IDEM_TESTS_UNIT_PEERS_H
#define IDEM_TESTS_UNIT_PEERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "server/commands/command.h"
#include "server/commands/inbox.h"
#include "server/commands/pubsub.h"
#include "server/commands/task.h"

#define PEERS 8
#define PEER_WORDS 16
#define PEERS_FURTHER 2

struct peers {
  struct options options;
  struct log log; /* writes nothing */
  struct shared shared;
  struct host host, further[PEERS_FURTHER];
  struct client client[PEERS];
  uint64_t woken;         /* a bit for each host */
  unsigned times_seen;    /* how often the clock was looked at anew */
  unsigned stops, goings; /* how often the others stood still, and went on */
  char *text;             /* what heard() gave last */
};

static inline struct peers *peers_of(struct shared *shared) {
  return LIST_ENTRY(shared, struct peers, shared);
}

static inline struct host *host_number(struct peers *p, size_t number) {
  return number == 0 ? &p->host : &p->further[number - 1];
}

static inline struct host *host_of(struct peers *p, size_t who) {
  return host_number(p, who % p->shared.host_count);
}

static inline void peers_wake(struct shared *shared, uint64_t hosts) {
  assert_true(hosts >> shared->host_count == 0);
  peers_of(shared)->woken |= hosts;
}

static inline void peers_stop(struct host *host) {
  struct peers *p = peers_of(host->shared);
  assert_int_equal(p->stops++, p->goings);
}

static inline void peers_go_on(struct host *host) {
  struct peers *p = peers_of(host->shared);
  assert_int_equal(++p->goings, p->stops);
}

/* Time is the test's. */
static inline void peers_see_time(struct host *host) { peers_of(host->shared)->times_seen++; }

static void peers_describe(const struct client *client, struct client_address *address) {
  *address = (struct client_address){.fd = -1};
  snprintf(address->peer, sizeof address->peer, "127.0.0.1:%d", 5000 + (int)client->id);
}

static inline int peers_setup_hosts(void **state, unsigned hosts) {
  struct peers *p = calloc(1, sizeof *p);
  assert_non_null(p);
  options_init(&p->options);
  p->log.fd = -1;
  struct engine_options engine_options = {
      .first_token = 1, .retention_ms = 60000, .waiters_per_key = 100, .waiters_total = 100};
  struct keyspace *keyspace = keyspace_create(&engine_options, hosts, 1000);
  assert_non_null(keyspace);
  assert_true(shared_init(&p->shared, keyspace, &p->options, &p->log, 1000));
  p->shared.describe = peers_describe;
  p->shared.wake = peers_wake;
  p->shared.stop_others = peers_stop;
  p->shared.go_on = peers_go_on;
  p->shared.see_time = peers_see_time;
  p->shared.wall_offset_ms = INT64_C(1700000000123) - 1000;
  for (unsigned i = 0; i < hosts; i++) {
    assert_true(host_init(host_number(p, i), &p->shared, 1000));
  }
  for (size_t i = 0; i < PEERS; i++) client_init(&p->client[i], host_of(p, i));
  *state = p;
  return 0;
}

static inline int peers_setup(void **state) { return peers_setup_hosts(state, 1); }

static inline int peers_teardown(void **state) {
  struct peers *p = *state;
  for (size_t i = 0; i < PEERS; i++) client_deinit(&p->client[i], host_of(p, i));
  assert_int_equal(p->stops, p->goings);
  for (unsigned i = 0; i < p->shared.host_count; i++) {
    struct host *host = host_number(p, i);
    assert_int_equal(host->client_count, 0);
    assert_int_equal(host->waiting_count, 0);
    assert_int_equal(host->monitor_count, 0);
    host_deinit(host);
  }
  shared_deinit(&p->shared);
  keyspace_destroy(p->shared.keyspace);
  options_deinit(&p->options);
  free(p->text);
  free(p);
  return 0;
}

/* The output as it goes over the wire. */
static inline void copy_output(char *to, const struct resp_output *out) {
  size_t at = 0;
  for (size_t i = 0; i < out->ref_count; i++) {
    const struct resp_ref *ref = &out->refs[i];
    memcpy(to, out->bytes + at, ref->at - at);
    to += ref->at - at;
    at = ref->at;
    memcpy(to, ref->data, ref->len);
    to += ref->len;
  }
  if (out->len > at) memcpy(to, out->bytes + at, out->len - at);
}

/* What the client was told since it was last asked. Empty when nothing. */
static inline struct span heard_bytes(struct peers *p, size_t who) {
  struct client *client = &p->client[who];
  struct host *host = host_of(p, who);
  struct resp_output *out = client->out;
  assert_true(out == NULL || !out->failed);
  size_t len = out != NULL ? resp_output_size(out) : 0;
  free(p->text);
  p->text = calloc(1, len + 1);
  assert_non_null(p->text);
  if (out != NULL) {
    copy_output(p->text, out);
    host_output_unpin(host, out, 0);
    host_output_give(host, out);
  }
  client->out = NULL;
  list_remove(&client->unsent);
  return (struct span){p->text, len};
}

static inline const char *heard(struct peers *p, size_t who) { return heard_bytes(p, who).data; }

static inline void say_spans(struct peers *p, size_t who, const struct span *argv, size_t argc) {
  const struct request request = {
      .argv = argv,
      .argc = argc,
      .command = command_find(p->host.commands, argv[0]),
  };
  inbox_deliver(host_of(p, who)); /* as the network does before commands that have arrived */
  command_run(host_of(p, who), &p->client[who], &request);
  while (p->client[who].working) task_run(host_of(p, who));
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

/* What the loop of a host does behind the commands of a turn. */
static inline void end_turn(struct peers *p, size_t number) {
  struct host *host = host_number(p, number);
  struct keyspace *keyspace = p->shared.keyspace;
  p->woken &= ~(UINT64_C(1) << number);
  uint64_t shards = keyspace_take_ready(keyspace, (unsigned)number);
  for (; shards != 0; shards &= shards - 1) {
    struct shard *shard = keyspace_shard(keyspace, (unsigned)__builtin_ctzll(shards));
    struct engine_waiter *waiter;
    while ((waiter = engine_next_ready(shard_engine(shard), (unsigned)number)) != NULL)
      command_answer_waiter(host, waiter);
  }
  inbox_deliver(host);
}

static inline const char *ask(struct peers *p, size_t who, const char *line) {
  say(p, who, line);
  return heard(p, who);
}

#endif
