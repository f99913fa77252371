/* command.c - see command.h: finding the row, judging what follows from it, running the handler. */
#include "server/commands/command.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "server/commands/idempotency.h"
#include "server/commands/monitor.h"
#include "server/commands/pubsub.h"
#include "server/commands/slowlog.h"
#include "server/commands/transaction.h"

/* ---- the index: open addressing over lower-case names ---- */

#define INDEX_SLOTS 512u /* a power of two, at least twice the rows */

struct command_index {
  const struct command *slots[INDEX_SLOTS];
};

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

void command_name(const struct command *command, char name[COMMAND_NAME_BYTES]) {
  size_t i = 0;
  for (; command->name[i] != '\0' && i < COMMAND_NAME_BYTES - 1; i++)
    name[i] = lower(command->name[i]);
  name[i] = '\0';
}

/* FNV-1a: a handful of names of our own choosing, so nobody can make them collide. */
static uint32_t hash_more(uint32_t hash, struct span bytes) {
  for (size_t i = 0; i < bytes.len; i++)
    hash = (hash ^ (unsigned char)lower(bytes.data[i])) * 16777619u;
  return hash;
}

static uint32_t hash_name(struct span name, struct span sub) {
  uint32_t hash = hash_more(2166136261u, name);
  return span_present(sub) ? hash_more(hash_more(hash, SPAN_LITERAL("|")), sub) : hash;
}

struct command_index *command_index_create(void) {
  assert(COMMAND_COUNT <= INDEX_SLOTS / 2);
  struct command_index *index = calloc(1, sizeof *index);
  if (index == NULL) return NULL;
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    const struct command *command = &COMMAND_TABLE[i];
    uint32_t slot = hash_name(span_of(command->name), SPAN_ABSENT) % INDEX_SLOTS;
    while (index->slots[slot] != NULL) slot = (slot + 1) % INDEX_SLOTS;
    index->slots[slot] = command;
  }
  return index;
}

void command_index_destroy(struct command_index *index) { free(index); }

static bool is_named(const struct command *command, struct span name, struct span sub) {
  const char *full = command->name;
  const char *bar = strchr(full, '|');
  if (!span_present(sub)) return bar == NULL && span_is(name, full);
  if (bar == NULL || name.len != (size_t)(bar - full)) return false;
  for (size_t i = 0; i < name.len; i++) {
    if (lower(name.data[i]) != lower(full[i])) return false;
  }
  return span_is(sub, bar + 1);
}

static const struct command *find_exact(const struct command_index *index, struct span name,
                                        struct span sub) {
  uint32_t slot = hash_name(name, sub) % INDEX_SLOTS;
  for (; index->slots[slot] != NULL; slot = (slot + 1) % INDEX_SLOTS) {
    if (is_named(index->slots[slot], name, sub)) return index->slots[slot];
  }
  return NULL;
}

const struct command *command_find(const struct command_index *index, struct span name,
                                   struct span sub) {
  const struct span prefix = SPAN_LITERAL("IDEM.");
  const struct command *command = find_exact(index, name, sub);
  if (command != NULL || name.len <= prefix.len) return command;
  if (!span_is((struct span){name.data, prefix.len}, prefix.data)) return NULL;
  command = find_exact(index, (struct span){name.data + prefix.len, name.len - prefix.len}, sub);
  return command != NULL && (command->flags & COMMAND_IDEM) != 0 ? command : NULL;
}

const char *command_group_name(enum command_group group) {
  static const char *const names[] = {
      [GROUP_IDEM] = "idempotency",
      [GROUP_GENERIC] = "generic",
      [GROUP_STRING] = "string",
      [GROUP_PUBSUB] = "pubsub",
      [GROUP_TRANSACTIONS] = "transactions",
      [GROUP_CONNECTION] = "connection",
      [GROUP_SERVER] = "server",
  };
  return names[group];
}

/* ---- size limits ---- */

/* A longer name is no command's. It is let through as far as this, so that the error can quote it.
 */
#define NAME_LIMIT 1024u

