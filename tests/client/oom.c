/*
 * oom.c - malloc fails at every call in turn, in the library and in hiredis (linked in statically,
 * all their allocations pass through here): every function has to return an error or do its job,
 * and nothing may be left over.
 *
 * The allocator is wrapped by the linker (-Wl,--wrap=malloc and its kin). Only what this program,
 * libidem and hiredis call is counted; libc's own needs are not touched.
 */
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "client/idem.h"
#include "client/idem_uv.h"
#include "tests/client/harness.h"

/* No scenario allocates more often than this. */
#define ALLOCATIONS_MAX 2000

static struct {
  _Atomic long live;    /* allocations that were not freed */
  _Atomic long counter; /* since the scenario began */
  long fail_at;         /* 0: none */
} heap;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *memory);

static bool fails(void) { return atomic_fetch_add(&heap.counter, 1) + 1 == heap.fail_at; }

static void *count(void *memory) {
  if (memory != NULL) heap.live++;
  return memory;
}

void *__wrap_malloc(size_t size) { return fails() ? NULL : count(__real_malloc(size)); }
void *__wrap_calloc(size_t n, size_t size) {
  return fails() ? NULL : count(__real_calloc(n, size));
}
char *__wrap_strdup(const char *text) { return fails() ? NULL : count(__real_strdup(text)); }

void *__wrap_realloc(void *old, size_t size) {
  if (fails()) return NULL;
  void *moved = __real_realloc(old, size);
  if (old == NULL) count(moved);
  return moved;
}

void __wrap_free(void *memory) {
  if (memory != NULL) heap.live--;
  __real_free(memory);
}

/* ---- scenarios; each tells how often it was denied what it asked for ---- */

static int port, serial;

static int make(struct idem_claim *claim, void *context, struct idem_result *result) {
  (void)claim;
  ++*(int *)context;
  result->body = idem_text("made");
  return IDEM_WORK_DONE;
}

static enum idem_status open_one(struct idem_client **client) {
  char url[64];
  struct idem_options options = {
      .name = "oom", .deadline_ms = 300, .backoff_first_ms = 1, .backoff_max_ms = 2};
  snprintf(url, sizeof url, "redis://127.0.0.1:%d", port);
  return idem_open(url, &options, client, NULL);
}

/* Says RUN only if the work ran, and so on. */
static void once(struct idem_client *client, const char *key) {
  int runs = 0;
  struct idem_answer answer;
  struct idem_request request = {.key = idem_text(key), .wait_ms = IDEM_NO_WAIT};
  enum idem_status status = idem_once(client, &request, make, &runs, &answer);
  bool ran = status == IDEM_RUN || status == IDEM_UNSTORED;
  CHECK(runs == ran, "%s: %d runs", idem_status_name(status), runs);
  if (ran || status == IDEM_REPLAY) CHECK(answer.body.len == 4, "%s", idem_status_name(status));
  bool defined = ran || status == IDEM_REPLAY || status == IDEM_BUSY || status == IDEM_NO_MEMORY ||
                 status == IDEM_UNAVAILABLE;
  CHECK(defined, "%s", idem_status_name(status));
  idem_answer_clear(&answer);
}

static void steps(struct idem_client *client, const char *key) {
  struct idem_answer answer;
  struct idem_claim *claim = NULL;
  struct idem_request request = {.key = idem_text(key)};
  struct idem_result result = {.body = idem_text("made"), .meta = idem_text("meta")};
  if (idem_begin(client, &request, &claim, &answer) == IDEM_RUN) {
    enum idem_status staged = idem_stage(claim, idem_text("half")),
                     stored = idem_finish(claim, &result);
    CHECK(staged == IDEM_OK || staged == IDEM_NO_MEMORY || staged == IDEM_UNAVAILABLE, "%s",
          idem_status_name(staged));
    CHECK(stored == IDEM_OK || stored == IDEM_NO_MEMORY || stored == IDEM_UNAVAILABLE, "%s",
          idem_status_name(stored));
  }
  idem_answer_clear(&answer);
  idem_claim_free(claim);
  idem_wait(client, request.key, idem_text(NULL), 1, &answer);
  idem_answer_clear(&answer);
}

