/* client.c - see client.h. */
#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"

/* ---- open, close ---- */

static enum idem_status client_init(struct idem_client *client, const char *url,
                                    const struct idem_options *options, struct idem_error *error) {
  enum idem_status status = settings_init(&client->settings, url, options, error);
  if (status != IDEM_OK) return status;
  if (!cluster_init(&client->cluster, &client->settings.target)) {
    settings_deinit(&client->settings);
    return IDEM_NO_MEMORY;
  }
  client->renewer = renewer_create(&client->settings, &client->cluster);
  if (client->renewer == NULL || pthread_mutex_init(&client->lock, NULL) != 0) {
    renewer_destroy(client->renewer);
    cluster_deinit(&client->cluster);
    settings_deinit(&client->settings);
    return IDEM_NO_MEMORY;
  }
  SLIST_INIT(&client->idle);
  tokens_init(&client->tokens);
  client->references = 1;
  return IDEM_OK;
}

enum idem_status idem_open(const char *url, const struct idem_options *options,
                           struct idem_client **out, struct idem_error *error) {
  struct idem_error ignored;
  if (error == NULL) error = &ignored;
  error->text[0] = '\0';
  *out = NULL;
  struct idem_client *client = calloc(1, sizeof *client);
  enum idem_status status =
      client == NULL ? IDEM_NO_MEMORY : client_init(client, url, options, error);
  if (status == IDEM_NO_MEMORY) snprintf(error->text, sizeof error->text, "out of memory");
  if (status != IDEM_OK) {
    free(client);
    return status;
  }
  *out = client;
  return IDEM_OK;
}

/* A grant: its token is known from now on. False: it was before. One step, so that of two calls
 * that are told the same grant one has it. */
static bool adopt(struct idem_client *client, const struct client_call *call, uint64_t token) {
  struct lease *lease = call->lease;
  pthread_mutex_lock(&client->lock);
  bool fresh = !tokens_has(&client->tokens, call->node, token);
  if (fresh) {
    lease->token = token;
    lease->granted_by = call->node;
    client->references++;
    tokens_add(&client->tokens, lease);
  }
  pthread_mutex_unlock(&client->lock);
  return fresh;
}

/* Drops a reference and unlocks. The last one frees the client. */
static void unlock_released(struct idem_client *client) {
  bool last = --client->references == 0;
  pthread_mutex_unlock(&client->lock);
  if (!last) return;
  renewer_destroy(client->renewer);
  cluster_deinit(&client->cluster);
  settings_deinit(&client->settings);
  tokens_deinit(&client->tokens);
  pthread_mutex_destroy(&client->lock);
  free(client);
}

void client_disown(struct idem_client *client, struct lease *lease) {
  pthread_mutex_lock(&client->lock);
  tokens_remove(&client->tokens, lease);
  unlock_released(client);
}

void idem_close(struct idem_client *client) {
  if (client == NULL || !process_mark_holds(&client->settings.process)) return;
  renewer_stop(client->renewer);
  pthread_mutex_lock(&client->lock);
  client->closed = true;
  client->idle_count = 0;
  pthread_mutex_unlock(&client->lock);
  /* From here on nothing is put into the pool. */
  for (struct connection *idle; (idle = SLIST_FIRST(&client->idle)) != NULL;) {
    SLIST_REMOVE_HEAD(&client->idle, entry);
    connection_close(idle);
  }
  pthread_mutex_lock(&client->lock);
  unlock_released(client);
}

const char *client_check(const struct idem_client *client) {
  if (client == NULL) return "no client";
  if (!process_mark_holds(&client->settings.process))
    return "the client was opened by another process (open it after fork)";
  if (client->closed) return "the client is closed";
  return NULL;
}

/* ---- the pool ---- */

