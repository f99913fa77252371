/* config.c - CONFIG: shows and changes the options, always through the rows of their table
 * (ops/options.h). */
#include "server/commands/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/glob.h"
#include "server/commands/access.h"
#include "server/commands/accounts.h"
#include "server/commands/audit.h"
#include "server/commands/measure.h"
#include "server/commands/reply.h"
#include "server/engine/stats.h"
#include "server/journal/journal.h"
#include "server/ops/options_live.h"
#include "server/ops/options_rewrite.h"

/* Settings of Redis that tools ask for, with their values here. Read only. */
static const struct {
  const char *name, *value;
} FIXED[] = {
    {"save", ""},
    {"databases", "1"},
    {"maxmemory-policy", "noeviction"},
    {"cluster-enabled", "no"},
    {"notify-keyspace-events", ""},
    {"proto-max-bulk-len", "536870912"},
};
#define FIXED_COUNT (sizeof FIXED / sizeof FIXED[0])

static bool matches_any(const struct call *call, const char *name) {
  for (size_t i = 2; i < call->argc; i++) {
    if (glob_match(call->argv[i], span_of(name), true)) return true;
  }
  return false;
}

void config_get(struct call *call) {
  size_t found = 0;
  for (size_t i = 0; i < options_count(); i++) found += matches_any(call, options_row(i)->name);
  for (size_t i = 0; i < FIXED_COUNT; i++) found += matches_any(call, FIXED[i].name);
  resp_write_map(call->reply, found);
  for (size_t i = 0; i < options_count(); i++) {
    const struct options_row *row = options_row(i);
    if (!matches_any(call, row->name)) continue;
    char text[OPTIONS_VALUE_BYTES];
    options_text(call->worker->options, row, text);
    resp_write_bulk_text(call->reply, row->name);
    resp_write_bulk_text(call->reply, text);
  }
  for (size_t i = 0; i < FIXED_COUNT; i++) {
    if (!matches_any(call, FIXED[i].name)) continue;
    resp_write_bulk_text(call->reply, FIXED[i].name);
    resp_write_bulk_text(call->reply, FIXED[i].value);
  }
}

/* ---- CONFIG SET: all of the pairs, or none ---- */

#define SET_MAX_PAIRS 64

static void reply_set_failed(struct call *call, struct span name, const char *reason) {
  char prefix[] = "ERR CONFIG SET failed (possibly related to argument '",
       suffix[REFUSAL_BYTES + 8];
  snprintf(suffix, sizeof suffix, "') - %s", reason);
  resp_write_error_quoting(call->reply, prefix, name, suffix);
}

/* What a setting was before, so that it can be put back. */
struct former {
  const struct options_row *row;
  struct options_value value; /* owned */
};

static void put_back(struct options *options, struct former *former) {
  options_value_store(former->row, options, &former->value);
}

/* Each of the two that say what the password is changes the other. */
static const char *const PASSWORD_ROWS[] = {"requirepass", "requirepass-file"};
#define PASSWORD_ROW_COUNT (sizeof PASSWORD_ROWS / sizeof PASSWORD_ROWS[0])

struct set {
  struct former former[SET_MAX_PAIRS];
  size_t count;
  struct former passwords[PASSWORD_ROW_COUNT];
};

static bool remember(const struct options *options, const struct options_row *row,
                     struct former *former) {
  former->row = row;
  return options_value_copy(row, options, &former->value);
}

/* False: memory is short. */
static bool remember_passwords(struct set *set, const struct options *options) {
  bool done = true;
  for (size_t i = 0; i < PASSWORD_ROW_COUNT; i++)
    done = remember(options, options_find(span_of(PASSWORD_ROWS[i])), &set->passwords[i]) && done;
  return done;
}

/* Whether the call says what the default user's password is: another one, or the same again, since
 * ACL SETUSER may have given it others. */
static bool tells_password(const struct call *call, const struct set *set) {
  const struct former *passwords = set->passwords;
  for (size_t i = 2; i < call->argc; i += 2) {
    const struct options_row *row = options_find(call->argv[i]);
    bool is_password = row == passwords[0].row || row == passwords[1].row;
    if (is_password && call->argv[i + 1].len > 0) return true;
  }
  return !options_value_equal(passwords[0].row, call->worker->options, &passwords[0].value);
}

static void forget(struct set *set) {
  while (set->count > 0) options_value_deinit(&set->former[--set->count].value);
  for (size_t i = 0; i < PASSWORD_ROW_COUNT; i++) options_value_deinit(&set->passwords[i].value);
}

