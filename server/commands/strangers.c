/* strangers.c - see strangers.h. */
#include "server/commands/strangers.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <xxhash.h>

/* What is kept of a client while it is a stranger, or the error of its AUTH is delayed. */
struct guard {
  struct client *client;
  struct host *host;
  struct list stranger; /* in shared.strangers, oldest first; or in host.evicted */
  struct list delayed;  /* in host.delayed, whose delay is over first, first */
  int64_t since_ms, until_ms;
  bool evicted;
  size_t owed; /* replies that it had to take when it became a stranger (RESET) */
};

/* NULL when memory is short. */
static struct guard *guard_of(struct host *host, struct client *client) {
  struct client_details *details = client_details(client);
  if (details == NULL) return NULL;
  if (details->guard == NULL) {
    details->guard = calloc(1, sizeof *details->guard);
    if (details->guard == NULL) return NULL;
    details->guard->client = client;
    details->guard->host = host;
    list_init(&details->guard->stranger);
    list_init(&details->guard->delayed);
  }
  return details->guard;
}

static void drop_unused(struct client *client) {
  struct guard *guard = client->details->guard;
  if (client->stranger || client->delayed) return; /* the list is for others to touch */
  client->details->guard = NULL;
  free(guard);
  client_trim(client);
}

/* ---- strangers ---- */

/* The strangers of all loops are in one list, since the oldest of all makes room; its lock is taken
 * when one comes, goes or is evicted. */
static void lock(struct shared *shared) { pthread_mutex_lock(&shared->strangers_lock); }
static void unlock(struct shared *shared) { pthread_mutex_unlock(&shared->strangers_lock); }

static struct guard *oldest_of(const struct shared *shared) {
  struct list *node = shared->strangers.next;
  return node != &shared->strangers ? LIST_ENTRY(node, struct guard, stranger) : NULL;
}

/* It is for its own loop to close it. Locked. Returns the loop's bit. */
static uint64_t evict(struct shared *shared, struct guard *guard) {
  list_remove(&guard->stranger);
  list_append(&guard->host->evicted, &guard->stranger);
  guard->evicted = true;
  shared->stranger_count--;
  atomic_store(&guard->host->has_evicted, true);
  return UINT64_C(1) << guard->host->number;
}

void strangers_add(struct host *host, struct client *client) {
  struct shared *shared = host->shared;
  if (client->authenticated || client->local || client->stranger) return;
  struct guard *guard = guard_of(host, client);
  if (guard == NULL) {
    client_close(client, host);
    return;
  }
  guard->since_ms = host->now_ms;
  guard->owed = client_output_bytes(client);
  guard->evicted = false;
  client->stranger = true;
  client->errors = 0;
  lock(shared);
  list_append(&shared->strangers, &guard->stranger);
  uint64_t loops = ++shared->stranger_count > STRANGERS_MAX ? evict(shared, oldest_of(shared)) : 0;
  unlock(shared);
  if (loops != 0) shared->wake(shared, loops);
}

void strangers_remove(struct host *host, struct client *client) {
  if (!client->stranger) return;
  struct guard *guard = client->details->guard;
  lock(host->shared);
  list_remove(&guard->stranger);
  if (!guard->evicted) host->shared->stranger_count--;
  unlock(host->shared);
  client->stranger = false;
  drop_unused(client);
}

unsigned strangers_count(struct shared *shared) {
  lock(shared);
  unsigned count = shared->stranger_count;
  unlock(shared);
  return count;
}

void strangers_note_error(struct host *host, struct client *client) {
  if (++client->errors < STRANGERS_ERRORS || client->close_when_sent) return;
  host->counters.closed_before_auth++;
  client->close_when_sent = true;
}

bool strangers_overdue(const struct client *client) {
  return client->sending_bytes > CLIENT_OUTPUT_LEAST + client->details->guard->owed;
}

void strangers_review(struct host *host) {
  struct shared *shared = host->shared;
  uint64_t loops = 0;
  struct guard *oldest;
  if (shared->pause_until_ms > host->now_ms) return; /* it is not they who take their time */
  lock(shared);
  while ((oldest = oldest_of(shared)) != NULL && host->now_ms - oldest->since_ms >= STRANGERS_MS)
    loops |= evict(shared, oldest);
  unlock(shared);
  if (loops != 0) shared->wake(shared, loops);
}

