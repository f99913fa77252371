/*
 * async.c - the asynchronous functions of idem.h: an idem_async is opened and closed, calls are
 * checked and started. What becomes of a call is call.h's.
 *
 * It has no header: these are public functions, and nothing in the library calls them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/call.h"
#include "client/clock.h"
#include "client/renewal.h"
#include "client/sized.h"

/* Deadlines and pauses that lie closer together than this share one turn of the timer. (A call that
 * has ended or was started asks for the timer at once.) */
#define TICK_MS 2

/* ---- open, close ---- */

static void on_timer(void *context) {
  struct idem_async *async = context;
  int64_t now = clock_ms();
  wakeup_fired(&async->wakeup);
  int64_t next_ms = call_run_due(async, now);
  next_ms = clock_min(next_ms, renewal_run(async, now));
  call_settle(async);
  if (next_ms < CLOCK_NEVER) wakeup_at(&async->wakeup, clock_max(next_ms, now + TICK_MS));
}

SIZED_ASSERT_FULL(struct idem_loop, SIZED_LOOP_0_1);

/* Copies the caller's loop. False: something is missing. */
static bool take_loop(struct idem_loop *to, const struct idem_loop *from) {
  if (from == NULL || !sized_copy(to, sizeof *to, from, SIZED_LOOP_0_1)) return false;
  return to->watch != NULL && to->want != NULL && to->unwatch != NULL && to->timer != NULL &&
         to->timer_start != NULL && to->timer_free != NULL;
}

static enum idem_status init(struct idem_async *async, const char *url,
                             const struct idem_options *options, struct idem_error *error) {
  enum idem_status status = settings_init(&async->settings, url, options, error);
  if (status != IDEM_OK) return status;
  if (!wakeup_init(&async->wakeup, &async->loop, on_timer, async)) {
    settings_deinit(&async->settings);
    return IDEM_NO_MEMORY;
  }
  if (!call_init(async)) {
    wakeup_deinit(&async->wakeup);
    settings_deinit(&async->settings);
    return IDEM_NO_MEMORY;
  }
  return IDEM_OK;
}

enum idem_status idem_async_open(const char *url, const struct idem_options *options,
                                 const struct idem_loop *loop, struct idem_async **out,
                                 struct idem_error *error) {
  struct idem_error ignored;
  struct idem_loop own;
  if (error == NULL) error = &ignored;
  error->text[0] = '\0';
  *out = NULL;
  if (!take_loop(&own, loop)) {
    snprintf(error->text, sizeof error->text, "an incomplete struct idem_loop");
    return IDEM_INVALID;
  }
  struct idem_async *async = calloc(1, sizeof *async);
  enum idem_status status = IDEM_NO_MEMORY;
  if (async != NULL) {
    async->loop = own;
    status = init(async, url, options, error);
  }
  if (status == IDEM_NO_MEMORY) snprintf(error->text, sizeof error->text, "out of memory");
  if (status != IDEM_OK) {
    free(async);
    return status;
  }
  *out = async;
  return IDEM_OK;
}

void idem_async_close(struct idem_async *async) {
  if (async == NULL || !process_mark_holds(&async->settings.process)) return;
  async->closed = true; /* from here on nothing is started */
  wakeup_deinit(&async->wakeup);
  call_close_all(async, clock_ms());
  renewal_orphan_all(async);
  link_set_deinit(&async->links);
  cluster_deinit(&async->cluster);
  settings_deinit(&async->settings);
  call_release_async(async);
}

/* ---- calls ---- */

/* In a child of the process that opened it the connections are the parent's. */
static bool accepts(const struct idem_async *async) {
  return async != NULL && !async->closed && process_mark_holds(&async->settings.process);
}

/* Creates and sends a call of the user. OK or NO_MEMORY. */
static enum idem_status start(struct idem_async *async, const struct call_order *order,
                              struct idem_call **out) {
  int64_t now = clock_ms();
  struct idem_call *call = call_create(async, order, now);
  if (call == NULL) return IDEM_NO_MEMORY;
  if (order->claim != NULL && !order->begins) {
    order->claim->call = call;
    order->claim->lease.muted = order->request->verb != WIRE_RENEW;
  }
  if (out != NULL) *out = call;
  call_send(call, now);
  return IDEM_OK;
}

/* Starts a begin. What claim_request refuses is not sent: its status and its reason become the
 * answer, and `done` gets it from the loop. */