static void put_all_back(struct set *set, struct options *options) {
  for (size_t i = set->count; i > 0; i--) put_back(options, &set->former[i - 1]);
  for (size_t i = 0; i < PASSWORD_ROW_COUNT; i++) put_back(options, &set->passwords[i]);
}

static bool is_repeated(const struct call *call, size_t argument) {
  const struct options_row *row = options_find(call->argv[argument]);
  for (size_t i = 2; i < argument; i += 2) {
    if (options_find(call->argv[i]) == row) return true;
  }
  return false;
}

static bool pairs_are_known(struct call *call) {
  if (call->argc % 2 != 0 || call->argc > 2 + 2 * SET_MAX_PAIRS) {
    resp_write_error(call->reply, "ERR wrong number of arguments for 'config|set' command");
    return false;
  }
  for (size_t i = 2; i < call->argc; i += 2) {
    if (options_find(call->argv[i]) == NULL) {
      resp_write_error_quoting(call->reply,
                               "ERR Unknown option or number of arguments for CONFIG SET - '",
                               call->argv[i], "'");
      return false;
    }
    if (is_repeated(call, i)) {
      reply_set_failed(call, call->argv[i], "duplicate parameter");
      return false;
    }
  }
  return true;
}

/* Returns the index of the argument that failed, with the reason in error; 0: none did. */
static size_t set_pairs(struct call *call, struct set *set, char error[REFUSAL_BYTES]) {
  struct options *options = call->worker->options;
  for (size_t i = 2; i < call->argc; i += 2) {
    struct former *former = &set->former[set->count];
    snprintf(error, REFUSAL_BYTES, "out of memory");
    if (!remember(options, options_find(call->argv[i]), former)) return i;
    if (!options_live_set(options, call->argv[i], call->argv[i + 1], error)) {
      options_value_deinit(&former->value);
      return i;
    }
    set->count++;
  }
  return 0;
}

static void note_set(const struct call *call) {
  for (size_t i = 2; i < call->argc; i += 2) {
    const struct options_row *row = options_find(call->argv[i]);
    char shown[REFUSAL_SHOWN_BYTES];
    if ((row->flags & OPTIONS_ROW_SECRET) != 0) {
      audit_note(call, "CONFIG SET %s", row->name);
    } else {
      audit_note(call, "CONFIG SET %s %s", row->name, refusal_show(call->argv[i + 1], shown));
    }
  }
}

/* Gives those what was set who have copies of it. Returns NULL, or what needs more than there is,
 * with the reason in error. */
static const char *carry_out(struct call *call, const struct set *set, char error[REFUSAL_BYTES]) {
  struct instance *instance = call->worker->instance;
  const struct accounts_change change = {call->worker, call->session};
  const char *refused = instance->reconfigured(instance, error);
  if (refused != NULL || !tells_password(call, set)) return refused;
  if (accounts_set_password(&change)) return NULL;
  snprintf(error, REFUSAL_BYTES, "out of memory");
  return "requirepass";
}

bool config_reload_password(struct worker *worker, char error[REFUSAL_BYTES]) {
  access_pause_others(worker);
  bool done = accounts_reload_password(worker, error);
  access_resume_others(worker);
  return done;
}

void config_set(struct call *call) {
  struct set set = {.count = 0};
  char error[REFUSAL_BYTES];
  if (!pairs_are_known(call)) return;
  if (!remember_passwords(&set, call->worker->options)) {
    forget(&set);
    reply_no_memory(call);
    return;
  }
  size_t failed = set_pairs(call, &set, error);
  struct span refused = failed != 0 ? call->argv[failed] : span_of(carry_out(call, &set, error));
  if (span_present(refused)) {
    put_all_back(&set, call->worker->options);
    reply_set_failed(call, refused, error);
  } else {
    note_set(call);
    reply_ok(call);
  }
  forget(&set);
}

void config_resetstat(struct call *call) {
  struct instance *instance = call->worker->instance;
  for (unsigned i = 0; i < instance->worker_count; i++) measure_reset(instance->workers[i]);
  if (instance->journal != NULL) journal_reset_figures(instance->journal);
  atomic_store(&instance->peak_sessions, atomic_load(&instance->session_count));
  instance->tls.renewals = instance->tls.failed_renewals = 0;
  for (unsigned i = 0; i < keyspace_shards(instance->keyspace); i++)
    stats_reset(shard_engine(keyspace_shard(instance->keyspace, i)));
  reply_ok(call);
}

void config_rewrite(struct call *call) {
  char error[REFUSAL_BYTES];
  if (options_rewrite_file(call->worker->options, call->worker->instance->users, error)) {
    reply_ok(call);
  } else {
    resp_write_errorf(call->reply, "ERR Rewriting config file: %s", error);
  }
}
