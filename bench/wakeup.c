/* Wake-ups: N connections wait for one key, one connection stores it. How long until the first,
 * each, and the last of them has its answer?
 *
 *   per round:  owner claims - waiters join (all seen by the server) - t0: owner stores - answers
 *
 * A row of the table is a recipe: what the owner sends before, how a waiter joins and what tells it
 * that it did, what the owner sends at t0, what wakes a waiter, and what a woken one still has to
 * fetch. Every reply is matched, and the owner's must count exactly N waiters: a round in which one
 * came too late to wait is an error, not a fast round.
 */
#include "bench/experiment.h"
#include "bench/key.h"
#include "bench/net.h"
#include "bench/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  EVENTS_PER_WAIT = 64,
  WAIT_MS = 60000,
  ID_DIGITS = 13,
  JOIN_POLL_MS = 1,
  TOUCH_PINGS = 11000,
  TOUCH_TIMES = 4
};

/* How the load knows that all waiters are known to the server. */
enum join_proof {
  PROOF_REPLY,   /* each gets `joined` */
  PROOF_BLOCKED, /* INFO's blocked_clients */
  PROOF_RELAY    /* bench-uv, bench-epoll: "P" is answered with the number of waiters */
};

struct exchange {
  struct message request; /* no pieces: nothing is sent */
  struct message reply;   /* no pieces: nothing is awaited */
};

struct recipe {
  enum join_proof proof;
  struct exchange hello;   /* each waiter, once */
  struct exchange prepare; /* owner, each round */
  struct exchange join;    /* each waiter, each round */
  struct exchange wake;    /* owner, at t0 */
  struct message woken;    /* what wakes a waiter */
  struct exchange fetch;   /* what it does then, timed */
  struct exchange leave;   /* and then, not timed */
};

struct wakeup_shape {
  struct scenario_sizes sizes;
  uint64_t waiters;
};

typedef void shape(struct recipe *recipe, const struct wakeup_shape *wanted);

struct peer {
  int fd;
  char *in;
  size_t in_bytes, room;
};

struct wakeup {
  const struct options *options;
  struct recipe recipe;
  struct subject subject;
  uint64_t waiter_count;
  struct peer owner;
  struct peer *waiters;
  bool *fetching; /* woken, its fetch not answered */
  int control, epoll_fd;
  char *out;
  size_t out_bytes;
  struct histogram first, each, last, owner_reply;
  uint64_t rounds;
  uint64_t peak_rss_bytes; /* of the first round, above the resident memory before it */
};

static void shape_idem(struct recipe *recipe, const struct wakeup_shape *wanted) {
  struct step step;
  memset(&step, 0, sizeof step);
  recipe->proof = PROOF_BLOCKED;
  scenario_claim_step(&step, &wanted->sizes);
  recipe->prepare = (struct exchange){step.request, step.reply};
  memset(&step, 0, sizeof step);
  scenario_store_step(&step, &wanted->sizes);
  message_deinit(&step.reply);
  message_add_text(&step.reply, ":%" PRIu64 "\r\n", wanted->waiters);
  recipe->wake = (struct exchange){step.request, step.reply};
  scenario_add_command(&recipe->join.request, 4, "CLAIM");
  scenario_add_word(&recipe->join.request, "WAIT");
  scenario_add_number(&recipe->join.request, WAIT_MS);
  scenario_done_reply(&recipe->woken, wanted->sizes.body_bytes);
}

/* RESP3, because there a subscribed connection may also GET. */
static void add_subscription(struct recipe *recipe) {
  message_add_text(&recipe->hello.request, "HELLO 3 SETNAME waiter\r\n");
  recipe->proof = PROOF_REPLY;
  scenario_add_command(&recipe->join.request, 2, "SUBSCRIBE");
  message_add_text(&recipe->join.reply, ">3\r\n$9\r\nsubscribe\r\n$36\r\n");
  message_add_hole(&recipe->join.reply, PIECE_KEY, 0);
  message_add_text(&recipe->join.reply, "\r\n:1\r\n");
  scenario_add_command(&recipe->leave.request, 2, "UNSUBSCRIBE");
  message_add_text(&recipe->leave.reply, ">3\r\n$11\r\nunsubscribe\r\n$36\r\n");
  message_add_hole(&recipe->leave.reply, PIECE_KEY, 0);
  message_add_text(&recipe->leave.reply, "\r\n:0\r\n");
}

static void add_redis_set(struct message *message, const struct wakeup_shape *wanted) {
  scenario_add_command(message, 5, "SET");
  scenario_add_body(message, wanted->sizes.body_bytes);
  scenario_add_word(message, "PX");
  scenario_add_number(message, wanted->sizes.ttl_ms);
}