static struct connection *pop_idle(struct idem_client *client, const struct node *node,
                                   bool *stale) {
  struct connection *connection;
  pthread_mutex_lock(&client->lock);
  SLIST_FOREACH(connection, &client->idle, entry) {
    if (connection->node == node) break;
  }
  if (connection != NULL) {
    SLIST_REMOVE(&client->idle, connection, connection, entry);
    client->idle_count--;
    *stale = connection->generation != node->generation;
  }
  pthread_mutex_unlock(&client->lock);
  return connection;
}

/* One that can be used, or NULL. Each is looked at: what lies unread in it would be taken for the
 * answer to the next request. */
static struct connection *take_idle(struct idem_client *client, const struct node *node) {
  for (;;) {
    bool stale = false;
    struct connection *connection = pop_idle(client, node, &stale);
    if (connection == NULL) return NULL;
    if (!stale && connection_alive(connection)) return connection;
    connection_close(connection);
  }
}

/* Makes room for a connection to this node at the cost of one to another, which may be a node that
 * is gone. NULL: there was room, or all are to this one. Under the lock. */
static struct connection *make_room(struct idem_client *client, const struct node *node) {
  struct connection *other;
  if (client->idle_count < client->settings.idle_connections) return NULL;
  SLIST_FOREACH(other, &client->idle, entry) {
    if (other->node != node) break;
  }
  if (other == NULL) return NULL;
  SLIST_REMOVE(&client->idle, other, connection, entry);
  client->idle_count--;
  return other;
}

void client_give_back(struct idem_client *client, struct connection *connection) {
  struct connection *other = NULL;
  bool keep = connection_reusable(connection);
  pthread_mutex_lock(&client->lock);
  keep = keep && !client->closed && connection->generation == connection->node->generation;
  if (keep) other = make_room(client, connection->node);
  keep = keep && client->idle_count < client->settings.idle_connections;
  if (keep) {
    SLIST_INSERT_HEAD(&client->idle, connection, entry);
    client->idle_count++;
  }
  pthread_mutex_unlock(&client->lock);
  if (!keep) connection_close(connection);
  if (other != NULL) connection_close(other);
}

/* A connection failed: those to the same node that were opened before are suspects, too. */
static void distrust(struct idem_client *client, struct connection *connection) {
  pthread_mutex_lock(&client->lock);
  if (connection->generation == connection->node->generation) connection->node->generation++;
  pthread_mutex_unlock(&client->lock);
  connection_close(connection);
}

/* ---- one attempt ---- */

static enum idem_status open_connection(struct idem_client *client, struct node *node,
                                        int64_t deadline_ms, struct connection **out,
                                        struct idem_error *error) {
  const struct connection_order order = {
      .settings = &client->settings,
      .target = &node->target,
      .deadline_ms = deadline_ms,
      .provisional = cluster_may_rename(&client->cluster, node, clock_ms())};
  pthread_mutex_lock(&client->lock);
  uint64_t generation = node->generation;
  pthread_mutex_unlock(&client->lock);
  enum idem_status status = connection_open(out, &order, error);
  if (status != IDEM_OK) return status;
  (*out)->node = node;
  (*out)->generation = generation;
  return IDEM_OK;
}

/* A request of the client's own to a node: sends it, and takes what comes. Fills *reply in any
 * case. */
static void ask_node(struct idem_client *client, struct node *node,
                     const struct wire_request *request, int64_t deadline_ms,
                     struct wire_reply *reply) {
  struct idem_error error = {""};
  struct connection *connection = take_idle(client, node);
  redisReply *answer = NULL;
  struct wire_frame frame;
  enum idem_status status = IDEM_OK;
  if (connection == NULL) status = open_connection(client, node, deadline_ms, &connection, &error);
  wire_frame(&frame, request);
  if (status == IDEM_OK)
    status = connection_send(connection, &frame, deadline_ms - clock_ms(), &error);
  if (status == IDEM_OK) status = connection_receive(connection, deadline_ms, &answer, &error);
  if (status == IDEM_OK) {
    wire_parse(request->verb, answer, reply);
    client_give_back(client, connection);
    return;
  }
  wire_reply_fail(reply, status, error.text);
  if (connection != NULL) distrust(client, connection);
}

