/* Mass expiry: many keys end within a short window while others are read at a fixed rate; again
 * and again on the same server, beside the same keys that stay.
 *
 *   fill -- quiet: readers only --|== ending: keys end, readers go on ==|-- after --|-- memory --
 *
 * The expiry took the server's CPU time from the first deadline until AFTER_MS after the last,
 * minus the CPU time of an equally long period just before, with the same readers. Every
 * ALONE_EACHth window has no readers: their CPU time varies by more than a cheap expiry costs.
 * Latencies are those of the window itself. Each figure is the median of the windows, with their
 * lowest and highest beside it.
 */
#include "bench/expire.h"

#include "bench/net.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  DEFAULT_RATE = 5000,
  AFTER_MS = 500,
  SETTLE_MS = 100, /* after the filling */
  POLL_MS = 10,
  SLACK_MS = 500,
  LATE_MAX = 3, /* fillings that left no quiet time; the lead is doubled after each */
  FALL_LIMIT_MS = 5000,
  ALONE_EACH = 3,
  WINDOWS_MAX = 100
};

struct period {
  uint64_t cpu_ns;
  uint64_t p50_ns, p999_ns; /* 0 without readers */
};

struct window {
  bool alone; /* no readers */
  struct period quiet, ending;
  uint64_t base_bytes, full_bytes; /* before and after the filling */
  uint64_t fall_ms; /* from the last deadline until 95 % of what the filling added is back */
  bool fell;
};

struct expiry {
  struct window windows[WINDOWS_MAX];
  uint64_t count;
  uint64_t lead_ms; /* from the begin of a filling to the first deadline */
};

static uint64_t used_bytes(const struct options *options, int control) {
  uint64_t used = 0;
  net_info(control, "memory", "used_memory", options->stall_ms, &used);
  return used;
}

static int read_for(struct plan *plan, const char *name, uint64_t duration_ms) {
  const struct options *options = plan->options;
  struct driver_phase phase = {.name = name,
                               .mix = &plan->mix,
                               .pipeline = (size_t)options->pipeline,
                               .duration_ms = duration_ms,
                               .keys = options->keys,
                               .rate = options->rate > 0 ? options->rate : DEFAULT_RATE};
  return plan_run(plan, &phase);
}

/* As long as the window and what is done after it. */
static int observe(struct plan *plan, struct period *period, bool alone, const char *name) {
  const struct options *options = plan->options;
  struct plan_server before, after;
  if (plan_read_server(options, &before) != 0) return -1;
  if (alone) {
    net_sleep_ms(options->window_ms + AFTER_MS);
  } else {
    if (read_for(plan, name, options->window_ms) != 0) return -1;
    period->p50_ns = histogram_percentile(&plan->tally.latency, 500);
    period->p999_ns = histogram_percentile(&plan->tally.latency, 999);
    if (read_for(plan, name, AFTER_MS) != 0) return -1;
  }
  if (plan_read_server(options, &after) != 0) return -1;
  period->cpu_ns = after.cpu.run_ns - before.cpu.run_ns;
  return 0;
}

enum outcome { WINDOW_DONE, WINDOW_LATE, WINDOW_FAILED };

static enum outcome fill_and_wait(struct plan *plan, struct window *window, uint64_t expire_ns,
                                  int control) {
  const struct options *options = plan->options;
  struct driver_phase phase = {.name = "filling",
                               .mix = &plan->expiring,
                               .pipeline = plan->fill_pipeline,
                               .operations = options->expiring,
                               .expire_ns = expire_ns,
                               .expire_window_ns = options->window_ms * 1000000u};
  if (plan_run(plan, &phase) != 0) return WINDOW_FAILED;
  window->full_bytes = used_bytes(options, control);
  net_sleep_ms(SETTLE_MS);
  uint64_t quiet_ms = options->window_ms + AFTER_MS + 2 * POLL_MS;
  uint64_t now = net_now_ns();
  if (now + quiet_ms * 1000000u > expire_ns) return WINDOW_LATE;
  if (observe(plan, &window->quiet, window->alone, "quiet") != 0) return WINDOW_FAILED;
  now = net_now_ns();
  if (now < expire_ns) net_sleep_ms((expire_ns - now) / 1000000u);
  return WINDOW_DONE;
}

static void await_fall(const struct options *options, struct window *window, uint64_t last_ns,
                       int control) {
  uint64_t base = window->base_bytes, full = window->full_bytes;
  uint64_t goal = base + (full > base ? full - base : 0) / 20;
  do {
    uint64_t now = net_now_ns();
    window->fell = now >= last_ns && used_bytes(options, control) <= goal;
    window->fall_ms = now > last_ns ? (now - last_ns) / 1000000u : 0;
    if (!window->fell) net_sleep_ms(POLL_MS);
  } while (!window->fell && window->fall_ms <= FALL_LIMIT_MS);
}

/* As fast as the keys that stay were loaded, twice that for a machine that gets slower meanwhile.
 * `loading_ns`: what these took. */
static uint64_t choose_lead_ms(const struct options *options, uint64_t loading_ns) {
  double filling_ms = (double)loading_ns / 1e6 * (double)options->expiring / (double)options->keys;
  uint64_t needed_ms = (uint64_t)(2 * filling_ms) + options->window_ms + AFTER_MS + SLACK_MS;
  return needed_ms > options->lead_ms ? needed_ms : options->lead_ms;
}

