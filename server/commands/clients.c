/* clients.c - see clients.h. Texts and filters are Redis 7.0's. */
#include "server/commands/clients.h"

#include <stdlib.h>
#include <string.h>

#include "server/commands/arguments.h"
#include "server/commands/client_line.h"
#include "server/commands/gathered.h"
#include "server/commands/queue.h"
#include "server/commands/reply.h"
#include "server/commands/session_walk.h"
#include "server/commands/sight.h"
#include "server/commands/task.h"
#include "server/commands/topics.h"
#include "server/engine/waiter.h"
#include "server/ops/users.h"

void clients_info(struct call *call) {
  char line[CLIENT_LINE_BYTES + 1];
  size_t len = client_line(call->worker, call->session, line);
  resp_write_verbatim(call->reply, "txt", (struct span){line, len});
}

/* ---- filters of LIST and KILL ---- */

struct filter {
  uint64_t id; /* 0: any */
  struct span peer, local;
  struct span type; /* absent: any */
  struct span user; /* a name; absent: any */
  bool skip_me;
};

static bool is_type(struct span type) {
  static const char *const types[] = {"normal", "master", "replica", "slave", "pubsub"};
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    if (span_is(type, types[i])) return true;
  }
  return false;
}

static bool has_type(const struct session *session, struct span type) {
  if (!span_present(type)) return true;
  bool listens = topics_count_both(session) > 0;
  return span_is(type, listens ? "pubsub" : "normal");
}

static bool unknown_type(struct call *call, struct span type) {
  resp_write_error_quoting(call->reply, "ERR Unknown client type '", type, "'");
  return false;
}

static bool unknown_user(struct call *call, struct span user) {
  resp_write_error_quoting(call->reply, "ERR No such user '", user, "'");
  return false;
}

static bool passes(const struct call *call, const struct session *session,
                   const struct filter *filter) {
  if (filter->skip_me && session == call->session) return false;
  if (!sight_session(call->session, session)) return false;
  if (filter->id != 0 && session->id != filter->id) return false;
  if (!has_type(session, filter->type)) return false;
  if (span_present(filter->user) && !span_equal(filter->user, user_name(session->user)))
    return false;
  if (!span_present(filter->peer) && !span_present(filter->local)) return true;
  struct session_address address;
  call->worker->instance->describe(session, &address);
  return (!span_present(filter->peer) || span_equal(filter->peer, span_of(address.peer))) &&
         (!span_present(filter->local) || span_equal(filter->local, span_of(address.local)));
}

/* What LIST and KILL do with the sessions that they walk through, in slices. */
struct walk {
  struct task task;
  struct filter filter; /* its spans point into `text` */
  uint64_t *ids;        /* of CLIENT LIST ID, in order; NULL: any */
  size_t id_count;
  char *text;
  bool old_form; /* CLIENT KILL ip:port */
  uint64_t found;
  struct gathered lines;
  struct session_walk_cursor cursors[]; /* one for each worker */
};

static void walk_destroy(struct worker *worker, struct task *task) {
  struct walk *walk = (struct walk *)task;
  session_walk_end(walk->cursors, worker->instance);
  gathered_deinit(&walk->lines);
  free(walk->ids);
  free(walk->text);
  free(walk);
}

static struct walk *walk_create(struct call *call) {
  struct instance *instance = call->worker->instance;
  struct walk *walk = calloc(1, sizeof *walk + instance->worker_count * sizeof walk->cursors[0]);
  if (walk == NULL) {
    reply_no_memory(call);
    return NULL;
  }
  session_walk_begin(walk->cursors, instance);
  walk->lines.worker = call->worker;
  walk->task.destroy = walk_destroy;
  return walk;
}

/* Copies the spans of the filter, which outlive the arguments. False: memory is short. */
static bool keep_filter(struct walk *walk) {
  struct span *const spans[] = {&walk->filter.peer, &walk->filter.local, &walk->filter.type,
                                &walk->filter.user};
  size_t bytes = 1;
  for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) bytes += spans[i]->len;
  char *to = walk->text = malloc(bytes);
  if (to == NULL) return false;
  for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
    if (!span_present(*spans[i])) continue;
    memcpy(to, spans[i]->data, spans[i]->len);
    spans[i]->data = to;
    to += spans[i]->len;
  }
  return true;
}

/* Takes the walk over. Not wanted: its arguments were refused with an error. */
static void walk_begin(struct call *call, struct walk *walk, bool wanted) {
  if (wanted && keep_filter(walk)) {
    task_begin(call, &walk->task);
    return;
  }
  if (wanted) reply_no_memory(call);
  walk_destroy(call->worker, &walk->task);
}

/* ---- CLIENT LIST ---- */

static int by_number(const void *a, const void *b) {
  uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
  return first < second ? -1 : first > second;
}