static struct client *next_evicted(struct host *host) {
  lock(host->shared);
  struct list *node = list_pop(&host->evicted);
  unlock(host->shared);
  return node != NULL ? LIST_ENTRY(node, struct guard, stranger)->client : NULL;
}

void strangers_close_evicted(struct host *host) {
  if (!atomic_exchange(&host->has_evicted, false)) return;
  for (struct client *client; (client = next_evicted(host)) != NULL;) {
    host->counters.closed_before_auth++;
    strangers_remove(host, client);
    client_close(client, host);
  }
}

/* ---- failed AUTH ---- */

/* The address without its port; of IPv6 the first half, since one machine has the whole other. */
static uint64_t address_hash(const struct call *call) {
  struct client_address address;
  unsigned char v6[sizeof(struct in6_addr)];
  call->host->shared->describe(call->client, &address);
  char *text = address.peer, *port = strrchr(text, ':');
  if (port != NULL) *port = '\0';
  if (text[0] == '[' && port != NULL && port[-1] == ']') {
    port[-1] = '\0';
    if (inet_pton(AF_INET6, text + 1, v6) == 1)
      return XXH3_64bits_withSeed(v6, sizeof v6 / 2, call->host->shared->address_seed);
  }
  return XXH3_64bits_withSeed(text, strlen(text), call->host->shared->address_seed);
}

/* Counts it. Addresses that share a place share its count: that cuts answers short for failures
 * only. */
static bool too_many_of_address(const struct call *call) {
  struct shared *shared = call->host->shared;
  _Atomic uint64_t *place = &shared->auth_failures[address_hash(call) % SHARED_AUTH_ADDRESSES];
  uint64_t second = (uint64_t)call->now_ms / 1000, seen = atomic_load(place), next;
  do {
    next = seen >> 32 == (uint32_t)second ? seen + 1 : second << 32 | 1;
  } while (!atomic_compare_exchange_weak(place, &seen, next));
  return (uint32_t)next > AUTH_FAILURES_PER_S;
}

static bool delay(struct call *call) {
  struct client *client = call->client;
  struct guard *guard = guard_of(call->host, client);
  if (guard == NULL) return false;
  guard->until_ms = call->now_ms + AUTH_DELAY_MS;
  list_append(&call->host->delayed, &guard->delayed);
  client->delayed = true;
  return true;
}

static void reply_wrong(struct resp_writer *reply) {
  resp_error(reply, "WRONGPASS invalid username-password pair or user is disabled.");
}

bool strangers_exhausted(const struct client *client) {
  return client->auth_failures >= AUTH_FAILURES;
}

static void log_failure(const struct call *call) {
  struct client_address address;
  if (!log_wants(call->host->log, LOG_AUTH_FAILED, call->now_ms)) return;
  call->host->shared->describe(call->client, &address);
  log_line(call->host->log, LOG_LEVEL_WARNING, "wrong password from %s (client %llu)", address.peer,
           (unsigned long long)call->client->id);
}

void strangers_auth_failed(struct call *call) {
  struct client *client = call->client;
  call->host->counters.auth_failures++;
  log_failure(call);
  if (client->auth_failures < AUTH_FAILURES) client->auth_failures++;
  if (client->stranger) strangers_note_error(call->host, client);
  bool last = strangers_exhausted(client), unanswered = too_many_of_address(call);
  if (call->in_exec) {
    reply_wrong(call->reply); /* which must not wait */
    client->close_when_sent |= last || unanswered;
  } else if (unanswered || !delay(call)) {
    client->close_when_sent = true;
  } else {
    call->host->stats[call->command - COMMAND_TABLE].failed++;
  }
}

struct client *strangers_answer(struct host *host, bool all) {
  struct list *node = host->delayed.next;
  if (node == &host->delayed) return NULL;
  struct guard *guard = LIST_ENTRY(node, struct guard, delayed);
  struct client *client = guard->client;
  if (!all && guard->until_ms > host->now_ms) return NULL;
  struct resp_writer reply = client_writer(client, host);
  if (!client->silent) reply_wrong(&reply);
  client->active_ms = host->now_ms;
  client->close_when_sent |= strangers_exhausted(client);
  strangers_forget_delay(client);
  return client;
}

void strangers_forget_delay(struct client *client) {
  if (!client->delayed) return;
  client->delayed = client->silent = false;
  list_remove(&client->details->guard->delayed);
  drop_unused(client);
}
