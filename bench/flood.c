/* A flood: the cheapest load there is, for servers that keep more than one CPU busy. Requests are
 * written once, replies are counted by their line ends, one thread serves all connections. It takes
 * a small part of the CPU that the server takes, which the checked load does not.
 *
 * Before the run one batch is checked reply by reply, which shows how many lines a reply has. After
 * it only lines are counted: an error has fewer, and the run ends as one that stalled.
 *
 * Invariant: nothing is in flight at the begin and at the end of what is measured.
 */
#include "bench/flood.h"

#include "bench/key.h"
#include "bench/net.h"

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
  READ_BYTES = 256 << 10,
  POOL_BATCHES = 1024, /* for all connections; with pipeline 64 over 65,536 keys */
  COUNT_BLOCK = 128,   /* line ends of so many bytes are summed up in a byte */
  COUNTER_DIGITS = 8,  /* of a key, written anew where every key has to be new */
  SETTLE_PERCENT = 10  /* of the time, before it is measured */
};

struct source {
  int fd;
  size_t lines; /* still to come; 0: idle */
  size_t batch; /* in the pool */
};

struct flood {
  const struct options *options;
  const struct scenario *scenario;
  struct source *sources;
  int epoll_fd;
  char *pool; /* batches, one after the other */
  size_t request_bytes, batch_bytes, key_offset;
  size_t batch_lines; /* of the replies */
  uint32_t next_key;
  char *input;
  uint64_t begin_ns, deadline_ns, heard_ns;
  size_t busy;
  uint64_t operations;
};

struct measured {
  struct plan_server before, after;
  uint64_t own_cpu_ns, elapsed_ns;
};

static size_t count_lines(const char *data, size_t bytes) {
  size_t lines = 0;
  for (; bytes >= COUNT_BLOCK; data += COUNT_BLOCK, bytes -= COUNT_BLOCK) {
    /* Summed in bytes, sixteen at a time by a compiler that vectorises. */
    unsigned char sum = 0;
    for (size_t i = 0; i < COUNT_BLOCK; i++) sum = (unsigned char)(sum + (data[i] == '\n'));
    lines += sum;
  }
  for (size_t i = 0; i < bytes; i++) lines += data[i] == '\n';
  return lines;
}

static void write_counter(char *key, uint32_t number) {
  static const char digits[] = "0123456789abcdef";
  char *at = key + MESSAGE_KEY_BYTES;
  for (size_t i = 0; i < COUNTER_DIGITS; i++, number >>= 4) *--at = digits[number & 15];
}

static char *renewed(struct flood *flood, size_t number) {
  char *batch = flood->pool + number * flood->batch_bytes;
  if (flood->scenario->key_source == SCENARIO_KEYS_LOADED) return batch;
  for (char *at = batch; at < batch + flood->batch_bytes; at += flood->request_bytes)
    write_counter(at + flood->key_offset, flood->next_key++);
  return batch;
}

static size_t key_offset(const struct message *request) {
  size_t offset = 0;
  for (size_t i = 0; request->pieces[i].kind != MESSAGE_PIECE_KEY; i++)
    offset += request->pieces[i].bytes;
  return offset;
}

static int build_pool(struct flood *flood) {
  const struct options *options = flood->options;
  const struct message *request = &flood->scenario->steps[0].request;
  bool loaded = flood->scenario->key_source == SCENARIO_KEYS_LOADED;
  uint64_t base = key_mix(options->seed);
  struct message_subject subject = {.ttl_ms = 0};
  flood->request_bytes = message_usual_bytes(request);
  flood->batch_bytes = flood->request_bytes * options->pipeline;
  flood->key_offset = key_offset(request);
  flood->pool = malloc(POOL_BATCHES * flood->batch_bytes);
  if (flood->pool == NULL) return -1;
  for (uint64_t i = 0; i < POOL_BATCHES * options->pipeline; i++) {
    key_write(base, loaded ? key_mix(~base + i) % options->keys : options->keys, subject.key);
    message_write(request, &subject, flood->pool + i * flood->request_bytes);
  }
  return 0;
}

/* One batch, by the rules of the checked load; its line ends are what every batch will have. */
static int check_batch(struct flood *flood, int fd) {
  const struct message *reply = &flood->scenario->steps[0].reply;
  const char *request = renewed(flood, 0);
  size_t bytes = 0, consumed = 0, room = message_most_bytes(reply);
  if (net_send_all(fd, request, flood->batch_bytes) != 0) return -1;
  for (uint64_t i = 0; i < flood->options->pipeline; request += flood->request_bytes) {
    struct message_subject subject;
    memcpy(subject.key, request + flood->key_offset, MESSAGE_KEY_BYTES);
    enum message_result match = message_match(reply, flood->input, bytes, &subject, &consumed);
    while (match == MESSAGE_MORE && bytes < room) {
      ssize_t got =
          net_receive(fd, flood->input + bytes, READ_BYTES - bytes, flood->options->stall_ms);
      if (got < 0) return -1;
      bytes += (size_t)got;
      match = message_match(reply, flood->input, bytes, &subject, &consumed);
    }
    if (match != MESSAGE_WHOLE) {
      fprintf(stderr, "idem-bench: wrong reply, got \"");
      net_print_bytes(flood->input, bytes);
      fprintf(stderr, "\"\n");
      return -1;
    }
    flood->batch_lines += count_lines(flood->input, consumed);
    bytes -= consumed;
    memmove(flood->input, flood->input + consumed, bytes);
    i++;
  }
  return 0;
}

