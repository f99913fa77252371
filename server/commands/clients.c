/* clients.c - see clients.h. Texts and filters are Redis 7.0's. */
#include "server/commands/clients.h"

#include <stdlib.h>

#include "server/commands/connection.h"
#include "server/commands/pubsub.h"

/* ---- filters of LIST and KILL ---- */

struct filter {
  uint64_t id; /* 0: any */
  struct span peer, local;
  struct span type; /* absent: any */
  bool skip_me;
};

static bool is_type(struct span type) {
  static const char *const types[] = {"normal", "master", "replica", "slave", "pubsub"};
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    if (span_is(type, types[i])) return true;
  }
  return false;
}

static bool has_type(const struct client *client, struct span type) {
  if (!span_present(type)) return true;
  bool listens = client_channels(client) + client_patterns(client) > 0;
  return span_is(type, listens ? "pubsub" : "normal");
}

static bool unknown_type(struct call *call, struct span type) {
  resp_error_quoting(call->reply, "ERR Unknown client type '", type, "'");
  return false;
}

/* The only one, which all clients are. */
static bool is_user(struct span user) { return span_equal(user, SPAN_LITERAL("default")); }

static bool unknown_user(struct call *call, struct span user) {
  resp_error_quoting(call->reply, "ERR No such user '", user, "'");
  return false;
}

static bool passes(const struct call *call, const struct client *client,
                   const struct filter *filter) {
  if (filter->skip_me && client == call->client) return false;
  if (filter->id != 0 && client->id != filter->id) return false;
  if (!has_type(client, filter->type)) return false;
  if (!span_present(filter->peer) && !span_present(filter->local)) return true;
  struct client_address address;
  call->host->shared->describe(client, &address);
  return (!span_present(filter->peer) || span_equal(filter->peer, span_of(address.peer))) &&
         (!span_present(filter->local) || span_equal(filter->local, span_of(address.local)));
}

/* All clients of all hosts, whose loops stand still meanwhile. Begins zeroed, but for shared. */
struct walk {
  struct shared *shared;
  unsigned number; /* of the host that `client` is with */
  struct client *client;
};

static struct client *next_client(struct walk *walk) {
  struct shared *shared = walk->shared;
  for (; walk->number < shared->host_count; walk->number++, walk->client = NULL) {
    struct list *clients = &shared->hosts[walk->number]->clients;
    struct list *node = walk->client != NULL ? walk->client->link.next : clients->next;
    if (node != clients) return walk->client = LIST_ENTRY(node, struct client, link);
  }
  return NULL;
}

static struct host *host_of(const struct walk *walk) { return walk->shared->hosts[walk->number]; }

/* ---- CLIENT LIST ---- */

/* [TYPE type] | [ID id ...]: ids are argv[3..argc). */
static bool listed(const struct call *call, const struct client *client, bool by_id) {
  if (!by_id) return has_type(client, call->argc == 4 ? call->argv[3] : SPAN_ABSENT);
  for (size_t i = 3; i < call->argc; i++) {
    long long id = 0;
    if (span_to_i64(call->argv[i], &id) && (uint64_t)id == client->id) return true;
  }
  return false;
}

static bool list_arguments(struct call *call, bool *by_id) {
  *by_id = call->argc > 3 && span_is(call->argv[2], "ID");
  bool by_type = call->argc == 4 && span_is(call->argv[2], "TYPE");
  if (call->argc != 2 && !*by_id && !by_type) {
    reply_syntax_error(call);
    return false;
  }
  if (by_type && !is_type(call->argv[3])) return unknown_type(call, call->argv[3]);
  for (size_t i = 3; *by_id && i < call->argc; i++) {
    long long id = 0;
    if (span_to_i64(call->argv[i], &id) && id > 0) continue;
    resp_error(call->reply, "ERR Invalid client ID");
    return false;
  }
  return true;
}

struct listing {
  const struct host *host;
  const struct client *client;
};

static int older(const void *a, const void *b) {
  uint64_t first = ((const struct listing *)a)->client->id;
  uint64_t second = ((const struct listing *)b)->client->id;
  return first < second ? -1 : first > second;
}

/* Those that are wanted, oldest first; NULL when memory is short. The caller's to free. */
static struct listing *list_clients(const struct call *call, bool by_id, size_t *count) {
  struct walk walk = {.shared = call->host->shared};
  size_t most = (size_t)atomic_load(&walk.shared->client_count);
  struct listing *listings = calloc(most, sizeof *listings);
  if (listings == NULL) return NULL;
  for (struct client *client; *count < most && (client = next_client(&walk)) != NULL;) {
    if (listed(call, client, by_id))
      listings[(*count)++] = (struct listing){host_of(&walk), client};
  }
  qsort(listings, *count, sizeof *listings, older);
  return listings;
}

void clients_list(struct call *call) {
  bool by_id = false;
  if (!list_arguments(call, &by_id)) return;
  struct resp_output text = {0};
  size_t count = 0;
  struct listing *listings = list_clients(call, by_id, &count);
  text.failed = listings == NULL;
  for (size_t i = 0; i < count; i++) {
    char line[CONNECTION_LINE_BYTES + 1];
    size_t len = connection_describe(listings[i].host, listings[i].client, line);
    line[len++] = '\n';
    resp_output_append(&text, line, len);
  }
  free(listings);
  if (text.failed) {
    resp_error(call->reply, "ERR out of memory");
  } else {
    resp_verbatim(call->reply, "txt",
                  (struct span){text.bytes != NULL ? text.bytes : "", text.len});
  }
  resp_output_deinit(&text);
}

/* ---- CLIENT KILL ---- */

