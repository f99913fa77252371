/* accounts.c - see accounts.h. */
#include "server/commands/accounts.h"

#include <stdlib.h>
#include <string.h>

#include "server/commands/allowance.h"
#include "server/commands/categories.h"
#include "server/commands/strangers.h"
#include "server/commands/topics.h"
#include "server/ops/acl_file.h"
#include "server/ops/acl_rules.h"
#include "server/ops/options_check.h"
#include "server/ops/options_file.h"
#include "server/ops/options_users.h"

/* ---- the table ---- */

/* Rows with one handler are the same command under two names (WAIT, AWAIT), if it is idem's. */
static uint16_t first_of_same(const struct command *rows, size_t row) {
  for (size_t i = 0; i < row && (rows[row].flags & COMMAND_IDEM) != 0; i++) {
    if (rows[i].run == rows[row].run) return (uint16_t)i;
  }
  return (uint16_t)row;
}

static struct users_command *make_commands(struct accounts_rows rows) {
  struct users_command *commands = calloc(rows.count, sizeof *commands);
  for (size_t i = 0; commands != NULL && i < rows.count; i++) {
    const struct command *row = &rows.rows[i];
    commands[i] = (struct users_command){
        .name = row->name,
        .categories = categories_of(row),
        .prefixed = (row->flags & COMMAND_IDEM) != 0,
        .same_as = first_of_same(rows.rows, i),
    };
  }
  return commands;
}

struct users *accounts_create(struct accounts_rows rows, const struct options *options) {
  struct users_command *commands = make_commands(rows);
  struct users *users = commands != NULL ? users_create(commands, rows.count) : NULL;
  if (users != NULL)
    users->all_channels = options->acl_pubsub_default == OPTIONS_ACL_PUBSUB_ALLCHANNELS;
  if (users == NULL || acl_rules_set_passwords(users->initial, options->requirepass)) return users;
  users_destroy(users);
  return NULL;
}

static enum options_default_user default_user_of(const struct users *users) {
  return users_need_password(users) ? OPTIONS_DEFAULT_USER_CLOSED : OPTIONS_DEFAULT_USER_OPEN;
}

/* Whether the server may be open to whom it is open then. */
static bool check(const struct options *options, enum options_default_user default_user,
                  char error[REFUSAL_BYTES]) {
  struct options changed = *options;
  changed.default_user = default_user;
  return options_check(&changed, error);
}

/* ---- the start ---- */

static bool take_line(const struct options *options, struct users *users,
                      const struct options_user *line, bool *has_default,
                      char error[REFUSAL_BYTES]) {
  char reason[REFUSAL_BYTES], shown[REFUSAL_SHOWN_BYTES];
  struct user *user = NULL;
  bool done = acl_file_take_user(users, line->argv, line->argc, &user, reason);
  if (done && user == users->initial) {
    done = !*has_default || refusal_write(reason, "Duplicate user 'default' found");
    *has_default = true;
  }
  return done ||
         refusal_write(error, "%s:%zu: %.300s", refusal_show(span_of(options->config_file), shown),
                       line->number, reason);
}

static bool take_all(struct options *options, struct users *users, bool *has_default,
                     char error[REFUSAL_BYTES]) {
  if (options->aclfile[0] != '\0') {
    if (options->users == NULL) return acl_file_load(options->aclfile, users, has_default, error);
    return refusal_write(error,
                         "the configuration file has `user` lines and names an aclfile: move the "
                         "lines there");
  }
  for (const struct options_user *line = options->users; line != NULL; line = line->next) {
    if (!take_line(options, users, line, has_default, error)) return false;
  }
  return true;
}

struct users *accounts_read(struct accounts_rows rows, struct options *options, struct log *log,
                            char error[REFUSAL_BYTES]) {
  bool has_default = false;
  struct users *users = accounts_create(rows, options);
  bool done = users != NULL || refusal_write(error, "no memory for the users");
  done = done && take_all(options, users, &has_default, error) &&
         check(options, default_user_of(users), error);
  options_users_clear(&options->users);
  if (!done) {
    users_destroy(users);
    return NULL;
  }
  options->default_user = default_user_of(users);
  if (has_default && options->requirepass[0] != '\0')
    log_line(log, LOG_LEVEL_WARNING,
             "requirepass is not used: the line `user default` says what the default user's "
             "password is");
  return users;
}