static void synchronous(void) {
  char key[32];
  struct idem_client *client = NULL;
  struct idem_fingerprint fingerprint;
  struct idem_http_request request = {.method = idem_text("POST")};
  enum idem_status hashed = idem_fingerprint(&request, &fingerprint);
  CHECK(hashed == IDEM_OK || hashed == IDEM_NO_MEMORY, "%s", idem_status_name(hashed));
  enum idem_status status = open_one(&client);
  CHECK(status == IDEM_OK || status == IDEM_NO_MEMORY, "%s", idem_status_name(status));
  CHECK((client != NULL) == (status == IDEM_OK), "%s", idem_status_name(status));
  if (client == NULL) return;
  snprintf(key, sizeof key, "oom %d", ++serial);
  once(client, key);
  once(client, key);
  snprintf(key, sizeof key, "oom %d", ++serial);
  steps(client, key);
  idem_close(client);
}

struct world {
  uv_loop_t loop;
  struct idem_async *async;
  int open;
};

static void on_any(struct idem_answer *answer, struct idem_claim *claim, void *context) {
  struct world *world = context;
  world->open--;
  uv_stop(&world->loop); /* see world_on_done */
  if (answer->status == IDEM_RUN) {
    struct idem_result result = {.body = idem_text("made")};
    enum idem_status status = idem_async_finish(claim, &result, on_any, world, NULL);
    if (status == IDEM_OK) {
      world->open++;
    } else {
      CHECK(status == IDEM_NO_MEMORY && strcmp(idem_claim_message(claim), "out of memory") == 0,
            "%s: %s", idem_status_name(status), idem_claim_message(claim));
      idem_claim_free(claim);
    }
  } else {
    idem_claim_free(claim);
  }
}

static void asynchronous(void) {
  char url[64], key[32];
  struct world world = {.open = 0};
  struct idem_options options = {.deadline_ms = 300, .backoff_first_ms = 1, .backoff_max_ms = 2};
  uv_loop_init(&world.loop);
  struct idem_loop loop = idem_uv_loop(&world.loop);
  snprintf(url, sizeof url, "redis://127.0.0.1:%d", port);
  if (idem_async_open(url, &options, &loop, &world.async, NULL) == IDEM_OK) {
    for (int i = 0; i < 3; i++) {
      snprintf(key, sizeof key, "oom %d", ++serial);
      struct idem_request request = {.key = idem_text(key), .wait_ms = i};
      if (idem_async_begin(world.async, &request, on_any, &world, NULL) == IDEM_OK) world.open++;
    }
    int64_t until = now_ms() + HANG_MS;
    while (world.open > 0) {
      uv_run(&world.loop, UV_RUN_ONCE);
      CHECK(now_ms() < until, "%d calls hang", world.open);
    }
    idem_async_close(world.async);
  }
  while (uv_run(&world.loop, UV_RUN_DEFAULT) != 0) continue;
  CHECK(uv_loop_close(&world.loop) == 0, "handles are left");
}

static void sweep(const char *name, void (*scenario)(void)) {
  long total = 0;
  scenario(); /* what is allocated once and for all */
  for (heap.fail_at = 1; heap.fail_at < ALLOCATIONS_MAX; heap.fail_at++) {
    long before = heap.live;
    heap.counter = 0;
    scenario();
    CHECK(heap.live == before, "%s: allocation %ld failed, %ld are left over", name, heap.fail_at,
          heap.live - before);
    total = heap.counter;
    if (total < heap.fail_at) break;
  }
  printf("  %s: each of %ld allocations failed once\n", name, heap.fail_at - 1);
  heap.fail_at = 0;
}

int main(void) {
  struct server server;
  server_start(&server, 0, NULL);
  port = server.port;
  sweep("synchronous", synchronous);
  sweep("asynchronous", asynchronous);
  server_kill(&server, SIGTERM);
  return 0;
}
