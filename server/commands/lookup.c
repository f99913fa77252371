/* lookup.c - see lookup.h. */
#include "server/commands/lookup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The names of rows have only letters, up to so many of them. */
#define NAME_LETTERS 16u

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* FNV-1a: the names are fixed, so no client can choose colliding ones. */
#define HASH_BASIS 2166136261u
static uint32_t hash_more(uint32_t hash, struct span bytes) {
  for (size_t i = 0; i < bytes.len; i++)
    hash = (hash ^ (unsigned char)lower(bytes.data[i])) * 16777619u;
  return hash;
}

/* False: no row has a name of that length. */
static inline bool fold_name(struct span name, struct lookup_name *folded) {
  if (name.len == 0 || name.len > NAME_LETTERS) return false;
  size_t head = name.len < SPAN_WORD_BYTES ? name.len : SPAN_WORD_BYTES;
  size_t tail = name.len - head;
  folded->head = span_letters(name.data, head);
  folded->tail = tail > 0 ? span_letters(name.data + head, tail) : 0;
  folded->len = name.len;
  return true;
}

static inline bool same_name(const struct lookup_name *a, const struct lookup_name *b) {
  return a->head == b->head && a->tail == b->tail && a->len == b->len;
}

/* The names are fixed, so any odd number with well-spread bits is good enough. */
static inline uint32_t slot_of(const struct lookup_name *name) {
  uint64_t mixed = (name->head ^ name->tail << 1) * UINT64_C(0x9e3779b97f4a7c15);
  return (uint32_t)(mixed >> 40) % LOOKUP_SLOTS;
}

static void add_name(struct lookup *lookup, const struct command *command) {
  struct lookup_name name;
  bool fits = fold_name(span_of(command->name), &name);
  assert(fits && strspn(command->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == name.len);
  (void)fits;
  uint32_t slot = slot_of(&name);
  while (lookup->names[slot].command != NULL) slot = (slot + 1) % LOOKUP_SLOTS;
  lookup->names[slot] = (struct lookup_slot){name, command};
}

static void add_subcommand(struct lookup *lookup, const struct command *command) {
  uint32_t slot = hash_more(HASH_BASIS, span_of(command->name)) % LOOKUP_SLOTS;
  while (lookup->subcommands[slot] != NULL) slot = (slot + 1) % LOOKUP_SLOTS;
  lookup->subcommands[slot] = command;
}

struct lookup *lookup_create(const struct command *rows, size_t count) {
  assert(count <= LOOKUP_SLOTS / 2);
  struct lookup *lookup = calloc(1, sizeof *lookup);
  if (lookup == NULL) return NULL;
  lookup->rows = rows;
  lookup->count = count;
  for (size_t i = 0; i < count; i++) {
    bool is_sub = strchr(rows[i].name, '|') != NULL;
    (is_sub ? add_subcommand : add_name)(lookup, &rows[i]);
  }
  return lookup;
}

void lookup_destroy(struct lookup *lookup) { free(lookup); }

static bool is_subcommand(const struct command *command, struct span name, struct span sub) {
  const char *full = command->name, *bar = strchr(full, '|');
  if (name.len != (size_t)(bar - full)) return false;
  for (size_t i = 0; i < name.len; i++) {
    if (lower(name.data[i]) != lower(full[i])) return false;
  }
  return span_is(sub, bar + 1);
}

static const struct command *find_subcommand(const struct lookup *lookup, struct span name,
                                             struct span sub) {
  uint32_t hash = hash_more(hash_more(hash_more(HASH_BASIS, name), SPAN_LITERAL("|")), sub);
  uint32_t slot = hash % LOOKUP_SLOTS;
  for (; lookup->subcommands[slot] != NULL; slot = (slot + 1) % LOOKUP_SLOTS) {
    if (is_subcommand(lookup->subcommands[slot], name, sub)) return lookup->subcommands[slot];
  }
  return NULL;
}

static inline const struct command *find_exact(const struct lookup *lookup, struct span name) {
  struct lookup_name folded;
  if (!fold_name(name, &folded)) return NULL;
  uint32_t slot = slot_of(&folded);
  const struct lookup_slot *found = &lookup->names[slot];
  while (!same_name(&found->name, &folded)) {
    if (found->command == NULL) return NULL;
    slot = (slot + 1) % LOOKUP_SLOTS;
    found = &lookup->names[slot];
  }
  return found->command;
}

/* IDEM.CLAIM and its like. */
__attribute__((cold)) static const struct command *find_prefixed(const struct lookup *lookup,
                                                                 struct span name,
                                                                 struct span sub) {
  const struct span prefix = SPAN_LITERAL("IDEM.");
  if (name.len <= prefix.len || !span_is((struct span){name.data, prefix.len}, prefix.data))
    return NULL;
  name = (struct span){name.data + prefix.len, name.len - prefix.len};
  const struct command *command =
      span_present(sub) ? find_subcommand(lookup, name, sub) : find_exact(lookup, name);
  return command != NULL && (command->flags & COMMAND_IDEM) != 0 ? command : NULL;
}

const struct command *lookup_find(const struct lookup *lookup, struct span name) {
  const struct command *command = find_exact(lookup, name);
  return command != NULL ? command : find_prefixed(lookup, name, SPAN_ABSENT);
}

const struct command *lookup_find_sub(const struct lookup *lookup, struct span name,
                                      struct span sub) {
  const struct command *command = find_subcommand(lookup, name, sub);
  return command != NULL ? command : find_prefixed(lookup, name, sub);
}