bool command_is_key(const struct command *command, size_t index, size_t argc) {
  if (command->first_key == 0 || index < (size_t)command->first_key) return false;
  size_t last = command->last_key >= 0 ? (size_t)command->last_key : argc - 1;
  return index <= last && (index - (size_t)command->first_key) % (size_t)command->step == 0;
}

static size_t limit_of(const struct host *host, const struct command *command,
                       const struct span *argv, size_t index) {
  const struct options *options = host->options;
  if (index == 0) return NAME_LIMIT;
  if (command == NULL) return (size_t)options->body_limit;
  if (command->limit != NULL) return command->limit(options, argv, index);
  return (size_t)(command_is_key(command, index, SIZE_MAX) ? options->key_limit
                                                           : options->body_limit);
}

size_t command_argument_limit(void *context, const struct span *argv, size_t index) {
  const struct host *host = context;
  if (index == 0) return NAME_LIMIT;
  return limit_of(host, command_find(host->commands, argv[0], SPAN_ABSENT), argv, index);
}

size_t command_unasked_bytes(const struct options *options) {
  const int64_t limits[] = {options->fingerprint_limit, options->owner_limit, options->stage_limit,
                            options->meta_limit,        options->key_limit,   options->body_limit};
  int64_t least = IDEMPOTENCY_WORD_BYTES;
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    if (limits[i] < least) least = limits[i];
  }
  return (size_t)least;
}

static void reply_toobig(struct resp_writer *reply, size_t index, size_t limit) {
  resp_errorf(reply, "TOOBIG argument %zu is over its limit of %zu bytes", index, limit);
}

/* Arguments that came inline were not judged by the reader. */
static bool sizes_fit(struct call *call) {
  for (size_t i = 1; i < call->argc; i++) {
    if (call->argv[i].len <= call->host->unasked_bytes) continue;
    size_t limit = limit_of(call->host, call->command, call->argv, i);
    if (call->argv[i].len <= limit) continue;
    reply_toobig(call->reply, i, limit);
    return false;
  }
  return true;
}

/* ---- judging ---- */

/* Redis' text, on which clients fall back: each argument in quotes, cut at 128 bytes in all. */
#define QUOTED_ARGS_BYTES 128

static void reply_unknown(struct call *call) {
  char args[QUOTED_ARGS_BYTES + 3]; /* the last one's quotes go over the bound, as with Redis */
  size_t used = 0;
  for (size_t i = 1; i < call->argc && used < QUOTED_ARGS_BYTES; i++) {
    struct span arg = call->argv[i];
    size_t room = QUOTED_ARGS_BYTES - used;
    size_t len = arg.len < room ? arg.len : room;
    args[used++] = '\'';
    memcpy(args + used, arg.data, len);
    used += len;
    memcpy(args + used, "' ", 2);
    used += 2;
  }
  char prefix[RESP_MAX_ERROR];
  struct span name = call->argv[0];
  int shown = (int)(name.len < QUOTED_ARGS_BYTES ? name.len : QUOTED_ARGS_BYTES);
  size_t at = (size_t)snprintf(prefix, sizeof prefix, "ERR unknown command '");
  for (int i = 0; i < shown; i++) prefix[at++] = name.data[i] != '\0' ? name.data[i] : '?';
  snprintf(prefix + at, sizeof prefix - at, "', with args beginning with: ");
  resp_error_quoting(call->reply, prefix, (struct span){args, used}, "");
}

static void reply_unknown_sub(struct call *call) {
  char suffix[COMMAND_NAME_BYTES + 32];
  snprintf(suffix, sizeof suffix, "'. Try %s HELP.", call->command->name);
  struct span sub = call->argv[1];
  if (sub.len > QUOTED_ARGS_BYTES) sub.len = QUOTED_ARGS_BYTES;
  resp_error_quoting(call->reply, "ERR unknown subcommand '", sub, suffix);
}

/* An EXEC that is refused ends its transaction, and says so. */
static const char *refusal(const struct call *call) {
  return call->command->run == transaction_exec ? "EXECABORT Transaction discarded because of:"
                                                : "ERR";
}

