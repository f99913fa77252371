/* acl.c - see acl.h. Replies and texts are Redis 7.0's: clients fall back on them. */
#include "server/commands/acl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/random.h"
#include "server/commands/accounts.h"
#include "server/commands/acl_log.h"
#include "server/commands/arguments.h"
#include "server/commands/audit.h"
#include "server/commands/categories.h"
#include "server/commands/permission.h"
#include "server/commands/reply.h"
#include "server/ops/acl_file.h"
#include "server/ops/acl_rules.h"
#include "server/ops/acl_text.h"

static struct users *users_of(const struct call *call) { return call->worker->instance->users; }

/* Call after it has succeeded. */
static void note_change(const struct call *call, const char *what, struct span name) {
  char shown[REFUSAL_SHOWN_BYTES];
  audit_note(call, "%s %s", what, refusal_show(name, shown));
}

/* ---- SETUSER, DELUSER ---- */

static void reply_bad_rule(struct call *call, struct span rule, const char *why) {
  char suffix[REFUSAL_BYTES + sizeof "': "];
  snprintf(suffix, sizeof suffix, "': %s", why);
  resp_write_error_quoting(call->reply, "ERR Error in ACL SETUSER modifier '", rule, suffix);
}

void acl_setuser(struct call *call) {
  const struct accounts_change change = {call->worker, call->session};
  struct span name = call->argv[2];
  char error[REFUSAL_BYTES];
  size_t bad = 0;
  if (!acl_rules_name_fits(name)) {
    resp_write_error(call->reply, "ERR Usernames can't contain spaces or null characters");
    return;
  }
  const struct user *known = users_find(users_of(call), name);
  struct user *user = known != NULL ? user_copy(known) : users_new(users_of(call), name);
  if (user == NULL) {
    reply_no_memory(call);
    return;
  }
  if (!acl_rules_apply(users_of(call), user, call->argv + 3, call->argc - 3, &bad, error)) {
    reply_bad_rule(call, call->argv[3 + bad], error);
    user_destroy(user);
    return;
  }
  if (accounts_put(&change, user, error)) {
    note_change(call, "ACL SETUSER", name);
    reply_ok(call);
  } else {
    resp_write_errorf(call->reply, "ERR %s", error);
  }
}

void acl_deluser(struct call *call) {
  const struct accounts_change change = {call->worker, call->session};
  for (size_t i = 2; i < call->argc; i++) {
    if (span_equal(call->argv[i], user_name(users_of(call)->initial))) {
      resp_write_error(call->reply, "ERR The 'default' user cannot be removed");
      return;
    }
  }
  size_t count = accounts_delete(&change, call->argv + 2, call->argc - 2);
  for (size_t i = 2; i < call->argc && count > 0; i++)
    note_change(call, "ACL DELUSER", call->argv[i]);
  resp_write_integer(call->reply, (int64_t)count);
}

/* ---- GETUSER, LIST, USERS, WHOAMI ---- */

static void reply_text(struct call *call, acl_text_part *part, const struct user *user) {
  size_t len = 0;
  char *text = acl_text_of(part, user, &len);
  resp_write_bulk(call->reply, (struct span){text != NULL ? text : "", text != NULL ? len : 0});
  free(text);
}

static void reply_flags(struct resp_writer *reply, const struct user *user) {
  resp_write_bulk_text(reply, "flags");
  resp_write_set(reply, user->nopass ? 2 : 1);
  resp_write_bulk_text(reply, user->on ? "on" : "off");
  if (user->nopass) resp_write_bulk_text(reply, "nopass");
}

static void reply_passwords(struct resp_writer *reply, const struct user *user) {
  resp_write_bulk_text(reply, "passwords");
  resp_write_array(reply, user->password_count);
  for (size_t i = 0; i < user->password_count; i++) {
    char text[DIGEST_HEX];
    digest_text(&user->passwords[i].digest, text);
    resp_write_bulk(reply, (struct span){text, sizeof text});
  }
}

static void reply_quota(struct resp_writer *reply, const char *name, uint64_t most) {
  if (most == 0) return;
  resp_write_bulk_text(reply, name);
  resp_write_integer(reply, (int64_t)most);
}