static int send_batch(struct flood *flood, struct source *source) {
  source->lines = flood->batch_lines;
  source->batch = (source->batch + flood->options->connections) % POOL_BATCHES;
  return net_send_all(source->fd, renewed(flood, source->batch), flood->batch_bytes);
}

static int receive(struct flood *flood, struct source *source) {
  ssize_t got = recv(source->fd, flood->input, READ_BYTES, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  size_t lines = got > 0 ? count_lines(flood->input, (size_t)got) : 0;
  if (got <= 0 || lines > source->lines) {
    fprintf(stderr, "idem-bench: %s\n",
            got > 0    ? "more replies than requests"
            : got == 0 ? "the server closed the connection"
                       : strerror(errno));
    return -1;
  }
  source->lines -= lines;
  if (source->lines > 0) return 0;
  flood->operations += flood->options->pipeline;
  flood->heard_ns = net_now_ns();
  if (flood->heard_ns < flood->deadline_ns) return send_batch(flood, source);
  flood->busy--;
  return 0;
}

static int run_for(struct flood *flood, uint64_t duration_ms) {
  struct epoll_event events[EVENTS_PER_WAIT];
  flood->operations = 0;
  flood->begin_ns = flood->heard_ns = net_now_ns();
  flood->deadline_ns = flood->begin_ns + duration_ms * 1000000u;
  for (uint64_t i = 0; i < flood->options->connections; i++, flood->busy++) {
    if (send_batch(flood, &flood->sources[i]) != 0) return -1;
  }
  while (flood->busy > 0) {
    int count = epoll_wait(flood->epoll_fd, events, EVENTS_PER_WAIT, (int)flood->options->stall_ms);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      fprintf(stderr, "idem-bench: no reply in time; %zu connections wait\n", flood->busy);
      return -1;
    }
    for (int i = 0; i < count; i++) {
      if (receive(flood, events[i].data.ptr) != 0) return -1;
    }
  }
  return 0;
}

static int open_sources(struct flood *flood) {
  uint64_t count = flood->options->connections;
  flood->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  flood->sources = calloc(count, sizeof *flood->sources);
  flood->input = malloc(READ_BYTES);
  if (flood->sources == NULL || flood->input == NULL || flood->epoll_fd < 0) return -1;
  for (uint64_t i = 0; i < count; i++) flood->sources[i].fd = -1;
  for (uint64_t i = 0; i < count; i++) {
    struct source *source = &flood->sources[i];
    source->batch = i % POOL_BATCHES;
    source->fd = plan_connect(flood->options);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    if (source->fd < 0 || epoll_ctl(flood->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) != 0)
      return -1;
  }
  return 0;
}

static void close_sources(struct flood *flood) {
  for (uint64_t i = 0; flood->sources != NULL && i < flood->options->connections; i++) {
    if (flood->sources[i].fd >= 0) close(flood->sources[i].fd);
  }
  if (flood->epoll_fd >= 0) close(flood->epoll_fd);
  free(flood->sources);
  free(flood->input);
  free(flood->pool);
}

static int measure(struct flood *flood, struct measured *found) {
  const struct options *options = flood->options;
  if (check_batch(flood, flood->sources[0].fd) != 0 ||
      run_for(flood, options->seconds_ms * SETTLE_PERCENT / 100) != 0 ||
      plan_read_server(options, &found->before) != 0)
    return -1;
  uint64_t cpu_ns = cpu_own_ns();
  if (run_for(flood, options->seconds_ms) != 0) return -1;
  found->elapsed_ns = net_now_ns() - flood->begin_ns;
  found->own_cpu_ns = cpu_own_ns() - cpu_ns;
  return plan_read_server(options, &found->after);
}

static void add_figures(const struct flood *flood, const struct measured *found,
                        struct report *report) {
  double operations = flood->operations > 0 ? (double)flood->operations : 1;
  double seconds = (double)found->elapsed_ns / 1e9;
  report_add_count(report, "operations", flood->operations);
  report_add_number(report, "seconds", seconds, 6);
  report_add_number(report, "operations_per_second", operations / seconds, 1);
  report_add_number(report, "load_cpu_ns_per_operation", (double)found->own_cpu_ns / operations, 2);
  if (flood->options->server_pid == 0) return;
  uint64_t run_ns = found->after.cpu.run_ns - found->before.cpu.run_ns;
  plan_add_server(report, &found->before, &found->after, operations);
  report_add_number(report, "server_cpus", (double)run_ns / (double)found->elapsed_ns, 3);
  report_add_number(report, "load_cpus", (double)found->own_cpu_ns / (double)found->elapsed_ns, 3);
}

enum plan_status flood_run(const struct options *options, struct report *report) {
  struct plan *plan = malloc(sizeof *plan);
  if (plan == NULL) return PLAN_FAILED;
  struct flood flood = {.options = options, .epoll_fd = -1};
  struct measured found;
  const char *like = options->like != NULL ? options->like : "replay";
  enum plan_status status = plan_init(plan, options, like, NULL);
  flood.scenario = &plan->mix.parts[0];
  if (status == PLAN_OK && (plan->mix.part_count > 1 || flood.scenario->step_count > 1))
    status = plan_refuse("flood needs a scenario of one step: --like replay, claim, redis-replay");
  if (status == PLAN_OK && (plan_open(plan) != 0 || build_pool(&flood) != 0 ||
                            open_sources(&flood) != 0 || measure(&flood, &found) != 0))
    status = PLAN_FAILED;
  if (status == PLAN_OK) add_figures(&flood, &found, report);
  close_sources(&flood);
  plan_deinit(plan);
  free(plan);
  return status;
}
