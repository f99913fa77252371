/* N connections wait for one key, one connection stores it. How long until the first, each, and the
 * last of them has its answer?
 *
 *   per round:  owner claims - waiters join (all seen by the server) - t0: owner stores - answers
 *
 * Every reply is matched, and the owner's must count exactly N waiters: a round in which one came
 * too late to wait is an error, not a fast round.
 */
#include "bench/wakeup.h"

#include "bench/key.h"
#include "bench/net.h"
#include "bench/progress.h"
#include "bench/recipe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 64, JOIN_POLL_MS = 1, TOUCH_PINGS = 11000, TOUCH_TIMES = 4 };

struct connection {
  int fd;
  char *in;
  size_t in_bytes, room;
};

struct wakeup {
  const struct options *options;
  struct recipe recipe;
  struct message_subject subject;
  uint64_t waiter_count;
  struct connection owner;
  struct connection *waiters;
  bool *fetching; /* woken, its fetch not answered */
  int control, epoll_fd;
  char *out;
  size_t out_bytes;
  struct histogram first, each, last, owner_reply;
  uint64_t rounds;
  uint64_t peak_rss_bytes; /* of the first round, above the resident memory before it */
};

static size_t most(const struct message *message, size_t bytes) {
  size_t own = message_most_bytes(message);
  return own > bytes ? own : bytes;
}

static int fail(const struct connection *connection, const char *why) {
  fprintf(stderr, "idem-bench: %s, got \"", why);
  net_print_bytes(connection->in, connection->in_bytes);
  fprintf(stderr, "\"\n");
  return -1;
}

static int ask(struct wakeup *wakeup, struct connection *connection,
               const struct message *request) {
  if (request->count == 0) return 0;
  size_t bytes = message_write(request, &wakeup->subject, wakeup->out);
  return net_send_all(connection->fd, wakeup->out, bytes);
}

/* What the connection has got against `reply`: MESSAGE_WHOLE takes it off. */
static enum message_result take(struct wakeup *wakeup, struct connection *connection,
                                const struct message *reply) {
  size_t consumed = 0;
  enum message_result match =
      message_match(reply, connection->in, connection->in_bytes, &wakeup->subject, &consumed);
  if (match != MESSAGE_WHOLE) return match;
  connection->in_bytes -= consumed;
  memmove(connection->in, connection->in + consumed, connection->in_bytes);
  return MESSAGE_WHOLE;
}

static int hear(struct wakeup *wakeup, struct connection *connection, const struct message *reply) {
  if (reply->count == 0) return 0;
  for (;;) {
    enum message_result match = take(wakeup, connection, reply);
    if (match == MESSAGE_WHOLE) return 0;
    if (match == MESSAGE_WRONG || connection->in_bytes == connection->room)
      return fail(connection, "wrong reply");
    ssize_t got = net_receive(connection->fd, connection->in + connection->in_bytes,
                              connection->room - connection->in_bytes, wakeup->options->stall_ms);
    if (got < 0) return -1;
    connection->in_bytes += (size_t)got;
  }
}

/* One exchange of every waiter. All ask before the first is heard. */
static int all_waiters(struct wakeup *wakeup, const struct recipe_exchange *exchange) {
  for (uint64_t i = 0; i < wakeup->waiter_count; i++) {
    if (ask(wakeup, &wakeup->waiters[i], &exchange->request) != 0) return -1;
  }
  for (uint64_t i = 0; i < wakeup->waiter_count; i++) {
    if (hear(wakeup, &wakeup->waiters[i], &exchange->reply) != 0) return -1;
  }
  return 0;
}

static bool relay_count(struct wakeup *wakeup, uint64_t *count) {
  char line[32];
  if (net_send_all(wakeup->control, "P\n", 2) != 0) return false;
  ssize_t got = net_receive(wakeup->control, line, sizeof line - 1, wakeup->options->stall_ms);
  if (got <= 0) return false;
  line[got] = '\0';
  return sscanf(line, ":%" SCNu64, count) == 1;
}

