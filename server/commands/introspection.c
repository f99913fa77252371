/* introspection.c - see introspection.h. */
#include "server/commands/introspection.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "server/base/glob.h"
#include "server/commands/categories.h"
#include "server/commands/reply.h"
#include "server/commands/usage.h"
#include "server/ops/version.h"

/* ---- COMMAND DOCS ---- */

static const char *type_of(const struct usage_node *node) {
  static const char *const integers[] = {"milliseconds", "seconds", "token",     "index",
                                         "count",        "cursor",  "client-id", "protover"};
  if (node->kind == USAGE_TOKEN) return "pure-token";
  if (node->kind == USAGE_BLOCK) return "block";
  if (node->kind == USAGE_ONEOF) return "oneof";
  if (span_is(node->name, "key")) return "key";
  if (span_is(node->name, "pattern")) return "pattern";
  for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
    if (span_is(node->name, integers[i])) return "integer";
  }
  return "string";
}

static void reply_nodes(struct resp_writer *reply, const struct syntax *s, int first);

static void reply_node(struct resp_writer *reply, const struct syntax *s,
                       const struct usage_node *node) {
  bool flagged = node->optional || node->multiple;
  bool is_key = strcmp(type_of(node), "key") == 0;
  resp_write_map(reply, 2 + (is_key ? 1u : 0u) + (node->token.data != NULL ? 1u : 0u) +
                            (flagged ? 1u : 0u) + (node->child >= 0 ? 1u : 0u));
  char name[COMMAND_NAME_BYTES];
  size_t len = node->name.len < sizeof name - 1 ? node->name.len : sizeof name - 1;
  for (size_t i = 0; i < len; i++) name[i] = (char)tolower((unsigned char)node->name.data[i]);
  resp_write_bulk_text(reply, "name");
  resp_write_bulk(reply, (struct span){name, len});
  resp_write_bulk_text(reply, "type");
  resp_write_bulk_text(reply, type_of(node));
  if (is_key) {
    resp_write_bulk_text(reply, "key_spec_index");
    resp_write_integer(reply, 0);
  }
  if (node->token.data != NULL) {
    resp_write_bulk_text(reply, "token");
    resp_write_bulk(reply, node->token);
  }
  if (flagged) {
    resp_write_bulk_text(reply, "flags");
    resp_write_set(reply, (node->optional ? 1u : 0u) + (node->multiple ? 1u : 0u));
    if (node->optional) resp_write_simple(reply, "optional");
    if (node->multiple) resp_write_simple(reply, "multiple");
  }
  if (node->child >= 0) {
    resp_write_bulk_text(reply, "arguments");
    reply_nodes(reply, s, node->child);
  }
}

static void reply_nodes(struct resp_writer *reply, const struct syntax *s, int first) {
  size_t count = 0;
  for (int i = first; i >= 0; i = s->nodes[i].next) count++;
  resp_write_array(reply, count);
  for (int i = first; i >= 0; i = s->nodes[i].next) reply_node(reply, s, &s->nodes[i]);
}

static bool is_sub(const struct command *command) { return strchr(command->name, '|') != NULL; }

static bool is_sub_of(const struct command *sub, const struct command *container) {
  size_t len = strlen(container->name);
  return strncmp(sub->name, container->name, len) == 0 && sub->name[len] == '|';
}

static size_t subcommands(const struct lookup *commands, const struct command *container) {
  size_t count = 0;
  for (size_t i = 0; i < commands->count; i++) count += is_sub_of(&commands->rows[i], container);
  return count;
}

static void reply_lower_name(struct resp_writer *reply, const struct command *command) {
  char name[COMMAND_NAME_BYTES];
  command_name(command, name);
  resp_write_bulk_text(reply, name);
}

