/* users.c - see users.h. */
#include "server/ops/users.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int compare(struct span name, const struct user *user) {
  size_t least = name.len < user->name_len ? name.len : user->name_len;
  int order = memcmp(name.data, user->name, least);
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

static void user_destroy(struct user *user) {
  if (user == NULL) return;
  free(user->name);
  free(user);
}

static struct user *make_initial(void) {
  struct user *user = calloc(1, sizeof *user);
  if (user == NULL) return NULL;
  user->name = strdup("default");
  user->name_len = strlen("default");
  user->on = user->nopass = user->unrestricted = user->all_future = true;
  user->keys.any = user->channels.any = true;
  memset(user->commands, 0xff, sizeof user->commands);
  if (user->name != NULL) return user;
  user_destroy(user);
  return NULL;
}

struct users *users_create(struct users_command *commands, size_t count) {
  assert(count <= USER_COMMANDS_MAX);
  struct users *users = calloc(1, sizeof *users);
  struct user **all = malloc(sizeof *all);
  struct user *initial = make_initial();
  if (users != NULL && all != NULL && initial != NULL) {
    all[0] = initial;
    *users = (struct users){.all = all,
                            .count = 1,
                            .capacity = 1,
                            .initial = initial,
                            .commands = commands,
                            .command_count = count};
    return users;
  }
  user_destroy(initial);
  free(all);
  free(users);
  free(commands);
  return NULL;
}

void users_destroy(struct users *users) {
  if (users == NULL) return;
  for (size_t i = 0; i < users->count; i++) user_destroy(users->all[i]);
  free(users->all);
  free((void *)(uintptr_t)users->commands);
  free(users);
}

bool users_need_password(const struct users *users) {
  return !users->initial->on || !users->initial->nopass;
}
