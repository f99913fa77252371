/* world.c - see world.h. */
#include "tests/client/world.h"

#include <string.h>

#include "client/idem_uv.h"
#include "tests/client/harness.h"

/* Stops the loop: before libuv 1.45 a turn that ran the last timer waits for events after it. */
void world_on_done(struct idem_answer *answer, struct idem_claim *claim, void *context) {
  struct seen *seen = context;
  seen->times++;
  seen->status = answer->status;
  seen->claim = claim;
  idem_answer_move(&seen->answer, answer);
  seen->world->open--;
  uv_stop(&seen->world->loop);
}

void world_open_url(struct world *world, const char *url, const struct idem_options *options) {
  struct idem_error error;
  memset(world, 0, sizeof *world);
  CHECK(uv_loop_init(&world->loop) == 0, "no loop");
  struct idem_loop loop = idem_uv_loop(&world->loop);
  const struct idem_options patient = patient_options(options);
  enum idem_status status = idem_async_open(url, &patient, &loop, &world->async, &error);
  CHECK(status == IDEM_OK, "%s", error.text);
}

void world_open(struct world *world, int port, const struct idem_options *options) {
  char url[64];
  url_of(url, sizeof url, port);
  world_open_url(world, url, options);
}

void world_close(struct world *world) {
  idem_async_close(world->async);
  while (uv_run(&world->loop, UV_RUN_DEFAULT) != 0) continue; /* a call that ends stops it */
  CHECK(uv_loop_close(&world->loop) == 0, "handles are left");
}

/* Runs the loop until all calls have ended. */
void world_finish_all(struct world *world) {
  int64_t deadline = now_ms() + 2 * HANG_MS;
  while (world->open > 0) {
    uv_run(&world->loop, UV_RUN_ONCE);
    CHECK(now_ms() < deadline, "%d calls hang", world->open);
  }
}

static void on_wake(uv_timer_t *timer) {
  *(int *)timer->data = 1;
  uv_stop(timer->loop);
}

void world_run_for(struct world *world, uint64_t ms) {
  uv_timer_t timer;
  int over = 0;
  uv_timer_init(&world->loop, &timer);
  timer.data = &over;
  uv_timer_start(&timer, on_wake, ms, 0);
  while (!over) uv_run(&world->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&world->loop, UV_RUN_NOWAIT);
}

void world_begin(struct world *world, const struct idem_request *request, struct seen *seen,
                 struct idem_call **call) {
  memset(seen, 0, sizeof *seen);
  seen->world = world;
  CHECK(idem_async_begin(world->async, request, world_on_done, seen, call) == IDEM_OK,
        "not started");
  CHECK(seen->times == 0, "ended by the call that started it");
  world->open++;
}

void world_finish(struct world *world, struct idem_claim *claim, const char *body, int uncached,
                  struct seen *seen) {
  struct idem_result result;
  memset(&result, 0, sizeof result);
  result.body = idem_text(body);
  result.uncached = uncached;
  memset(seen, 0, sizeof *seen);
  seen->world = world;
  CHECK(idem_async_finish(claim, &result, world_on_done, seen, NULL) == IDEM_OK, "not started");
  world->open++;
}

void world_fetch(struct world *world, const char *key, struct seen *seen) {
  memset(seen, 0, sizeof *seen);
  seen->world = world;
  CHECK(idem_async_fetch(world->async, idem_text(key), idem_data(NULL, 0), world_on_done, seen,
                         NULL) == IDEM_OK,
        "not started");
  world->open++;
  while (seen->times == 0) uv_run(&world->loop, UV_RUN_ONCE);
}

struct idem_claim *world_must_begin(struct world *world, const struct idem_request *request) {
  struct seen seen;
  world_begin(world, request, &seen, NULL);
  world_finish_all(world);
  CHECK(seen.status == IDEM_RUN, "%s %s", idem_status_name(seen.status), seen.answer.message);
  idem_answer_clear(&seen.answer);
  return seen.claim;
}
