/* client.c - see client.h. */
#include "server/commands/client.h"

#include <stdlib.h>

#include "server/commands/clients.h"
#include "server/commands/monitor.h"
#include "server/commands/pubsub.h"
#include "server/commands/strangers.h"
#include "server/commands/task.h"
#include "server/commands/transaction.h"

static void note_peak(_Atomic uint64_t *peak, uint64_t count) {
  uint64_t seen = atomic_load(peak);
  while (count > seen && !atomic_compare_exchange_weak(peak, &seen, count)) continue;
}

void client_init(struct client *client, struct host *host) {
  *client = (struct client){
      .id = atomic_fetch_add(&host->shared->next_client_id, 1),
      .version = 2,
      .last_row = CLIENT_NO_ROW,
      .connected_ms = host->now_ms,
      .active_ms = host->now_ms,
      .authenticated = host->options->requirepass[0] == '\0',
  };
  list_append(&host->clients, &client->link);
  list_init(&client->unsent);
  host->client_count++;
  host->counters.connections++;
  note_peak(&host->shared->peak_clients, atomic_fetch_add(&host->shared->client_count, 1) + 1);
}

void client_trim(struct client *client) {
  static const struct client_details none = {0};
  if (client->details == NULL || memcmp(client->details, &none, sizeof none) != 0) return;
  free(client->details);
  client->details = NULL;
}

void client_close(struct client *client, struct host *host) {
  client->close_now = true;
  if (list_empty(&client->unsent)) list_append(&host->unsent, &client->unsent);
}

static void details_destroy(struct client_details *details) {
  if (details == NULL) return;
  free(details->name);
  free(details->library_name);
  free(details->library_version);
  free(details);
}

void client_cancel_wait(struct client *client, struct host *host) {
  if (client->waiting) host->waiting_count--;
  client->waiting = false;
  if (client->waiter == NULL) return;
  struct shard *shard = keyspace_shard(host->shared->keyspace, client->shard);
  int64_t now_ms = host->now_ms;
  engine_waiter_cancel(host_lock(host, shard, &now_ms), client->waiter, now_ms);
  host_unlock(host, shard);
  client->waiter = NULL;
}

bool client_holds_bound(const struct client *client, struct host *host) {
  struct engine_binding **bindings = client->details != NULL ? client->details->bindings : NULL;
  bool holds = false;
  unsigned shards = bindings != NULL ? keyspace_shards(host->shared->keyspace) : 0;
  for (unsigned i = 0; i < shards && !holds; i++) {
    if (bindings[i] == NULL) continue;
    struct shard *shard = keyspace_shard(host->shared->keyspace, i);
    int64_t now_ms = host->now_ms;
    host_lock(host, shard, &now_ms);
    holds |= engine_binding_holds(bindings[i]);
    host_unlock(host, shard);
  }
  return holds;
}

void client_unbind(struct client *client, struct host *host) {
  struct engine_binding **bindings = client->details != NULL ? client->details->bindings : NULL;
  if (bindings == NULL) return;
  for (unsigned i = 0; i < keyspace_shards(host->shared->keyspace); i++) {
    if (bindings[i] == NULL) continue;
    struct shard *shard = keyspace_shard(host->shared->keyspace, i);
    int64_t now_ms = host->now_ms;
    engine_binding_close(host_lock(host, shard, &now_ms), bindings[i], now_ms);
    host_unlock(host, shard);
  }
  free(bindings);
  client->details->bindings = NULL;
}

void client_deinit(struct client *client, struct host *host) {
  client_cancel_wait(client, host);
  client_unbind(client, host);
  if (client_task(client) != NULL) task_abandon(client_task(client));
  strangers_forget_delay(client);
  strangers_remove(host, client);
  transaction_discard(client);
  pubsub_leave(host, client);
  monitor_leave(host, client);
  details_destroy(client->details);
  client->details = NULL;
  if (client->out != NULL) {
    host_output_unpin(host, client->out, 0);
    host_output_give(host, client->out);
    client->out = NULL;
  }
  list_remove(&client->unsent);
  clients_forget(host, client);
  host->client_count--;
  atomic_fetch_sub(&host->shared->client_count, 1);
}

struct client_details *client_details(struct client *client) {
  if (client->details == NULL) client->details = calloc(1, sizeof *client->details);
  return client->details;
}

/* Half of what all readers together may have to take; the other half is for their shares. */
static uint64_t half_of_total(const struct host *host) {
  uint64_t total = (uint64_t)host->options->client_output_total;
  uint64_t quarter = (uint64_t)host->options->maxmemory / 4;
  return (quarter > 0 && quarter < total ? quarter : total) / 2;
}

bool client_outputs_crowd(const struct host *host, uint64_t bytes) {
  return bytes > half_of_total(host);
}

bool client_output_crowded(const struct host *host) {
  return client_outputs_crowd(
      host, atomic_load_explicit(&host->shared->sending_bytes, memory_order_relaxed));
}

static size_t output_share(const struct host *host) {
  uint64_t count = atomic_load_explicit(&host->shared->client_count, memory_order_relaxed);
  uint64_t share = half_of_total(host) / (count > 0 ? count : 1);
  if (share > CLIENT_OUTPUT_SHARE) return CLIENT_OUTPUT_SHARE;
  return share < CLIENT_OUTPUT_LEAST ? CLIENT_OUTPUT_LEAST : (size_t)share;
}

static size_t output_limit(const struct client *client, const struct host *host) {
  size_t limit = (size_t)host->options->client_output_limit;
  if (client->stranger) return CLIENT_OUTPUT_LEAST;
  if (!client_output_crowded(host)) return limit;
  size_t share = output_share(host);
  return share < limit ? share : limit;
}

bool client_output_over(const struct client *client, const struct host *host, size_t more) {
  size_t limit = output_limit(client, host);
  size_t bytes = client_output_bytes(client);
  return bytes > limit || more > limit - bytes;
}

/* What is written to a client for which no output could be had: always failed, never sent. */
static struct resp_output *no_output(struct host *host) {
  host->lost_output.failed = true;
  return &host->lost_output;
}

struct resp_writer client_writer(struct client *client, struct host *host) {
  if (client->out == NULL) client->out = host_output_take(host);
  if (list_empty(&client->unsent)) list_append(&host->unsent, &client->unsent);
  if (client->out == NULL) client->close_now = true;
  return (struct resp_writer){client->out != NULL ? client->out : no_output(host), client->version};
}
