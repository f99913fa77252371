/* pair.c - see pair.h. */
#include "tests/client/pair.h"

#include <string.h>

#define NONE idem_data(NULL, 0)

const char *pair_name(enum half half) { return half == SYNC ? "sync" : "async"; }

void pair_open_url(struct pair *pair, enum half half, const char *url,
                   const struct idem_options *options) {
  pair->half = half;
  pair->stranger = NULL;
  pair->client = NULL;
  if (half == SYNC) {
    pair->client = must_open_url(url, options);
  } else {
    world_open_url(&pair->world, url, options);
  }
}

void pair_open_port(struct pair *pair, enum half half, int port,
                    const struct idem_options *options) {
  char url[64];
  url_of(url, sizeof url, port);
  pair_open_url(pair, half, url, options);
}

void pair_open(struct pair *pair, enum half half, stranger_fn *answer, void *context,
               const struct idem_options *options) {
  struct stranger *stranger = stranger_open(answer, context);
  pair_open_port(pair, half, stranger_port(stranger), options);
  pair->stranger = stranger;
}

void pair_close(struct pair *pair) {
  if (pair->half == SYNC) {
    idem_close(pair->client);
  } else {
    world_close(&pair->world);
  }
  if (pair->stranger != NULL) stranger_close(pair->stranger);
}

/* ---- one asynchronous call, to its end ---- */

static void seen_init(struct seen *seen, struct pair *pair) {
  memset(seen, 0, sizeof *seen);
  seen->world = &pair->world;
}

/* It was started with `started`. answer may be NULL. */
static enum idem_status await(struct pair *pair, enum idem_status started, struct seen *seen,
                              struct idem_answer *answer) {
  if (started != IDEM_OK) return started;
  pair->world.open++;
  world_finish_all(&pair->world);
  if (answer != NULL) {
    idem_answer_move(answer, &seen->answer);
  } else {
    idem_answer_clear(&seen->answer);
  }
  return seen->status;
}

/* ---- calls ---- */

enum idem_status pair_begin(struct pair *pair, const struct idem_request *request,
                            struct idem_claim **claim, struct idem_answer *answer) {
  if (pair->half == SYNC) return idem_begin(pair->client, request, claim, answer);
  struct seen seen;
  seen_init(&seen, pair);
  enum idem_status started =
      idem_async_begin(pair->world.async, request, world_on_done, &seen, NULL);
  enum idem_status status = await(pair, started, &seen, answer);
  *claim = seen.claim;
  return status;
}

static struct idem_claim *must_begin(struct pair *pair, const struct idem_request *request) {
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  enum idem_status status = pair_begin(pair, request, &claim, &answer);
  CHECK(status == IDEM_RUN, "%s %s: %s", pair_name(pair->half), idem_status_name(status),
        answer.message);
  idem_answer_clear(&answer);
  return claim;
}

struct idem_claim *pair_must_begin(struct pair *pair, const char *key) {
  const struct idem_request request = {.key = idem_text(key), .flags = IDEM_NO_RENEWAL};
  return must_begin(pair, &request);
}

struct idem_claim *pair_must_hold(struct pair *pair, const char *key) {
  const struct idem_request request = {.key = idem_text(key)};
  return must_begin(pair, &request);
}

enum idem_status pair_fetch_key(struct pair *pair, const char *key, struct idem_answer *answer) {
  if (pair->half == SYNC) return idem_fetch(pair->client, idem_text(key), NONE, answer);
  struct seen seen;
  seen_init(&seen, pair);
  return await(
      pair, idem_async_fetch(pair->world.async, idem_text(key), NONE, world_on_done, &seen, NULL),
      &seen, answer);
}

enum idem_status pair_wait_key(struct pair *pair, const char *key, int64_t wait_ms,
                               struct idem_answer *answer) {
  if (pair->half == SYNC) return idem_wait(pair->client, idem_text(key), NONE, wait_ms, answer);
  struct seen seen;
  seen_init(&seen, pair);
  return await(
      pair,
      idem_async_wait(pair->world.async, idem_text(key), NONE, wait_ms, world_on_done, &seen, NULL),
      &seen, answer);
}

enum idem_status pair_fetch(struct pair *pair, struct idem_answer *answer) {
  return pair_fetch_key(pair, "x", answer);
}

enum idem_status pair_wait(struct pair *pair, int64_t wait_ms, struct idem_answer *answer) {
  return pair_wait_key(pair, "x", wait_ms, answer);
}

enum idem_status pair_store(struct pair *pair, struct idem_claim *claim,
                            const struct idem_result *result) {
  if (pair->half == SYNC) return idem_finish(claim, result);
  struct seen seen;
  seen_init(&seen, pair);
  return await(pair, idem_async_finish(claim, result, world_on_done, &seen, NULL), &seen, NULL);
}

enum idem_status pair_finish(struct pair *pair, struct idem_claim *claim, int uncached) {
  const struct idem_result result = {.body = idem_text("b"), .uncached = uncached};
  return pair_store(pair, claim, &result);
}

enum idem_status pair_stage(struct pair *pair, struct idem_claim *claim, const char *stage) {
  if (pair->half == SYNC) return idem_stage(claim, idem_text(stage));
  struct seen seen;
  seen_init(&seen, pair);
  return await(pair, idem_async_stage(claim, idem_text(stage), world_on_done, &seen, NULL), &seen,
               NULL);
}

enum idem_status pair_abandon(struct pair *pair, struct idem_claim *claim, enum idem_release how) {
  if (pair->half == SYNC) return idem_abandon(claim, how);
  struct seen seen;
  seen_init(&seen, pair);
  return await(pair, idem_async_abandon(claim, how, world_on_done, &seen, NULL), &seen, NULL);
}
