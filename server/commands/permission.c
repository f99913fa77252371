/* permission.c - see permission.h. Texts are Redis 7.0's. */
#include "server/commands/permission.h"

#include <stdio.h>
#include <string.h>

#include "proto/rare.h"
#include "server/commands/acl_log.h"

/* The place of the first key that is not allowed; argc: there is none. */
static size_t first_foreign_key(const struct permission_question *question) {
  const struct command *command = question->command;
  if (command->first_key == 0) return question->argc;
  size_t last = command->last_key < 0 ? question->argc - (size_t)-command->last_key
                                      : (size_t)command->last_key;
  for (size_t i = (size_t)command->first_key; i <= last && i < question->argc;
       i += (size_t)command->step) {
    if (!user_allows_key(question->user, question->argv[i])) return i;
  }
  return question->argc;
}

/* The same of channels: one that is published to, or all that are subscribed to. */
static size_t first_foreign_channel(const struct permission_question *question) {
  unsigned flags = question->command->flags;
  if ((flags & (COMMAND_CHANNELS | COMMAND_CHANNEL_PATTERNS)) == 0) return question->argc;
  size_t end = question->command->arity < 0 ? question->argc : 2;
  for (size_t i = 1; i < end; i++) {
    bool allowed = (flags & COMMAND_CHANNELS) != 0
                       ? user_allows_channel(question->user, question->argv[i])
                       : user_allows_channel_pattern(question->user, question->argv[i]);
    if (!allowed) return i;
  }
  return question->argc;
}

enum permission permission_of(const struct permission_question *question, size_t *index) {
  const struct command *command = question->command;
  *index = 0;
  if ((command->flags & COMMAND_BEFORE_AUTH) != 0) return PERMISSION_GRANTED;
  if (!user_allows_command(question->user, (size_t)(command - question->commands->rows)))
    return PERMISSION_NO_COMMAND;
  if ((command->flags & COMMAND_NEEDS_ALL_KEYS) != 0 && !user_allows_all_keys(question->user))
    return PERMISSION_NOT_ALL_KEYS;
  *index = first_foreign_key(question);
  if (*index < question->argc) return PERMISSION_NO_KEY;
  *index = first_foreign_channel(question);
  return *index < question->argc ? PERMISSION_NO_CHANNEL : PERMISSION_GRANTED;
}

static void note(const struct call *call, enum permission permission, struct span object) {
  static const enum acl_log_reason reasons[] = {
      [PERMISSION_NO_COMMAND] = ACL_LOG_COMMAND,
      [PERMISSION_NO_KEY] = ACL_LOG_KEY,
      [PERMISSION_NO_CHANNEL] = ACL_LOG_CHANNEL,
      [PERMISSION_NOT_ALL_KEYS] = ACL_LOG_KEY,
  };
  const struct acl_log_event event = {reasons[permission], object, user_name(call->session->user)};
  struct worker_counters *counters = &call->worker->counters;
  if (event.reason == ACL_LOG_COMMAND) counters->denied_commands++;
  if (event.reason == ACL_LOG_KEY) counters->denied_keys++;
  if (event.reason == ACL_LOG_CHANNEL) counters->denied_channels++;
  acl_log_note(call, &event);
}

/* %s: the name of the command. */
struct texts {
  const char *command, *key, *channel, *all_keys;
};

static const struct texts AT_ONCE = {
    "NOPERM this user has no permissions to run the '%s' command",
    "NOPERM this user has no permissions to access one of the keys used as arguments",
    "NOPERM this user has no permissions to access one of the channels used as arguments",
    "NOPERM this user has no permissions to access all keys, which the '%s' command needs",
};
#define CHANGED                                                                                \
  "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC " \
  "call. This command is no longer allowed for the following reason: no permission to "
static const struct texts IN_EXEC = {
    CHANGED "execute the command or subcommand",
    CHANGED "touch the specified keys",
    CHANGED "access one of the channels used as arguments",
    CHANGED "touch all keys",
};

static enum permission ask(const struct call *call, size_t *index) {
  const struct permission_question question = {.user = call->session->user,
                                               .commands = call->worker->commands,
                                               .command = call->command,
                                               .argv = call->argv,
                                               .argc = call->argc};
  return permission_of(&question, index);
}

/* The format is one of the texts above. */
RARE static void reply_refusal(struct resp_writer *reply, const char *begin, const char *format,
                               const char *name) {
  char text[RESP_WRITE_ERROR_MAX];
  const char *at = strstr(format, "%s");
  int before = at != NULL ? (int)(at - format) : (int)strlen(format);
  snprintf(text, sizeof text, "%s%.*s%s%s", begin, before, format, at != NULL ? name : "",
           at != NULL ? at + 2 : "");
  resp_write_error(reply, text);
}

RARE static void refuse(struct call *call, enum permission permission, size_t index,
                        const struct texts *texts) {
  const char *const formats[] = {
      [PERMISSION_NO_COMMAND] = texts->command,
      [PERMISSION_NO_KEY] = texts->key,
      [PERMISSION_NO_CHANNEL] = texts->channel,
      [PERMISSION_NOT_ALL_KEYS] = texts->all_keys,
  };
  char name[COMMAND_NAME_BYTES], prefix[] = "EXECABORT Transaction discarded because of: ";
  bool aborts = (call->command->flags & COMMAND_RUNS_QUEUE) != 0;
  command_name(call->command, name);
  note(call, permission, index > 0 ? call->argv[index] : span_of(name));
  reply_refusal(call->reply, aborts ? prefix : "", formats[permission], name);
}

bool permission_check(struct call *call) {
  size_t index;
  enum permission permission = ask(call, &index);
  if (permission == PERMISSION_GRANTED) return true;
  refuse(call, permission, index, &AT_ONCE);
  return false;
}

bool permission_check_queued(struct call *call) {
  size_t index = 0;
  bool left = !call->session->authenticated; /* the user was deleted by a command before it */
  bool open = (call->command->flags & COMMAND_BEFORE_AUTH) != 0;
  enum permission permission = left && !open ? PERMISSION_NO_COMMAND : ask(call, &index);
  if (permission == PERMISSION_GRANTED) return true;
  refuse(call, permission, index, &IN_EXEC);
  return false;
}