/* ---- sessions ---- */

static void become(struct session *session, const struct user *user, uint8_t password) {
  session->user = user;
  session->password = password;
  session->restricted = !user->unrestricted;
  session->authenticated = true;
}

void accounts_begin_session(struct session *session, const struct worker *worker) {
  const struct users *users = worker->instance->users;
  become(session, users->initial, USER_NO_PASSWORD);
  session->authenticated = !users_need_password(users);
}

/* Whether all that it is subscribed to is its user's. */
static bool may_listen(const struct session *session) {
  const struct subscriptions *subscriptions = session_subscriptions(session);
  for (int kind = 0; subscriptions != NULL && kind < TOPICS_KINDS; kind++) {
    const struct list *head = &subscriptions->of[kind];
    for (struct list *node = head->next; node != head; node = node->next) {
      struct span name = topics_name(LIST_ENTRY(node, struct subscription, in_session)->topic);
      bool allowed = kind == TOPICS_CHANNEL ? user_allows_channel(session->user, name)
                                            : user_allows_channel_pattern(session->user, name);
      if (!allowed) return false;
    }
  }
  return !session->monitors || user_allows_all_keys(session->user);
}

bool accounts_authenticate(struct session *session, struct worker *worker, struct span name,
                           struct span password) {
  const struct users *users = worker->instance->users;
  const struct user *known = users_find(users, name);
  const struct user *user = known != NULL ? known : users->initial;
  uint8_t id = USER_NO_PASSWORD;
  bool right = user_knows_password(user, password, &id);
  if (known == NULL || !user->on || !(right || user->nopass)) return false;
  become(session, user, id);
  strangers_remove(worker, session);
  if (session->restricted && !may_listen(session)) session->close_when_sent = true;
  return true;
}

/* ---- what a change means for sessions ---- */

/* Whatever runs before it is closed is refused. */
static void let_go(struct worker *worker, struct session *session) {
  session->user = worker->instance->users->initial;
  session->password = USER_NO_PASSWORD;
  session->restricted = true;
  session->authenticated = false;
}

/* A caller gets its reply first. */
static void end(const struct accounts_change *change, struct worker *worker,
                struct session *session) {
  let_go(worker, session);
  if (session == change->caller) {
    session->close_when_sent = true;
  } else {
    session_close(session, worker);
  }
}

/* What a waiter waits for is not known here, so one whose user has lost any keys ends. */
static bool may_wait(const struct session *session) {
  if (!session->waiting) return true;
  return !session->user->lost_keys && user_allows_command(session->user, session->last_row);
}

static void review(const struct accounts_change *change, struct worker *worker,
                   struct session *session) {
  if (session->close_now) {
    if (session->user->deleted) let_go(worker, session); /* which is freed before it is closed */
    return;
  }
  if (!session->authenticated) {
    if (session->close_when_sent || users_need_password(worker->instance->users)) return;
    accounts_begin_session(session, worker);
    if (!session->handshaking) strangers_remove(worker, session);
    return;
  }
  session->restricted = !session->user->unrestricted;
  bool stays = user_keeps(session->user, session->password) &&
               (!session->restricted || (may_listen(session) && may_wait(session)));
  if (!stays) end(change, worker, session);
}

static void review_all(const struct accounts_change *change) {
  struct instance *instance = change->worker->instance;
  instance->options->default_user = default_user_of(instance->users);
  allowance_apply(instance);
  for (unsigned i = 0; i < instance->worker_count; i++) {
    struct worker *worker = instance->workers[i];
    for (struct list *node = worker->sessions.next; node != &worker->sessions; node = node->next)
      review(change, worker, LIST_ENTRY(node, struct session, link));
  }
  for (size_t i = 0; i < instance->users->count; i++) instance->users->all[i]->lost_keys = false;
  instance->wake(instance, UINT64_MAX >> (64 - instance->worker_count));
}

