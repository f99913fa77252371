/* Mass expiry: many keys end within a short window while others are read at a fixed rate.
 *
 *   fill ---- quiet: readers only ----|== window: keys end, readers go on ==|-- memory falls --
 *
 * The readers' rate is the same in both phases, so the difference of the server's CPU time belongs
 * to the expiry (also what is done of it after the window, up to half a second).
 */
#include "bench/experiment.h"
#include "bench/net.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_RATE = 5000, AFTER_MS = 500, POLL_MS = 10, FALL_LIMIT_MS = 20000 };

struct stretch {
  struct histogram latency;
  uint64_t cpu_ns;
};

struct expiry {
  struct stretch quiet, window;
  uint64_t base_bytes, full_bytes, left_bytes;
  uint64_t fall_ms; /* from the last deadline until 95 % of the keys' memory is back */
  bool fell;
};

static uint64_t used_bytes(const struct options *options, int control) {
  uint64_t used = 0;
  net_info(control, "memory", "used_memory", options->stall_ms, &used);
  return used;
}

/* Readers at the rate for as long as the window and what is done after it. */
static int read_along(struct plan *plan, struct stretch *stretch, const char *name) {
  const struct options *options = plan->options;
  struct server_state before, after;
  struct phase phase = {.name = name,
                        .mix = &plan->mix,
                        .pipeline = (size_t)options->pipeline,
                        .duration_ms = options->window_ms + AFTER_MS,
                        .keys = options->keys,
                        .rate = options->rate > 0 ? options->rate : DEFAULT_RATE};
  if (plan_read_server(options, &before) != 0 || plan_run(plan, &phase) != 0) return -1;
  stretch->latency = plan->tally.latency;
  if (plan_read_server(options, &after) != 0) return -1;
  stretch->cpu_ns = after.cpu.run_ns - before.cpu.run_ns;
  return 0;
}

static int fill_and_wait(struct plan *plan, struct expiry *found, uint64_t expire_ns, int control) {
  const struct options *options = plan->options;
  struct phase phase = {.name = "filling",
                        .mix = &plan->expiring,
                        .pipeline = plan->fill_pipeline,
                        .operations = options->expiring,
                        .expire_ns = expire_ns,
                        .expire_window_ns = options->window_ms * 1000000u};
  if (plan_run(plan, &phase) != 0) return -1;
  found->full_bytes = used_bytes(options, control);
  uint64_t quiet_ms = options->window_ms + AFTER_MS + 2 * POLL_MS;
  uint64_t now = net_now_ns();
  if (now + quiet_ms * 1000000u > expire_ns) {
    fprintf(stderr, "idem-bench: --lead-seconds leaves no quiet time before the first deadline\n");
    return -1;
  }
  if (read_along(plan, &found->quiet, "quiet") != 0) return -1;
  now = net_now_ns();
  if (now < expire_ns) net_sleep_ms((expire_ns - now) / 1000000u);
  return 0;
}

static void await_fall(const struct options *options, struct expiry *found, uint64_t last_ns,
                       int control) {
  uint64_t span = found->full_bytes > found->base_bytes ? found->full_bytes - found->base_bytes : 0;
  uint64_t goal = found->base_bytes + span / 20;
  for (;;) {
    found->left_bytes = used_bytes(options, control);
    uint64_t now = net_now_ns();
    found->fall_ms = now > last_ns ? (now - last_ns) / 1000000u : 0;
    found->fell = found->left_bytes <= goal;
    if (found->fell || found->fall_ms > FALL_LIMIT_MS) return;
    net_sleep_ms(POLL_MS);
  }
}

static int expire(struct plan *plan, struct expiry *found, int control) {
  const struct options *options = plan->options;
  found->base_bytes = used_bytes(options, control);
  uint64_t expire_ns = net_now_ns() + options->lead_ms * 1000000u;
  if (fill_and_wait(plan, found, expire_ns, control) != 0) return -1;
  if (read_along(plan, &found->window, "expiring") != 0) return -1;
  await_fall(options, found, expire_ns + options->window_ms * 1000000u, control);
  return 0;
}

static void add_figures(const struct options *options, const struct expiry *found,
                        struct report *report) {
  report_add_count(report, "keys", options->keys);
  report_add_count(report, "expiring", options->expiring);
  report_add_number(report, "window_seconds", (double)options->window_ms / 1000, 3);
  report_add_latency(report, "quiet", &found->quiet.latency);
  report_add_latency(report, "window", &found->window.latency);
  double rise_ns = (double)histogram_percentile(&found->window.latency, 999) -
                   (double)histogram_percentile(&found->quiet.latency, 999);
  report_add_number(report, "bystander_p999_rise_us", rise_ns / 1000, 2);
  if (options->server_pid != 0) {
    double extra_ns = (double)found->window.cpu_ns - (double)found->quiet.cpu_ns;
    report_add_count(report, "quiet_cpu_ns", found->quiet.cpu_ns);
    report_add_count(report, "window_cpu_ns", found->window.cpu_ns);
    report_add_number(report, "expiry_cpu_ns_per_key", extra_ns / (double)options->expiring, 2);
  }
  report_add_number(
      report, "used_bytes_per_expiring_key",
      ((double)found->full_bytes - (double)found->base_bytes) / (double)options->expiring, 1);
  /* The readers are heard to their end first: a smaller figure cannot be told from this one. */
  report_add_text(report, "memory_back", found->fell ? "yes" : "no");
  report_add_count(report, "memory_back_at_most_ms", found->fall_ms);
}

enum plan_status expire_run(const struct options *options, struct report *report) {
  struct plan *plan = malloc(sizeof *plan);
  struct expiry *found = calloc(1, sizeof *found);
  enum plan_status status = PLAN_FAILED;
  int control = -1;
  if (plan == NULL || found == NULL) goto done;
  status = plan_init(plan, options, options->like != NULL ? options->like : "replay", NULL);
  if (status == PLAN_OK && plan->preload.part_count == 0)
    status = plan_refuse("expire needs a scenario that reads keys: --like replay, redis-replay");
  if (status == PLAN_OK) {
    control = net_connect(options->host, (uint16_t)options->port);
    if (control < 0 || plan_open(plan) != 0 || expire(plan, found, control) != 0)
      status = PLAN_FAILED;
  }
  if (status == PLAN_OK) add_figures(options, found, report);
  if (control >= 0) close(control);
  plan_deinit(plan);

done:
  free(found);
  free(plan);
  return status;
}