static void reply_arity(struct call *call) {
  char name[COMMAND_NAME_BYTES];
  command_name(call->command, name);
  bool prefixed = call->argv[0].len > strlen(name); /* only IDEM. makes a name longer */
  resp_errorf(call->reply, "%s wrong number of arguments for '%s%s' command", refusal(call),
              prefixed ? "idem." : "", name);
}

bool command_postponed(const struct host *host, const struct client *client, struct span name) {
  const struct shared *shared = host->shared;
  bool paused = shared->pause_until_ms > host->now_ms && !atomic_load(&shared->draining);
  if (!paused || client->transaction != NULL) return false;
  if (!shared->pause_writes_only) return true;
  const struct command *command = command_find(host->commands, name, SPAN_ABSENT);
  return command != NULL && (command->flags & COMMAND_WRITES) != 0;
}

static bool find_row(struct call *call) {
  const struct command_index *index = call->host->commands;
  call->command = command_find(index, call->argv[0], SPAN_ABSENT);
  if (call->command == NULL) {
    reply_unknown(call);
    return false;
  }
  if ((call->command->flags & COMMAND_CONTAINER) == 0) return true;
  if (call->argc < 2) {
    bool alone = call->command->run != NULL;
    if (!alone) reply_arity(call);
    return alone;
  }
  const struct command *sub = command_find(index, call->argv[0], call->argv[1]);
  if (sub == NULL) {
    reply_unknown_sub(call);
    return false;
  }
  call->command = sub;
  return true;
}

static bool arity_fits(struct call *call) {
  int arity = call->command->arity;
  bool fits = arity >= 0 ? call->argc == (size_t)arity : call->argc >= (size_t)-arity;
  if (!fits) reply_arity(call);
  return fits;
}

static bool may_run(struct call *call) {
  unsigned flags = call->command->flags;
  if (!call->client->authenticated && (flags & COMMAND_BEFORE_AUTH) == 0) {
    resp_error(call->reply, "NOAUTH Authentication required.");
    return false;
  }
  if (pubsub_restricts(call->client) && (flags & COMMAND_PUBSUB) == 0) {
    char name[COMMAND_NAME_BYTES];
    command_name(call->command, name);
    resp_errorf(call->reply,
                "%s Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                "RESET are allowed in this context",
                refusal(call), name);
    return false;
  }
  if (call->client->transaction != NULL && (flags & COMMAND_NOT_IN_MULTI) != 0) {
    resp_error(call->reply, "ERR Command not allowed inside a transaction");
    return false;
  }
  return true;
}

/* Everything that can be said before the handler looks at the arguments. */
static bool judge(struct call *call) {
  if (!find_row(call)) return false;
  call->client->last = call->command;
  return arity_fits(call) && may_run(call) && sizes_fit(call);
}

/* ---- running ---- */

static uint64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

enum command_reach command_reach(const struct command *command, size_t argc) {
  if ((command->flags & COMMAND_STOPS) != 0) return COMMAND_REACHES_OTHERS;
  if ((command->flags & COMMAND_ALL_KEYS) != 0) return COMMAND_REACHES_ALL;
  if (command->first_key == 0) return COMMAND_REACHES_NOTHING;
  bool several = command->last_key < 0 && argc > (size_t)command->first_key + 1;
  return several ? COMMAND_REACHES_ALL : COMMAND_REACHES_A_KEY;
}

static enum command_reach reach_of(const struct call *call) {
  if (call->command->run == transaction_exec) return transaction_reach(call->client);
  return command_reach(call->command, call->argc);
}

struct engine *call_engine(const struct call *call, struct span key) {
  return shard_engine(keyspace_find(call->host->shared->keyspace, key));
}

/* Inside EXEC everything is held already. */
static void hold(struct call *call, enum command_reach reach) {
  struct host *host = call->host;
  switch (reach) {
    case COMMAND_REACHES_A_KEY:
      call->shard = keyspace_find(host->shared->keyspace, call->argv[call->command->first_key]);
      call->engine = host_lock(host, call->shard, &call->now_ms);
      break;
    case COMMAND_REACHES_OTHERS:
      if (!call->in_exec) host_stop_others(host);
      /* fall through */
    case COMMAND_REACHES_ALL:
      if (!call->in_exec) host_lock_all(host, &call->now_ms);
      break;
    case COMMAND_REACHES_NOTHING:
    default: break;
  }
}

