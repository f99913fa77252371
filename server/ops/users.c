/* users.c - see users.h. */
#include "server/ops/users.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- places, by name ---- */

static int compare(struct span name, const struct user *user) {
  size_t least = name.len < user->name_len ? name.len : user->name_len;
  int order = least > 0 ? memcmp(name.data, user->name, least) : 0;
  if (order != 0) return order;
  return name.len < user->name_len ? -1 : name.len > user->name_len;
}

/* The place of the first user whose name is not before it. */
static size_t place_of(const struct users *users, struct span name) {
  size_t low = 0, high = users->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (compare(name, users->all[middle]) > 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

struct user *users_find(const struct users *users, struct span name) {
  size_t place = place_of(users, name);
  if (place == users->count || compare(name, users->all[place]) != 0) return NULL;
  return users->all[place];
}

static bool reserve(struct users *users, size_t capacity) {
  if (capacity <= users->capacity) return true;
  capacity += capacity / 2;
  struct user **all = realloc(users->all, capacity * sizeof(struct user *));
  if (all == NULL) return false;
  users->all = all;
  users->capacity = capacity;
  return true;
}

static void insert(struct users *users, struct user *user) {
  size_t place = place_of(users, user_name(user));
  memmove(&users->all[place + 1], &users->all[place],
          (users->count - place) * sizeof(struct user *));
  users->all[place] = user;
  users->count++;
}

static void take_out(struct users *users, struct user *user) {
  size_t place = place_of(users, user_name(user));
  assert(users->all[place] == user);
  users->count--;
  memmove(&users->all[place], &users->all[place + 1],
          (users->count - place) * sizeof(struct user *));
}

/* ---- numbers ---- */

static bool number_is_used(const struct users *users, uint16_t number) {
  return (users->numbers[number / 64] >> (number % 64) & 1) != 0;
}

/* Follows from the name, so that records and the journal need not know names. Of two names with the
 * same, the one that came later has the next free number; after a restart it may be the other way
 * round, and then the claims that are still HELD count for each other's quota until they end. */
static void give_number(struct users *users, struct user *user) {
  uint16_t number = (uint16_t)XXH3_64bits(user->name, user->name_len);
  while (number == USER_DEFAULT_NUMBER || number_is_used(users, number)) number++;
  users->numbers[number / 64] |= UINT64_C(1) << (number % 64);
  user->number = number;
}

static void give_back_number(struct users *users, const struct user *user) {
  users->numbers[user->number / 64] &= ~(UINT64_C(1) << (user->number % 64));
}

/* ---- the table ---- */

static struct user *make_initial(size_t command_count) {
  struct user *user = user_create(SPAN_LITERAL("default"));
  if (user == NULL) return NULL;
  user->command_rules[0] = '+'; /* of "-@all" */
  user->on = user->nopass = user->unrestricted = true;
  user->keys.any = user->channels.any = true;
  for (size_t i = 0; i < command_count; i++) user->commands[i / 64] |= UINT64_C(1) << (i % 64);
  return user;
}

static struct users *create(struct users_command *commands, size_t count) {
  struct users *users = calloc(1, sizeof *users);
  if (users == NULL) return NULL;
  users->commands = commands;
  users->command_count = count;
  users->initial = make_initial(count);
  if (users->initial == NULL || !reserve(users, 1)) {
    user_destroy(users->initial);
    free(users);
    return NULL;
  }
  insert(users, users->initial);
  return users;
}

struct users *users_create(struct users_command *commands, size_t count) {
  assert(count <= USER_COMMANDS_MAX);
  struct users *users = create(commands, count);
  if (users == NULL) free(commands);
  return users;
}

struct users *users_create_beside(const struct users *users) {
  struct users *beside = create(users->commands, users->command_count);
  if (beside == NULL) return NULL;
  beside->borrows_commands = true;
  beside->all_channels = users->all_channels;
  return beside;
}

struct user *users_new(const struct users *users, struct span name) {
  struct user *user = user_create(name);
  if (user != NULL) user->channels.any = users->all_channels;
  return user;
}

void users_destroy(struct users *users) {
  if (users == NULL) return;
  for (size_t i = 0; i < users->count; i++) user_destroy(users->all[i]);
  free(users->all);
  if (!users->borrows_commands) free(users->commands);
  free(users);
}

bool users_add(struct users *users, struct user *user) {
  _Static_assert(USERS_MAX < USERS_NUMBERS - 1, "a number for each");
  if (users->count >= USERS_MAX || !reserve(users, users->count + 1)) return false;
  give_number(users, user);
  insert(users, user);
  return true;
}

void users_remove(struct users *users, struct user *user) {
  assert(user != users->initial);
  take_out(users, user);
  give_back_number(users, user);
  user->deleted = true;
}

/* Those that the staged table has not go there. */
static void move_deleted(struct users *users, struct users *staged) {
  for (size_t i = 0; i < users->count;) {
    struct user *user = users->all[i];
    if (users_find(staged, user_name(user)) != NULL) {
      i++;
      continue;
    }
    users_remove(users, user);
    insert(staged, user);
  }
}

static void move_new(struct users *users, struct users *staged) {
  for (size_t i = 0; i < staged->count;) {
    struct user *user = staged->all[i], *known = users_find(users, user_name(user));
    if (known != NULL || user->deleted) {
      if (known != NULL) user_change(known, user);
      i++;
      continue;
    }
    take_out(staged, user);
    give_number(users, user);
    insert(users, user);
  }
}

bool users_replace(struct users *users, struct users *staged) {
  size_t most = users->count + staged->count;
  if (!reserve(users, most) || !reserve(staged, most)) return false;
  move_deleted(users, staged);
  move_new(users, staged);
  return true;
}

bool users_need_password(const struct users *users) {
  return !users->initial->on || !users->initial->nopass;
}
