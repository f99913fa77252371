/* events.c - see events.h. */
#include "server/module/events.h"

#include <string.h>

#include "server/module/alarm.h"
#include "server/module/host.h"
#include "server/module/take_back.h"
#include "server/module/visit.h"

/* ---- keys ---- */

static struct span text_of(const RedisModuleString *name) {
  struct span text;
  text.data = api.StringPtrLen(name, &text.len);
  return text;
}

/* A replica learns what its master gave, a start what was given before, a master what came to it
 * from another one. While it loads, the host has the name on its stack, and ends itself when
 * somebody keeps that. */
static void note_token(RedisModuleCtx *ctx, RedisModuleString *borrowed, bool is_on_stack) {
  struct layout_record record;
  struct span text = text_of(borrowed);
  RedisModuleString *name = is_on_stack ? api.CreateString(NULL, text.data, text.len) : borrowed;
  RedisModuleKey *key = api.OpenKey(ctx, name, API_READ | API_UNSEEN);
  if (visit_read(key, &record) == VISIT_RECORD) tokens_note(&host.tokens, record.facts.token);
  if (key != NULL) api.CloseKey(key);
  if (is_on_stack) api.FreeString(NULL, name);
}

/* The event comes while the command that caused it runs: it is looked into once that has ended. */
static void look_soon(RedisModuleCtx *ctx, RedisModuleString *name) {
  if (host.waiters.count == 0) return;
  struct queue *queue = waiters_find(&host.waiters, api.GetSelectedDb(ctx), text_of(name));
  if (queue == NULL) return;
  waiters_alarm(&host.waiters, queue, 0);
  alarm_set(&host);
}

/* Redis 7.0 tells of an end only when the value is gone: whether it was a record, and when it was
 * granted, is not known any more. */
static void note_expired(RedisModuleString *name) {
  if (!host.knows_expired && !host.replica)
    forgotten_note(&host.forgotten, text_of(name), host_now_ms(&host));
}

/* A key that is gone, or has another name, is bound to none: what other hands do with records they
 * do without their connections. */
static void unbind_gone(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *name) {
  static const char *const gone[] = {"del", "rename_from", "move_from", "expired", "evicted"};
  if ((type & (API_NOTIFY_GENERIC | API_NOTIFY_EXPIRED | API_NOTIFY_EVICTED)) == 0) return;
  if (api.DictSize(host.bindings.keys) == 0) return;
  for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
    if (strcmp(event, gone[i]) != 0) continue;
    int db = api.GetSelectedDb(ctx);
    bindings_drop(&host.bindings, bindings_find(&host.bindings, db, text_of(name)));
  }
}

static int on_key(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *name) {
  bool is_loaded = (type & API_NOTIFY_LOADED) != 0;
  bool written = is_loaded || (type & API_NOTIFY_STRING) != 0;
  bool imported = (type & API_NOTIFY_GENERIC) != 0 && strcmp(event, "restore") == 0;
  if (imported || (written && (host.replica || host.loading))) note_token(ctx, name, is_loaded);
  if (type == API_NOTIFY_EXPIRED) note_expired(name);
  unbind_gone(ctx, type, event, name);
  look_soon(ctx, name);
  return API_OK;
}

/* From Redis 7.2 on, while the value is still there. */
static void on_key_end(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t how, void *data) {
  (void)ctx, (void)event;
  const struct api_key_info *info = data;
  struct layout_record record;
  if (how != API_KEY_EXPIRED || host.replica) return;
  if (visit_read(info->key, &record) != VISIT_RECORD) return;
  struct span key = text_of(api.GetKeyNameFromModuleKey(info->key));
  forgotten_note(&host.forgotten, key, record.facts.since_ms);
}

static void look_at_all_soon(void) {
  if (host.waiters.count == 0) return;
  waiters_alarm_all(&host.waiters);
  alarm_set(&host);
}

static void on_flush(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t when, void *data) {
  (void)ctx, (void)event;
  if (when != API_FLUSH_END) return;
  const struct api_flush_info *flush = data;
  bindings_clear(&host.bindings, flush->db);
  look_at_all_soon();
}

static void on_swap(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) {
  (void)ctx, (void)event, (void)what, (void)data;
  look_at_all_soon();
}

/* ---- connections ---- */

static void on_client(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) {
  (void)event;
  if (what != API_CLIENT_DISCONNECTED) return;
  const struct api_client_info *client = data;
  take_back_close(&host, ctx, client->id);
  bool bound = bindings_close(&host.bindings, client->id, host_now_ms(&host));
  if (bound || !list_empty(&host.undos)) alarm_set(&host);
}

/* ---- the role, loading ---- */

/* From now on another one is master, and knows nothing of the connections of this one. Those that
 * wait are answered by the host. */
static void on_role(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t role, void *data) {
  (void)event, (void)data;
  host.replica = role != API_ROLE_NOW_MASTER;
  if (host.replica) {
    bindings_clear(&host.bindings, -1);
    undos_clear(&host.undos);
    return;
  }
  forgotten_begin(&host.forgotten, host_now_ms(&host));
  tokens_take_over(&host.tokens);
  api.Log(ctx, "notice", "idem: now a master; tokens go on from %llu",
          (unsigned long long)host.tokens.high);
}

/* The process before this one may have been ahead of its clock, and have left no record of its last
 * tokens. */
static void on_loading(RedisModuleCtx *ctx, RedisModuleEvent event, uint64_t what, void *data) {
  (void)ctx, (void)event, (void)data;
  host.loading = what != API_LOADING_ENDED && what != API_LOADING_FAILED;
  if (what != API_LOADING_ENDED || host.replica) return;
  host_now_ms(&host);
  tokens_lead(&host.tokens);
}

/* ---- all of them ---- */

static bool subscribe(RedisModuleCtx *ctx, uint64_t id, api_event *handler) {
  const struct RedisModuleEvent event = {id, API_EVENT_VERSION};
  return api.SubscribeToServerEvent(ctx, event, handler) == API_OK;
}

bool events_subscribe(RedisModuleCtx *ctx) {
  const int types = API_NOTIFY_GENERIC | API_NOTIFY_STRING | API_NOTIFY_EXPIRED |
                    API_NOTIFY_EVICTED | API_NOTIFY_LOADED;
  host.knows_expired = subscribe(ctx, API_EVENT_KEY, on_key_end);
  return api.SubscribeToKeyspaceEvents(ctx, types, on_key) == API_OK &&
         subscribe(ctx, API_EVENT_FLUSH, on_flush) && subscribe(ctx, API_EVENT_SWAPDB, on_swap) &&
         subscribe(ctx, API_EVENT_CLIENT, on_client) && subscribe(ctx, API_EVENT_ROLE, on_role) &&
         subscribe(ctx, API_EVENT_LOADING, on_loading);
}
