/* batch.c - see batch.h. */
#include "server/net/batch.h"

/* Whether it can neither change how bytes are read nor take long: commands for keys, and other short
 * ones but those by which a peer makes itself known. */
static bool reads_on(const struct command *command) {
  unsigned flags = command->flags & (COMMAND_FAST | COMMAND_BEFORE_AUTH);
  return command->first_key != 0 || flags == COMMAND_FAST;
}

static void fetch(struct batch_item *item, const struct host *host) {
  const struct command *command = item->request.command;
  if (command->first_key != 1 || command->last_key != 1 || item->request.argc < 2) return;
  struct keyspace *keyspace = host->shared->keyspace;
  keyspace_name(keyspace, item->array.argv[1], &item->name);
  keyspace_prefetch(keyspace, &item->name);
  item->request.name = &item->name;
}

/* A command that is all there and within all limits. Returns its size, or 0. *more: another one may
 * be read before it has run. */
static size_t read_short(struct batch_item *item, const struct resp_reader *reader,
                         const struct host *host, const char *data, size_t len, bool *more) {
  const struct resp_array *array = &item->array;
  size_t used = resp_read_array(reader, data, len, &item->array);
  if (used == 0) return 0;
  const struct command *command = command_find(host->commands, array->argv[0]);
  if (array->longest > host->unasked_bytes &&
      !command_sizes_fit(host, command, array->argv, array->argc))
    return 0;
  item->result = RESP_COMMAND;
  item->request = (struct request){array->argv, array->argc, command, NULL, true, used};
  *more = command != NULL && reads_on(command);
  if (*more) fetch(item, host);
  return used;
}

static size_t read_any(struct batch_item *item, struct resp_reader *reader,
                       const struct host *host, const char *data, size_t len) {
  size_t used = 0;
  item->result = resp_read(reader, data, len, &used);
  if (item->result != RESP_COMMAND) return used;
  const struct command *command = command_find(host->commands, reader->argv[0]);
  item->request = (struct request){.argv = reader->argv, .argc = reader->argc, .command = command};
  return used;
}

void batch_read(struct batch *batch, struct resp_reader *reader, const struct host *host,
                const char *data, size_t len, unsigned most) {
  if (most > BATCH_COMMANDS) most = BATCH_COMMANDS;
  bool fresh = resp_reader_fresh(reader), more = true;
  batch->count = 0;
  for (size_t at = 0; more && batch->count < most && at < len; batch->count++) {
    struct batch_item *item = &batch->items[batch->count];
    size_t used = fresh ? read_short(item, reader, host, data + at, len - at, &more) : 0;
    if (used == 0) {
      more = false;
      used = read_any(item, reader, host, data + at, len - at);
    }
    item->start = at;
    item->end = at += used;
  }
  if (batch->count < 2) return;
  for (unsigned i = 0; i < batch->count; i++) {
    const struct batch_item *item = &batch->items[i];
    if (item->result == RESP_COMMAND && item->request.name != NULL)
      keyspace_prefetch_entry(host->shared->keyspace, &item->name);
  }
}