static void reply_docs(struct resp_writer *reply, const struct lookup *commands,
                       const struct command *command) {
  struct syntax syntax;
  int first = usage_parse(&syntax, command->syntax);
  size_t subs = is_sub(command) ? 0 : subcommands(commands, command);
  reply_lower_name(reply, command);
  resp_write_map(reply, 3 + (first >= 0 ? 1u : 0u) + (subs > 0 ? 1u : 0u));
  resp_write_bulk_text(reply, "summary");
  resp_write_bulk_text(reply, command->summary);
  resp_write_bulk_text(reply, "since");
  resp_write_bulk_text(reply, IDEM_VERSION);
  resp_write_bulk_text(reply, "group");
  resp_write_bulk_text(reply, command_group_name(command->group));
  if (first >= 0) {
    resp_write_bulk_text(reply, "arguments");
    reply_nodes(reply, &syntax, first);
  }
  if (subs == 0) return;
  resp_write_bulk_text(reply, "subcommands");
  resp_write_map(reply, subs);
  for (size_t i = 0; i < commands->count; i++) {
    if (is_sub_of(&commands->rows[i], command)) reply_docs(reply, commands, &commands->rows[i]);
  }
}

/* `container|sub` names a subcommand here, as in Redis. */
static const struct command *find_full(const struct call *call, struct span full) {
  const char *bar = full.len > 0 ? memchr(full.data, '|', full.len) : NULL;
  if (bar == NULL) return lookup_find(call->worker->commands, full);
  struct span name = {full.data, (size_t)(bar - full.data)};
  struct span sub = {bar + 1, full.len - name.len - 1};
  return lookup_find_sub(call->worker->commands, name, sub);
}

static size_t top_level(const struct lookup *commands) {
  size_t count = 0;
  for (size_t i = 0; i < commands->count; i++) count += !is_sub(&commands->rows[i]);
  return count;
}

/* The most names in one call: each gets a reply. */
#define NAMES_MAX 1024u

static bool few_names(struct call *call) {
  if (call->argc - 2 <= NAMES_MAX) return true;
  resp_write_errorf(call->reply, "ERR more than %u command names", NAMES_MAX);
  return false;
}

void introspection_docs(struct call *call) {
  const struct lookup *commands = call->worker->commands;
  if (!few_names(call)) return;
  if (call->argc == 2) {
    resp_write_map(call->reply, top_level(commands));
    for (size_t i = 0; i < commands->count; i++) {
      if (!is_sub(&commands->rows[i])) reply_docs(call->reply, commands, &commands->rows[i]);
    }
    return;
  }
  size_t known = 0;
  for (size_t i = 2; i < call->argc; i++) known += find_full(call, call->argv[i]) != NULL;
  resp_write_map(call->reply, known);
  for (size_t i = 2; i < call->argc; i++) {
    const struct command *command = find_full(call, call->argv[i]);
    if (command != NULL) reply_docs(call->reply, commands, command);
  }
}

/* ---- COMMAND INFO: ten elements a command ---- */

struct flag_name {
  unsigned flag;
  const char *name;
};

static const struct flag_name FLAG_NAMES[] = {
    {COMMAND_WRITES, "write"},          {COMMAND_READS, "readonly"},
    {COMMAND_LOADS_MEMORY, "denyoom"},  {COMMAND_ADMIN, "admin"},
    {COMMAND_PUBSUB, "pubsub"},         {COMMAND_WAITS, "blocking"},
    {COMMAND_BEFORE_AUTH, "no_auth"},   {COMMAND_FAST, "fast"},
    {COMMAND_NOT_IN_MULTI, "no_multi"},
};
#define FLAG_NAME_COUNT (sizeof FLAG_NAMES / sizeof FLAG_NAMES[0])

/* In Redis the flag `pubsub` marks the commands about channels; here it marks those that may run
 * while a connection is subscribed. */
static unsigned shown_flags(const struct command *command) {
  bool about_channels = command->group == GROUP_PUBSUB && command->run != NULL &&
                        command->run != introspection_container_help;
  return (command->flags & ~COMMAND_PUBSUB) | (about_channels ? COMMAND_PUBSUB : 0);
}