/* ---- changes ---- */

bool accounts_put(const struct accounts_change *change, struct user *user,
                  char error[REFUSAL_BYTES]) {
  struct instance *instance = change->worker->instance;
  struct user *known = users_find(instance->users, user_name(user));
  bool open = known == instance->users->initial && user->on && user->nopass;
  bool done = !open || check(instance->options, OPTIONS_DEFAULT_USER_OPEN, error);
  if (done && known == NULL)
    done = users_add(instance->users, user) ||
           refusal_write(error, "there are %u users, or memory is short", USERS_MAX);
  if (done && known != NULL) user_change(known, user);
  if (done) review_all(change);
  if (!done || known != NULL) user_destroy(user);
  return done;
}

size_t accounts_delete(const struct accounts_change *change, const struct span *names,
                       size_t count) {
  struct users *users = change->worker->instance->users;
  struct user *deleted = NULL;
  size_t found = 0;
  for (size_t i = 0; i < count; i++) {
    struct user *user = users_find(users, names[i]);
    if (user == NULL) continue;
    users_remove(users, user);
    user->next_deleted = deleted;
    deleted = user;
    found++;
  }
  if (found > 0) review_all(change);
  for (struct user *next; deleted != NULL; deleted = next) {
    next = deleted->next_deleted;
    user_destroy(deleted);
  }
  return found;
}

bool accounts_load_file(const struct accounts_change *change, char error[REFUSAL_BYTES]) {
  struct instance *instance = change->worker->instance;
  bool has_default = false;
  struct users *staged = users_create_beside(instance->users);
  bool done =
      staged != NULL && acl_rules_set_passwords(staged->initial, instance->options->requirepass);
  if (!done) refusal_write(error, "no memory for the users");
  done = done && acl_file_load(instance->options->aclfile, staged, &has_default, error) &&
         check(instance->options, default_user_of(staged), error);
  if (done)
    done =
        users_replace(instance->users, staged) || refusal_write(error, "no memory for the users");
  if (done) review_all(change);
  users_destroy(staged);
  return done;
}

/* Who sets a new password stays, as if it had shown that one. */
static void adopt(struct session *caller, const struct user *user) {
  if (caller == NULL || caller->user != user || user_keeps(user, caller->password)) return;
  if (user->on && user->password_count > 0) caller->password = user->passwords[0].id;
}

/* The default user with the passwords of requirepass. NULL: memory is short. */
static struct user *make_default(const struct instance *instance) {
  struct user *user = user_copy(instance->users->initial);
  if (user != NULL && acl_rules_set_passwords(user, instance->options->requirepass)) return user;
  user_destroy(user);
  return NULL;
}

bool accounts_set_password(const struct accounts_change *change) {
  struct instance *instance = change->worker->instance;
  struct user *initial = instance->users->initial, *user = make_default(instance);
  if (user == NULL) return false;
  user_change(initial, user);
  user_destroy(user);
  adopt(change->caller, initial);
  review_all(change);
  return true;
}

bool accounts_reload_password(struct worker *worker, char error[REFUSAL_BYTES]) {
  const struct accounts_change change = {.worker = worker};
  if (worker->options->requirepass_file[0] == '\0') return true;
  struct user *user = make_default(worker->instance);
  if (user == NULL) return refusal_write(error, "no memory for the passwords");
  bool in_use = user_has_passwords_of(worker->instance->users->initial, user);
  user_destroy(user);
  if (!options_file_reload_password(worker->options, error)) return false;
  if (in_use)
    return accounts_set_password(&change) || refusal_write(error, "no memory for the passwords");
  log_line(worker->log, LOG_LEVEL_WARNING,
           "requirepass-file is not used: `user default` or ACL SETUSER says what the default "
           "user's password is");
  return true;
}