static void let_go(struct call *call, enum command_reach reach) {
  if (reach == COMMAND_REACHES_A_KEY) host_unlock(call->host, call->shard);
  if (reach >= COMMAND_REACHES_ALL && !call->in_exec) host_unlock_all(call->host);
  if (reach == COMMAND_REACHES_OTHERS && !call->in_exec) host_go_on(call->host);
}

void command_call(struct call *call) {
  struct command_stats *stats = &call->host->stats[call->command - COMMAND_TABLE];
  size_t before = call->reply->out->len;
  struct host *host = call->host;
  uint64_t start = host->stamp_ns != 0 ? host->stamp_ns : nanoseconds();
  enum command_reach reach = reach_of(call);
  hold(call, reach);
  call->command->run(call);
  let_go(call, reach);
  host->stamp_ns = nanoseconds();
  uint64_t spent = host->stamp_ns - start;
  stats->calls++;
  stats->nanoseconds += spent;
  const struct resp_output *out = call->reply->out;
  if (out->len > before && out->bytes[before] == '-') stats->failed++;
  host->counters.commands++;
  slowlog_note(call, spent);
}

static void refuse(struct call *call) {
  if (call->command != NULL) call->host->stats[call->command - COMMAND_TABLE].rejected++;
  if (call->command != NULL && call->command->run == transaction_exec) {
    transaction_discard(call->client);
  } else {
    transaction_spoil(call->client);
  }
}

/* CLIENT REPLY OFF and SKIP: what the command wrote is taken back. Pushes of others are not
 * between: one loop, one command. */
static void silence(struct call *call, size_t len, size_t refs, size_t ref_bytes) {
  struct client *client = call->client;
  bool silent = client->replies == CLIENT_REPLIES_OFF || client->replies == CLIENT_REPLIES_SKIP;
  if (client->replies == CLIENT_REPLIES_SKIP) client->replies = CLIENT_REPLIES_ON;
  if (client->replies == CLIENT_REPLIES_SKIP_NEXT) client->replies = CLIENT_REPLIES_SKIP;
  struct resp_output *out = call->reply->out;
  if (!silent || out->failed) return;
  /* Subscribing and unsubscribing are answered by pushes, which REPLY does not silence. */
  const struct command *row = call->command;
  bool pushed = row != NULL && row->group == GROUP_PUBSUB && (row->flags & COMMAND_PUBSUB) != 0;
  if (pushed && out->len > len && out->bytes[len] != '-') return;
  host_output_unpin(call->host, out, refs);
  out->len = len;
  out->ref_count = refs;
  out->ref_bytes = ref_bytes;
}

void command_run(struct host *host, struct client *client, const struct span *argv, size_t argc) {
  struct resp_writer reply = client_writer(client, host);
  struct call call = {
      .host = host,
      .client = client,
      .argv = argv,
      .argc = argc,
      .reply = &reply,
      .now_ms = host->now_ms,
  };
  size_t len = reply.out->len, refs = reply.out->ref_count, ref_bytes = reply.out->ref_bytes;
  client->active_ms = host->now_ms;
  if (!judge(&call)) {
    refuse(&call);
  } else if (client->transaction != NULL && (call.command->flags & COMMAND_NOT_QUEUED) == 0) {
    transaction_queue(&call);
  } else {
    command_call(&call);
    if (atomic_load_explicit(&host->shared->monitor_count, memory_order_relaxed) > 0)
      monitor_feed(&call);
  }
  if (client->replies != CLIENT_REPLIES_ON) silence(&call, len, refs, ref_bytes);
}

void command_toobig(struct host *host, struct client *client, size_t index, size_t limit) {
  struct resp_writer reply = client_writer(client, host);
  if (client->replies == CLIENT_REPLIES_ON) reply_toobig(&reply, index, limit);
  transaction_spoil(client);
}
