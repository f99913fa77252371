/*
 * one_engine.h - one engine, its clock, which is a number, and its commands in short: for tests
 * that read as stories. Included by one file of a program.
 *
 * A claim's lease is 100 ms unless the story says otherwise, and who waits waits for long.
 */
#ifndef IDEM_TESTS_UNIT_ONE_ENGINE_H
#define IDEM_TESTS_UNIT_ONE_ENGINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/engine/binding.h"
#include "server/engine/engine.h"
#include "server/engine/keys.h"
#include "server/engine/pin.h"
#include "server/engine/stats.h"
#include "server/engine/tick.h"
#include "server/engine/waiter.h"

#define START INT64_C(5000)
#define FIRST_TOKEN UINT64_C(7000000)
#define RETENTION INT64_C(86400000)
#define FOREVER INT64_C(1000000)
#define PLENTY 1000000u

static const struct engine_options OPTIONS = {
    .first_token = FIRST_TOKEN,
    .retention_ms = RETENTION,
    .waiters_per_key = 20000,
    .waiters_total = 30000,
};

/* One engine at a time, its clock, and the last answer. */
struct fixture {
  struct engine *engine;
  int64_t now;
  struct engine_answer answer;
  size_t empty_bytes;
};

static inline size_t memory_of(struct fixture *f) {
  struct stats stats;
  stats_read(f->engine, &stats);
  return stats.memory_bytes;
}

static inline int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  if (f == NULL) return -1;
  f->now = START;
  f->engine = engine_create(&OPTIONS, f->now);
  if (f->engine == NULL) return -1;
  f->empty_bytes = memory_of(f);
  *state = f;
  return 0;
}

/* The engine goes on with other options. */
static inline void reconfigure(struct fixture *f, struct engine_options options) {
  engine_reconfigure(f->engine, &options);
}

static inline void settle_ready(struct fixture *f) {
  struct waiter *waiter;
  while ((waiter = waiter_next_ready(f->engine, 0)) != NULL) waiter_settle(f->engine, waiter);
}

/* A test that failed has left callers waiting, whose time is over by then: the engine must not be
 * what says so. */
static inline int teardown(void **state) {
  struct fixture *f = *state;
  settle_ready(f);
  struct stats left;
  stats_read(f->engine, &left);
  if (left.waiters > 0) tick_run(f->engine, f->now + 2 * FOREVER, PLENTY);
  settle_ready(f);
  engine_destroy(f->engine);
  free(f);
  return 0;
}

static inline struct stats stats_of(struct fixture *f) {
  struct stats stats;
  stats_read(f->engine, &stats);
  return stats;
}

/* ---- the commands, short ---- */

static inline struct engine_claim as(const char *key, const char *owner) {
  return (struct engine_claim){.key = span_of(key), .owner = span_of(owner), .lease_ms = 100};
}

static inline struct engine_claim waiting(const char *key, const char *owner) {
  struct engine_claim claim = as(key, owner);
  claim.wait_ms = FOREVER;
  return claim;
}

static inline struct engine_claim holding(const char *key, const char *owner) {
  struct engine_claim claim = as(key, owner);
  claim.hold = true;
  return claim;
}

static inline struct engine_claim bound(const char *key, const char *owner,
                                        struct binding *connection) {
  struct engine_claim claim = as(key, owner);
  claim.binding = connection;
  return claim;
}

static inline struct engine_claim born(struct engine_claim claim, int64_t born_ms) {
  claim.born = true;
  claim.born_ms = born_ms;
  return claim;
}

static inline struct engine_claim taking_over(struct engine_claim claim, uint64_t token) {
  claim.takeover = token;
  return claim;
}

static inline enum engine_status claim(struct fixture *f, struct engine_claim claim) {
  engine_claim(f->engine, &claim, f->now, &f->answer);
  return f->answer.status;
}

static inline uint64_t claimed(struct fixture *f, struct engine_claim c) {
  assert_int_equal(claim(f, c), ENGINE_CLAIMED);
  return f->answer.token;
}

