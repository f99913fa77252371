/*
 * peers.h - a host without a network, and clients that speak to it in words: for tests of what
 * stands between several clients.
 *
 * Time is the test's. What a client was told is taken with heard(), as text.
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
#include "server/commands/pubsub.h"

#define PEERS 8
#define PEER_WORDS 16

struct peers {
  struct options options;
  struct shared shared;
  struct host host;
  struct client client[PEERS];
  char *text; /* what heard() gave last */
};

static void peers_describe(const struct client *client, struct client_address *address) {
  *address = (struct client_address){.fd = -1};
  snprintf(address->peer, sizeof address->peer, "127.0.0.1:%d", 5000 + (int)client->id);
}

static inline int peers_setup(void **state) {
  struct peers *p = calloc(1, sizeof *p);
  assert_non_null(p);
  options_init(&p->options);
  struct engine_options engine_options = {
      .first_token = 1, .retention_ms = 60000, .waiters_per_key = 100, .waiters_total = 100};
  struct keyspace *keyspace = keyspace_create(&engine_options, 1, 1000);
  assert_non_null(keyspace);
  assert_true(shared_init(&p->shared, keyspace, &p->options, NULL, 1000));
  assert_true(host_init(&p->host, &p->shared, 1000));
  p->shared.describe = peers_describe;
  p->host.wall_offset_ms = INT64_C(1700000000123) - 1000;
  for (size_t i = 0; i < PEERS; i++) client_init(&p->client[i], &p->host);
  *state = p;
  return 0;
}

static inline int peers_teardown(void **state) {
  struct peers *p = *state;
  for (size_t i = 0; i < PEERS; i++) client_deinit(&p->client[i], &p->host);
  assert_int_equal(p->host.client_count, 0);
  assert_int_equal(p->host.monitor_count, 0);
  host_deinit(&p->host);
  shared_deinit(&p->shared);
  keyspace_destroy(p->shared.keyspace);
  options_deinit(&p->options);
  free(p->text);
  free(p);
  return 0;
}

/* What the client was told since it was last asked. Empty when nothing. */
static inline struct span heard_bytes(struct peers *p, size_t who) {
  struct client *client = &p->client[who];
  struct resp_output *out = client->out;
  assert_true(out == NULL || (!out->failed && out->ref_count == 0));
  size_t len = out != NULL ? out->len : 0;
  free(p->text);
  p->text = calloc(1, len + 1);
  assert_non_null(p->text);
  if (len > 0) memcpy(p->text, out->bytes, len);
  if (out != NULL) host_output_give(&p->host, out);
  client->out = NULL;
  list_remove(&client->unsent);
  return (struct span){p->text, len};
}

static inline const char *heard(struct peers *p, size_t who) { return heard_bytes(p, who).data; }

static inline void say_spans(struct peers *p, size_t who, const struct span *argv, size_t argc) {
  const struct request request = {
      .argv = argv,
      .argc = argc,
      .command = command_find(p->host.commands, argv[0], SPAN_ABSENT),
  };
  command_run(&p->host, &p->client[who], &request);
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

static inline const char *ask(struct peers *p, size_t who, const char *line) {
  say(p, who, line);
  return heard(p, who);
}

#endif
