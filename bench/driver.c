/* Closed-loop driver on epoll. Not libuv: the generator shares a machine with what it measures, and
 * a loop of recv and send is the cheapest client, which keeps the server busy and its batches full.
 */
#include "bench/driver.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 64, SHOWN_BYTES = 96 };

struct connection {
  int fd;
  bool waits_to_write;
  size_t step;
  size_t batch;    /* requests in flight; 0: idle */
  size_t answered; /* of them */
  uint64_t sent_at_ns;
  struct subject *subjects;
  char *out;
  size_t out_bytes, out_sent;
  char *in;
  size_t in_bytes;
};

struct driver {
  struct driver_options options;
  int epoll_fd;
  struct connection *connections;
  uint64_t key_base; /* far apart for different seeds, so that their keys do not overlap */
  uint64_t next_key;
  uint64_t draws;
  /* of the phase that runs */
  const struct phase *phase;
  struct tally *tally;
  uint64_t started; /* operations whose request went out */
  uint64_t deadline_ns;
  size_t busy; /* connections with a batch in flight */
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* splitmix64 (Steele, Lea, Flood 2014): one-to-one, so different inputs never meet. */
static uint64_t mix(uint64_t value) {
  value += UINT64_C(0x9e3779b97f4a7c15);
  value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
  return value ^ (value >> 31);
}

/* The text of a random UUID (version 4), always the same for the same base and index. */
static void write_key(uint64_t base, uint64_t index, char *key) {
  static const char hex[] = "0123456789abcdef";
  static const unsigned char places[32] = {0,  1,  2,  3,  4,  5,  6,  7,  9,  10, 11,
                                           12, 14, 15, 16, 17, 19, 20, 21, 22, 24, 25,
                                           26, 27, 28, 29, 30, 31, 32, 33, 34, 35};
  uint64_t high = mix(base + 2 * index), low = mix(base + 2 * index + 1);
  high = (high & ~UINT64_C(0xf000)) | UINT64_C(0x4000);
  low = (low >> 2) | (UINT64_C(1) << 63);
  for (size_t i = 0; i < 16; i++) {
    key[places[i]] = hex[(high >> (60 - 4 * i)) & 15];
    key[places[16 + i]] = hex[(low >> (60 - 4 * i)) & 15];
  }
  key[8] = key[13] = key[18] = key[23] = '-';
}

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
  for (size_t i = 0; i < bytes && i < SHOWN_BYTES; i++) {
    unsigned char byte = (unsigned char)connection->in[offset + i];
    if (byte == '\r' || byte == '\n') {
      fprintf(stderr, byte == '\r' ? "\\r" : "\\n");
    } else {
      fprintf(stderr, byte < 32 || byte > 126 || byte == '"' || byte == '\\' ? "\\x%02x" : "%c",
              byte);
    }
  }
  fprintf(stderr, "\"%s\n", bytes > SHOWN_BYTES ? "..." : "");
  return -1;
}

static int watch(struct driver *driver, struct connection *connection, int operation,
                 uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = connection};
  if (epoll_ctl(driver->epoll_fd, operation, connection->fd, &event) != 0)
    return fail_errno("epoll_ctl");
  return 0;
}