void acl_getuser(struct call *call) {
  const struct user *user = users_find(users_of(call), call->argv[2]);
  struct resp_writer *reply = call->reply;
  if (user == NULL) {
    resp_write_null(reply);
    return;
  }
  resp_write_map(reply,
                 6 + (user->quota_claims > 0 ? 1u : 0u) + (user->quota_waiters > 0 ? 1u : 0u));
  reply_flags(reply, user);
  reply_passwords(reply, user);
  resp_write_bulk_text(reply, "commands");
  resp_write_bulk_text(reply, user->command_rules);
  resp_write_bulk_text(reply, "keys");
  reply_text(call, acl_text_write_keys, user);
  resp_write_bulk_text(reply, "channels");
  reply_text(call, acl_text_write_channels, user);
  resp_write_bulk_text(reply, "selectors");
  resp_write_array(reply, 0);
  reply_quota(reply, "quota-claims", user->quota_claims);
  reply_quota(reply, "quota-waiters", user->quota_waiters);
}

static void write_line(FILE *out, const struct user *user) {
  fputs("user ", out);
  acl_text_write(out, user);
}

void acl_list(struct call *call) {
  const struct users *users = users_of(call);
  resp_write_array(call->reply, users->count);
  for (size_t i = 0; i < users->count; i++) reply_text(call, write_line, users->all[i]);
}

void acl_users(struct call *call) {
  const struct users *users = users_of(call);
  resp_write_array(call->reply, users->count);
  for (size_t i = 0; i < users->count; i++) resp_write_bulk(call->reply, user_name(users->all[i]));
}

void acl_whoami(struct call *call) { resp_write_bulk(call->reply, user_name(call->session->user)); }

/* ---- CAT, DRYRUN ---- */

static void list_category(struct call *call, uint64_t category) {
  const struct lookup *commands = call->worker->commands;
  size_t count = 0;
  for (size_t i = 0; i < commands->count; i++)
    count += (categories_of(&commands->rows[i]) & category) != 0;
  resp_write_array(call->reply, count);
  for (size_t i = 0; i < commands->count; i++) {
    char name[COMMAND_NAME_BYTES];
    if ((categories_of(&commands->rows[i]) & category) == 0) continue;
    command_name(&commands->rows[i], name);
    resp_write_bulk_text(call->reply, name);
  }
}

void acl_cat(struct call *call) {
  if (call->argc > 3) {
    reply_sub_syntax_error(call, "ACL");
    return;
  }
  if (call->argc == 3) {
    uint64_t category = acl_categories_find(call->argv[2]);
    if (category != 0) {
      list_category(call, category);
    } else {
      resp_write_error_quoting(call->reply, "ERR Unknown category '", call->argv[2], "'");
    }
    return;
  }
  resp_write_array(call->reply, ACL_CATEGORY_COUNT);
  for (unsigned i = 0; i < ACL_CATEGORY_COUNT; i++)
    resp_write_bulk_text(call->reply, acl_categories_name(i));
}

/* The row that argv[3] names, with its subcommand; NULL: there is none. A container alone has too
 * few arguments, unless it can be run. */
static const struct command *find_row(const struct call *call) {
  const struct lookup *commands = call->worker->commands;
  const struct command *command = lookup_find(commands, call->argv[3]);
  bool container = command != NULL && (command->flags & COMMAND_CONTAINER) != 0;
  if (!container || call->argc == 4) return command;
  return lookup_find_sub(commands, call->argv[3], call->argv[4]);
}

static void reply_dryrun(struct call *call, const struct permission_question *question) {
  size_t index;
  char name[COMMAND_NAME_BYTES], text[RESP_WRITE_ERROR_MAX];
  command_name(question->command, name);
  enum permission permission = permission_of(question, &index);
  struct span object = index > 0 && index < question->argc ? question->argv[index] : span_of(name);
  const char *format = "This user has no permissions to access all keys, which '%.*s' needs";
  if (permission == PERMISSION_GRANTED) {
    reply_ok(call);
    return;
  }
  if (permission == PERMISSION_NO_COMMAND)
    format = "This user has no permissions to run the '%.*s' command";
  if (permission == PERMISSION_NO_KEY)
    format = "This user has no permissions to access the '%.*s' key";
  if (permission == PERMISSION_NO_CHANNEL)
    format = "This user has no permissions to access the '%.*s' channel";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  snprintf(text, sizeof text, format, (int)object.len, object.data);
#pragma GCC diagnostic pop
  resp_write_bulk_text(call->reply, text);
}