static enum idem_status begin(struct idem_async *async, const struct idem_request *request,
                              struct call_order *order, struct idem_call **out) {
  char owner[SETTINGS_OWNER_BYTES];
  struct wire_request claim_it;
  const char *why = NULL;
  const struct idem_bytes name = settings_owner(&async->settings, owner);
  enum idem_status status = claim_request(&claim_it, request, name, &why);
  order->request = &claim_it;
  if (status == IDEM_OK) return start(async, order, out);
  struct idem_call *call = call_create(async, order, clock_ms());
  if (call == NULL) return IDEM_NO_MEMORY;
  if (out != NULL) *out = call;
  call_fail(call, status, why);
  return IDEM_OK;
}

enum idem_status idem_async_begin(struct idem_async *async, const struct idem_request *asked,
                                  idem_done_fn *done, void *context, struct idem_call **call) {
  struct idem_request request;
  if (!accepts(async) || done == NULL) return IDEM_INVALID;
  if (settings_take_request(&request, asked) != NULL) return IDEM_INVALID;
  if (request.flags & IDEM_BIND) return IDEM_INVALID;
  struct call_order order = {.claim = claim_create(request.key),
                             .wait_ms = clock_max(0, request.wait_ms),
                             .begins = true,
                             .done = done,
                             .context = context};
  if (order.claim == NULL) return IDEM_NO_MEMORY;
  enum idem_status status = begin(async, &request, &order, call);
  if (status != IDEM_OK) claim_destroy(order.claim);
  return status;
}

/* NULL when a call may be made on it, else what is wrong. */
static const char *check_claim(const struct idem_claim *claim, idem_done_fn *done) {
  if (claim->async == NULL) return "a synchronous claim";
  if (!accepts(claim->async)) return "its idem_async is closed, or another process's";
  if (claim->call != NULL) return "another call on the claim has not ended";
  return done == NULL ? "no callback" : claim_check(claim);
}

/* Starts a call on a claim, unless something is wrong already. */
static enum idem_status start_on_claim(struct idem_claim *claim, const char *wrong,
                                       const struct call_order *order, struct idem_call **call) {
  if (wrong == NULL) wrong = check_claim(claim, order->done);
  if (wrong != NULL) return claim_set_message(claim, IDEM_INVALID, wrong);
  enum idem_status status = start(claim->async, order, call);
  if (status != IDEM_OK) claim_set_message(claim, status, "out of memory");
  return status;
}

enum idem_status idem_async_finish(struct idem_claim *claim, const struct idem_result *result,
                                   idem_done_fn *done, void *context, struct idem_call **call) {
  struct idem_result own = {0};
  const char *wrong = claim_take_result(&own, result);
  const struct wire_request request = claim_store_request(claim, &own);
  const struct call_order order = {
      .request = &request, .claim = claim, .done = done, .context = context};
  return start_on_claim(claim, wrong, &order, call);
}

enum idem_status idem_async_abandon(struct idem_claim *claim, enum idem_release how,
                                    idem_done_fn *done, void *context, struct idem_call **call) {
  const struct wire_request request = claim_release_request(claim, how);
  const struct call_order order = {
      .request = &request, .claim = claim, .done = done, .context = context};
  return start_on_claim(claim, claim_check_release(how), &order, call);
}

enum idem_status idem_async_stage(struct idem_claim *claim, struct idem_bytes stage,
                                  idem_done_fn *done, void *context, struct idem_call **call) {
  const struct wire_request request = claim_renew_request(claim, 0, stage);
  const struct call_order order = {
      .request = &request, .claim = claim, .done = done, .context = context};
  return start_on_claim(claim, stage.data == NULL ? "no stage" : NULL, &order, call);
}

enum idem_status idem_async_fetch(struct idem_async *async, struct idem_bytes key,
                                  struct idem_bytes fingerprint, idem_done_fn *done, void *context,
                                  struct idem_call **call) {
  if (!accepts(async) || done == NULL || key.data == NULL) return IDEM_INVALID;
  const struct wire_request request = {.verb = WIRE_FETCH, .key = key, .fingerprint = fingerprint};
  const struct call_order order = {.request = &request, .done = done, .context = context};
  return start(async, &order, call);
}

enum idem_status idem_async_wait(struct idem_async *async, struct idem_bytes key,
                                 struct idem_bytes fingerprint, int64_t wait_ms, idem_done_fn *done,
                                 void *context, struct idem_call **call) {
  if (!accepts(async) || done == NULL || key.data == NULL) return IDEM_INVALID;
  if (wait_ms < 1 || wait_ms > SETTINGS_MS_MAX) return IDEM_INVALID;
  const struct wire_request request = {.verb = WIRE_WAIT, .key = key, .fingerprint = fingerprint};
  const struct call_order order = {
      .request = &request, .wait_ms = wait_ms, .done = done, .context = context};
  return start(async, &order, call);
}
