/* client.c - see client.h. */
#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/keeper.h"

/* ---- open, close ---- */

static enum idem_status client_init(struct idem_client *client, const char *url,
                                    const struct idem_options *options, struct idem_error *error) {
  enum idem_status status = settings_init(&client->settings, url, options, error);
  if (status != IDEM_OK) return status;
  client->keeper = keeper_create(&client->settings);
  if (client->keeper == NULL || pthread_mutex_init(&client->lock, NULL) != 0) {
    keeper_destroy(client->keeper);
    settings_deinit(&client->settings);
    return IDEM_NO_MEMORY;
  }
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

static void close_all(struct connection *connection) {
  while (connection != NULL) {
    struct connection *next = connection->next;
    connection_close(connection);
    connection = next;
  }
}

/* A grant: its token is known from now on. False: it was before. One step, so that of two calls
 * that are told the same grant one has it. */
static bool adopt(struct idem_client *client, struct keeper_item *item, uint64_t token) {
  pthread_mutex_lock(&client->lock);
  bool fresh = !tokens_has(&client->tokens, token);
  if (fresh) {
    item->token = token;
    client->references++;
    tokens_add(&client->tokens, item);
  }
  pthread_mutex_unlock(&client->lock);
  return fresh;
}

/* Drops a reference and unlocks. The last one frees the client. */
static void unlock_released(struct idem_client *client) {
  bool last = --client->references == 0;
  pthread_mutex_unlock(&client->lock);
  if (!last) return;
  keeper_destroy(client->keeper);
  settings_deinit(&client->settings);
  tokens_deinit(&client->tokens);
  pthread_mutex_destroy(&client->lock);
  free(client);
}

void client_disown(struct idem_client *client, struct keeper_item *item) {
  pthread_mutex_lock(&client->lock);
  tokens_remove(&client->tokens, item);
  unlock_released(client);
}

void idem_close(struct idem_client *client) {
  if (client == NULL || !process_mark_holds(&client->settings.process)) return;
  keeper_stop(client->keeper);
  pthread_mutex_lock(&client->lock);
  client->closed = true;
  struct connection *idle = client->idle;
  client->idle = NULL;
  client->idle_count = 0;
  pthread_mutex_unlock(&client->lock);
  close_all(idle);
  pthread_mutex_lock(&client->lock);
  unlock_released(client);
}

const char *client_judge(const struct idem_client *client) {
  if (client == NULL) return "no client";
  if (!process_mark_holds(&client->settings.process))
    return "the client was opened by another process (open it after fork)";
  if (client->closed) return "the client is closed";
  return NULL;
}

/* ---- the pool ---- */

static struct connection *pop_idle(struct idem_client *client, bool *stale) {
  pthread_mutex_lock(&client->lock);
  struct connection *connection = client->idle;
  if (connection != NULL) {
    client->idle = connection->next;
    client->idle_count--;
    connection->next = NULL;
    *stale = connection->generation != client->generation;
  }
  pthread_mutex_unlock(&client->lock);
  return connection;
}

/* One that can be used, or NULL. Each is looked at: what lies unread in it would be taken for the
 * answer to the next request. */
static struct connection *take_idle(struct idem_client *client) {
  for (;;) {
    bool stale = false;
    struct connection *connection = pop_idle(client, &stale);
    if (connection == NULL) return NULL;
    if (!stale && connection_alive(connection)) return connection;
    connection_close(connection);
  }
}

void client_give_back(struct idem_client *client, struct connection *connection) {
  bool keep = connection_reusable(connection);
  pthread_mutex_lock(&client->lock);
  keep = keep && !client->closed && client->idle_count < client->settings.idle_connections &&
         connection->generation == client->generation;
  if (keep) {
    connection->next = client->idle;
    client->idle = connection;
    client->idle_count++;
  }
  pthread_mutex_unlock(&client->lock);
  if (!keep) connection_close(connection);
}

/* A connection failed: those that were opened before are suspects, too. */
static void distrust(struct idem_client *client, struct connection *connection) {
  pthread_mutex_lock(&client->lock);
  if (connection->generation == client->generation) client->generation++;
  pthread_mutex_unlock(&client->lock);
  connection_close(connection);
}

/* ---- one call ---- */

struct course {
  struct pace *pace;
  bool reused;        /* the connection of the attempt under way came from the pool */
  bool second_chance; /* one such failure was repeated without a pause */
};

static enum idem_status get_connection(struct idem_client *client, struct course *course,
                                       struct connection **out, struct idem_error *error) {
  *out = take_idle(client);
  course->reused = *out != NULL;
  if (course->reused) return IDEM_OK;
  pthread_mutex_lock(&client->lock);
  uint64_t generation = client->generation;
  pthread_mutex_unlock(&client->lock);
  enum idem_status status =
      connection_open(out, &client->settings, course->pace->deadline_ms, error);
  if (status == IDEM_OK) (*out)->generation = generation;
  return status;
}

/* What of the wait is still to come goes with the attempt. Returns how long the server may take
 * because of it. */
static int64_t set_wait(struct client_call *call, const struct course *course, int64_t now) {
  if (call->wait_ms <= 0) return 0;
  int64_t left = clock_max(0, course->pace->wait_until_ms - now);
  call->request.wait_ms = left;
  if (left == 0 && call->request.verb == WIRE_WAIT) call->request.verb = WIRE_FETCH;
  return left;
}

/* Sends and receives once. UNAVAILABLE or NO_MEMORY: not answered. */
static enum idem_status exchange(struct idem_client *client, struct client_call *call,
                                 struct course *course, struct connection *connection, int64_t now,
                                 redisReply **answer, struct idem_error *error) {
  int64_t patience = set_wait(call, course, now) + client->settings.command_timeout_ms;
  int64_t timeout = clock_max(1, clock_min(patience, course->pace->deadline_ms - now));
  struct wire_frame frame;
  wire_frame(&frame, &call->request);
  call->sent_ms = now;
  if (call->first_sent_ms == 0) call->first_sent_ms = now;
  if (!connection_send(connection, &frame, timeout, error)) return IDEM_UNAVAILABLE;
  return connection_receive(connection, now + timeout, answer, error);
}

/* Why the reply cannot be the answer to this very request; NULL: it can, and if it is a grant, its
 * token is known from here on. */
static const char *find_stray(struct idem_client *client, struct client_call *call,
                              const struct connection *connection, const struct wire_reply *reply) {
  if (!connection_quiet(connection)) return "more than one reply to one request";
  if (reply->status != IDEM_RUN || adopt(client, call->item, reply->token)) return NULL;
  return "the grant of an earlier call";
}

static bool fail_attempt(struct wire_reply *reply, enum idem_status status, const char *why) {
  wire_reply_fail(reply, status, status == IDEM_NO_MEMORY ? "out of memory" : why);
  return false;
}

/* One attempt. True: the server has spoken, *reply is its word. False: *reply says why it has not.
 */
static bool attempt(struct idem_client *client, struct client_call *call, struct course *course,
                    int64_t now, struct wire_reply *reply) {
  struct idem_error error = {""};
  struct connection *connection = NULL;
  redisReply *answer = NULL;
  enum idem_status status = get_connection(client, course, &connection, &error);
  if (status != IDEM_OK) return fail_attempt(reply, status, error.text);
  if (!course->reused) now = clock_ms(); /* connecting took its time */
  status = exchange(client, call, course, connection, now, &answer, &error);
  const char *why = status != IDEM_OK ? error.text : NULL;
  if (status == IDEM_OK) {
    wire_judge(call->request.verb, answer, reply);
    why = find_stray(client, call, connection, reply);
    if (why != NULL) wire_reply_deinit(reply);
  }
  if (why != NULL) {
    call->ambiguous = true;
    distrust(client, connection);
    return fail_attempt(reply, status != IDEM_OK ? status : IDEM_UNAVAILABLE, why);
  }
  call->answered_ms = clock_ms();
  if (reply->again || reply->broken) {
    connection_close(connection);
  } else if (call->pin && reply->status == IDEM_RUN) {
    call->connection = connection;
  } else {
    client_give_back(client, connection);
  }
  return !reply->again;
}

/* Sleeps before the next attempt; false when the deadline leaves no room for it. */
static bool rest(const struct settings *settings, struct course *course, int64_t until_ms) {
  int64_t now = clock_ms();
  int64_t pause = pace_pause_ms(course->pace, settings);
  if (now + pause >= until_ms) return false;
  struct timespec left = {.tv_sec = (time_t)(pause / 1000),
                          .tv_nsec = (long)(pause % 1000 * 1000000)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
  return true;
}

/* Whether to go on after an attempt that was not answered. */
static bool try_again(struct idem_client *client, struct course *course,
                      const struct wire_reply *reply) {
  if (reply->status != IDEM_UNAVAILABLE) return false;
  if (course->reused && !course->second_chance) {
    course->second_chance = true;
    return clock_ms() < course->pace->deadline_ms;
  }
  return rest(&client->settings, course, course->pace->deadline_ms);
}

/* Whether to ask again after BUSY: the server waits only so long in one go. */
static bool wait_on(struct idem_client *client, const struct client_call *call,
                    struct course *course, const struct wire_reply *reply) {
  if (reply->status != IDEM_BUSY || call->answered_ms >= course->pace->wait_until_ms) return false;
  pace_heard(course->pace, &client->settings);
  if (call->answered_ms - call->sent_ms >= PACE_SOON_MS) {
    course->pace->failures = 0;
    return true;
  }
  return rest(&client->settings, course, course->pace->wait_until_ms);
}

/* What is said of a call that ended without the server's words. */
static void explain_silence(const struct idem_client *client, const struct pace *pace,
                            struct wire_reply *reply) {
  char why[IDEM_MESSAGE_BYTES];
  memcpy(why, reply->message, sizeof why);
  snprintf(reply->message, sizeof reply->message, "no answer from %.50s in %lld ms: %.70s",
           client->settings.target.name, (long long)(clock_ms() - pace->start_ms), why);
}

enum idem_status client_make(struct idem_client *client, struct client_call *call,
                             struct wire_reply *reply) {
  struct course course = {.pace = &call->pace};
  int64_t now = clock_ms();
  if (!call->begun) pace_begin(&call->pace, &client->settings, now, call->wait_ms);
  call->begun = true;
  for (;; now = clock_ms()) {
    bool answered = attempt(client, call, &course, now, reply);
    if (!answered) pace_failed(course.pace, &client->settings, clock_ms(), now);
    bool more =
        answered ? wait_on(client, call, &course, reply) : try_again(client, &course, reply);
    if (!more) break;
    if (reply->status == IDEM_BUSY) {
      wire_busy_keep(&call->busy, reply);
    } else {
      wire_reply_deinit(reply);
    }
  }
  if (reply->status == IDEM_UNAVAILABLE && reply->memory == NULL)
    explain_silence(client, &call->pace, reply);
  wire_busy_settle(&call->busy, reply);
  return reply->status;
}

void client_tell(struct idem_client *client, const struct wire_request *request) {
  struct idem_error ignored;
  struct wire_frame frame;
  struct connection *connection = take_idle(client);
  if (connection == NULL) return;
  wire_frame(&frame, request);
  (void)connection_send(connection, &frame, 1, &ignored);
  connection_close(connection);
}

enum idem_status idem_ping(struct idem_client *client, struct idem_error *error) {
  struct idem_error ignored;
  if (error == NULL) error = &ignored;
  error->text[0] = '\0';
  const char *wrong = client_judge(client);
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
