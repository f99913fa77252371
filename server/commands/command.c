/* command.c - see command.h: finding the row, judging what follows from it, running the handler. */
#include "server/commands/command.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/commands/idempotency.h"
#include "server/commands/monitor.h"
#include "server/commands/pubsub.h"
#include "server/commands/slowlog.h"
#include "server/commands/strangers.h"
#include "server/commands/transaction.h"

/* What few commands need, and what a few in a row need once: the compiler keeps both off the way of
 * the others. */
#define COMMAND_RARE __attribute__((cold))
#define COMMAND_APART __attribute__((noinline))

/* ---- the index: open addressing, over names and over subcommands ---- */

#define INDEX_SLOTS 512u /* a power of two, at least twice the rows */

/* A name as two numbers (span_letters), so that it is found and compared in a few steps, of every
 * command. The rows' names have only letters, up to NAME_LETTERS of them. */
#define NAME_LETTERS 16u
struct folded {
  uint64_t head, tail;
  size_t len;
};

struct name_slot {
  struct folded name;
  const struct command *command;
};

struct command_index {
  struct name_slot names[INDEX_SLOTS];
  const struct command *subcommands[INDEX_SLOTS];
};

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

void command_name(const struct command *command, char name[COMMAND_NAME_BYTES]) {
  size_t i = 0;
  for (; command->name[i] != '\0' && i < COMMAND_NAME_BYTES - 1; i++)
    name[i] = lower(command->name[i]);
  name[i] = '\0';
}

/* FNV-1a: a handful of names of our own choosing, so nobody can make them collide. */
#define HASH_BASIS 2166136261u
static uint32_t hash_more(uint32_t hash, struct span bytes) {
  for (size_t i = 0; i < bytes.len; i++)
    hash = (hash ^ (unsigned char)lower(bytes.data[i])) * 16777619u;
  return hash;
}

static inline bool fold_name(struct span name, struct folded *folded) {
  if (name.len == 0 || name.len > NAME_LETTERS) return false;
  size_t head = name.len < SPAN_WORD_BYTES ? name.len : SPAN_WORD_BYTES;
  size_t tail = name.len - head;
  folded->head = span_letters(name.data, head);
  folded->tail = tail > 0 ? span_letters(name.data + head, tail) : 0;
  folded->len = name.len;
  return true;
}

static inline bool same_name(const struct folded *a, const struct folded *b) {
  return a->head == b->head && a->tail == b->tail && a->len == b->len;
}

/* Any odd number with bits all over spreads names of our own choosing well enough. */
static inline uint32_t slot_of(const struct folded *name) {
  uint64_t mixed = (name->head ^ name->tail << 1) * UINT64_C(0x9e3779b97f4a7c15);
  return (uint32_t)(mixed >> 40) % INDEX_SLOTS;
}

static void index_name(struct command_index *index, const struct command *command) {
  struct folded name;
  bool fits = fold_name(span_of(command->name), &name);
  assert(fits && strspn(command->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == name.len);
  (void)fits;
  uint32_t slot = slot_of(&name);
  while (index->names[slot].command != NULL) slot = (slot + 1) % INDEX_SLOTS;
  index->names[slot] = (struct name_slot){name, command};
}

static void index_subcommand(struct command_index *index, const struct command *command) {
  uint32_t slot = hash_more(HASH_BASIS, span_of(command->name)) % INDEX_SLOTS;
  while (index->subcommands[slot] != NULL) slot = (slot + 1) % INDEX_SLOTS;
  index->subcommands[slot] = command;
}

struct command_index *command_index_create(void) {
  assert(COMMAND_COUNT <= INDEX_SLOTS / 2);
  struct command_index *index = calloc(1, sizeof *index);
  if (index == NULL) return NULL;
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    const struct command *command = &COMMAND_TABLE[i];
    bool is_sub = strchr(command->name, '|') != NULL;
    (is_sub ? index_subcommand : index_name)(index, command);
  }
  return index;
}

void command_index_destroy(struct command_index *index) { free(index); }

