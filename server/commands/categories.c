/* categories.c - see categories.h. Redis' commands have Redis 7.0's categories, where the flags of
 * the rows are Redis' too. */
#include "server/commands/categories.h"

static uint64_t of_flags(unsigned flags) {
  uint64_t categories = (flags & COMMAND_FAST) != 0 ? ACL_FAST : ACL_SLOW;
  if ((flags & COMMAND_READS) != 0) categories |= ACL_READ;
  if ((flags & COMMAND_WRITES) != 0) categories |= ACL_WRITE;
  if ((flags & COMMAND_WAITS) != 0) categories |= ACL_BLOCKING;
  if ((flags & COMMAND_ADMIN) != 0) categories |= ACL_ADMIN | ACL_DANGEROUS;
  if ((flags & COMMAND_INSPECTS) != 0) categories |= ACL_INSPECT;
  return categories;
}

static uint64_t of_group(const struct command *command) {
  switch (command->group) {
    case GROUP_IDEM: return (command->flags & COMMAND_INSPECTS) != 0 ? 0 : ACL_CLAIM;
    case GROUP_GENERIC: return ACL_KEYSPACE;
    case GROUP_STRING: return ACL_STRING;
    case GROUP_PUBSUB: return ACL_PUBSUB;
    case GROUP_TRANSACTIONS: return ACL_TRANSACTION;
    case GROUP_CONNECTION: return ACL_CONNECTION;
    case GROUP_SERVER:
    default: return (command->flags & COMMAND_ALL_KEYS) != 0 ? ACL_KEYSPACE : 0;
  }
}

/* What does not follow from flags and group: of a command, or of a container and all in it. */
static const struct {
  const char *name;
  uint64_t categories;
} MORE[] = {
    {"KEYS", ACL_DANGEROUS}, {"FLUSHALL", ACL_DANGEROUS},         {"FLUSHDB", ACL_DANGEROUS},
    {"INFO", ACL_DANGEROUS}, {"ROLE", ACL_ADMIN | ACL_DANGEROUS}, {"COMMAND", ACL_CONNECTION},
    {"LOLWUT", ACL_READ},    {"SCRIPT", ACL_SCRIPTING},           {"FUNCTION", ACL_SCRIPTING},
};

uint64_t categories_of(const struct command *command) {
  uint64_t categories = of_flags(command->flags) | of_group(command);
  struct span name = {command->name, strcspn(command->name, "|")};
  for (size_t i = 0; i < sizeof MORE / sizeof MORE[0]; i++) {
    if (span_is(name, MORE[i].name)) categories |= MORE[i].categories;
  }
  return categories;
}
