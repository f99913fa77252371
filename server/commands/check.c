/* check.c - see check.h. Texts are Redis 7.0's: clients fall back on them. */
#include "server/commands/check.h"

#include <stdio.h>
#include <string.h>

#include "proto/rare.h"
#include "server/commands/admission.h"
#include "server/commands/argument_limits.h"
#include "server/commands/permission.h"
#include "server/commands/queue.h"
#include "server/commands/reply.h"

/* ---- replies ---- */

RARE void check_reply_toobig(struct resp_writer *reply, const char *name, size_t limit) {
  const struct request_error error = {
      .fault = REQUEST_TOO_BIG, .name = name, .most = (int64_t)limit};
  reply_request_error(reply, &error);
}

/* Redis' text, on which clients fall back: each argument in quotes, cut at 128 bytes in all. */
#define QUOTED_ARGS_BYTES 128

RARE static void reply_unknown(struct call *call) {
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

RARE static void reply_unknown_sub(struct call *call) {
  char suffix[COMMAND_NAME_BYTES + 32];
  snprintf(suffix, sizeof suffix, "'. Try %s HELP.", call->command->name);
  struct span sub = call->argv[1];
  if (sub.len > QUOTED_ARGS_BYTES) sub.len = QUOTED_ARGS_BYTES;
  resp_write_error_quoting(call->reply, "ERR unknown subcommand '", sub, suffix);
}

/* How the error of a command that is refused begins. */
static const char *refusal(const struct call *call) {
  return (call->command->flags & COMMAND_RUNS_QUEUE) != 0
             ? "EXECABORT Transaction discarded because of:"
             : "ERR";
}

RARE static void reply_arity(struct call *call) {
  char name[COMMAND_NAME_BYTES];
  command_name(call->command, name);
  bool prefixed = call->argv[0].len > strlen(name); /* only IDEM. makes a name longer */
  resp_write_errorf(call->reply, "%s wrong number of arguments for '%s%s' command", refusal(call),
                    prefixed ? "idem." : "", name);
}

/* ---- checks ---- */

/* A subcommand's row instead of its container's. */
RARE static bool find_sub(struct call *call) {
  if (call->argc < 2) {
    bool alone = call->command->run != NULL;
    if (!alone) reply_arity(call);
    return alone;
  }
  const struct command *sub = lookup_find_sub(call->worker->commands, call->argv[0], call->argv[1]);
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
  bool fits = command_takes(call->command, call->argc);
  if (!fits) reply_arity(call);
  return fits;
}

/* True for most sessions, which then skip may_run and permission_check. */
static bool may_run_all(const struct session *session) {
  return session->authenticated && !session->restricted && session_subscriptions(session) == NULL &&
         session_queue(session) == NULL;
}

RARE static bool may_run(struct call *call) {
  unsigned flags = call->command->flags;
  if (!call->session->authenticated && (flags & COMMAND_BEFORE_AUTH) == 0) {
    resp_write_error(call->reply, "NOAUTH Authentication required.");
    return false;
  }
  if (session_only_listens(call->session) && (flags & COMMAND_PUBSUB) == 0) {
    char name[COMMAND_NAME_BYTES];
    command_name(call->command, name);
    resp_write_errorf(
        call->reply,
        "%s Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
        "RESET are allowed in this context",
        refusal(call), name);
    return false;
  }
  if (session_queue(call->session) != NULL && (flags & COMMAND_NOT_IN_MULTI) != 0) {
    resp_write_error(call->reply, "ERR Command not allowed inside a transaction");
    return false;
  }
  return true;
}

static bool is_permitted(struct call *call) {
  return !call->session->restricted || permission_check(call);
}

/* The limits are checked here for every command whose request does not say that they fit: one that
 * was not read at once and whole (net/batch.c), since a reader that keeps parts, or reads an inline
 * command, need not know the row; and a subcommand, which was read by the limits of its container.
 */
RARE static bool sizes_fit(struct call *call) {
  size_t *bytes = &call->request->bytes;
  *bytes = 0;
  for (size_t i = 1; i < call->argc; i++) *bytes += call->argv[i].len;
  size_t over = argument_limits_first_over(call->worker, call->command, call->argv, call->argc);
  if (over == call->argc) return true;
  check_reply_toobig(call->reply, argument_limits_name(call->command, call->argv, over),
                     argument_limits_of(call->worker, call->command, call->argv, over));
  return false;
}

/* One that is queued now changes nothing yet: EXEC is asked for all. */
static __attribute__((noinline)) bool is_kept(struct call *call) {
  bool queued =
      session_queue(call->session) != NULL && (call->command->flags & COMMAND_NOT_QUEUED) == 0;
  return queued || admission_keeps(call);
}

bool check_call(struct call *call) {
  if (!find_row(call)) return false;
  call->session->last_row = (uint16_t)(call->command - call->worker->commands->rows);
  if (!arity_fits(call)) return false;
  if (!may_run_all(call->session) && !(may_run(call) && is_permitted(call))) return false;
  if (!call->request->sizes_fit && !sizes_fit(call)) return false;
  return call->worker->journal == NULL || is_kept(call);
}

bool check_postponed(const struct worker *worker, const struct session *session,
                     const struct request *request) {
  const struct instance *instance = worker->instance;
  bool paused =
      instance->pause_until_ms > worker->monotonic_ms && !atomic_load(&instance->draining);
  if (!paused) return false;
  if (!instance->pause_writes_only) return true;
  if (request->command == NULL) return false;
  if ((request->command->flags & COMMAND_RUNS_QUEUE) != 0) return queue_writes(session);
  return (request->command->flags & COMMAND_WRITES) != 0;
}
