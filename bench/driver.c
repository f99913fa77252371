/* Driver on epoll. Not libuv: the generator shares a machine with what it measures, and
 * a loop of recv and send is the cheapest client, which keeps the server busy and its batches full.
 */
#include "bench/driver.h"

#include "bench/key.h"
#include "bench/net.h"
#include "bench/progress.h"
#include "bench/schedule.h"
#include "bench/secure.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 64 };

struct connection {
  int fd;
  SSL *ssl; /* NULL: plain text */
  bool waits_to_write;
  const struct scenario *scenario; /* of the batch */
  size_t step;
  size_t batch;    /* requests in flight; 0: idle */
  size_t answered; /* of them */
  uint64_t sent_at_ns;
  uint64_t first;   /* the batch is operations first .. first + batch - 1 of the phase */
  uint64_t free_ns; /* when it became idle */
  struct message_subject *subjects;
  char *out;
  size_t out_bytes, out_sent;
  char *in;
  size_t in_bytes;
};

struct driver {
  struct driver_options options;
  SSL_CTX *secure; /* NULL: plain text */
  int epoll_fd;
  struct connection *connections;
  uint64_t key_base; /* far apart for different seeds, so that their keys do not overlap */
  uint64_t next_key;
  uint64_t draws;
  /* of the phase that runs */
  const struct driver_phase *phase;
  struct driver_tally *tally;
  struct schedule schedule; /* of an open loop */
  struct progress progress;
  uint64_t total;   /* operations to start; 0: until deadline_ns */
  uint64_t started; /* operations whose request went out */
  uint64_t deadline_ns;
  uint64_t heard_ns; /* when a reply came last */
  size_t busy;       /* connections with a batch in flight */
  /* Open loop: the idle connections, longest idle first; a ring of options.connections places. */
  struct connection **idle;
  size_t idle_first, idle_count;
};

static int fail_errno(const char *what) {
  fprintf(stderr, "idem-bench: %s: %s\n", what, strerror(errno));
  return -1;
}

static int fail_reply(const struct driver *driver, const struct connection *connection,
                      size_t offset, const char *why) {
  size_t bytes = connection->in_bytes - offset;
  size_t last = connection->answered < connection->batch ? connection->answered : 0;
  fprintf(stderr, "idem-bench: %s; operation %" PRIu64 ", key %.*s, got \"", why,
          driver->tally->operations, MESSAGE_KEY_BYTES, connection->subjects[last].key);
  net_print_bytes(connection->in + offset, bytes);
  fprintf(stderr, "\"\n");
  return -1;
}

static int watch(struct driver *driver, struct connection *connection, int operation,
                 uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = connection};
  if (epoll_ctl(driver->epoll_fd, operation, connection->fd, &event) != 0)
    return fail_errno("epoll_ctl");
  return 0;
}

