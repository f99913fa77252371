/* client.c - see client.h. */
#include "server/commands/client.h"

#include <stdlib.h>

#include "server/commands/command.h"
#include "server/commands/pubsub.h"
#include "server/commands/transaction.h"

void client_init(struct client *client, struct host *host) {
  *client = (struct client){
      .id = host->next_client_id++,
      .version = 2,
      .connected_ms = host->now_ms,
      .active_ms = host->now_ms,
      .authenticated = host->options->requirepass[0] == '\0',
  };
  list_append(&host->clients, &client->link);
  list_init(&client->unsent);
  if (++host->client_count > host->counters.peak_clients)
    host->counters.peak_clients = host->client_count;
  host->counters.connections++;
}

static void details_destroy(struct client_details *details) {
  if (details == NULL) return;
  free(details->name);
  free(details->library_name);
  free(details->library_version);
  free(details);
}

void client_deinit(struct client *client, struct host *host) {
  if (client->waiting) host->waiting_count--;
  if (client->waiter != NULL) engine_waiter_cancel(host->engine, client->waiter, host->now_ms);
  client->waiter = NULL;
  engine_binding_close(host->engine, client->binding, host->now_ms);
  client->binding = NULL;
  transaction_discard(client);
  pubsub_leave(host, client);
  if (client->monitors) host->monitor_count--;
  details_destroy(client->details);
  client->details = NULL;
  if (client->out != NULL) {
    host_output_unpin(host, client->out);
    host_output_give(host, client->out);
    client->out = NULL;
  }
  list_remove(&client->unsent);
  list_remove(&client->link);
  host->client_count--;
}

struct client_details *client_details(struct client *client) {
  if (client->details == NULL) client->details = calloc(1, sizeof *client->details);
  return client->details;
}

bool client_output_over(const struct client *client, const struct host *host, size_t more) {
  bool crowded = host->sending_bytes > (size_t)host->options->client_output_total;
  size_t limit = crowded ? CLIENT_OUTPUT_SHARE : (size_t)host->options->client_output_limit;
  size_t bytes = client->sending_bytes + (client->out != NULL ? resp_output_size(client->out) : 0);
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