static void reply_flags(struct resp_writer *reply, const struct command *command) {
  size_t count = 0;
  unsigned flags = shown_flags(command);
  for (size_t i = 0; i < FLAG_NAME_COUNT; i++) count += (flags & FLAG_NAMES[i].flag) != 0;
  resp_write_set(reply, count);
  for (size_t i = 0; i < FLAG_NAME_COUNT; i++) {
    if ((flags & FLAG_NAMES[i].flag) != 0) resp_write_simple(reply, FLAG_NAMES[i].name);
  }
}

static void reply_categories(struct resp_writer *reply, const struct command *command) {
  uint64_t categories = categories_of(command);
  resp_write_set(reply, (size_t)__builtin_popcountll(categories));
  for (unsigned i = 0; i < ACL_CATEGORY_COUNT; i++) {
    char text[COMMAND_NAME_BYTES];
    if ((categories >> i & 1) == 0) continue;
    snprintf(text, sizeof text, "@%s", acl_categories_name(i));
    resp_write_simple(reply, text);
  }
}

static void reply_key_specs(struct resp_writer *reply, const struct command *command) {
  if (command->first_key == 0) {
    resp_write_set(reply, 0);
    return;
  }
  resp_write_set(reply, 1);
  resp_write_map(reply, 3);
  resp_write_bulk_text(reply, "flags");
  resp_write_set(reply, 1);
  resp_write_simple(reply, (command->flags & COMMAND_READS) != 0 ? "RO" : "RW");
  resp_write_bulk_text(reply, "begin_search");
  resp_write_map(reply, 2);
  resp_write_bulk_text(reply, "type");
  resp_write_bulk_text(reply, "index");
  resp_write_bulk_text(reply, "spec");
  resp_write_map(reply, 1);
  resp_write_bulk_text(reply, "index");
  resp_write_integer(reply, command->first_key);
  resp_write_bulk_text(reply, "find_keys");
  resp_write_map(reply, 2);
  resp_write_bulk_text(reply, "type");
  resp_write_bulk_text(reply, "range");
  resp_write_bulk_text(reply, "spec");
  resp_write_map(reply, 3);
  resp_write_bulk_text(reply, "lastkey");
  resp_write_integer(
      reply, command->last_key < 0 ? command->last_key : command->last_key - command->first_key);
  resp_write_bulk_text(reply, "keystep");
  resp_write_integer(reply, command->step);
  resp_write_bulk_text(reply, "limit");
  resp_write_integer(reply, 0);
}

static void reply_info(struct resp_writer *reply, const struct lookup *commands,
                       const struct command *command) {
  if (command == NULL) {
    resp_write_null(reply); /* not the null array of RESP2: as Redis 7.0 */
    return;
  }
  resp_write_array(reply, 10);
  reply_lower_name(reply, command);
  resp_write_integer(reply, command->arity);
  reply_flags(reply, command);
  resp_write_integer(reply, command->first_key);
  resp_write_integer(reply, command->last_key);
  resp_write_integer(reply, command->step);
  reply_categories(reply, command);
  resp_write_set(reply, 0); /* tips */
  reply_key_specs(reply, command);
  size_t subs = is_sub(command) ? 0 : subcommands(commands, command);
  resp_write_array(reply, subs);
  for (size_t i = 0; subs > 0 && i < commands->count; i++) {
    if (is_sub_of(&commands->rows[i], command)) reply_info(reply, commands, &commands->rows[i]);
  }
}

void introspection_command(struct call *call) {
  const struct lookup *commands = call->worker->commands;
  resp_write_array(call->reply, top_level(commands));
  for (size_t i = 0; i < commands->count; i++) {
    if (!is_sub(&commands->rows[i])) reply_info(call->reply, commands, &commands->rows[i]);
  }
}

void introspection_info(struct call *call) {
  const struct lookup *commands = call->worker->commands;
  if (!few_names(call)) return;
  if (call->argc == 2) {
    resp_write_array(call->reply, top_level(commands));
    for (size_t i = 0; i < commands->count; i++) {
      if (!is_sub(&commands->rows[i])) reply_info(call->reply, commands, &commands->rows[i]);
    }
    return;
  }
  resp_write_array(call->reply, call->argc - 2);
  for (size_t i = 2; i < call->argc; i++)
    reply_info(call->reply, commands, find_full(call, call->argv[i]));
}