static int flush(struct driver *driver, struct connection *connection) {
  while (connection->out_sent < connection->out_bytes) {
    ssize_t sent = send(connection->fd, connection->out + connection->out_sent,
                        connection->out_bytes - connection->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
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
  const struct message *request = &driver->phase->scenario->steps[connection->step].request;
  connection->answered = 0;
  connection->in_bytes = 0;
  connection->out_bytes = connection->out_sent = 0;
  for (size_t i = 0; i < connection->batch; i++) {
    connection->out_bytes +=
        message_write(request, &connection->subjects[i], connection->out + connection->out_bytes);
  }
  return flush(driver, connection);
}

static uint64_t draw_key(struct driver *driver) {
  if (driver->phase->scenario->key_source == KEYS_NEW) return driver->next_key++;
  uint64_t random = mix(~driver->key_base + driver->draws++);
  /* Evenly without a division: the high half of a 32 x 32 bit product; keys are at most 10^9. */
  return ((random >> 32) * driver->phase->keys) >> 32;
}

/* Sends the next batch, or leaves the connection idle when the phase has no more to send. */
static int start_batch(struct driver *driver, struct connection *connection, uint64_t now) {
  const struct phase *phase = driver->phase;
  size_t batch = phase->pipeline;
  if (phase->operations > 0) {
    uint64_t left = phase->operations - driver->started;
    if (left < batch) batch = (size_t)left;
  } else if (now >= driver->deadline_ns) {
    batch = 0;
  }
  driver->busy -= connection->batch > 0;
  driver->busy += batch > 0;
  connection->batch = batch;
  connection->answered = 0;
  if (batch == 0) return 0;

  for (size_t i = 0; i < batch; i++) {
    write_key(driver->key_base, draw_key(driver), connection->subjects[i].key);
  }
  driver->started += batch;
  connection->step = 0;
  connection->sent_at_ns = now_ns();
  return send_step(driver, connection);
}

/* Matches what has arrived against the steps in flight. */
static int take_replies(struct driver *driver, struct connection *connection, uint64_t now) {
  const struct scenario *scenario = driver->phase->scenario;
  const struct message *reply = &scenario->steps[connection->step].reply;
  size_t offset = 0, matched = 0;
  while (connection->answered < connection->batch && offset < connection->in_bytes) {
    size_t consumed = 0;
    enum match match = message_match(reply, connection->in + offset, connection->in_bytes - offset,
                                     &connection->subjects[connection->answered], &consumed);
    if (match == MATCH_WRONG) return fail_reply(driver, connection, offset, "wrong reply");
    if (match == MATCH_MORE) break;
    offset += consumed;
    connection->answered++;
    matched++;
  }
  bool last_step = connection->step + 1 == scenario->step_count;
  if (last_step && matched > 0) {
    driver->tally->operations += matched;
    histogram_record(&driver->tally->latency, now - connection->sent_at_ns, matched);
  }
  if (connection->answered < connection->batch) {
    connection->in_bytes -= offset;
    memmove(connection->in, connection->in + offset, connection->in_bytes);
    return 0;
  }
  if (offset < connection->in_bytes)
    return fail_reply(driver, connection, offset, "more replies than requests");
  connection->in_bytes = 0;
  if (last_step) return start_batch(driver, connection, now);
  connection->step++;
  return send_step(driver, connection);
}

static int receive(struct driver *driver, struct connection *connection) {
  size_t room =
      driver->options.batch_most * driver->options.reply_most_bytes - connection->in_bytes;
  if (room == 0) return fail_reply(driver, connection, 0, "reply too long");
  ssize_t got = recv(connection->fd, connection->in + connection->in_bytes, room, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return 0;
  if (got < 0) return fail_errno("recv");
  if (got == 0) return fail_reply(driver, connection, 0, "the server closed the connection");
  connection->in_bytes += (size_t)got;
  driver->tally->received_bytes += (uint64_t)got;
  return take_replies(driver, connection, now_ns());
}

static int wait_once(struct driver *driver) {
  struct epoll_event events[EVENTS_PER_WAIT];
  int count = epoll_wait(driver->epoll_fd, events, EVENTS_PER_WAIT, (int)driver->options.stall_ms);
  if (count < 0 && errno == EINTR) return 0;
  if (count < 0) return fail_errno("epoll_wait");
  if (count == 0) {
    fprintf(stderr,
            "idem-bench: no reply for %" PRIu64 " ms; %zu connections wait, %" PRIu64
            " operations done\n",
            driver->options.stall_ms, driver->busy, driver->tally->operations);
    return -1;
  }
  for (int i = 0; i < count; i++) {
    struct connection *connection = events[i].data.ptr;
    if ((events[i].events & EPOLLOUT) && flush(driver, connection) != 0) return -1;
    if ((events[i].events & ~(uint32_t)EPOLLOUT) && receive(driver, connection) != 0) return -1;
  }
  return 0;
}

int driver_run(struct driver *driver, const struct phase *phase, struct tally *tally) {
  assert(phase->pipeline > 0 && phase->pipeline <= driver->options.batch_most);
  memset(tally, 0, sizeof *tally);
  histogram_init(&tally->latency);
  driver->phase = phase;
  driver->tally = tally;
  driver->started = 0;

  uint64_t begin_ns = now_ns();
  driver->deadline_ns = begin_ns + phase->duration_ms * 1000000u;
  for (size_t i = 0; i < driver->options.connections; i++) {
    if (start_batch(driver, &driver->connections[i], begin_ns) != 0) return -1;
  }
  while (driver->busy > 0) {
    if (wait_once(driver) != 0) return -1;
  }
  tally->elapsed_ns = now_ns() - begin_ns;
  return 0;
}

static int connect_to(const char *host, uint16_t port) {
  char service[8];
  snprintf(service, sizeof service, "%u", (unsigned)port);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
  int error = getaddrinfo(host, service, &hints, &found);
  if (error != 0) {
    fprintf(stderr, "idem-bench: %s: %s\n", host, gai_strerror(error));
    return -1;
  }
  int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  if (fd >= 0 && (connect(fd, found->ai_addr, found->ai_addrlen) != 0 ||
                  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)) {
    int saved = errno;
    close(fd);
    errno = saved;
    fd = -1;
  }
  freeaddrinfo(found);
  if (fd < 0)
    fprintf(stderr, "idem-bench: connect to %s port %s: %s\n", host, service, strerror(errno));
  return fd;
}

static int open_connection(struct driver *driver, struct connection *connection) {
  const struct driver_options *options = &driver->options;
  connection->subjects = calloc(options->batch_most, sizeof *connection->subjects);
  connection->out = malloc(options->batch_most * options->request_most_bytes);
  connection->in = malloc(options->batch_most * options->reply_most_bytes);
  if (connection->subjects == NULL || connection->out == NULL || connection->in == NULL) {
    return fail_errno("connection buffers");
  }
  connection->fd = connect_to(options->host, options->port);
  if (connection->fd < 0) return -1;
  return watch(driver, connection, EPOLL_CTL_ADD, EPOLLIN);
}

struct driver *driver_create(const struct driver_options *options) {
  struct driver *driver = calloc(1, sizeof *driver);
  if (driver == NULL) {
    fail_errno("driver");
    return NULL;
  }
  driver->options = *options;
  driver->key_base = mix(options->seed);
  driver->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  driver->connections = calloc(options->connections, sizeof *driver->connections);
  if (driver->epoll_fd < 0 || driver->connections == NULL) {
    fail_errno("driver");
    goto failed;
  }
  for (size_t i = 0; i < options->connections; i++) driver->connections[i].fd = -1;
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
    if (connection->fd >= 0) close(connection->fd);
    free(connection->subjects);
    free(connection->out);
    free(connection->in);
  }
  free(driver->connections);
  if (driver->epoll_fd >= 0) close(driver->epoll_fd);
  free(driver);
}