static void shape_redis(struct recipe *recipe, const struct wakeup_shape *wanted) {
  add_subscription(recipe);
  add_redis_set(&recipe->wake.request, wanted);
  scenario_add_command(&recipe->wake.request, 3, "PUBLISH");
  scenario_add_word(&recipe->wake.request, "1");
  message_add_text(&recipe->wake.reply, "+OK\r\n:%" PRIu64 "\r\n", wanted->waiters);
  message_add_text(&recipe->woken, ">3\r\n$7\r\nmessage\r\n$36\r\n");
  message_add_hole(&recipe->woken, PIECE_KEY, 0);
  message_add_text(&recipe->woken, "\r\n$1\r\n1\r\n");
  scenario_add_command(&recipe->fetch.request, 2, "GET");
  scenario_add_body(&recipe->fetch.reply, wanted->sizes.body_bytes);
}

static void shape_redis_push(struct recipe *recipe, const struct wakeup_shape *wanted) {
  add_subscription(recipe);
  add_redis_set(&recipe->wake.request, wanted);
  scenario_add_command(&recipe->wake.request, 3, "PUBLISH");
  scenario_add_body(&recipe->wake.request, wanted->sizes.body_bytes);
  message_add_text(&recipe->wake.reply, "+OK\r\n:%" PRIu64 "\r\n", wanted->waiters);
  message_add_text(&recipe->woken, ">3\r\n$7\r\nmessage\r\n$36\r\n");
  message_add_hole(&recipe->woken, PIECE_KEY, 0);
  message_add_text(&recipe->woken, "\r\n");
  scenario_add_body(&recipe->woken, wanted->sizes.body_bytes);
}

/* "$15", a time in ms, "-0": the entry's name. */
static void add_entry_id(struct message *message) {
  message_add_text(message, "$");
  message_add_hole(message, PIECE_NUMBER, 2);
  message_add_text(message, "\r\n");
  message_add_hole(message, PIECE_NUMBER, ID_DIGITS);
  message_add_text(message, "-");
  message_add_hole(message, PIECE_NUMBER, 1);
  message_add_text(message, "\r\n");
}

static void shape_redis_stream(struct recipe *recipe, const struct wakeup_shape *wanted) {
  recipe->proof = PROOF_BLOCKED;
  message_add_text(&recipe->join.request, "*6\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n");
  scenario_add_number(&recipe->join.request, WAIT_MS);
  message_add_text(&recipe->join.request, "$7\r\nSTREAMS\r\n$36\r\n");
  message_add_hole(&recipe->join.request, PIECE_KEY, 0);
  message_add_text(&recipe->join.request, "\r\n$1\r\n0\r\n");
  scenario_add_command(&recipe->wake.request, 5, "XADD");
  scenario_add_word(&recipe->wake.request, "*");
  scenario_add_word(&recipe->wake.request, "b");
  scenario_add_body(&recipe->wake.request, wanted->sizes.body_bytes);
  scenario_add_command(&recipe->wake.request, 3, "PEXPIRE");
  scenario_add_number(&recipe->wake.request, wanted->sizes.ttl_ms);
  add_entry_id(&recipe->wake.reply);
  message_add_text(&recipe->wake.reply, ":1\r\n");
  message_add_text(&recipe->woken, "*1\r\n*2\r\n$36\r\n");
  message_add_hole(&recipe->woken, PIECE_KEY, 0);
  message_add_text(&recipe->woken, "\r\n*1\r\n*2\r\n");
  add_entry_id(&recipe->woken);
  message_add_text(&recipe->woken, "*2\r\n$1\r\nb\r\n");
  scenario_add_body(&recipe->woken, wanted->sizes.body_bytes);
}

/* The floor gets as many bytes as idem and gives as many back: a line that begins with W joins, one
 * that begins with S wakes. */
static void add_line(struct message *message, char first, size_t bytes) {
  message_add_fill(message, first, bytes - 1);
  message_add_text(message, "\n");
}

static void shape_relay(struct recipe *recipe, const struct wakeup_shape *wanted) {
  struct recipe idem;
  memset(&idem, 0, sizeof idem);
  shape_idem(&idem, wanted);
  recipe->proof = PROOF_RELAY;
  add_line(&recipe->join.request, 'W', message_usual_bytes(&idem.join.request));
  add_line(&recipe->wake.request, 'S', message_usual_bytes(&idem.wake.request));
  message_add_text(&recipe->wake.reply, ":%" PRIu64 "\r\n", wanted->waiters);
  message_add_hole(&recipe->woken, PIECE_ANY, message_usual_bytes(&idem.woken));
  message_deinit(&idem.prepare.request);
  message_deinit(&idem.prepare.reply);
  message_deinit(&idem.join.request);
  message_deinit(&idem.wake.request);
  message_deinit(&idem.wake.reply);
  message_deinit(&idem.woken);
}

