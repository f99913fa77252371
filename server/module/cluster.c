/* cluster.c - see cluster.h. */
#include "server/module/cluster.h"

/* A tenth of a millisecond of work for the host. A slot that came is known so much later: until
 * then, as for whatever was born before it came, first tries with BORN are told FORGOTTEN. */
#define EACH_MS 1000

/* Another master may have had the keys of a slot that came, and have left no record of a token. */
static void take_nodes(struct host *of, struct span nodes) {
  if (slots_take(&of->slots, nodes, host_now_ms(of))) tokens_lead(&of->tokens);
}

/* False: the host has no such command, which was given another name: then all slots are known, as
 * if none ever came. */
static bool take_slots(struct host *of, RedisModuleCtx *ctx) {
  RedisModuleCallReply *reply = api.Call(ctx, "CLUSTER", "c", "NODES");
  if (reply == NULL) {
    api.Log(ctx, "warning",
            "idem: CLUSTER NODES is not to be had; slots that come are not noticed");
    api.Free(of->slots.since_ms);
    of->slots.since_ms = NULL;
    return false;
  }
  struct span nodes;
  nodes.data = api.CallReplyStringPtr(reply, &nodes.len);
  if (nodes.data != NULL) take_nodes(of, nodes);
  api.FreeCallReply(reply);
  return true;
}

static void on_time(RedisModuleCtx *ctx, void *data) {
  if (take_slots(data, ctx)) api.CreateTimer(ctx, EACH_MS, on_time, data);
}

void cluster_watch(struct host *of) {
  if (of->slots.since_ms != NULL) api.CreateTimer(of->ctx, 0, on_time, of);
}