/* argv[3..argc). */
static bool parse_ids(struct call *call, struct walk *walk) {
  walk->ids = calloc(call->argc, sizeof *walk->ids);
  for (size_t i = 3; walk->ids != NULL && i < call->argc; i++) {
    long long id = 0;
    if (!span_to_i64(call->argv[i], &id) || id <= 0) {
      resp_write_error(call->reply, "ERR Invalid client ID");
      return false;
    }
    walk->ids[walk->id_count++] = (uint64_t)id;
  }
  if (walk->ids == NULL) {
    reply_no_memory(call);
    return false;
  }
  qsort(walk->ids, walk->id_count, sizeof *walk->ids, by_number);
  return true;
}

/* [TYPE type] | [ID id ...] */
static bool parse_list(struct call *call, struct walk *walk) {
  bool by_type = call->argc == 4 && span_is(call->argv[2], "TYPE");
  if (call->argc > 3 && span_is(call->argv[2], "ID")) return parse_ids(call, walk);
  if (call->argc != 2 && !by_type) {
    reply_syntax_error(call);
    return false;
  }
  if (!by_type) return true;
  walk->filter.type = call->argv[3];
  return is_type(call->argv[3]) || unknown_type(call, call->argv[3]);
}

static bool listed(const struct walk *walk, const struct session *session) {
  if (!sight_session(walk->task.session, session)) return false;
  if (walk->ids == NULL) return has_type(session, walk->filter.type);
  return bsearch(&session->id, walk->ids, walk->id_count, sizeof *walk->ids, by_number) != NULL;
}

static bool list_step(struct call *call, struct task *task) {
  struct walk *walk = (struct walk *)task;
  struct worker *worker = NULL;
  for (struct session *session;
       (session = session_walk_next(walk->cursors, call->worker->instance, &worker)) != NULL;) {
    if (listed(walk, session)) {
      char line[CLIENT_LINE_BYTES + 1];
      size_t len = client_line(worker, session, line);
      gathered_append(&walk->lines, line, len);
    }
    if (walk->lines.failed) return true;
    if (task_over(task)) return false;
  }
  return true;
}

static void list_reply(struct call *call, struct task *task) {
  struct walk *walk = (struct walk *)task;
  if (!gathered_whole(&walk->lines, call->reply)) return;
  resp_write_verbatim_header(call->reply, "txt", walk->lines.bytes);
  gathered_send(&walk->lines, call->reply);
  resp_output_append(call->reply->out, "\r\n", 2);
}

void clients_list(struct call *call) {
  struct walk *walk = walk_create(call);
  if (walk == NULL) return;
  walk->task.step = list_step;
  walk->task.reply = list_reply;
  walk_begin(call, walk, parse_list(call, walk));
}

/* ---- CLIENT KILL ---- */

static void kill_session(struct call *call, struct worker *worker, struct session *session) {
  if (session == call->session) {
    session->close_when_sent = true; /* it gets its reply first */
    return;
  }
  session_close(session, worker);
  call->worker->instance->wake(call->worker->instance, UINT64_C(1) << worker->number);
}

static bool parse_kill_pair(struct call *call, struct span name, struct span value,
                            struct filter *filter) {
  long long id = 0;
  if (span_is(name, "ID")) {
    if (!span_to_i64(value, &id) || id < 1) {
      resp_write_error(call->reply, "ERR client-id should be greater than 0");
      return false;
    }
    filter->id = (uint64_t)id;
  } else if (span_is(name, "TYPE")) {
    if (!is_type(value)) return unknown_type(call, value);
    filter->type = value;
  } else if (span_is(name, "ADDR")) {
    filter->peer = value;
  } else if (span_is(name, "LADDR")) {
    filter->local = value;
  } else if (span_is(name, "USER")) {
    bool known = users_find(call->worker->instance->users, value) != NULL;
    if (!known || !sight_user(call->session, value)) return unknown_user(call, value);
    filter->user = value;
  } else if (span_is(name, "SKIPME") && (span_is(value, "yes") || span_is(value, "no"))) {
    filter->skip_me = span_is(value, "yes");
  } else {
    reply_syntax_error(call);
    return false;
  }
  return true;
}

static bool parse_kill(struct call *call, struct walk *walk) {
  walk->old_form = call->argc == 3;
  walk->filter.skip_me = !walk->old_form;
  if (walk->old_form) {
    walk->filter.peer = call->argv[2];
    return true;
  }
  if (call->argc % 2 != 0) {
    reply_syntax_error(call);
    return false;
  }
  for (size_t i = 2; i < call->argc; i += 2) {
    if (!parse_kill_pair(call, call->argv[i], call->argv[i + 1], &walk->filter)) return false;
  }
  return true;
}

static bool kill_step(struct call *call, struct task *task) {
  struct walk *walk = (struct walk *)task;
  struct worker *worker = NULL;
  for (struct session *session;
       (session = session_walk_next(walk->cursors, call->worker->instance, &worker)) != NULL;) {
    if (passes(call, session, &walk->filter)) {
      kill_session(call, worker, session);
      walk->found++;
    }
    if (task_over(task)) return false;
  }
  return true;
}