static const struct row {
  const char *name;
  const char *help;
  shape *shape;
  bool one; /* one waiter, whatever --connections says */
} rows[] = {
    {"herd", "--connections CLAIM key WAIT, one STORE: time to the first and last DONE", shape_idem,
     false},
    {"wait", "the same with one waiter", shape_idem, true},
    {"redis-herd", "Redis: SUBSCRIBE; SET + PUBLISH; each that is woken GETs", shape_redis, false},
    {"redis-wait", "the same with one waiter", shape_redis, true},
    {"redis-push-herd", "Redis: the message carries the body", shape_redis_push, false},
    {"redis-push-wait", "the same with one waiter", shape_redis_push, true},
    {"redis-stream-herd", "Redis: XREAD BLOCK; XADD + PEXPIRE", shape_redis_stream, false},
    {"redis-stream-wait", "the same with one waiter", shape_redis_stream, true},
    {"relay-herd", "bench-uv, bench-epoll: as many bytes as herd, nothing kept", shape_relay,
     false},
    {"relay-wait", "the same with one waiter", shape_relay, true},
};

static const struct row *find(const char *name) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (strcmp(rows[i].name, name) == 0) return &rows[i];
  }
  return NULL;
}

bool wakeup_knows(const char *name) { return find(name) != NULL; }

void wakeup_print_list(void) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    printf("  %-18s %s\n", rows[i].name, rows[i].help);
}

static void recipe_deinit(struct recipe *recipe) {
  struct exchange *all[] = {&recipe->hello, &recipe->prepare, &recipe->join,
                            &recipe->wake,  &recipe->fetch,   &recipe->leave};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    message_deinit(&all[i]->request);
    message_deinit(&all[i]->reply);
  }
  message_deinit(&recipe->woken);
}

static size_t most(const struct message *message, size_t bytes) {
  size_t own = message_most_bytes(message);
  return own > bytes ? own : bytes;
}

static int fail(const struct peer *peer, const char *why) {
  fprintf(stderr, "idem-bench: %s, got \"", why);
  net_print_bytes(peer->in, peer->in_bytes);
  fprintf(stderr, "\"\n");
  return -1;
}

static int ask(struct wakeup *wakeup, struct peer *peer, const struct message *request) {
  if (request->count == 0) return 0;
  size_t bytes = message_write(request, &wakeup->subject, wakeup->out);
  return net_send_all(peer->fd, wakeup->out, bytes);
}

/* What the peer has got against `reply`: MATCH_WHOLE takes it off. */
static enum match take(struct wakeup *wakeup, struct peer *peer, const struct message *reply) {
  size_t consumed = 0;
  enum match match = message_match(reply, peer->in, peer->in_bytes, &wakeup->subject, &consumed);
  if (match != MATCH_WHOLE) return match;
  peer->in_bytes -= consumed;
  memmove(peer->in, peer->in + consumed, peer->in_bytes);
  return MATCH_WHOLE;
}

static int hear(struct wakeup *wakeup, struct peer *peer, const struct message *reply) {
  if (reply->count == 0) return 0;
  for (;;) {
    enum match match = take(wakeup, peer, reply);
    if (match == MATCH_WHOLE) return 0;
    if (match == MATCH_WRONG || peer->in_bytes == peer->room) return fail(peer, "wrong reply");
    ssize_t got = net_receive(peer->fd, peer->in + peer->in_bytes, peer->room - peer->in_bytes,
                              wakeup->options->stall_ms);
    if (got < 0) return -1;
    peer->in_bytes += (size_t)got;
  }
}