/* Brings the table of a cluster up to date, if this is the time and nobody else does. Anything but
 * OK: why not. */
static enum idem_status refresh_table(struct idem_client *client, struct client_call *call,
                                      struct idem_error *error) {
  const struct wire_request request = {.verb = WIRE_NODES};
  struct wire_reply reply;
  int64_t now = call->attempt.start_ms;
  struct node *source = cluster_refresh(&client->cluster, now);
  call->table_first = source != NULL;
  if (source == NULL) return IDEM_OK;
  ask_node(client, source, &request, now + pace_table_timeout_ms(&call->pace, now), &reply);
  cluster_learn(&client->cluster, source, &reply);
  memcpy(error->text, reply.message, sizeof error->text);
  enum idem_status status = reply.status;
  wire_reply_deinit(&reply);
  return status;
}

/* Whom the attempt is sent to. */
static enum idem_status find_node(struct idem_client *client, struct client_call *call,
                                  struct idem_error *error) {
  struct idem_error why = {""};
  enum idem_status refreshed = refresh_table(client, call, &why);
  call->node = call->asked;
  call->request.asking = call->asked != NULL;
  call->asked = NULL;
  if (call->node != NULL) return IDEM_OK;
  enum idem_status status = cluster_route(&client->cluster, call->request.key, &call->node, error);
  /* Without a table what came of asking for it says more: a wrong password. */
  if (status != IDEM_UNAVAILABLE || refreshed == IDEM_OK) return status;
  *error = why;
  return refreshed;
}

static enum idem_status get_connection(struct idem_client *client, struct client_call *call,
                                       struct connection **out, struct idem_error *error) {
  enum idem_status status = find_node(client, call, error);
  if (status != IDEM_OK) return status;
  *out = take_idle(client, call->node);
  call->attempt.reused = *out != NULL;
  if (*out != NULL) return IDEM_OK;
  return open_connection(client, call->node, call->pace.give_up_at_ms, out, error);
}

/* Says ASKING, where the attempt has to, before anything is sent. */
static enum idem_status ask_first(const struct client_call *call, struct connection *connection,
                                  struct idem_error *error) {
  static const struct wire_request asking = {.verb = WIRE_ASKING};
  if (!call->request.asking) return IDEM_OK;
  return connection_ask(connection, pace_timeout_ms(&call->pace, &asking, clock_ms()), error);
}

/* Sends and receives once. Anything but OK: not answered. */
static enum idem_status exchange(struct client_call *call, struct connection *connection,
                                 redisReply **answer, struct idem_error *error) {
  enum idem_status status = ask_first(call, connection, error);
  if (status != IDEM_OK) return status;
  /* A connection that stood before took no time. */
  bool at_once = call->attempt.reused && !call->request.asking && !call->table_first;
  int64_t now = at_once ? call->attempt.start_ms : clock_ms();
  call->attempt.sent_ms = now;
  pace_set_wait(&call->pace, &call->request, now);
  int64_t timeout_ms = pace_timeout_ms(&call->pace, &call->request, now);
  struct wire_frame frame;
  wire_frame(&frame, &call->request);
  outcome_sent(&call->outcome, now);
  status = connection_send(connection, &frame, timeout_ms, error);
  if (status != IDEM_OK) return status;
  return connection_receive(connection, now + timeout_ms, answer, error);
}

/* Why the reply cannot be the answer to this very request; NULL: it can, and if it is a grant, its
 * token is known from here on. */
static const char *find_stray(struct idem_client *client, struct client_call *call,
                              struct connection *connection, const struct wire_reply *reply) {
  if (!connection_quiet(connection)) return "more than one reply to one request";
  if (reply->status != IDEM_RUN || adopt(client, call, reply->token)) return NULL;
  return "the grant of an earlier call";
}