static bool is_subcommand(const struct command *command, struct span name, struct span sub) {
  const char *full = command->name, *bar = strchr(full, '|');
  if (name.len != (size_t)(bar - full)) return false;
  for (size_t i = 0; i < name.len; i++) {
    if (lower(name.data[i]) != lower(full[i])) return false;
  }
  return span_is(sub, bar + 1);
}

static const struct command *find_subcommand(const struct command_index *index, struct span name,
                                             struct span sub) {
  uint32_t hash = hash_more(hash_more(hash_more(HASH_BASIS, name), SPAN_LITERAL("|")), sub);
  uint32_t slot = hash % INDEX_SLOTS;
  for (; index->subcommands[slot] != NULL; slot = (slot + 1) % INDEX_SLOTS) {
    if (is_subcommand(index->subcommands[slot], name, sub)) return index->subcommands[slot];
  }
  return NULL;
}

static inline const struct command *find_exact(const struct command_index *index,
                                               struct span name) {
  struct folded folded;
  if (!fold_name(name, &folded)) return NULL;
  uint32_t slot = slot_of(&folded);
  const struct name_slot *found = &index->names[slot];
  while (!same_name(&found->name, &folded)) {
    if (found->command == NULL) return NULL;
    slot = (slot + 1) % INDEX_SLOTS;
    found = &index->names[slot];
  }
  return found->command;
}

/* IDEM.CLAIM and its like. */
COMMAND_RARE static const struct command *find_prefixed(const struct command_index *index,
                                                        struct span name, struct span sub) {
  const struct span prefix = SPAN_LITERAL("IDEM.");
  if (name.len <= prefix.len || !span_is((struct span){name.data, prefix.len}, prefix.data))
    return NULL;
  name = (struct span){name.data + prefix.len, name.len - prefix.len};
  const struct command *command =
      span_present(sub) ? find_subcommand(index, name, sub) : find_exact(index, name);
  return command != NULL && (command->flags & COMMAND_IDEM) != 0 ? command : NULL;
}

const struct command *command_find(const struct command_index *index, struct span name) {
  const struct command *command = find_exact(index, name);
  return command != NULL ? command : find_prefixed(index, name, SPAN_ABSENT);
}