static int await_joined(struct wakeup *wakeup) {
  uint64_t timeout_ms = wakeup->options->stall_ms;
  uint64_t until = net_now_ns() + timeout_ms * 1000000u, count = 0;
  if (wakeup->recipe.proof == RECIPE_PROOF_REPLY) return 0;
  for (;;) {
    bool known = wakeup->recipe.proof == RECIPE_PROOF_RELAY
                     ? relay_count(wakeup, &count)
                     : net_info(wakeup->control, "clients", "blocked_clients", timeout_ms, &count);
    if (known && count == wakeup->waiter_count) return 0;
    if (!known || net_now_ns() > until) {
      fprintf(stderr, "idem-bench: %" PRIu64 " of %" PRIu64 " waiters are known to the server\n",
              count, wakeup->waiter_count);
      return -1;
    }
    net_sleep_ms(JOIN_POLL_MS);
  }
}

/* After a recv on waiter `index`. *done counts those that have everything. */
static int advance(struct wakeup *wakeup, size_t index, uint64_t t0, uint64_t *done) {
  struct connection *connection = &wakeup->waiters[index];
  if (!wakeup->fetching[index]) {
    enum message_result match = take(wakeup, connection, &wakeup->recipe.woken);
    if (match == MESSAGE_WRONG) return fail(connection, "a waiter was woken by something else");
    if (match == MESSAGE_MORE) return 0;
    if (wakeup->recipe.fetch.request.count > 0) {
      wakeup->fetching[index] = true;
      return ask(wakeup, connection, &wakeup->recipe.fetch.request);
    }
  } else {
    enum message_result match = take(wakeup, connection, &wakeup->recipe.fetch.reply);
    if (match == MESSAGE_WRONG) return fail(connection, "a waiter fetched something else");
    if (match == MESSAGE_MORE) return 0;
    wakeup->fetching[index] = false;
  }
  uint64_t passed_ns = net_now_ns() - t0;
  if (*done == 0) histogram_record(&wakeup->first, passed_ns, 1);
  histogram_record(&wakeup->each, passed_ns, 1);
  if (++*done == wakeup->waiter_count) histogram_record(&wakeup->last, passed_ns, 1);
  return 0;
}

static int receive(struct wakeup *wakeup, struct connection *connection) {
  if (connection->in_bytes == connection->room) return fail(connection, "reply too long");
  ssize_t got = recv(connection->fd, connection->in + connection->in_bytes,
                     connection->room - connection->in_bytes, 0);
  if (got <= 0)
    return fail(connection, got == 0 ? "the server closed a connection" : strerror(errno));
  connection->in_bytes += (size_t)got;
  (void)wakeup;
  return 0;
}

/* From t0 until every waiter and the owner have their answers. */
static int wake(struct wakeup *wakeup) {
  struct epoll_event events[EVENTS_PER_WAIT];
  uint64_t done = 0;
  bool owner_done = false;
  uint64_t t0 = net_now_ns();
  if (ask(wakeup, &wakeup->owner, &wakeup->recipe.wake.request) != 0) return -1;
  while (done < wakeup->waiter_count || !owner_done) {
    int count =
        epoll_wait(wakeup->epoll_fd, events, EVENTS_PER_WAIT, (int)wakeup->options->stall_ms);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      fprintf(stderr, "idem-bench: %" PRIu64 " of %" PRIu64 " waiters were woken in time\n", done,
              wakeup->waiter_count);
      return -1;
    }
    for (int i = 0; i < count; i++) {
      size_t index = (size_t)events[i].data.u64;
      bool is_owner = index == wakeup->waiter_count;
      struct connection *connection = is_owner ? &wakeup->owner : &wakeup->waiters[index];
      if (receive(wakeup, connection) != 0) return -1;
      if (!is_owner) {
        if (advance(wakeup, index, t0, &done) != 0) return -1;
        continue;
      }
      enum message_result match = take(wakeup, connection, &wakeup->recipe.wake.reply);
      if (match == MESSAGE_WRONG) return fail(connection, "the owner's reply is wrong");
      if (match == MESSAGE_WHOLE) owner_done = true;
      if (owner_done) histogram_record(&wakeup->owner_reply, net_now_ns() - t0, 1);
    }
  }
  return 0;
}