void introspection_count(struct call *call) {
  resp_write_integer(call->reply, (int64_t)top_level(call->worker->commands));
}

/* ---- COMMAND LIST, GETKEYS, HELP ---- */

/* argv: COMMAND LIST [FILTERBY kind value]. Subcommands are listed like commands, as in Redis. */
static bool listed(const struct call *call, const struct command *command) {
  if (call->argc == 2) return true;
  char name[COMMAND_NAME_BYTES];
  command_name(command, name);
  if (span_is(call->argv[3], "PATTERN")) return glob_match(call->argv[4], span_of(name), true);
  if (span_is(call->argv[3], "ACLCAT"))
    return (categories_of(command) & acl_categories_find(call->argv[4])) != 0;
  return false; /* MODULE: there are none */
}

void introspection_list(struct call *call) {
  const struct lookup *commands = call->worker->commands;
  bool filtered = call->argc == 5 && span_is(call->argv[2], "FILTERBY") &&
                  (span_is(call->argv[3], "PATTERN") || span_is(call->argv[3], "ACLCAT") ||
                   span_is(call->argv[3], "MODULE"));
  if (call->argc != 2 && !filtered) {
    reply_syntax_error(call);
    return;
  }
  size_t count = 0;
  for (size_t i = 0; i < commands->count; i++) count += listed(call, &commands->rows[i]);
  resp_write_set(call->reply, count);
  for (size_t i = 0; i < commands->count; i++) {
    if (listed(call, &commands->rows[i])) reply_lower_name(call->reply, &commands->rows[i]);
  }
}

void introspection_getkeys(struct call *call) {
  const struct span *argv = call->argv + 2;
  size_t argc = call->argc - 2;
  const struct command *command = lookup_find(call->worker->commands, argv[0]);
  if (command != NULL && (command->flags & COMMAND_CONTAINER) != 0 && argc > 1) {
    command = lookup_find_sub(call->worker->commands, argv[0], argv[1]);
  }
  if (command == NULL) {
    resp_write_error(call->reply, "ERR Invalid command specified");
    return;
  }
  if (command->first_key == 0) {
    resp_write_error(call->reply, "ERR The command has no key arguments");
    return;
  }
  if (!command_takes(command, argc)) {
    resp_write_error(call->reply, "ERR Invalid number of arguments specified for command");
    return;
  }
  size_t count = 0;
  for (size_t i = 1; i < argc; i++) count += command_is_key(command, i, argc);
  resp_write_array(call->reply, count);
  for (size_t i = 1; i < argc; i++) {
    if (command_is_key(command, i, argc)) resp_write_bulk(call->reply, argv[i]);
  }
}

/* NAME SUB syntax, and the summary under it, like Redis' HELP. */
void introspection_container_help(struct call *call) {
  size_t len = (size_t)(strchr(call->command->name, '|') - call->command->name);
  char container[COMMAND_NAME_BYTES], line[512];
  snprintf(container, sizeof container, "%.*s", (int)len, call->command->name);
  const struct lookup *commands = call->worker->commands;
  const struct command *parent = lookup_find(commands, span_of(container));
  resp_write_array(call->reply, 1 + 2 * subcommands(commands, parent));
  snprintf(line, sizeof line,
           "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container);
  resp_write_simple(call->reply, line);
  for (size_t i = 0; i < commands->count; i++) {
    const struct command *sub = &commands->rows[i];
    if (!is_sub_of(sub, parent)) continue;
    snprintf(line, sizeof line, "%s%s%s", sub->name + len + 1, sub->syntax[0] != '\0' ? " " : "",
             sub->syntax);
    resp_write_simple(call->reply, line);
    snprintf(line, sizeof line, "    %s.", sub->summary);
    resp_write_simple(call->reply, line);
  }
}