void acl_dryrun(struct call *call) {
  const struct user *user = users_find(users_of(call), call->argv[2]);
  const struct command *command = find_row(call);
  if (user == NULL) {
    resp_write_error_quoting(call->reply, "ERR User '", call->argv[2], "' not found");
    return;
  }
  if (command == NULL) {
    resp_write_error_quoting(call->reply, "ERR Command '", call->argv[3], "' not found");
    return;
  }
  if (!command_takes(command, call->argc - 3)) {
    char name[COMMAND_NAME_BYTES];
    command_name(command, name);
    resp_write_errorf(call->reply, "ERR wrong number of arguments for '%s' command", name);
    return;
  }
  const struct permission_question question = {.user = user,
                                               .commands = call->worker->commands,
                                               .command = command,
                                               .argv = call->argv + 3,
                                               .argc = call->argc - 3};
  reply_dryrun(call, &question);
}

/* ---- LOG ---- */

#define LOG_SHOWN_BY_DEFAULT 10

void acl_show_log(struct call *call) {
  long long count = LOG_SHOWN_BY_DEFAULT;
  if (call->argc > 3) {
    reply_sub_syntax_error(call, "ACL");
  } else if (call->argc == 3 && span_is(call->argv[2], "RESET")) {
    acl_log_clear(call->worker->instance->acl_log);
    reply_ok(call);
  } else if (call->argc == 2 || arguments_integer(call, call->argv[2], &count)) {
    acl_log_reply(call, count < 0 ? 0 : (size_t)count);
  }
}

/* ---- LOAD, SAVE ---- */

/* False: there is no file, and an error is replied. */
static bool has_file(struct call *call) {
  if (call->worker->options->aclfile[0] != '\0') return true;
  resp_write_error(
      call->reply,
      "ERR This instance is not configured to use an ACL file. You may want to specify users via "
      "the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a configuration "
      "file set) in order to store users in the configuration.");
  return false;
}

void acl_load(struct call *call) {
  const struct accounts_change change = {call->worker, call->session};
  char error[REFUSAL_BYTES];
  if (!has_file(call)) return;
  if (accounts_load_file(&change, error)) {
    note_change(call, "ACL LOAD", span_of(call->worker->options->aclfile));
    reply_ok(call);
  } else {
    resp_write_errorf(
        call->reply,
        "ERR %s. WARNING: ACL errors detected, no change to the previously active ACL "
        "rules was performed",
        error);
  }
}

void acl_save(struct call *call) {
  char error[REFUSAL_BYTES];
  if (!has_file(call)) return;
  if (acl_file_save(call->worker->options->aclfile, users_of(call), error)) {
    reply_ok(call);
  } else {
    resp_write_errorf(call->reply, "ERR There was an error trying to save the ACLs: %s", error);
  }
}

/* ---- GENPASS ---- */

#define GENPASS_BITS 256
#define GENPASS_BITS_MAX 4096

void acl_genpass(struct call *call) {
  static const char digits[] = "0123456789abcdef";
  unsigned char random[GENPASS_BITS_MAX / 4];
  char text[GENPASS_BITS_MAX / 4];
  long long bits = GENPASS_BITS;
  if (call->argc > 3) {
    reply_sub_syntax_error(call, "ACL");
    return;
  }
  if (call->argc == 3 && !arguments_integer(call, call->argv[2], &bits)) return;
  if (bits <= 0 || bits > GENPASS_BITS_MAX) {
    resp_write_errorf(
        call->reply,
        "ERR ACL GENPASS argument must be the number of bits for the output password, "
        "a positive number up to %d",
        GENPASS_BITS_MAX);
    return;
  }
  size_t len = ((size_t)bits + 3) / 4;
  if (!random_get(random, len)) {
    resp_write_error(call->reply, "ERR no random numbers can be had");
    return;
  }
  for (size_t i = 0; i < len; i++) text[i] = digits[random[i] & 15];
  resp_write_bulk(call->reply, (struct span){text, len});
}