static ssize_t send_some(struct connection *connection) {
  const char *data = connection->out + connection->out_sent;
  size_t bytes = connection->out_bytes - connection->out_sent;
  if (connection->ssl != NULL) return secure_send(connection->ssl, data, bytes);
  return send(connection->fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int flush(struct driver *driver, struct connection *connection) {
  while (connection->out_sent < connection->out_bytes) {
    ssize_t sent = send_some(connection);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (sent < 0) return fail_errno("send");
    connection->out_sent += (size_t)sent;
    driver->tally->sent_bytes += (uint64_t)sent;
  }
  bool waits = connection->out_sent < connection->out_bytes;
  if (waits == connection->waits_to_write) return 0;
  connection->waits_to_write = waits;
  return watch(driver, connection, EPOLL_CTL_MOD, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int send_step(struct driver *driver, struct connection *connection) {
  const struct message *request = &connection->scenario->steps[connection->step].request;
  connection->answered = 0;
  connection->in_bytes = 0;
  connection->out_bytes = connection->out_sent = 0;
  for (size_t i = 0; i < connection->batch; i++) {
    connection->out_bytes +=
        message_write(request, &connection->subjects[i], connection->out + connection->out_bytes);
  }
  return flush(driver, connection);
}

static uint64_t draw(struct driver *driver, uint64_t below) {
  uint64_t random = key_mix(~driver->key_base + driver->draws++);
  /* Evenly without a division: the high half of a 32 x 32 bit product; keys are at most 10^9. */
  return ((random >> 32) * below) >> 32;
}

static uint64_t draw_key(struct driver *driver, const struct scenario *scenario) {
  if (scenario->key_source == SCENARIO_KEYS_NEW) return driver->next_key++;
  return draw(driver, driver->phase->keys);
}

static const struct scenario *draw_scenario(struct driver *driver) {
  const struct mix *mix = driver->phase->mix;
  if (mix->part_count == 1) return &mix->parts[0];
  uint64_t drawn = draw(driver, mix->weight_sum);
  size_t part = 0;
  while (drawn >= mix->weights[part]) drawn -= mix->weights[part++];
  return &mix->parts[part];
}

/* What is left of operation `index`'s life, or 0 when it is over. */
static uint64_t ttl_ms(const struct driver_phase *phase, uint64_t index, uint64_t now) {
  uint64_t share = phase->expire_window_ns / 1000 * index / phase->operations;
  uint64_t end_ns = phase->expire_ns + share * 1000;
  return end_ns > now ? (end_ns - now) / 1000000 : 0;
}

static size_t closed_batch(const struct driver *driver, uint64_t now) {
  if (driver->total == 0) return now < driver->deadline_ns ? driver->phase->pipeline : 0;
  uint64_t left = driver->total - driver->started;
  return left < driver->phase->pipeline ? (size_t)left : driver->phase->pipeline;
}

static size_t due_batch(const struct driver *driver, uint64_t now) {
  uint64_t due = schedule_due(&driver->schedule, now);
  if (due > driver->total) due = driver->total;
  uint64_t waiting = due > driver->started ? due - driver->started : 0;
  return waiting < driver->phase->pipeline ? (size_t)waiting : driver->phase->pipeline;
}

static int send_batch(struct driver *driver, struct connection *connection, size_t batch) {
  const struct driver_phase *phase = driver->phase;
  connection->scenario = draw_scenario(driver);
  connection->first = driver->started;
  connection->step = 0;
  connection->batch = batch;
  driver->started += batch;
  connection->sent_at_ns = net_now_ns();
  for (size_t i = 0; i < batch; i++) {
    struct message_subject *subject = &connection->subjects[i];
    key_write(driver->key_base, draw_key(driver, connection->scenario), subject->key);
    if (phase->expire_ns == 0) continue;
    subject->ttl_ms = ttl_ms(phase, connection->first + i, connection->sent_at_ns);
    if (subject->ttl_ms == 0) {
      fprintf(stderr, "idem-bench: filling took longer than the lead; give --lead-seconds\n");
      return -1;
    }
  }
  return send_step(driver, connection);
}

static void note_lag(struct driver *driver, const struct connection *connection, uint64_t now) {
  for (size_t i = 0; i < connection->batch; i++) {
    uint64_t due_ns = schedule_at_ns(&driver->schedule, connection->first + i);
    uint64_t could_ns = due_ns > connection->free_ns ? due_ns : connection->free_ns;
    histogram_record(&driver->tally->lag, now > could_ns ? now - could_ns : 0, 1);
  }
}

/* Sends the next batch, or leaves the connection idle when there is none (yet). */
static int start_batch(struct driver *driver, struct connection *connection, uint64_t now) {
  bool open_loop = driver->phase->rate > 0;
  size_t batch = open_loop ? due_batch(driver, now) : closed_batch(driver, now);
  driver->busy -= connection->batch > 0;
  driver->busy += batch > 0;
  connection->batch = connection->answered = 0;
  if (batch == 0) {
    connection->free_ns = now;
    if (open_loop) {
      size_t place = (driver->idle_first + driver->idle_count++) % driver->options.connections;
      driver->idle[place] = connection;
    }
    return 0;
  }
  int error = send_batch(driver, connection, batch);
  if (open_loop) note_lag(driver, connection, connection->sent_at_ns);
  return error;
}

/* Open loop: gives what is due to the connections that are free. */
static int start_due(struct driver *driver) {
  while (driver->idle_count > 0) {
    uint64_t now = net_now_ns();
    if (due_batch(driver, now) == 0) return 0;
    struct connection *connection = driver->idle[driver->idle_first];
    driver->idle_first = (driver->idle_first + 1) % driver->options.connections;
    driver->idle_count--;
    if (start_batch(driver, connection, now) != 0) return -1;
  }
  return 0;
}

static void record(struct driver *driver, const struct connection *connection, size_t from,
                   size_t count, uint64_t now) {
  struct driver_tally *tally = driver->tally;
  tally->operations += count;
  if (driver->phase->rate == 0) {
    histogram_record(&tally->latency, now - connection->sent_at_ns, count);
    return;
  }
  for (size_t i = from; i < from + count; i++) {
    uint64_t due_ns = schedule_at_ns(&driver->schedule, connection->first + i);
    histogram_record(&tally->latency, now - due_ns, 1);
  }
}

/* Matches what has arrived against the steps in flight. */
static int take_replies(struct driver *driver, struct connection *connection, uint64_t now) {
  const struct scenario *scenario = connection->scenario;
  const struct message *reply = &scenario->steps[connection->step].reply;
  size_t offset = 0, matched = 0;
  while (connection->answered < connection->batch && offset < connection->in_bytes) {
    size_t consumed = 0;
    enum message_result match =
        message_match(reply, connection->in + offset, connection->in_bytes - offset,
                      &connection->subjects[connection->answered], &consumed);
    if (match == MESSAGE_WRONG) return fail_reply(driver, connection, offset, "wrong reply");
    if (match == MESSAGE_MORE) break;
    offset += consumed;
    connection->answered++;
    matched++;
  }
  bool last_step = connection->step + 1 == scenario->step_count;
  if (last_step && matched > 0)
    record(driver, connection, connection->answered - matched, matched, now);
  if (connection->answered < connection->batch) {
    connection->in_bytes -= offset;
    memmove(connection->in, connection->in + offset, connection->in_bytes);
    return 0;
  }
  if (offset < connection->in_bytes)
    return fail_reply(driver, connection, offset, "more replies than requests");
  connection->in_bytes = 0;
  if (last_step) {
    connection->free_ns = now;
    return start_batch(driver, connection, now);
  }
  connection->step++;
  return send_step(driver, connection);
}

static int receive(struct driver *driver, struct connection *connection) {
  size_t room =
      driver->options.batch_most * driver->options.reply_most_bytes - connection->in_bytes;
  if (room == 0) return fail_reply(driver, connection, 0, "reply too long");
  char *in = connection->in + connection->in_bytes;
  ssize_t got = connection->ssl != NULL ? secure_receive(connection->ssl, in, room)
                                        : recv(connection->fd, in, room, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
  if (got < 0) return fail_errno("recv");
  if (got == 0) return fail_reply(driver, connection, 0, "the server closed the connection");
  driver->heard_ns = net_now_ns();
  connection->in_bytes += (size_t)got;
  driver->tally->received_bytes += (uint64_t)got;
  return take_replies(driver, connection, driver->heard_ns);
}

static int fail_stalled(const struct driver *driver) {
  fprintf(stderr,
          "idem-bench: no reply for %" PRIu64 " ms; %zu connections wait, %" PRIu64
          " operations done\n",
          driver->options.stall_ms, driver->busy, driver->tally->operations);
  return -1;
}

/* How long to sleep when no reply comes. */
static uint64_t pause_ns(const struct driver *driver, uint64_t now) {
  uint64_t fail_ns = driver->heard_ns + driver->options.stall_ms * 1000000u + 1;
  uint64_t stall_ns = fail_ns > now ? fail_ns - now : 0;
  /* With no free connection the next one to be due cannot go out before a reply comes. */
  if (driver->phase->rate == 0 || driver->idle_count == 0 || driver->started == driver->total)
    return stall_ns;
  uint64_t due_ns = schedule_at_ns(&driver->schedule, driver->started);
  uint64_t until_ns = due_ns > now ? due_ns - now : 0;
  return until_ns < stall_ns ? until_ns : stall_ns;
}

static int wait_once(struct driver *driver) {
  struct epoll_event events[EVENTS_PER_WAIT];
  uint64_t now = net_now_ns(), sleep_ns = pause_ns(driver, now);
  if (driver->busy > 0 && now - driver->heard_ns > driver->options.stall_ms * 1000000u)
    return fail_stalled(driver);
  struct timespec timeout = {.tv_sec = (time_t)(sleep_ns / 1000000000u),
                             .tv_nsec = (long)(sleep_ns % 1000000000u)};
  int count = epoll_pwait2(driver->epoll_fd, events, EVENTS_PER_WAIT, &timeout, NULL);
  if (count < 0 && errno == EINTR) return 0;
  if (count < 0) return fail_errno("epoll_pwait2");
  for (int i = 0; i < count; i++) {
    struct connection *connection = events[i].data.ptr;
    if ((events[i].events & EPOLLOUT) && flush(driver, connection) != 0) return -1;
    if ((events[i].events & ~(uint32_t)EPOLLOUT) && receive(driver, connection) != 0) return -1;
  }
  return driver->phase->rate > 0 ? start_due(driver) : 0;
}

static void prepare(struct driver *driver, const struct driver_phase *phase,
                    struct driver_tally *tally) {
  memset(tally, 0, sizeof *tally);
  histogram_init(&tally->latency);
  histogram_init(&tally->lag);
  driver->phase = phase;
  driver->tally = tally;
  driver->started = 0;
  driver->idle_first = driver->idle_count = 0;
  driver->total = phase->operations;
  /* A rate makes an amount of a duration: what was due is sent, however late. */
  if (driver->total == 0 && phase->rate > 0)
    driver->total = (phase->rate * phase->duration_ms + 999) / 1000;
}

int driver_run(struct driver *driver, const struct driver_phase *phase,
               struct driver_tally *tally) {
  assert(phase->pipeline > 0 && phase->pipeline <= driver->options.batch_most);
  prepare(driver, phase, tally);
  uint64_t begin_ns = net_now_ns();
  driver->heard_ns = begin_ns;
  driver->deadline_ns = begin_ns + phase->duration_ms * 1000000u;
  driver->schedule = (struct schedule){.begin_ns = begin_ns, .per_second = phase->rate};
  progress_begin(&driver->progress, begin_ns);
  int error = 0;
  for (size_t i = 0; error == 0 && i < driver->options.connections; i++) {
    error = start_batch(driver, &driver->connections[i], net_now_ns());
  }
  while (error == 0 && (driver->busy > 0 || (phase->rate > 0 && driver->started < driver->total))) {
    if (driver->busy == 0) driver->heard_ns = net_now_ns(); /* nothing was asked, nothing is late */
    error = wait_once(driver);
    progress_update(&driver->progress, phase->name, tally->operations, driver->total,
                    driver->heard_ns);
  }
  progress_end(&driver->progress);
  tally->elapsed_ns = net_now_ns() - begin_ns;
  return error;
}

static int open_connection(struct driver *driver, struct connection *connection) {
  const struct driver_options *options = &driver->options;
  connection->subjects = calloc(options->batch_most, sizeof *connection->subjects);
  connection->out = malloc(options->batch_most * options->request_most_bytes);
  connection->in = malloc(options->batch_most * options->reply_most_bytes);
  if (connection->subjects == NULL || connection->out == NULL || connection->in == NULL) {
    return fail_errno("connection buffers");
  }
  for (size_t i = 0; i < options->batch_most; i++) connection->subjects[i].token = STEP_USUAL_TOKEN;
  connection->fd = net_connect(&options->target);
  if (connection->fd < 0) return -1;
  if (driver->secure != NULL) {
    connection->ssl = secure_connect(driver->secure, options->secure, connection->fd);
    if (connection->ssl == NULL) return -1;
  }
  return watch(driver, connection, EPOLL_CTL_ADD, EPOLLIN);
}

struct driver *driver_create(const struct driver_options *options) {
  struct driver *driver = calloc(1, sizeof *driver);
  if (driver == NULL) {
    fail_errno("driver");
    return NULL;
  }
  driver->options = *options;
  driver->key_base = key_mix(options->seed);
  driver->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  driver->connections = calloc(options->connections, sizeof *driver->connections);
  driver->idle = calloc(options->connections, sizeof(struct connection *));
  if (driver->epoll_fd < 0 || driver->connections == NULL || driver->idle == NULL) {
    fail_errno("driver");
    goto failed;
  }
  for (size_t i = 0; i < options->connections; i++) driver->connections[i].fd = -1;
  if (options->secure != NULL) {
    driver->secure = secure_context(options->secure);
    if (driver->secure == NULL) goto failed;
  }
  for (size_t i = 0; i < options->connections; i++) {
    if (open_connection(driver, &driver->connections[i]) != 0) goto failed;
  }
  return driver;

failed:
  driver_destroy(driver);
  return NULL;
}

void driver_destroy(struct driver *driver) {
  if (driver == NULL) return;
  for (size_t i = 0; driver->connections != NULL && i < driver->options.connections; i++) {
    struct connection *connection = &driver->connections[i];
    SSL_free(connection->ssl);
    if (connection->fd >= 0) close(connection->fd);
    free(connection->subjects);
    free(connection->out);
    free(connection->in);
  }
  free(driver->connections);
  free(driver->idle);
  SSL_CTX_free(driver->secure);
  if (driver->epoll_fd >= 0) close(driver->epoll_fd);
  free(driver);
}
