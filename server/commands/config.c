/* config.c - CONFIG: shows and changes the options, always through the rows of their table
 * (ops/options.h). */
#include "server/commands/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/glob.h"
#include "server/commands/access.h"
#include "server/commands/audit.h"
#include "server/commands/measure.h"
#include "server/commands/reply.h"
#include "server/commands/strangers.h"
#include "server/engine/stats.h"
#include "server/journal/journal.h"
#include "server/ops/options_file.h"
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
  char file_begins;           /* of requirepass-file, which a new password replaces */
};

/* False: memory is short. */
static bool remember(const struct options *options, const struct options_row *row,
                     struct former *former) {
  former->row = row;
  former->file_begins = options->requirepass_file[0];
  return options_value_copy(row, options, &former->value);
}

static void put_back(struct options *options, struct former *former) {
  if ((former->row->flags & OPTIONS_ROW_SECRET) != 0)
    options->requirepass_file[0] = former->file_begins;
  options_value_store(former->row, options, &former->value);
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

/* Closes all sessions of the former password, except the one that changed it. If there is no
 * password now, all sessions are authenticated. */
static void password_changed(struct instance *instance, const struct session *changer) {
  bool open = instance->options->requirepass[0] == '\0';
  for (unsigned i = 0; i < instance->worker_count; i++) {
    struct worker *worker = instance->workers[i];
    for (struct list *node = worker->sessions.next; node != &worker->sessions; node = node->next) {
      struct session *session = LIST_ENTRY(node, struct session, link);
      if (open) {
        session->authenticated = true;
        if (!session->handshaking) strangers_remove(worker, session);
      } else if (session->authenticated && session != changer) {
        session_close(session, worker);
      }
    }
  }
  instance->wake(instance, UINT64_MAX >> (64 - instance->worker_count));
}

bool config_reload_password(struct worker *worker, char error[REFUSAL_BYTES]) {
  struct options *options = worker->instance->options;
  char *former = strdup(options->requirepass);
  if (former == NULL) return refusal_write(error, "out of memory");
  access_pause_others(worker);
  bool done = options_file_reload_password(options, error);
  if (done && strcmp(former, options->requirepass) != 0) password_changed(worker->instance, NULL);
  access_resume_others(worker);
  options_value_wipe(former, strlen(former));
  return done;
}

/* *set counts the pairs that were set. Returns the index of the argument that failed, with the
 * reason in error; 0: none did. */
static size_t set_pairs(struct call *call, struct former former[SET_MAX_PAIRS], size_t *set,
                        char error[REFUSAL_BYTES]) {
  struct options *options = call->worker->options;
  snprintf(error, REFUSAL_BYTES, "out of memory");
  for (size_t i = 2; i < call->argc; i += 2) {
    if (!remember(options, options_find(call->argv[i]), &former[*set])) return i;
    if (!options_live_set(options, call->argv[i], call->argv[i + 1], error)) {
      options_value_deinit(&former[*set].value);
      return i;
    }
    ++*set;
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

void config_set(struct call *call) {
  if (!pairs_are_known(call)) return;
  struct instance *instance = call->worker->instance;
  struct former former[SET_MAX_PAIRS];
  char error[REFUSAL_BYTES];
  char *password = strdup(call->worker->options->requirepass);
  if (password == NULL) {
    reply_no_memory(call);
    return;
  }
  size_t set = 0, failed = set_pairs(call, former, &set, error);
  struct span refused = failed != 0 ? call->argv[failed] : SPAN_ABSENT;
  if (failed == 0) refused = span_of(instance->reconfigured(instance, error));
  while (set-- > 0) {
    if (span_present(refused)) put_back(call->worker->options, &former[set]);
    options_value_deinit(&former[set].value);
  }
  if (span_present(refused)) {
    reply_set_failed(call, refused, error);
  } else {
    if (strcmp(password, call->worker->options->requirepass) != 0)
      password_changed(instance, call->session);
    note_set(call);
    reply_ok(call);
  }
  free(password);
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
  if (options_rewrite_file(call->worker->options, error)) {
    reply_ok(call);
  } else {
    resp_write_errorf(call->reply, "ERR Rewriting config file: %s", error);
  }
}
