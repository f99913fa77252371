/* batch.c - see batch.h. */
#include "server/net/batch.h"

/* Whether more may be read before the command has run; then its arguments are kept. */
static bool keep(struct batch_item *item, const struct host *host, const char *data) {
  struct request *request = &item->request;
  const struct command *command = request->command;
  bool one_key = command != NULL && command->first_key == 1 && command->last_key == 1;
  if (!one_key || request->argc < 2 || request->argc > BATCH_ARGS || data[item->start] != '*')
    return false;
  memcpy(item->argv, request->argv, request->argc * sizeof item->argv[0]);
  request->argv = item->argv;
  request->name = &item->name;
  struct keyspace *keyspace = host->shared->keyspace;
  keyspace_name(keyspace, item->argv[1], &item->name);
  keyspace_prefetch(keyspace, &item->name);
  return true;
}

void batch_read(struct batch *batch, struct resp_reader *reader, const struct host *host,
                const char *data, size_t len, unsigned most) {
  if (most > BATCH_COMMANDS) most = BATCH_COMMANDS;
  bool more = true;
  batch->count = 0;
  for (size_t at = 0; more && batch->count < most && at < len; batch->count++) {
    struct batch_item *item = &batch->items[batch->count];
    size_t used = 0;
    item->result = resp_read(reader, data + at, len - at, &used);
    item->start = at;
    item->end = at += used;
    more = item->result == RESP_COMMAND;
    if (!more) continue;
    item->request = (struct request){
        .argv = reader->argv,
        .argc = reader->argc,
        .command = command_find(host->commands, reader->argv[0], SPAN_ABSENT),
    };
    more = keep(item, host, data);
  }
  if (batch->count < 2) return;
  for (unsigned i = 0; i < batch->count; i++) {
    const struct batch_item *item = &batch->items[i];
    if (item->result == RESP_COMMAND && item->request.name != NULL)
      keyspace_prefetch_entry(host->shared->keyspace, &item->name);
  }
}