static enum outcome expire_once(struct plan *plan, struct window *window, uint64_t lead_ms,
                                int control) {
  const struct options *options = plan->options;
  window->base_bytes = used_bytes(options, control);
  uint64_t expire_ns = net_now_ns() + lead_ms * 1000000u;
  enum outcome outcome = fill_and_wait(plan, window, expire_ns, control);
  if (outcome == WINDOW_FAILED) return outcome;
  if (outcome == WINDOW_DONE && observe(plan, &window->ending, window->alone, "expiring") != 0)
    return WINDOW_FAILED;
  await_fall(options, window, expire_ns + options->window_ms * 1000000u, control);
  return outcome;
}

static int expire(struct plan *plan, struct expiry *found, int control) {
  unsigned late = 0;
  found->lead_ms = choose_lead_ms(plan->options, plan->tally.elapsed_ns);
  while (found->count < plan->options->windows) {
    struct window *window = &found->windows[found->count];
    window->alone = found->count % ALONE_EACH == ALONE_EACH - 1;
    switch (expire_once(plan, window, found->lead_ms, control)) {
      case WINDOW_DONE: found->count++; break;
      case WINDOW_FAILED: return -1;
      case WINDOW_LATE:
        found->lead_ms *= 2;
        if (++late <= LATE_MAX) break;
        fprintf(stderr, "idem-bench: filling takes longer each time; give --lead-seconds\n");
        return -1;
    }
  }
  return 0;
}

/* ---- figures: one value of each window that has it ---- */

struct values {
  double all[WINDOWS_MAX];
  size_t count;
};

typedef bool value_of(const struct window *window, const struct options *options, double *value);

static bool cpu_per_key(const struct window *window, const struct options *options, double *value) {
  *value =
      ((double)window->ending.cpu_ns - (double)window->quiet.cpu_ns) / (double)options->expiring;
  return options->server_pid != 0;
}

static bool cpu_per_key_beside(const struct window *window, const struct options *options,
                               double *value) {
  return cpu_per_key(window, options, value) && !window->alone;
}

static bool cpu_per_key_alone(const struct window *window, const struct options *options,
                              double *value) {
  return cpu_per_key(window, options, value) && window->alone;
}

static bool quiet_p999(const struct window *window, const struct options *options, double *value) {
  (void)options;
  *value = (double)window->quiet.p999_ns / 1000;
  return !window->alone;
}

static bool window_p999(const struct window *window, const struct options *options, double *value) {
  (void)options;
  *value = (double)window->ending.p999_ns / 1000;
  return !window->alone;
}

static bool p50_rise(const struct window *window, const struct options *options, double *value) {
  (void)options;
  *value = ((double)window->ending.p50_ns - (double)window->quiet.p50_ns) / 1000;
  return !window->alone;
}

static bool p999_rise(const struct window *window, const struct options *options, double *value) {
  (void)options;
  *value = ((double)window->ending.p999_ns - (double)window->quiet.p999_ns) / 1000;
  return !window->alone;
}

static bool bytes_per_key(const struct window *window, const struct options *options,
                          double *value) {
  *value = ((double)window->full_bytes - (double)window->base_bytes) / (double)options->expiring;
  return true;
}

/* Measured once the readers are done: a figure below AFTER_MS cannot be seen. */
static bool fall_ms(const struct window *window, const struct options *options, double *value) {
  (void)options;
  *value = (double)window->fall_ms;
  return true;
}

static int compare(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

/* The median under `name`, the extremes under `name`_low and _high. */
static void add_median(struct report *report, const char *name, struct values *values) {
  char full[REPORT_NAME_BYTES];
  if (values->count == 0) return;
  qsort(values->all, values->count, sizeof values->all[0], compare);
  double lower = values->all[(values->count - 1) / 2], upper = values->all[values->count / 2];
  report_add_number(report, name, (lower + upper) / 2, 2);
  snprintf(full, sizeof full, "%s_low", name);
  report_add_number(report, full, values->all[0], 2);
  snprintf(full, sizeof full, "%s_high", name);
  report_add_number(report, full, values->all[values->count - 1], 2);
}

static void add_figures(const struct options *options, const struct expiry *found,
                        struct report *report) {
  static const struct {
    const char *name;
    value_of *of;
  } rows[] = {{"expiry_cpu_ns_per_key", cpu_per_key_beside},
              {"expiry_alone_cpu_ns_per_key", cpu_per_key_alone},
              {"quiet_p999_us", quiet_p999},
              {"window_p999_us", window_p999},
              {"bystander_p50_rise_us", p50_rise},
              {"bystander_p999_rise_us", p999_rise},
              {"used_bytes_per_expiring_key", bytes_per_key},
              {"memory_back_at_most_ms", fall_ms}};
  report_add_count(report, "keys", options->keys);
  report_add_count(report, "expiring", options->expiring);
  report_add_count(report, "windows", found->count);
  report_add_count(report, "lead_ms", found->lead_ms);
  report_add_number(report, "window_seconds", (double)options->window_ms / 1000, 3);
  uint64_t fell = 0;
  for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
    struct values values = {.count = 0};
    for (uint64_t i = 0; i < found->count; i++)
      values.count += rows[row].of(&found->windows[i], options, &values.all[values.count]);
    add_median(report, rows[row].name, &values);
  }
  for (uint64_t i = 0; i < found->count; i++) fell += found->windows[i].fell;
  report_add_count(report, "windows_with_memory_back", fell);
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
    control = plan_connect(options);
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