static int round_of(struct wakeup *wakeup, uint64_t base) {
  struct plan_server before, after;
  const struct options *options = wakeup->options;
  /* Only the first: an allocator keeps for a while what it got, and later rounds reuse it. */
  bool watched = options->server_pid != 0 && wakeup->waiter_count > 1 && wakeup->rounds == 0;
  key_write(base, wakeup->rounds, wakeup->subject.key);
  if (ask(wakeup, &wakeup->owner, &wakeup->recipe.prepare.request) != 0 ||
      hear(wakeup, &wakeup->owner, &wakeup->recipe.prepare.reply) != 0 ||
      all_waiters(wakeup, &wakeup->recipe.join) != 0 || await_joined(wakeup) != 0)
    return -1;
  if (watched) {
    if (plan_read_server(options, &before) != 0) return -1;
    memory_reset_peak((pid_t)options->server_pid);
  }
  if (wake(wakeup) != 0) return -1;
  if (watched) {
    if (plan_read_server(options, &after) != 0) return -1;
    if (after.memory.peak_bytes > before.memory.rss_bytes)
      wakeup->peak_rss_bytes = after.memory.peak_bytes - before.memory.rss_bytes;
  }
  wakeup->rounds++;
  return all_waiters(wakeup, &wakeup->recipe.leave);
}

/* RESP3's HELLO answers with a map that differs by server and version: read until PING's answer. */
static int greet(struct wakeup *wakeup, struct connection *connection) {
  static const char ping[] = "PING\r\n", pong[] = "+PONG\r\n";
  char text[4096];
  size_t bytes = 0;
  if (wakeup->recipe.hello.request.count == 0) return 0;
  if (ask(wakeup, connection, &wakeup->recipe.hello.request) != 0 ||
      net_send_all(connection->fd, ping, sizeof ping - 1) != 0)
    return -1;
  for (;;) {
    ssize_t got =
        net_receive(connection->fd, text + bytes, sizeof text - bytes, wakeup->options->stall_ms);
    if (got < 0) return -1;
    bytes += (size_t)got;
    if (text[0] == '-' || bytes == sizeof text) break;
    if (bytes >= sizeof pong && memcmp(text + bytes - sizeof pong + 1, pong, sizeof pong - 1) == 0)
      return 0;
  }
  fprintf(stderr, "idem-bench: HELLO 3 got \"");
  net_print_bytes(text, bytes);
  fprintf(stderr, "\"\n");
  return -1;
}

static int open_connection(struct wakeup *wakeup, struct connection *connection, size_t room,
                           uint64_t index) {
  connection->room = room;
  connection->in = malloc(room);
  connection->fd = plan_connect(wakeup->options);
  if (connection->in == NULL || connection->fd < 0) return -1;
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};
  return epoll_ctl(wakeup->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event);
}

static int open_all(struct wakeup *wakeup) {
  const struct recipe *recipe = &wakeup->recipe;
  const struct options *options = wakeup->options;
  size_t count = (size_t)wakeup->waiter_count;
  size_t room = most(&recipe->woken, most(&recipe->fetch.reply, most(&recipe->join.reply, 512)));
  size_t owner_room = most(&recipe->wake.reply, most(&recipe->prepare.reply, 512));
  wakeup->out_bytes = most(&recipe->wake.request, most(&recipe->join.request, 512));
  wakeup->out = malloc(wakeup->out_bytes);
  wakeup->waiters = calloc(count, sizeof *wakeup->waiters);
  wakeup->fetching = calloc(count, sizeof *wakeup->fetching);
  wakeup->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (wakeup->out == NULL || wakeup->waiters == NULL || wakeup->fetching == NULL ||
      wakeup->epoll_fd < 0) {
    fprintf(stderr, "idem-bench: waiters: %s\n", strerror(errno));
    return -1;
  }
  for (size_t i = 0; i < count; i++) wakeup->waiters[i].fd = -1;
  wakeup->control = plan_connect(options);
  if (wakeup->control < 0 || open_connection(wakeup, &wakeup->owner, owner_room, count) != 0)
    return -1;
  for (size_t i = 0; i < count; i++) {
    if (open_connection(wakeup, &wakeup->waiters[i], room, i) != 0 ||
        greet(wakeup, &wakeup->waiters[i]) != 0)
      return -1;
  }
  return 0;
}

static void close_connection(struct connection *connection) {
  if (connection->fd >= 0) close(connection->fd);
  free(connection->in);
}

static void close_all(struct wakeup *wakeup) {
  for (uint64_t i = 0; wakeup->waiters != NULL && i < wakeup->waiter_count; i++)
    close_connection(&wakeup->waiters[i]);
  close_connection(&wakeup->owner);
  if (wakeup->control >= 0) close(wakeup->control);
  if (wakeup->epoll_fd >= 0) close(wakeup->epoll_fd);
  free(wakeup->waiters);
  free(wakeup->fetching);
  free(wakeup->out);
}

