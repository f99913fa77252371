/* acl_commands.c - see acl_commands.h. */
#include "server/ops/acl_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/ops/acl_categories.h"

/* A rule that is carried out. */
struct rule {
  const struct users *users;
  struct user *user;
  struct span name;
  bool allow;
  char *error; /* REFUSAL_BYTES */
};

static bool refuse_memory(const struct rule *rule) {
  return refusal_write(rule->error, "out of memory");
}

#define RULE_NAME_MAX 64u /* bytes of the name of a command or category */

static void set_command(struct user *user, size_t row, bool allow) {
  uint64_t bit = UINT64_C(1) << (row % 64);
  if (allow) {
    user->commands[row / 64] |= bit;
  } else {
    user->commands[row / 64] &= ~bit;
  }
}

/* Takes out the rules of a name, which the next one makes void: of a command also those of its
 * subcommands. */
static void forget_rules(char *rules, const char *name) {
  size_t len = strlen(name);
  char *to = rules;
  for (char *from = rules; *from != '\0';) {
    size_t word = strcspn(from, " ");
    bool same = word > len && strncmp(from + 1, name, len) == 0 &&
                (word == len + 1 || from[len + 1] == '|');
    if (!same && to != rules) *to++ = ' ';
    if (!same) {
      memmove(to, from, word);
      to += word;
    }
    from += word + (from[word] == ' ');
  }
  *to = '\0';
}

static bool note_rule(const struct rule *rule, const char *name) {
  struct user *user = rule->user;
  size_t room = strlen(user->command_rules) + strlen(name) + sizeof " +";
  char *rules = realloc(user->command_rules, room);
  if (rules == NULL) return refuse_memory(rule);
  user->command_rules = rules;
  forget_rules(rules, name);
  size_t len = strlen(rules);
  snprintf(rules + len, room - len, "%s%c%s", len > 0 ? " " : "", rule->allow ? '+' : '-', name);
  return true;
}

static bool set_all(const struct rule *rule) {
  struct user *user = rule->user;
  char *rules = strdup(rule->allow ? "+@all" : "-@all");
  if (rules == NULL) return refuse_memory(rule);
  free(user->command_rules);
  user->command_rules = rules;
  for (size_t i = 0; i < rule->users->command_count; i++) set_command(user, i, rule->allow);
  return true;
}

static bool refuse_command(const struct rule *rule) {
  return refusal_write(rule->error, "Unknown command or category name in ACL");
}

static void lower(const char *from, char name[RULE_NAME_MAX]) {
  size_t i = 0;
  for (; from[i] != '\0' && i < RULE_NAME_MAX - 1; i++)
    name[i] = from[i] >= 'A' && from[i] <= 'Z' ? (char)(from[i] + 'a' - 'A') : from[i];
  name[i] = '\0';
}

static bool set_category(const struct rule *rule, struct span category) {
  char name[RULE_NAME_MAX];
  if (span_is(category, "all")) return set_all(rule);
  uint64_t bit = acl_categories_find(category);
  if (bit == 0) return refuse_command(rule);
  snprintf(name, sizeof name, "@%s", acl_categories_name((unsigned)__builtin_ctzll(bit)));
  if (!note_rule(rule, name)) return false;
  for (size_t i = 0; i < rule->users->command_count; i++) {
    if ((rule->users->commands[i].categories & bit) != 0) set_command(rule->user, i, rule->allow);
  }
  return true;
}

/* The row that a rule of this name is about; NULL: there is none. */
static const struct users_command *find_command(const struct users *users, struct span name) {
  const struct span prefix = SPAN_LITERAL("IDEM.");
  bool prefixed = name.len > prefix.len && strncasecmp(name.data, prefix.data, prefix.len) == 0;
  if (prefixed) name = (struct span){name.data + prefix.len, name.len - prefix.len};
  for (size_t i = 0; i < users->command_count; i++) {
    const struct users_command *command = &users->commands[i];
    if (span_is(name, command->name) && (!prefixed || command->prefixed))
      return &users->commands[command->same_as];
  }
  return NULL;
}

/* Whether row `other` is a subcommand of the container, or a synonym of the row. */
static bool follows(const struct users *users, const struct users_command *command, size_t other) {
  const struct users_command *row = &users->commands[other];
  size_t len = strlen(command->name);
  bool is_sub = strncmp(row->name, command->name, len) == 0 && row->name[len] == '|';
  return is_sub || row->same_as == command - users->commands;
}

static bool has_subs(const struct users *users, const struct users_command *command) {
  size_t len = strlen(command->name);
  for (size_t i = 0; i < users->command_count; i++) {
    const char *name = users->commands[i].name;
    if (strncmp(name, command->name, len) == 0 && name[len] == '|') return true;
  }
  return false;
}

/* What stands before the last bar decides, as in Redis. */
static bool refuse_name(const struct rule *rule) {
  struct span text = rule->name;
  const char *bar = text.len > 0 ? memrchr(text.data, '|', text.len) : NULL;
  if (bar == NULL || !rule->allow) return refuse_command(rule);
  struct span before = {text.data, (size_t)(bar - text.data)};
  const struct users_command *command = find_command(rule->users, before);
  if (command == NULL) return refuse_command(rule);
  if (strchr(command->name, '|') != NULL)
    return refusal_write(rule->error, "Allowing first-arg of a subcommand is not supported");
  if (before.len + 1 == text.len) return refusal_write(rule->error, "Syntax error");
  if (has_subs(rule->users, command)) return refuse_command(rule);
  return refusal_write(rule->error, "Allowing first-arg of a command is not supported");
}

static bool set_commands(const struct rule *rule) {
  char name[RULE_NAME_MAX];
  const struct users_command *command = find_command(rule->users, rule->name);
  if (command == NULL) return refuse_name(rule);
  lower(command->name, name);
  if (!note_rule(rule, name)) return false;
  set_command(rule->user, (size_t)(command - rule->users->commands), rule->allow);
  for (size_t i = 0; i < rule->users->command_count; i++) {
    if (follows(rule->users, command, i)) set_command(rule->user, i, rule->allow);
  }
  return true;
}

bool acl_commands_set(const struct users *users, struct user *user, struct span name, bool allow,
                      char error[REFUSAL_BYTES]) {
  const struct rule rule = {users, user, name, allow, error};
  if (name.len == 0 || name.data[0] != '@') return set_commands(&rule);
  return set_category(&rule, (struct span){name.data + 1, name.len - 1});
}
