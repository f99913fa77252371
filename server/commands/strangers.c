/* strangers.c - see strangers.h. */
#include "server/commands/strangers.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "server/commands/acl_log.h"
#include "server/commands/output_limit.h"
#include "server/commands/silence.h"

/* What is kept of a session while it is a stranger, or the error of its AUTH is delayed. */
struct guard {
  struct session *session;
  struct worker *worker;
  struct list stranger; /* in instance.strangers, oldest first; or in worker.evicted */
  struct list delayed;  /* in worker.delayed, in the order in which the delays end */
  int64_t since_ms, until_ms;
  bool evicted;
  size_t owed; /* replies that it had to take when it became a stranger (RESET) */
};

/* NULL when memory is short. */
static struct guard *guard_of(struct worker *worker, struct session *session) {
  struct session_details *details = session_details(session);
  if (details == NULL) return NULL;
  if (details->guard == NULL) {
    details->guard = calloc(1, sizeof *details->guard);
    if (details->guard == NULL) return NULL;
    details->guard->session = session;
    details->guard->worker = worker;
    list_init(&details->guard->stranger);
    list_init(&details->guard->delayed);
  }
  return details->guard;
}

static void drop_unused(struct session *session) {
  struct guard *guard = session->details->guard;
  if (session->stranger || session->delayed) return; /* the guard is still in a list */
  session->details->guard = NULL;
  free(guard);
  session_trim(session);
}

/* ---- strangers ---- */

/* The strangers of all loops are in one list, since the oldest of all makes room; its lock is taken
 * when one comes, goes or is evicted. */
static void lock(struct instance *instance) { pthread_mutex_lock(&instance->strangers_lock); }
static void unlock(struct instance *instance) { pthread_mutex_unlock(&instance->strangers_lock); }

static struct guard *oldest_of(const struct instance *instance) {
  struct list *node = instance->strangers.next;
  return node != &instance->strangers ? LIST_ENTRY(node, struct guard, stranger) : NULL;
}

/* Its own loop has to close it. The caller holds the lock. Returns the loop's bit. */
static uint64_t evict(struct instance *instance, struct guard *guard) {
  list_remove(&guard->stranger);
  list_append(&guard->worker->evicted, &guard->stranger);
  guard->evicted = true;
  instance->stranger_count--;
  atomic_store(&guard->worker->has_evicted, true);
  return UINT64_C(1) << guard->worker->number;
}

void strangers_add(struct worker *worker, struct session *session) {
  struct instance *instance = worker->instance;
  bool known = session->authenticated && !session->handshaking;
  if (known || session->local || session->stranger) return;
  struct guard *guard = guard_of(worker, session);
  if (guard == NULL) {
    session_close(session, worker);
    return;
  }
  guard->since_ms = worker->monotonic_ms;
  guard->owed = session_output_bytes(session);
  guard->evicted = false;
  session->stranger = true;
  session->errors = 0;
  lock(instance);
  list_append(&instance->strangers, &guard->stranger);
  uint64_t loops =
      ++instance->stranger_count > STRANGERS_MAX ? evict(instance, oldest_of(instance)) : 0;
  unlock(instance);
  if (loops != 0) instance->wake(instance, loops);
}

void strangers_remove(struct worker *worker, struct session *session) {
  if (!session->stranger) return;
  struct guard *guard = session->details->guard;
  lock(worker->instance);
  list_remove(&guard->stranger);
  if (!guard->evicted) worker->instance->stranger_count--;
  unlock(worker->instance);
  session->stranger = false;
  drop_unused(session);
}

void strangers_secured(struct worker *worker, struct session *session) {
  session->handshaking = false;
  strangers_remove(worker, session);
  strangers_add(worker, session);
}

unsigned strangers_count(struct instance *instance) {
  lock(instance);
  unsigned count = instance->stranger_count;
  unlock(instance);
  return count;
}

void strangers_note_error(struct worker *worker, struct session *session) {
  if (++session->errors < STRANGERS_ERRORS || session->close_when_sent) return;
  worker->counters.closed_before_auth++;
  session->close_when_sent = true;
}

bool strangers_overdue(const struct session *session) {
  return session->sending_bytes > OUTPUT_LIMIT_LEAST + session->details->guard->owed;
}

void strangers_review(struct worker *worker) {
  struct instance *instance = worker->instance;
  uint64_t loops = 0;
  struct guard *oldest;
  if (instance->pause_until_ms > worker->monotonic_ms) return; /* they cannot send AUTH now */
  lock(instance);
  while ((oldest = oldest_of(instance)) != NULL &&
         worker->monotonic_ms - oldest->since_ms >= STRANGERS_MS)
    loops |= evict(instance, oldest);
  unlock(instance);
  if (loops != 0) instance->wake(instance, loops);
}

static struct session *next_evicted(struct worker *worker) {
  lock(worker->instance);
  struct list *node = list_pop(&worker->evicted);
  unlock(worker->instance);
  return node != NULL ? LIST_ENTRY(node, struct guard, stranger)->session : NULL;
}