static void kill_client(struct call *call, struct host *host, struct client *client) {
  if (client == call->client) {
    client->close_when_sent = true; /* it gets its reply first */
    return;
  }
  client_writer(client, host);
  client->close_now = true;
  call->host->shared->wake(call->host->shared, UINT64_C(1) << host->number);
}

static bool parse_kill_pair(struct call *call, struct span name, struct span value,
                            struct filter *filter) {
  long long id = 0;
  if (span_is(name, "ID")) {
    if (!span_to_i64(value, &id) || id < 1) {
      resp_error(call->reply, "ERR client-id should be greater than 0");
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
    if (!is_user(value)) return unknown_user(call, value);
  } else if (span_is(name, "SKIPME") && (span_is(value, "yes") || span_is(value, "no"))) {
    filter->skip_me = span_is(value, "yes");
  } else {
    reply_syntax_error(call);
    return false;
  }
  return true;
}

void clients_kill(struct call *call) {
  bool old_form = call->argc == 3;
  struct filter filter = {.skip_me = !old_form};
  if (old_form) {
    filter.peer = call->argv[2];
  } else if (call->argc % 2 != 0) {
    reply_syntax_error(call);
    return;
  }
  for (size_t i = 2; !old_form && i < call->argc; i += 2) {
    if (!parse_kill_pair(call, call->argv[i], call->argv[i + 1], &filter)) return;
  }
  int64_t killed = 0;
  struct walk walk = {.shared = call->host->shared};
  for (struct client *client; (client = next_client(&walk)) != NULL;) {
    if (!passes(call, client, &filter)) continue;
    kill_client(call, host_of(&walk), client);
    killed++;
  }
  if (!old_form) {
    resp_integer(call->reply, killed);
  } else if (killed > 0) {
    reply_ok(call);
  } else {
    resp_error(call->reply, "ERR No such client");
  }
}

/* ---- CLIENT PAUSE ---- */

void clients_pause(struct call *call) {
  long long ms = 0;
  bool only_writes = call->argc == 4 && span_is(call->argv[3], "WRITE");
  if (call->argc > 4) {
    reply_syntax_error(call);
  } else if (call->argc == 4 && !only_writes && !span_is(call->argv[3], "ALL")) {
    resp_error(call->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
  } else if (!span_to_i64(call->argv[2], &ms) || ms > INT64_MAX - call->now_ms) {
    resp_error(call->reply, "ERR timeout is not an integer or out of range");
  } else if (ms < 0) {
    resp_error(call->reply, "ERR timeout is negative");
  } else {
    call->host->shared->pause_until_ms = call->now_ms + ms;
    call->host->shared->pause_writes_only = only_writes;
    reply_ok(call);
  }
}

void clients_unpause(struct call *call) {
  struct shared *shared = call->host->shared;
  if (shared->pause_until_ms > call->now_ms) shared->pause_until_ms = call->now_ms;
  reply_ok(call);
}

/* ---- how this connection is treated ---- */

void clients_reply(struct call *call) {
  struct span mode = call->argv[2];
  if (span_is(mode, "ON")) {
    call->client->replies = CLIENT_REPLIES_ON;
    reply_ok(call);
  } else if (span_is(mode, "OFF")) {
    call->client->replies = CLIENT_REPLIES_OFF;
  } else if (span_is(mode, "SKIP")) {
    if (call->client->replies != CLIENT_REPLIES_OFF)
      call->client->replies = CLIENT_REPLIES_SKIP_NEXT;
  } else {
    reply_syntax_error(call);
  }
}

/* TIMEOUT: the waiter is answered as if its time were over. ERROR is not offered: a waiter is
 * always told the state. */
void clients_unblock(struct call *call) {
  long long id = 0;
  if (!parse_integer(call, call->argv[2], &id)) return;
  if (call->argc > 4 || (call->argc == 4 && !span_is(call->argv[3], "TIMEOUT"))) {
    resp_error(call->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT");
    return;
  }
  struct walk walk = {.shared = call->host->shared};
  for (struct client *client; (client = next_client(&walk)) != NULL;) {
    if (client->id != (uint64_t)id || !client->waiting) continue;
    struct shard *shard = keyspace_shard(walk.shared->keyspace, client->shard);
    engine_waiter_expire(shard_engine(shard), client->waiter, call->now_ms);
    resp_integer(call->reply, 1);
    return;
  }
  resp_integer(call->reply, 0);
}

static bool on_or_off(struct call *call) {
  if (span_is(call->argv[2], "ON") || span_is(call->argv[2], "OFF")) return true;
  reply_syntax_error(call);
  return false;
}

void clients_switch(struct call *call) {
  if (on_or_off(call)) reply_ok(call);
}

/* Of ON and of OFF alike, as in Redis. */
static bool tracking_options_fit(struct call *call) {
  static const char *const words[] = {"BCAST", "OPTIN", "OPTOUT", "NOLOOP"};
  for (size_t i = 3; i < call->argc; i++) {
    struct span word = call->argv[i];
    bool has_value = i + 1 < call->argc, known = false;
    long long id = 0;
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) known |= span_is(word, words[w]);
    if (known) continue;
    if (has_value && span_is(word, "REDIRECT")) {
      if (!parse_integer(call, call->argv[++i], &id)) return false;
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
    resp_error(call->reply,
               "ERR Client tracking is not supported: a response that is stored never changes");
  }
}

void clients_caching(struct call *call) {
  resp_error(call->reply,
             "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN "
             "or OPTOUT mode enabled");
}

void clients_getredir(struct call *call) { resp_integer(call->reply, -1); }