const struct command *command_find_sub(const struct command_index *index, struct span name,
                                       struct span sub) {
  const struct command *command = find_subcommand(index, name, sub);
  return command != NULL ? command : find_prefixed(index, name, sub);
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

static size_t limit_of(const struct worker *worker, const struct command *command,
                       const struct span *argv, size_t index) {
  const struct options *options = worker->options;
  if (index == 0) return NAME_LIMIT;
  if (command == NULL) return (size_t)options->limits.body_bytes;
  if (command->limit != NULL) return command->limit(options, argv, index);
  return (size_t)(command_is_key(command, index, SIZE_MAX) ? options->limits.key_bytes
                                                           : options->limits.body_bytes);
}

size_t command_argument_limit(void *context, const struct span *argv, size_t index) {
  const struct worker *worker = context;
  if (index == 0) return NAME_LIMIT;
  return limit_of(worker, command_find(worker->commands, argv[0]), argv, index);
}

bool command_is_body(const struct worker *worker, const struct span *argv, size_t index) {
  if (index != REQUEST_STORE_BODY) return false;
  const struct command *command = command_find(worker->commands, argv[0]);
  return command != NULL && command->run == idempotency_store;
}

COMMAND_APART bool command_sizes_fit(const struct worker *worker, const struct command *command,
                                     const struct span *argv, size_t argc) {
  for (size_t i = 0; i < argc; i++) {
    if (argv[i].len > worker->unasked_bytes && argv[i].len > limit_of(worker, command, argv, i))
      return false;
  }
  return true;
}

RESP_WRITE_COLD static void reply_toobig(struct resp_writer *reply, size_t index, size_t limit) {
  const struct request_error error = {
      .fault = REQUEST_TOO_BIG, .index = index, .most = (int64_t)limit};
  reply_request_error(reply, &error);
}

/* Arguments that came inline were not judged when they were read, those of subcommands by the
 * limits of their container. */
COMMAND_RARE static bool sizes_fit(struct call *call) {
  call->bytes = 0;
  for (size_t i = 1; i < call->argc; i++) {
    call->bytes += call->argv[i].len;
    if (call->argv[i].len <= call->worker->unasked_bytes) continue;
    size_t limit = limit_of(call->worker, call->command, call->argv, i);
    if (call->argv[i].len <= limit) continue;
    reply_toobig(call->reply, i, limit);
    return false;
  }
  return true;
}

/* ---- judging ---- */

/* Redis' text, on which clients fall back: each argument in quotes, cut at 128 bytes in all. */
#define QUOTED_ARGS_BYTES 128

RESP_WRITE_COLD static void reply_unknown(struct call *call) {
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
  char prefix[RESP_WRITE_ERROR_MAX];
  struct span name = call->argv[0];
  int shown = (int)(name.len < QUOTED_ARGS_BYTES ? name.len : QUOTED_ARGS_BYTES);
  size_t at = (size_t)snprintf(prefix, sizeof prefix, "ERR unknown command '");
  for (int i = 0; i < shown; i++) prefix[at++] = name.data[i] != '\0' ? name.data[i] : '?';
  snprintf(prefix + at, sizeof prefix - at, "', with args beginning with: ");
  resp_write_error_quoting(call->reply, prefix, (struct span){args, used}, "");
}

RESP_WRITE_COLD static void reply_unknown_sub(struct call *call) {
  char suffix[COMMAND_NAME_BYTES + 32];
  snprintf(suffix, sizeof suffix, "'. Try %s HELP.", call->command->name);
  struct span sub = call->argv[1];
  if (sub.len > QUOTED_ARGS_BYTES) sub.len = QUOTED_ARGS_BYTES;
  resp_write_error_quoting(call->reply, "ERR unknown subcommand '", sub, suffix);
}

/* An EXEC that is refused ends its transaction, and says so. */
static const char *refusal(const struct call *call) {
  return call->command->run == transaction_exec ? "EXECABORT Transaction discarded because of:"
                                                : "ERR";
}

RESP_WRITE_COLD static void reply_arity(struct call *call) {
  char name[COMMAND_NAME_BYTES];
  command_name(call->command, name);
  bool prefixed = call->argv[0].len > strlen(name); /* only IDEM. makes a name longer */
  resp_write_errorf(call->reply, "%s wrong number of arguments for '%s%s' command", refusal(call),
                    prefixed ? "idem." : "", name);
}

bool command_postponed(const struct worker *worker, const struct session *session,
                       const struct request *request) {
  const struct instance *instance = worker->instance;
  bool paused = instance->pause_until_ms > worker->now_ms && !atomic_load(&instance->draining);
  if (!paused) return false;
  if (!instance->pause_writes_only) return true;
  if (request->command == NULL) return false;
  if (request->command->run == transaction_exec) return transaction_writes(session);
  return (request->command->flags & COMMAND_WRITES) != 0;
}

/* A subcommand's row instead of its container's. */
COMMAND_RARE static bool find_sub(struct call *call) {
  if (call->argc < 2) {
    bool alone = call->command->run != NULL;
    if (!alone) reply_arity(call);
    return alone;
  }
  const struct command *sub =
      command_find_sub(call->worker->commands, call->argv[0], call->argv[1]);
  if (sub == NULL) {
    reply_unknown_sub(call);
    return false;
  }
  call->command = sub;
  return true;
}

static bool find_row(struct call *call) {
  if (call->command != NULL && (call->command->flags & COMMAND_CONTAINER) == 0) return true;
  if (call->command != NULL) return find_sub(call);
  reply_unknown(call);
  return false;
}

static bool arity_fits(struct call *call) {
  int arity = call->command->arity;
  bool fits = arity >= 0 ? call->argc == (size_t)arity : call->argc >= (size_t)-arity;
  if (!fits) reply_arity(call);
  return fits;
}

/* Most clients are, and are not asked what may_run asks. */
static bool may_run_all(const struct session *session) {
  return session->authenticated && session_subscriptions(session) == NULL &&
         session_transaction(session) == NULL;
}

COMMAND_RARE static bool may_run(struct call *call) {
  unsigned flags = call->command->flags;
  if (!call->session->authenticated && (flags & COMMAND_BEFORE_AUTH) == 0) {
    resp_write_error(call->reply, "NOAUTH Authentication required.");
    return false;
  }
  if (session_subscriptions(call->session) != NULL && pubsub_restricts(call->session) &&
      (flags & COMMAND_PUBSUB) == 0) {
    char name[COMMAND_NAME_BYTES];
    command_name(call->command, name);
    resp_write_errorf(
        call->reply,
        "%s Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
        "RESET are allowed in this context",
        refusal(call), name);
    return false;
  }
  if (session_transaction(call->session) != NULL && (flags & COMMAND_NOT_IN_MULTI) != 0) {
    resp_write_error(call->reply, "ERR Command not allowed inside a transaction");
    return false;
  }
  return true;
}

/* Everything that can be said before the handler looks at the arguments. */
static bool judge(struct call *call, const struct request *request) {
  if (!find_row(call)) return false;
  call->session->last_row = (uint16_t)(call->command - COMMAND_TABLE);
  if (!arity_fits(call)) return false;
  if (!may_run_all(call->session) && !may_run(call)) return false;
  return request->judged || sizes_fit(call);
}

/* ---- what a command needs to itself ---- */

enum command_reach command_reach(const struct command *command, size_t argc) {
  if ((command->flags & COMMAND_STOPS) != 0) return COMMAND_REACHES_OTHERS;
  if ((command->flags & COMMAND_ALL_KEYS) != 0) return COMMAND_REACHES_ALL;
  if (command->first_key == 0) return COMMAND_REACHES_NOTHING;
  bool several = command->last_key < 0 && argc > (size_t)command->first_key + 1;
  return several ? COMMAND_REACHES_ALL : COMMAND_REACHES_A_KEY;
}

static enum command_reach reach_of(const struct call *call) {
  if (call->command->run == transaction_exec) return transaction_reach(call->session);
  return command_reach(call->command, call->argc);
}

struct engine *call_engine(const struct call *call, struct span key) {
  return shard_engine(keyspace_find(call->worker->instance->keyspace, key));
}

void command_lock(struct call *call, enum command_reach reach) {
  struct worker *worker = call->worker;
  switch (reach) {
    case COMMAND_REACHES_A_KEY:
      call->shard = keyspace_find(worker->instance->keyspace, call->argv[call->command->first_key]);
      call->engine = worker_lock(worker, call->shard, &call->now_ms);
      break;
    case COMMAND_REACHES_OTHERS:
      if (!call->in_exec) worker_pause_others(worker);
      /* fall through */
    case COMMAND_REACHES_ALL:
      if (!call->in_exec) worker_lock_all(worker, &call->now_ms);
      break;
    case COMMAND_REACHES_NOTHING:
    default: break;
  }
}

void command_unlock(struct call *call, enum command_reach reach) {
  if (reach == COMMAND_REACHES_A_KEY) worker_unlock(call->worker, call->shard);
  if (reach >= COMMAND_REACHES_ALL && !call->in_exec) worker_unlock_all(call->worker);
  if (reach == COMMAND_REACHES_OTHERS && !call->in_exec) worker_resume_others(call->worker);
}

COMMAND_RARE static void run_locked(struct call *call) {
  enum command_reach reach = reach_of(call);
  if (reach != COMMAND_REACHES_NOTHING) command_lock(call, reach);
  call->command->run(call);
  if (reach != COMMAND_REACHES_NOTHING) command_unlock(call, reach);
}

/* Nearly every command has one key, whose name is known. */
static inline void run_handler(struct call *call) {
  if (call->name == NULL) {
    run_locked(call);
    return;
  }
  struct worker *worker = call->worker;
  struct shard *shard = keyspace_find_name(worker->instance->keyspace, call->name);
  call->shard = shard;
  call->engine = worker_lock(worker, shard, &call->now_ms);
  call->command->run(call);
  worker_unlock(worker, shard);
}

/* ---- measuring ---- */

/*
 * The clock costs a tenth of a short command. Short ones of one kind in a row are measured
 * together: it is read when another kind comes, behind every STRETCH_CALLS of them, and at the end
 * of the batch. What may take long is measured alone.
 */
#define STRETCH_CALLS 32u
#define STRETCH_BYTES 4096u
#define CLOCK_GRAIN_NS 1000000 /* of worker.now_ms */
/* Whoever asks for commands that took less wants to know of each. */
#define STRETCH_SLOWLOG_US 1000

static bool measured_alone(const struct call *call) {
  int64_t slow_us = call->worker->options->slowlog_slower_us;
  bool each_counts = slow_us >= 0 && slow_us < STRETCH_SLOWLOG_US;
  bool fast = (call->command->flags & (COMMAND_FAST | COMMAND_SPREADS)) == COMMAND_FAST;
  return !fast || call->argc > COMMAND_SHORT_ARGS || call->bytes > STRETCH_BYTES || each_counts;
}

static void take_time(struct worker *worker) { worker->stamp_ns = clock_monotonic_ns(); }

/* What took long in a stretch was one of it; which one nobody can tell any more. */
COMMAND_RARE static void note_slow(const struct stretch *stretch, struct worker *worker,
                                   uint64_t spent_ns) {
  char text[COMMAND_NAME_BYTES];
  int len = snprintf(text, sizeof text, "... (one of %u measured together)", stretch->calls);
  const struct span argv[] = {span_of(stretch->command->name), {text, (size_t)len}};
  const struct call call = {
      .worker = worker,
      .session = stretch->session,
      .command = stretch->command,
      .argv = argv,
      .argc = 2,
      .now_ms = worker->now_ms,
  };
  slowlog_note(&call, spent_ns);
}

COMMAND_APART static void note_stretch(struct stretch *stretch, struct worker *worker) {
  take_time(worker);
  uint64_t spent_ns = worker->stamp_ns - stretch->start_ns;
  struct command_stats *stats = &worker->stats[stretch->command - COMMAND_TABLE];
  stats->nanoseconds += spent_ns;
  stats->calls += stretch->calls;
  worker->counters.commands += stretch->calls;
  if (slowlog_wants(worker, spent_ns)) note_slow(stretch, worker, spent_ns);
}

static inline void stretch_end(struct worker *worker) {
  if (worker->stretch.calls == 0) return;
  note_stretch(&worker->stretch, worker);
  worker->stretch.calls = 0;
}

void command_batch_end(struct worker *worker) {
  stretch_end(worker);
  worker->stamp_ns = 0;
}

COMMAND_RARE static void measure_alone(struct call *call) {
  struct worker *worker = call->worker;
  stretch_end(worker);
  if (worker->stamp_ns == 0) take_time(worker);
  uint64_t start_ns = worker->stamp_ns; /* EXEC: what it runs is measured within */
  run_handler(call);
  take_time(worker);
  uint64_t spent_ns = worker->stamp_ns - start_ns;
  struct command_stats *stats = &worker->stats[call->command - COMMAND_TABLE];
  stats->nanoseconds += spent_ns;
  stats->calls++;
  worker->counters.commands++;
  if (slowlog_wants(worker, spent_ns)) slowlog_note(call, spent_ns);
  /* What comes behind it in this turn must not act in the past. */
  bool time_has_passed = spent_ns >= CLOCK_GRAIN_NS && !call->in_exec;
  if (time_has_passed && worker->instance->see_time != NULL) worker->instance->see_time(worker);
}

static inline void measure_together(struct call *call) {
  struct worker *worker = call->worker;
  struct stretch *stretch = &worker->stretch;
  if (stretch->command != call->command || stretch->calls == STRETCH_CALLS ||
      stretch->session != call->session)
    stretch_end(worker);
  if (stretch->calls++ == 0) {
    if (worker->stamp_ns == 0) take_time(worker);
    stretch->start_ns = worker->stamp_ns;
    stretch->command = call->command;
    stretch->session = call->session;
  }
  run_handler(call);
}

/* ---- running ---- */

static inline bool is_error(const struct resp_writer *reply, size_t before) {
  const struct resp_output *out = reply->out;
  return out->len > before && out->bytes[before] == '-';
}

static inline void note_failure(const struct call *call, size_t before) {
  if (is_error(call->reply, before)) call->worker->stats[call->command - COMMAND_TABLE].failed++;
}

void command_call(struct call *call) {
  size_t before = call->reply->out->len;
  measure_alone(call);
  note_failure(call, before);
}

COMMAND_RARE static void refuse(struct call *call) {
  if (call->command != NULL) call->worker->stats[call->command - COMMAND_TABLE].rejected++;
  if (call->command != NULL && call->command->run == transaction_exec) {
    transaction_discard(call->session);
  } else {
    transaction_spoil(call->session);
  }
}

/* Whether CLIENT REPLY covers the command that has just run. SKIP covers one: the state moves on.
 */
COMMAND_RARE static bool take_silence(struct session *session) {
  bool silent = session->replies == SESSION_REPLIES_OFF || session->replies == SESSION_REPLIES_SKIP;
  if (session->replies == SESSION_REPLIES_SKIP) session->replies = SESSION_REPLIES_ON;
  if (session->replies == SESSION_REPLIES_SKIP_NEXT) session->replies = SESSION_REPLIES_SKIP;
  return silent;
}

/*
 * While CLIENT REPLY is OFF or SKIP, replies are written aside: what is told to the client
 * meanwhile by others, or by itself (PUBLISH to its own channel, MONITOR), is no reply and is sent.
 */
COMMAND_RARE static void settle_aside(struct call *call) {
  struct session *session = call->session;
  struct resp_output *aside = call->reply->out;
  const struct command *row = call->command;
  /* Subscribing and unsubscribing are answered by pushes, which REPLY does not silence. */
  bool pushed = row != NULL && row->group == GROUP_PUBSUB && (row->flags & COMMAND_PUBSUB) != 0 &&
                !is_error(call->reply, 0);
  bool silent = take_silence(session);
  session->silent = silent && session_blocked(session);
  size_t moved =
      !silent || pushed ? resp_output_move(session_writer(session, call->worker).out, aside) : 0;
  worker_output_unpin(call->worker, aside, moved);
  resp_output_deinit(aside);
}

void command_run(struct worker *worker, struct session *session, const struct request *request) {
  struct resp_writer reply = session_writer(session, worker);
  bool aside = session->replies != SESSION_REPLIES_ON;
  if (aside) reply.out = &worker->aside;
  struct call call = {
      .worker = worker,
      .session = session,
      .command = request->command,
      .argv = request->argv,
      .argc = request->argc,
      .name = request->name,
      .bytes = request->bytes,
      .reply = &reply,
      .now_ms = worker->now_ms,
  };
  size_t len = reply.out->len;
  session->active_ms = worker->now_ms;
  if (!judge(&call, request)) {
    refuse(&call);
  } else if (session_transaction(session) != NULL &&
             (call.command->flags & COMMAND_NOT_QUEUED) == 0) {
    transaction_queue(&call);
  } else {
    if (measured_alone(&call)) {
      measure_alone(&call);
    } else {
      measure_together(&call);
    }
    note_failure(&call, len);
    if (atomic_load_explicit(&worker->instance->monitor_count, memory_order_relaxed) > 0)
      monitor_feed(&call);
  }
  if (session->stranger && is_error(&reply, len)) strangers_note_error(worker, session);
  if (aside) {
    settle_aside(&call);
  } else if (session->replies != SESSION_REPLIES_ON) {
    take_silence(session); /* CLIENT REPLY itself */
  }
}

/* Whether the client is told of what was found before a command could run. */
static bool hears_reply(struct session *session) {
  return session->replies == SESSION_REPLIES_ON || !take_silence(session);
}

void command_toobig(struct worker *worker, struct session *session, size_t index, size_t limit) {
  struct resp_writer reply = session_writer(session, worker);
  if (hears_reply(session)) reply_toobig(&reply, index, limit);
  if (session->stranger) strangers_note_error(worker, session);
  transaction_spoil(session);
}

void command_malformed(struct worker *worker, struct session *session, const char *error) {
  struct resp_writer reply = session_writer(session, worker);
  worker->counters.protocol_errors++;
  if (hears_reply(session)) resp_write_errorf(&reply, "ERR Protocol error: %s", error);
}