void strangers_close_evicted(struct worker *worker) {
  if (!atomic_exchange(&worker->has_evicted, false)) return;
  for (struct session *session; (session = next_evicted(worker)) != NULL;) {
    if (session->handshaking) {
      worker->counters.tls_handshakes_late++;
    } else {
      worker->counters.closed_before_auth++;
    }
    strangers_remove(worker, session);
    session_close(session, worker);
  }
}

/* ---- failed AUTH ---- */

/* The address without its port; only the first half for IPv6, since one machine has all addresses
 * of the second half. */
static uint64_t address_hash(const struct call *call) {
  struct session_address address;
  unsigned char v6[sizeof(struct in6_addr)];
  call->worker->instance->describe(call->session, &address);
  char *text = address.peer, *port = strrchr(text, ':');
  if (port != NULL) *port = '\0';
  if (text[0] == '[' && port != NULL && port[-1] == ']') {
    port[-1] = '\0';
    if (inet_pton(AF_INET6, text + 1, v6) == 1)
      return XXH3_64bits_withSeed(v6, sizeof v6 / 2, call->worker->instance->address_seed);
  }
  return XXH3_64bits_withSeed(text, strlen(text), call->worker->instance->address_seed);
}

/* Counts the failure. Addresses with the same place share a count, which can only leave failures
 * unanswered. */
static bool too_many_of_address(const struct call *call) {
  struct instance *instance = call->worker->instance;
  _Atomic uint64_t *place = &instance->auth_failures[address_hash(call) % INSTANCE_AUTH_ADDRESSES];
  uint64_t second = (uint64_t)call->worker->monotonic_ms / 1000, seen = atomic_load(place), next;
  do {
    next = seen >> 32 == (uint32_t)second ? seen + 1 : second << 32 | 1;
  } while (!atomic_compare_exchange_weak(place, &seen, next));
  return (uint32_t)next > STRANGERS_AUTH_FAILURES_PER_S;
}

static bool delay(struct call *call) {
  struct session *session = call->session;
  struct guard *guard = guard_of(call->worker, session);
  if (guard == NULL) return false;
  guard->until_ms = call->worker->monotonic_ms + STRANGERS_AUTH_DELAY_MS;
  list_append(&call->worker->delayed, &guard->delayed);
  session->delayed = true;
  return true;
}

static void reply_wrong(struct resp_writer *reply) {
  resp_write_error(reply, "WRONGPASS invalid username-password pair or user is disabled.");
}

bool strangers_exhausted(const struct session *session) {
  return session->auth_failures >= STRANGERS_AUTH_FAILURES;
}

static void log_failure(const struct call *call) {
  struct session_address address;
  if (!log_wants(call->worker->log, LOG_AUTH_FAILED, call->worker->monotonic_ms)) return;
  call->worker->instance->describe(call->session, &address);
  log_line(call->worker->log, LOG_LEVEL_WARNING, "wrong password from %s (client %llu)",
           address.peer, (unsigned long long)call->session->id);
}

static void note_failure(const struct call *call, struct span username) {
  const struct acl_log_event event = {ACL_LOG_AUTH, call->argv[0], username}; /* as Redis */
  call->worker->counters.auth_failures++;
  log_failure(call);
  acl_log_note(call, &event);
}

void strangers_auth_failed(struct call *call, struct span username) {
  struct session *session = call->session;
  note_failure(call, username);
  if (session->auth_failures < STRANGERS_AUTH_FAILURES) session->auth_failures++;
  if (session->stranger) strangers_note_error(call->worker, session);
  bool last = strangers_exhausted(session), unanswered = too_many_of_address(call);
  if (call->in_exec) {
    reply_wrong(call->reply); /* EXEC must not wait */
    session->close_when_sent |= last || unanswered;
  } else if (unanswered || !delay(call)) {
    session->close_when_sent = true;
  } else {
    worker_stats(call->worker, call->command)->failed++;
  }
}

struct session *strangers_answer(struct worker *worker, bool all) {
  struct list *node = worker->delayed.next;
  if (node == &worker->delayed) return NULL;
  struct guard *guard = LIST_ENTRY(node, struct guard, delayed);
  struct session *session = guard->session;
  if (!all && guard->until_ms > worker->monotonic_ms) return NULL;
  struct resp_writer reply = session_writer(session, worker);
  bool aside = silence_begin_late(worker, session, &reply);
  reply_wrong(&reply);
  if (aside) silence_drop(worker);
  session->active_ms = worker->monotonic_ms;
  session->close_when_sent |= strangers_exhausted(session);
  strangers_forget_delay(session);
  return session;
}

void strangers_forget_delay(struct session *session) {
  if (!session->delayed) return;
  session->delayed = false;
  session->silent = false;
  list_remove(&session->details->guard->delayed);
  drop_unused(session);
}
