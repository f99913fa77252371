/* command.c - see command.h. */
#include "server/commands/command.h"

bool command_is_key(const struct command *command, size_t index, size_t argc) {
  if (command->first_key == 0 || index < (size_t)command->first_key) return false;
  size_t last = command->last_key >= 0 ? (size_t)command->last_key : argc - 1;
  return index <= last && (index - (size_t)command->first_key) % (size_t)command->step == 0;
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

void command_name(const struct command *command, char name[COMMAND_NAME_BYTES]) {
  size_t i = 0;
  for (; command->name[i] != '\0' && i < COMMAND_NAME_BYTES - 1; i++) {
    char c = command->name[i];
    name[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
  }
  name[i] = '\0';
}
