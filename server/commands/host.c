/* host.c - see host.h. */
#include "server/commands/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "server/commands/command.h"
#include "server/commands/pubsub.h"
#include "server/commands/slowlog.h"

static bool make_run_id(char id[41]) {
  unsigned char random[20];
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) return false;
  for (size_t i = 0; i < sizeof random; i++) snprintf(id + 2 * i, 3, "%02x", random[i]);
  return true;
}

bool host_init(struct host *host, struct engine *engine, struct options *options, struct log *log,
               int64_t now_ms) {
  *host = (struct host){
      .engine = engine,
      .options = options,
      .log = log,
      .now_ms = now_ms,
      .started_ms = now_ms,
      .next_client_id = 1,
      .unasked_bytes = command_unasked_bytes(options),
      .commands = command_index_create(),
      .stats = calloc(COMMAND_COUNT, sizeof *host->stats),
      .pubsub = pubsub_create(),
      .slowlog = slowlog_create(),
      .spare_outputs = calloc(HOST_SPARE_OUTPUTS, sizeof *host->spare_outputs),
  };
  list_init(&host->clients);
  list_init(&host->unsent);
  bool made = host->commands != NULL && host->stats != NULL && host->pubsub != NULL &&
              host->slowlog != NULL && host->spare_outputs != NULL;
  if (made && make_run_id(host->run_id)) return true;
  host_deinit(host);
  return false;
}

static void output_destroy(struct resp_output *out) {
  resp_output_deinit(out);
  free(out);
}

void host_deinit(struct host *host) {
  command_index_destroy(host->commands);
  free(host->stats);
  pubsub_destroy(host->pubsub);
  slowlog_destroy(host->slowlog);
  while (host->spare_count > 0) output_destroy(host->spare_outputs[--host->spare_count]);
  free(host->spare_outputs);
}

struct resp_output *host_output_take(struct host *host) {
  if (host->spare_count > 0) return host->spare_outputs[--host->spare_count];
  return calloc(1, sizeof(struct resp_output));
}

void host_output_unpin(struct host *host, struct resp_output *out) {
  for (size_t i = 0; i < out->ref_count; i++) engine_unpin(host->engine, out->refs[i].pin);
}

void host_output_give(struct host *host, struct resp_output *out) {
  if (host->spare_count == HOST_SPARE_OUTPUTS || out->capacity > HOST_SPARE_BYTES) {
    output_destroy(out);
    return;
  }
  resp_output_reset(out);
  host->spare_outputs[host->spare_count++] = out;
}