/* What becomes of a connection that answered. */
static void settle_connection(struct idem_client *client, struct client_call *call,
                              struct connection *connection, const struct wire_reply *reply) {
  if (reply->spent) {
    connection_close(connection);
  } else if (call->pin && reply->status == IDEM_RUN) {
    call->connection = connection;
  } else {
    client_give_back(client, connection);
  }
}

/* Fills *reply with the server's word, or with why there is none. */
static void attempt(struct idem_client *client, struct client_call *call,
                    struct wire_reply *reply) {
  struct idem_error error = {""};
  struct connection *connection = NULL;
  redisReply *answer = NULL;
  enum idem_status status = get_connection(client, call, &connection, &error);
  if (status != IDEM_OK) {
    if (call->node != NULL) cluster_failed(&client->cluster, call->node, clock_ms());
    outcome_lost(&call->outcome, &(struct outcome_loss){status, false, error.text}, reply);
    return;
  }
  const char *stray = NULL;
  status = exchange(call, connection, &answer, &error);
  if (status == IDEM_OK) {
    wire_parse(call->request.verb, answer, reply);
    stray = find_stray(client, call, connection, reply);
    if (stray == NULL) {
      call->asked = cluster_follow(&client->cluster, call->node, call->request.key, reply);
      settle_connection(client, call, connection, reply);
      return;
    }
    wire_reply_deinit(reply);
    status = IDEM_UNAVAILABLE;
  }
  cluster_failed(&client->cluster, call->node, clock_ms());
  distrust(client, connection);
  bool sent = call->attempt.sent_ms != 0;
  const struct outcome_loss loss = {status, sent, stray != NULL ? stray : error.text};
  outcome_lost(&call->outcome, &loss, reply);
}

/* ---- the whole call ---- */

static void sleep_ms(int64_t ms) {
  struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

enum idem_status client_make(struct idem_client *client, struct client_call *call,
                             struct wire_reply *reply) {
  int64_t now = clock_ms();
  if (!call->begun) pace_begin(&call->pace, &client->settings, now, call->wait_ms);
  call->begun = true;
  for (;; now = clock_ms()) {
    call->attempt = (struct pace_attempt){.start_ms = now};
    attempt(client, call, reply);
    call->ended_ms = clock_ms();
    int64_t at_ms = outcome_again_at(reply, &call->pace, &call->attempt, call->ended_ms);
    if (at_ms == CLOCK_NEVER) break;
    outcome_go_on(&call->outcome, reply);
    if (at_ms > call->ended_ms) sleep_ms(at_ms - call->ended_ms);
  }
  outcome_end(&call->outcome, &call->pace, call->ended_ms, reply);
  return reply->status;
}

void client_tell(struct idem_client *client, const struct wire_request *request) {
  struct idem_error ignored;
  struct wire_frame frame;
  struct node *node = NULL;
  if (cluster_route(&client->cluster, request->key, &node, &ignored) != IDEM_OK) return;
  struct connection *connection = take_idle(client, node);
  if (connection == NULL) return;
  wire_frame(&frame, request);
  (void)connection_send(connection, &frame, 1, &ignored);
  connection_close(connection);
}

enum idem_status idem_ping(struct idem_client *client, struct idem_error *error) {
  struct idem_error ignored;
  if (error == NULL) error = &ignored;
  error->text[0] = '\0';
  const char *wrong = client_check(client);
  if (wrong != NULL) {
    snprintf(error->text, sizeof error->text, "%s", wrong);
    return IDEM_INVALID;
  }
  struct client_call call = {.request = {.verb = WIRE_PING}};
  struct wire_reply reply;
  enum idem_status status = client_make(client, &call, &reply);
  memcpy(error->text, reply.message, sizeof error->text);
  wire_reply_deinit(&reply);
  return status;
}