static void kill_reply(struct call *call, struct task *task) {
  const struct walk *walk = (struct walk *)task;
  if (!walk->old_form) {
    resp_write_integer(call->reply, (int64_t)walk->found);
  } else if (walk->found > 0) {
    reply_ok(call);
  } else {
    resp_write_error(call->reply, "ERR No such client");
  }
}

void clients_kill(struct call *call) {
  struct walk *walk = walk_create(call);
  if (walk == NULL) return;
  walk->task.step = kill_step;
  walk->task.reply = kill_reply;
  walk_begin(call, walk, parse_kill(call, walk));
}

/* ---- CLIENT PAUSE ---- */

/* The engines' clock stands meanwhile: owners that may not speak do not lose their claims. A drain
 * has ended all pauses. The other loops are paused. */
static void pause(struct worker *worker, int64_t ms, bool only_writes) {
  struct instance *instance = worker->instance;
  int64_t now_ms = worker->monotonic_ms;
  if (atomic_load(&instance->draining)) return;
  instance->pause_until_ms = now_ms + ms;
  instance->pause_writes_only = only_writes;
  served_clock_pause(&instance->clock, now_ms, instance->pause_until_ms);
}

void clients_pause(struct call *call) {
  long long ms = 0;
  bool only_writes = call->argc == 4 && span_is(call->argv[3], "WRITE");
  if (call->argc > 4) {
    reply_syntax_error(call);
  } else if (call->argc == 4 && !only_writes && !span_is(call->argv[3], "ALL")) {
    resp_write_error(call->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
  } else if (!span_to_i64(call->argv[2], &ms) || ms > INT64_MAX - call->worker->monotonic_ms) {
    resp_write_error(call->reply, "ERR timeout is not an integer or out of range");
  } else if (ms < 0) {
    resp_write_error(call->reply, "ERR timeout is negative");
  } else {
    pause(call->worker, ms, only_writes);
    reply_ok(call);
  }
}

void clients_unpause(struct call *call) {
  struct instance *instance = call->worker->instance;
  int64_t now_ms = call->worker->monotonic_ms;
  if (instance->pause_until_ms > now_ms) instance->pause_until_ms = now_ms;
  served_clock_resume(&instance->clock);
  reply_ok(call);
}

/* ---- CLIENT UNBLOCK, TRACKING and others ---- */

/* Not in slices: a look at each session costs only some nanoseconds. */
static const struct session *waiting_session(const struct instance *instance, uint64_t id) {
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct list *sessions = &instance->workers[i]->sessions;
    for (struct list *node = sessions->next; node != sessions; node = node->next) {
      const struct session *session = LIST_ENTRY(node, struct session, link);
      if (session->id == id && session->waiting) return session;
    }
  }
  return NULL;
}

/* TIMEOUT: the waiter is answered as if its wait had timed out. ERROR is not offered: a wait always
 * ends with the key's state. */
void clients_unblock(struct call *call) {
  long long id = 0;
  if (!arguments_integer(call, call->argv[2], &id)) return;
  if (call->argc > 4 || (call->argc == 4 && !span_is(call->argv[3], "TIMEOUT"))) {
    resp_write_error(call->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT");
    return;
  }
  const struct session *session = waiting_session(call->worker->instance, (uint64_t)id);
  if (session != NULL && !sight_session(call->session, session)) session = NULL;
  if (session != NULL) {
    struct shard *shard = keyspace_shard(call->worker->instance->keyspace, session->shard);
    waiter_expire(shard_engine(shard), session->waiter, call->now_ms);
  }
  resp_write_integer(call->reply, session != NULL);
}

static bool on_or_off(struct call *call) {
  if (span_is(call->argv[2], "ON") || span_is(call->argv[2], "OFF")) return true;
  reply_syntax_error(call);
  return false;
}

void clients_switch(struct call *call) {
  if (on_or_off(call)) reply_ok(call);
}

/* Checked for ON and OFF alike, as in Redis. */
static bool tracking_options_fit(struct call *call) {
  static const char *const words[] = {"BCAST", "OPTIN", "OPTOUT", "NOLOOP"};
  for (size_t i = 3; i < call->argc; i++) {
    struct span word = call->argv[i];
    bool has_value = i + 1 < call->argc, known = false;
    long long id = 0;
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) known |= span_is(word, words[w]);
    if (known) continue;
    if (has_value && span_is(word, "REDIRECT")) {
      if (!arguments_integer(call, call->argv[++i], &id)) return false;
    } else if (has_value && span_is(word, "PREFIX")) {
      i++;
    } else {
      reply_syntax_error(call);
      return false;
    }
  }
  return true;
}

void clients_tracking(struct call *call) {
  if (!tracking_options_fit(call) || !on_or_off(call)) return;
  if (span_is(call->argv[2], "OFF")) {
    reply_ok(call);
  } else {
    resp_write_error(
        call->reply,
        "ERR Client tracking is not supported: a response that is stored never changes");
  }
}

void clients_caching(struct call *call) {
  resp_write_error(
      call->reply,
      "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN "
      "or OPTOUT mode enabled");
}

void clients_getredir(struct call *call) { resp_write_integer(call->reply, -1); }
