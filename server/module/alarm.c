/* alarm.c - see alarm.h. */
#include "server/module/alarm.h"

#include "server/module/due.h"
#include "server/module/take_back.h"

/* While a master hands over to a replica, nothing may be written. */
#define HANDING_OVER_MS 10
/* How long until it is asked again whether a reply was written. */
#define UNWRITTEN_MS 5

/* ---- what is due ---- */

static void visit_waiting(struct host *of, RedisModuleCtx *ctx) {
  for (struct queue *queue; (queue = waiters_due(&of->waiters, of->tokens.now_ms)) != NULL;)
    due_visit(of, ctx, queue->db, queue->key);
}

/* A claim that had lapsed before its connection was closed is bound to none from now on. */
static void unbind_lapsed(struct host *of, RedisModuleCtx *ctx, RedisModuleString *name,
                          uint64_t token) {
  struct visit visit;
  due_open(&visit, of, ctx, name, true);
  struct rules_record *facts = &visit.record.facts;
  bool lapsed = facts->phase == RULES_LAPSED || facts->phase == RULES_UNKNOWN;
  if (lapsed && facts->bind && facts->token == token) {
    facts->bind = false;
    visit_commit(&visit);
  }
  struct binding *binding = bindings_find(&of->bindings, visit.db, visit.text);
  if (binding != NULL && binding->token == token) bindings_drop(&of->bindings, binding);
  due_close(&visit);
}

/* The key may be gone by now, and its binding with it, once it is looked at. */
static void visit_closed(struct host *of, RedisModuleCtx *ctx) {
  for (struct binding *binding; (binding = bindings_closed(&of->bindings)) != NULL;) {
    RedisModuleString *name = api.CreateString(NULL, binding->key.data, binding->key.len);
    api.SelectDb(ctx, binding->db);
    unbind_lapsed(of, ctx, name, binding->token);
    api.FreeString(NULL, name);
  }
}

static void run(struct host *of, RedisModuleCtx *ctx) {
  host_now_ms(of);
  take_back_settle(of, ctx);
  visit_closed(of, ctx);
  visit_waiting(of, ctx);
}

/* ---- the timer ---- */

/* When the timer is needed, now_ms at the earliest. RULES_NEVER: not at all. */
static int64_t next_ms(struct host *of, int64_t now_ms) {
  if (bindings_closed(&of->bindings) != NULL || undos_has_gone(&of->undos)) return now_ms;
  int64_t waiting_ms = waiters_next_ms(&of->waiters);
  int64_t unwritten_ms = list_empty(&of->undos) ? RULES_NEVER : now_ms + UNWRITTEN_MS;
  return waiting_ms < unwritten_ms ? waiting_ms : unwritten_ms;
}

static void on_timer(RedisModuleCtx *ctx, void *data) {
  struct host *of = data;
  of->timer_runs = false;
  if (!of->replica && api.AvoidReplicaTraffic() == 0) run(of, ctx);
  alarm_set(of);
}

static void start_timer(struct host *of, int64_t at_ms, int64_t now_ms) {
  if (of->timer_runs && of->timer_ms <= at_ms) return;
  if (of->timer_runs) api.StopTimer(of->ctx, of->timer, NULL);
  int64_t delay_ms = at_ms > now_ms ? at_ms - now_ms : 0;
  if (api.AvoidReplicaTraffic() != 0 && delay_ms < HANDING_OVER_MS) delay_ms = HANDING_OVER_MS;
  of->timer = api.CreateTimer(of->ctx, delay_ms, on_timer, of);
  of->timer_ms = now_ms + delay_ms;
  of->timer_runs = true;
}

/* ---- soon after the replies of this turn of the event loop were written ---- */

static void on_written(void *data) {
  struct host *of = data;
  of->check_runs = false;
  if (api.AvoidReplicaTraffic() == 0) take_back_settle(of, of->ctx);
  alarm_set(of);
}

void alarm_set(struct host *of) {
  if (!of->check_runs && undos_has_new(&of->undos))
    of->check_runs = api.EventLoopAddOneShot(on_written, of) == API_OK;
  int64_t now_ms = of->tokens.now_ms, at_ms = next_ms(of, now_ms);
  if (at_ms != RULES_NEVER) start_timer(of, at_ms, now_ms);
}
