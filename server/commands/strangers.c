/* strangers.c - see strangers.h. */
#include "server/commands/strangers.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <xxhash.h>

/* What is kept of a client while it is a stranger, or the error of its AUTH is delayed. */
struct guard {
  struct client *client;
  struct list stranger; /* in host.strangers, oldest first */
  struct list delayed;  /* in host.delayed, whose delay is over first, first */
  int64_t since_ms, until_ms;
  size_t owed; /* replies that it had to take when it became a stranger (RESET) */
};

/* NULL when memory is short. */
static struct guard *guard_of(struct client *client) {
  struct client_details *details = client_details(client);
  if (details == NULL) return NULL;
  if (details->guard == NULL) {
    details->guard = calloc(1, sizeof *details->guard);
    if (details->guard == NULL) return NULL;
    details->guard->client = client;
    list_init(&details->guard->stranger);
    list_init(&details->guard->delayed);
  }
  return details->guard;
}

static void drop_unused(struct client *client) {
  struct guard *guard = client->details->guard;
  if (!list_empty(&guard->stranger) || !list_empty(&guard->delayed)) return;
  client->details->guard = NULL;
  free(guard);
  client_trim(client);
}

/* ---- strangers ---- */

static struct guard *oldest_of(const struct host *host) {
  struct list *node = host->strangers.next;
  return node != &host->strangers ? LIST_ENTRY(node, struct guard, stranger) : NULL;
}

static void note_oldest(struct host *host) {
  const struct guard *oldest = oldest_of(host);
  atomic_store(&host->oldest_stranger_ms, oldest != NULL ? oldest->since_ms : INT64_MAX);
}

static void close_oldest(struct host *host) {
  struct client *client = oldest_of(host)->client;
  host->counters.closed_before_auth++;
  strangers_remove(host, client);
  client_close(client, host);
}

/* There is one too many: the oldest of all loops goes, if need be by the hand of its own loop. */
static void make_room(struct host *host) {
  struct host *chosen = host;
  for (unsigned i = 0; i < host->shared->host_count; i++) {
    struct host *other = host->shared->hosts[i];
    if (atomic_load(&other->oldest_stranger_ms) < atomic_load(&chosen->oldest_stranger_ms))
      chosen = other;
  }
  if (chosen == host) {
    close_oldest(host);
  } else {
    atomic_fetch_add(&chosen->strangers_to_close, 1);
    host->shared->wake(host->shared, UINT64_C(1) << chosen->number);
  }
}

void strangers_add(struct host *host, struct client *client) {
  if (client->authenticated || client->local || client->stranger) return;
  struct guard *guard = guard_of(client);
  if (guard == NULL) {
    client_close(client, host);
    return;
  }
  guard->since_ms = host->now_ms;
  guard->owed = client_output_bytes(client);
  client->stranger = true;
  client->errors = 0;
  list_append(&host->strangers, &guard->stranger);
  note_oldest(host);
  if (atomic_fetch_add(&host->shared->stranger_count, 1) >= STRANGERS_MAX) make_room(host);
}

void strangers_remove(struct host *host, struct client *client) {
  if (!client->stranger) return;
  client->stranger = false;
  list_remove(&client->details->guard->stranger);
  atomic_fetch_sub(&host->shared->stranger_count, 1);
  note_oldest(host);
  drop_unused(client);
}

void strangers_note_error(struct client *client) {
  if (++client->errors == STRANGERS_ERRORS) client->close_when_sent = true;
}

bool strangers_overdue(const struct client *client) {
  return client->sending_bytes > CLIENT_OUTPUT_LEAST + client->details->guard->owed;
}

void strangers_review(struct host *host) {
  for (unsigned left = atomic_exchange(&host->strangers_to_close, 0);
       left > 0 && oldest_of(host) != NULL; left--)
    close_oldest(host);
  while (oldest_of(host) != NULL && host->now_ms - oldest_of(host)->since_ms >= STRANGERS_MS)
    close_oldest(host);
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
  struct guard *guard = guard_of(client);
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

void strangers_auth_failed(struct call *call) {
  struct client *client = call->client;
  call->host->counters.auth_failures++;
  if (client->auth_failures < AUTH_FAILURES) client->auth_failures++;
  if (client->stranger) strangers_note_error(client);
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
