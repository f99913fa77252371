/* Memory: how much the server takes for each key (fill) and for each idle connection (idle).
 *
 * Two figures, because each lies in its own way: used_memory is what the server says of itself (for
 * Redis what its allocator handed out), resident memory what the machine has less of. The growth is
 * watched in steps, because a table that doubles is at its worst in between.
 */
#include "bench/occupancy.h"

#include "bench/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FILL_STEPS = 20, SETTLE_MS = 200, GONE_MS = 1500 };

struct occupancy {
  uint64_t used_bytes; /* 0 where the server does not say */
  uint64_t rss_bytes;
  uint64_t peak_bytes;
};

static int occupancy_read(const struct options *options, int control, struct occupancy *now) {
  struct plan_server state;
  *now = (struct occupancy){0};
  if (plan_read_server(options, &state) != 0) return -1;
  now->rss_bytes = state.memory.rss_bytes;
  now->peak_bytes = state.memory.peak_bytes;
  /* memcached would answer an INFO with an error; its scenarios are known by their names. */
  bool resp = options->like == NULL || strncmp(options->like, "memcached", 9) != 0;
  if (resp) net_info(control, "memory", "used_memory", options->stall_ms, &now->used_bytes);
  return 0;
}

static double each(uint64_t after, uint64_t before, uint64_t count) {
  return ((double)after - (double)before) / (double)count;
}

/* Generations of other sizes come and go first: what their holes cost stays in the figures. */
static int age(struct plan *plan) {
  const struct options *options = plan->options;
  for (uint64_t i = 0; i < options->generations; i++) {
    struct driver_phase phase = {.name = "aging",
                                 .mix = &plan->aging,
                                 .pipeline = plan->fill_pipeline,
                                 .operations = options->keys};
    if (plan_run(plan, &phase) != 0) return -1;
    net_sleep_ms(options->lead_ms + GONE_MS);
  }
  return 0;
}

static int fill(struct plan *plan, int control, struct report *report) {
  const struct options *options = plan->options;
  struct occupancy before, now;
  if (occupancy_read(options, control, &before) != 0 || age(plan) != 0) return -1;
  if (options->server_pid != 0) memory_reset_peak((pid_t)options->server_pid);
  double worst_used = 0, worst_rss = 0;
  uint64_t made = 0;
  for (uint64_t step = 1; step <= FILL_STEPS; step++) {
    uint64_t goal = options->keys * step / FILL_STEPS;
    struct driver_phase phase = {.name = "filling",
                                 .mix = &plan->mix,
                                 .pipeline = plan->fill_pipeline,
                                 .operations = goal - made};
    if (goal == made) continue;
    if (plan_run(plan, &phase) != 0 || occupancy_read(options, control, &now) != 0) return -1;
    made = goal;
    /* Fixed costs weigh too much on the first keys. */
    if (step < FILL_STEPS / 2) continue;
    double used = each(now.used_bytes, before.used_bytes, made);
    double rss = each(now.rss_bytes, before.rss_bytes, made);
    if (used > worst_used) worst_used = used;
    if (rss > worst_rss) worst_rss = rss;
  }
  report_add_count(report, "keys", made);
  if (now.used_bytes > 0) {
    report_add_number(report, "used_bytes_per_key", each(now.used_bytes, before.used_bytes, made),
                      1);
    report_add_number(report, "worst_used_bytes_per_key", worst_used, 1);
  }
  if (options->server_pid == 0) return 0;
  report_add_number(report, "rss_bytes_per_key", each(now.rss_bytes, before.rss_bytes, made), 1);
  report_add_number(report, "worst_rss_bytes_per_key", worst_rss, 1);
  report_add_number(report, "peak_rss_bytes_per_key", each(now.peak_bytes, before.rss_bytes, made),
                    1);
  return 0;
}

enum plan_status occupancy_fill(const struct options *options, struct report *report) {
  struct plan *plan = malloc(sizeof *plan);
  if (plan == NULL) return PLAN_FAILED;
  int control = -1;
  enum plan_status status =
      plan_init(plan, options, options->like != NULL ? options->like : "store", NULL);
  if (status == PLAN_OK && plan->preload.part_count > 0)
    status = plan_refuse("fill needs a scenario that makes keys: --like store, claim, redis-store");
  if (status == PLAN_OK) {
    control = plan_connect(options);
    if (control < 0 || plan_open(plan) != 0 || fill(plan, control, report) != 0)
      status = PLAN_FAILED;
  }
  if (control >= 0) close(control);
  plan_deinit(plan);
  free(plan);
  return status;
}

/* A connection that did something once: buffers that are taken with the first command and kept are
 * part of what an idle connection costs. */
static int open_used(const struct options *options) {
  static const char ping[] = "*1\r\n$4\r\nPING\r\n", pong[] = "+PONG\r\n";
  char reply[sizeof pong];
  size_t bytes = 0;
  int fd = plan_connect(options);
  if (fd < 0) return -1;
  if (net_send_all(fd, ping, sizeof ping - 1) != 0) goto failed;
  while (bytes < sizeof pong - 1) {
    ssize_t got = net_receive(fd, reply + bytes, sizeof reply - bytes, options->stall_ms);
    if (got < 0) goto failed;
    bytes += (size_t)got;
  }
  if (memcmp(reply, pong, sizeof pong - 1) == 0) return fd;
  fprintf(stderr, "idem-bench: PING got \"");
  net_print_bytes(reply, bytes);
  fprintf(stderr, "\"\n");

failed:
  close(fd);
  return -1;
}

static int idle(const struct options *options, int control, int *fds, struct report *report) {
  uint64_t count = options->connections;
  struct occupancy before, after, gone;
  /* Twice: what the first question brings into memory of the server's program is no connection's.
   */
  if (occupancy_read(options, control, &before) != 0) return -1;
  if (occupancy_read(options, control, &before) != 0) return -1;
  for (uint64_t i = 0; i < count; i++) {
    fds[i] = open_used(options);
    if (fds[i] < 0) return -1;
  }
  net_sleep_ms(SETTLE_MS);
  if (occupancy_read(options, control, &after) != 0) return -1;
  for (uint64_t i = 0; i < count; i++) {
    close(fds[i]);
    fds[i] = -1;
  }
  net_sleep_ms(SETTLE_MS);
  if (occupancy_read(options, control, &gone) != 0) return -1;
  if (after.used_bytes > 0)
    report_add_number(report, "used_bytes_per_connection",
                      each(after.used_bytes, before.used_bytes, count), 1);
  if (options->server_pid == 0) return 0;
  report_add_number(report, "rss_bytes_per_connection",
                    each(after.rss_bytes, before.rss_bytes, count), 1);
  report_add_number(report, "rss_kept_bytes_per_connection",
                    each(gone.rss_bytes, before.rss_bytes, count), 1);
  return 0;
}

enum plan_status occupancy_idle(const struct options *options, struct report *report) {
  if (options->like != NULL) return plan_refuse("idle takes no --like");
  int *fds = malloc(options->connections * sizeof *fds);
  int control = fds != NULL ? open_used(options) : -1;
  for (uint64_t i = 0; fds != NULL && i < options->connections; i++) fds[i] = -1;
  int error = control >= 0 ? idle(options, control, fds, report) : -1;
  for (uint64_t i = 0; fds != NULL && i < options->connections; i++) {
    if (fds[i] >= 0) close(fds[i]);
  }
  if (control >= 0) close(control);
  free(fds);
  return error == 0 ? PLAN_OK : PLAN_FAILED;
}