static inline struct waiter *queued(struct fixture *f, struct engine_claim c) {
  assert_int_equal(claim(f, c), ENGINE_QUEUED);
  return f->answer.waiter;
}

static inline enum engine_status store_for(struct fixture *f, const char *key, uint64_t token,
                                           const char *body, int64_t ttl_ms) {
  struct engine_store store = {
      .key = span_of(key), .token = token, .body = span_of(body), .ttl_ms = ttl_ms};
  engine_store(f->engine, &store, f->now, &f->answer);
  return f->answer.status;
}

static inline enum engine_status store(struct fixture *f, const char *key, uint64_t token,
                                       const char *body) {
  return store_for(f, key, token, body, FOREVER);
}

static inline enum engine_status renew(struct fixture *f, const char *key, uint64_t token,
                                       const char *stage) {
  struct engine_renew renew = {.key = span_of(key), .token = token, .stage = span_of(stage)};
  engine_renew(f->engine, &renew, f->now, &f->answer);
  return f->answer.status;
}

/* STORE with TTL 0. */
static inline enum engine_status share(struct fixture *f, const char *key, uint64_t token,
                                       enum rules_word word) {
  const struct engine_store store = {
      .key = span_of(key), .token = token, .body = SPAN_LITERAL("shared"), .word = word};
  engine_store(f->engine, &store, f->now, &f->answer);
  return f->answer.status;
}

static inline enum engine_status release_with(struct fixture *f, const char *key, uint64_t token,
                                              enum rules_word word) {
  const struct engine_release release = {.key = span_of(key), .token = token, .word = word};
  engine_release(f->engine, &release, f->now, &f->answer);
  return f->answer.status;
}

static inline enum engine_status release(struct fixture *f, const char *key, uint64_t token) {
  return release_with(f, key, token, RULES_DID_NOTHING);
}

static inline enum engine_status fetch(struct fixture *f, const char *key) {
  struct engine_read read = {.key = span_of(key)};
  engine_read(f->engine, &read, f->now, &f->answer);
  return f->answer.status;
}

static inline struct waiter *reader(struct fixture *f, const char *key) {
  struct engine_read read = {.key = span_of(key), .wait_ms = FOREVER};
  engine_read(f->engine, &read, f->now, &f->answer);
  assert_int_equal(f->answer.status, ENGINE_QUEUED);
  return f->answer.waiter;
}

static inline struct keys_entry look(struct fixture *f, const char *key) {
  struct keys_entry entry;
  keys_look(f->engine, span_of(key), f->now, &entry);
  return entry;
}

/* ---- expectations ---- */

static inline void expect_none_ready(struct fixture *f) {
  assert_null(waiter_next_ready(f->engine, 0));
}

static inline const struct engine_answer *expect_ready(struct fixture *f, struct waiter *waiter,
                                                       enum engine_status status) {
  struct waiter *ready = waiter_next_ready(f->engine, 0);
  assert_ptr_equal(ready, waiter);
  assert_int_equal(waiter_answer(ready)->status, status);
  return waiter_answer(ready);
}

static inline void expect_settled(struct fixture *f, struct waiter *waiter,
                                  enum engine_status status) {
  expect_ready(f, waiter, status);
  waiter_settle(f->engine, waiter);
}

static inline void expect_bytes(const struct blob *blob, const char *text) {
  assert_true(span_equal(pin_bytes(blob), span_of(text)));
}

static inline void tick_until_done(struct fixture *f) {
  for (int n = 0; tick_run(f->engine, f->now, PLENTY); n++) assert_true(n < 100);
}

static inline void expect_empty(struct fixture *f) {
  tick_until_done(f);
  struct stats stats = stats_of(f);
  assert_int_equal(stats.records + stats.values + stats.waiters + stats.expiring, 0);
  for (int phase = 0; phase <= RULES_DONE; phase++) assert_int_equal(stats.phases[phase], 0);
  assert_true(stats.memory_bytes <=
              f->empty_bytes + 65536); /* the list of segments of a table that was large */
  assert_true(tick_next_due(f->engine) == INT64_MAX);
}

#endif