/* One exchange of every waiter. All ask before the first is heard. */
static int all_waiters(struct wakeup *wakeup, const struct exchange *exchange) {
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
  if (wakeup->recipe.proof == PROOF_REPLY) return 0;
  for (;;) {
    bool known = wakeup->recipe.proof == PROOF_RELAY
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
  struct peer *peer = &wakeup->waiters[index];
  if (!wakeup->fetching[index]) {
    enum match match = take(wakeup, peer, &wakeup->recipe.woken);
    if (match == MATCH_WRONG) return fail(peer, "a waiter was woken by something else");
    if (match == MATCH_MORE) return 0;
    if (wakeup->recipe.fetch.request.count > 0) {
      wakeup->fetching[index] = true;
      return ask(wakeup, peer, &wakeup->recipe.fetch.request);
    }
  } else {
    enum match match = take(wakeup, peer, &wakeup->recipe.fetch.reply);
    if (match == MATCH_WRONG) return fail(peer, "a waiter fetched something else");
    if (match == MATCH_MORE) return 0;
    wakeup->fetching[index] = false;
  }
  uint64_t passed_ns = net_now_ns() - t0;
  if (*done == 0) histogram_record(&wakeup->first, passed_ns, 1);
  histogram_record(&wakeup->each, passed_ns, 1);
  if (++*done == wakeup->waiter_count) histogram_record(&wakeup->last, passed_ns, 1);
  return 0;
}

static int receive(struct wakeup *wakeup, struct peer *peer) {
  if (peer->in_bytes == peer->room) return fail(peer, "reply too long");
  ssize_t got = recv(peer->fd, peer->in + peer->in_bytes, peer->room - peer->in_bytes, 0);
  if (got <= 0) return fail(peer, got == 0 ? "the server closed a connection" : strerror(errno));
  peer->in_bytes += (size_t)got;
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
      struct peer *peer = is_owner ? &wakeup->owner : &wakeup->waiters[index];
      if (receive(wakeup, peer) != 0) return -1;
      if (!is_owner) {
        if (advance(wakeup, index, t0, &done) != 0) return -1;
        continue;
      }
      enum match match = take(wakeup, peer, &wakeup->recipe.wake.reply);
      if (match == MATCH_WRONG) return fail(peer, "the owner's reply is wrong");
      if (match == MATCH_WHOLE) owner_done = true;
      if (owner_done) histogram_record(&wakeup->owner_reply, net_now_ns() - t0, 1);
    }
  }
  return 0;
}

static int round_of(struct wakeup *wakeup, uint64_t base) {
  struct server_state before, after;
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
static int greet(struct wakeup *wakeup, struct peer *peer) {
  static const char ping[] = "PING\r\n", pong[] = "+PONG\r\n";
  char text[4096];
  size_t bytes = 0;
  if (wakeup->recipe.hello.request.count == 0) return 0;
  if (ask(wakeup, peer, &wakeup->recipe.hello.request) != 0 ||
      net_send_all(peer->fd, ping, sizeof ping - 1) != 0)
    return -1;
  for (;;) {
    ssize_t got =
        net_receive(peer->fd, text + bytes, sizeof text - bytes, wakeup->options->stall_ms);
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

static int open_peer(struct wakeup *wakeup, struct peer *peer, size_t room, uint64_t index) {
  peer->room = room;
  peer->in = malloc(room);
  peer->fd = net_connect(wakeup->options->host, (uint16_t)wakeup->options->port);
  if (peer->in == NULL || peer->fd < 0) return -1;
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};
  return epoll_ctl(wakeup->epoll_fd, EPOLL_CTL_ADD, peer->fd, &event);
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
  wakeup->control = net_connect(options->host, (uint16_t)options->port);
  if (wakeup->control < 0 || open_peer(wakeup, &wakeup->owner, owner_room, count) != 0) return -1;
  for (size_t i = 0; i < count; i++) {
    if (open_peer(wakeup, &wakeup->waiters[i], room, i) != 0 ||
        greet(wakeup, &wakeup->waiters[i]) != 0)
      return -1;
  }
  return 0;
}

static void close_peer(struct peer *peer) {
  if (peer->fd >= 0) close(peer->fd);
  free(peer->in);
}

static void close_all(struct wakeup *wakeup) {
  for (uint64_t i = 0; wakeup->waiters != NULL && i < wakeup->waiter_count; i++)
    close_peer(&wakeup->waiters[i]);
  close_peer(&wakeup->owner);
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
  struct server_state before, after;
  struct progress progress;
  uint64_t base = key_mix(options->seed);
  /* One round to warm up: the server's buffers and the pages of the client's. */
  start_again(wakeup);
  if (wakeup->recipe.proof != PROOF_RELAY && touch_read_buffer(wakeup) != 0) return -1;
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
  const struct row *row = find(options->scenario);
  if (options->like != NULL) return plan_refuse("this scenario takes no --like");
  struct wakeup *wakeup = calloc(1, sizeof *wakeup);
  if (wakeup == NULL) return PLAN_FAILED;
  wakeup->options = options;
  wakeup->waiter_count = row->one ? 1 : options->connections;
  wakeup->control = wakeup->epoll_fd = wakeup->owner.fd = -1;
  struct wakeup_shape wanted = {.sizes = {.lease_ms = options->lease_ms,
                                          .ttl_ms = options->ttl_ms,
                                          .body_bytes = (size_t)options->body_bytes},
                                .waiters = wakeup->waiter_count};
  row->shape(&wakeup->recipe, &wanted);
  int error = open_all(wakeup);
  if (error == 0) error = run_rounds(wakeup, report);
  close_all(wakeup);
  recipe_deinit(&wakeup->recipe);
  free(wakeup);
  return error == 0 ? PLAN_OK : PLAN_FAILED;
}