/* So much small input that the server has used all of its read buffer: that it is there belongs to
 * no herd, and no body was in it yet. */
static int touch_read_buffer(struct wakeup *wakeup) {
  static const char ping[] = "PING\r\n", pong[] = "+PONG\r\n";
  size_t sent = sizeof ping - 1, got = sizeof pong - 1, room = TOUCH_PINGS * got;
  char *text = malloc(room);
  if (text == NULL) return -1;
  int error = 0;
  for (int i = 0; i < TOUCH_TIMES && error == 0; i++) {
    for (size_t at = 0; at < TOUCH_PINGS; at++) memcpy(text + at * sent, ping, sent);
    error = net_send_all(wakeup->control, text, TOUCH_PINGS * sent);
    for (size_t bytes = 0; error == 0 && bytes < room;) {
      ssize_t more =
          net_receive(wakeup->control, text + bytes, room - bytes, wakeup->options->stall_ms);
      if (more < 0) error = -1;
      if (more > 0) bytes += (size_t)more;
    }
  }
  free(text);
  return error;
}

static void start_again(struct wakeup *wakeup) {
  histogram_init(&wakeup->first);
  histogram_init(&wakeup->each);
  histogram_init(&wakeup->last);
  histogram_init(&wakeup->owner_reply);
}

static int run_rounds(struct wakeup *wakeup, struct report *report) {
  const struct options *options = wakeup->options;
  struct plan_server before, after;
  struct progress progress;
  uint64_t base = key_mix(options->seed);
  /* One round to warm up: the server's buffers and the pages of the client's. */
  start_again(wakeup);
  if (wakeup->recipe.proof != RECIPE_PROOF_RELAY && touch_read_buffer(wakeup) != 0) return -1;
  if (round_of(wakeup, base) != 0 || plan_read_server(options, &before) != 0) return -1;
  start_again(wakeup);
  uint64_t begin = net_now_ns(), done = 0;
  progress_begin(&progress, begin);
  for (; options->requests > 0 ? done < options->requests
                               : net_now_ns() - begin < options->seconds_ms * 1000000u;
       done++) {
    if (round_of(wakeup, base) != 0) return -1;
    progress_update(&progress, options->scenario, done, options->requests, net_now_ns());
  }
  progress_end(&progress);
  if (plan_read_server(options, &after) != 0) return -1;
  report_add_count(report, "waiters", wakeup->waiter_count);
  report_add_count(report, "rounds", done);
  report_add_latency(report, "first", &wakeup->first);
  report_add_latency(report, "each", &wakeup->each);
  report_add_latency(report, "last", &wakeup->last);
  report_add_latency(report, "owner", &wakeup->owner_reply);
  if (options->server_pid == 0 || done == 0) return 0;
  /* The whole round: claim, joining, waking. Joining is polled for: the figure is a rough one. */
  double waits = (double)done * (double)wakeup->waiter_count;
  report_add_number(report, "server_cpu_ns_per_waiter",
                    (double)(after.cpu.run_ns - before.cpu.run_ns) / waits, 1);
  if (wakeup->waiter_count > 1)
    report_add_count(report, "peak_rss_rise_bytes", wakeup->peak_rss_bytes);
  return 0;
}

enum plan_status wakeup_run(const struct options *options, struct report *report) {
  if (options->like != NULL) return plan_refuse("this scenario takes no --like");
  struct wakeup *wakeup = calloc(1, sizeof *wakeup);
  if (wakeup == NULL) return PLAN_FAILED;
  wakeup->options = options;
  wakeup->waiter_count = recipe_has_one_waiter(options->scenario) ? 1 : options->connections;
  wakeup->control = wakeup->epoll_fd = wakeup->owner.fd = -1;
  struct step_sizes sizes = {.lease_ms = options->lease_ms,
                             .ttl_ms = options->ttl_ms,
                             .body_bytes = (size_t)options->body_bytes};
  recipe_init(&wakeup->recipe, options->scenario, &sizes, wakeup->waiter_count);
  int error = open_all(wakeup);
  if (error == 0) error = run_rounds(wakeup, report);
  close_all(wakeup);
  recipe_deinit(&wakeup->recipe);
  free(wakeup);
  return error == 0 ? PLAN_OK : PLAN_FAILED;
}
