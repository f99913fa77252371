/* A steady load: warm up, read the server's CPU time, measure, read it again. Nothing is in flight
 * at either reading, so they enclose exactly the operations that are counted.
 */
#include "bench/steady.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct measurement {
  struct plan_server before, after;
  uint64_t own_cpu_ns;
};

static int warm_up(struct plan *plan, struct driver_phase phase) {
  uint64_t percent = plan->options->warmup_percent;
  if (percent == 0) return 0;
  phase.name = "warming up";
  phase.operations = (phase.operations * percent + 99) / 100;
  phase.duration_ms = phase.duration_ms * percent / 100;
  return plan_run(plan, &phase);
}

static int measure(struct plan *plan, struct measurement *found) {
  const struct options *options = plan->options;
  struct driver_phase phase = {.name = options->scenario,
                               .mix = &plan->mix,
                               .pipeline = (size_t)options->pipeline,
                               .operations = options->requests,
                               .duration_ms = options->seconds_ms,
                               .keys = options->keys,
                               .rate = options->rate};
  if (warm_up(plan, phase) != 0 || plan_read_server(options, &found->before) != 0) return -1;
  uint64_t before_ns = cpu_own_ns();
  if (plan_run(plan, &phase) != 0) return -1;
  found->own_cpu_ns = cpu_own_ns() - before_ns;
  if (plan_read_server(options, &found->after) != 0) return -1;
  if (options->server_pid != 0 && found->after.cpu.run_ns <= found->before.cpu.run_ns) {
    plan_refuse("the server's CPU time did not rise: another process, or one of its threads ended");
    return -1;
  }
  return 0;
}

static void add_figures(const struct plan *plan, const struct measurement *found,
                        struct report *report) {
  const struct driver_tally *tally = &plan->tally;
  const struct options *options = plan->options;
  /* A phase can end with no operation only when the machine stood still for its whole length. */
  double operations = tally->operations > 0 ? (double)tally->operations : 1;
  double seconds = (double)tally->elapsed_ns / 1e9;
  report_add_count(report, "keys", plan->preload.part_count > 0 ? options->keys : 0);
  report_add_count(report, "rate_per_second", options->rate);
  report_add_count(report, "operations", tally->operations);
  report_add_number(report, "seconds", seconds, 6);
  report_add_number(report, "operations_per_second", operations / seconds, 1);
  report_add_number(report, "request_bytes", (double)tally->sent_bytes / operations, 2);
  report_add_number(report, "reply_bytes", (double)tally->received_bytes / operations, 2);
  report_add_latency(report, "latency", &tally->latency);
  if (options->rate > 0) report_add_latency(report, "send_lag", &tally->lag);
  if (options->server_pid > 0) {
    uint64_t run_ns = found->after.cpu.run_ns - found->before.cpu.run_ns;
    report_add_count(report, "server_cpu_ns", run_ns);
    report_add_count(report, "server_wait_ns",
                     found->after.cpu.wait_ns - found->before.cpu.wait_ns);
    plan_add_server(report, &found->before, &found->after, operations);
  }
  report_add_number(report, "load_cpu_ns_per_operation", (double)found->own_cpu_ns / operations, 2);
}

static int write_histogram(const struct plan *plan) {
  const char *path = plan->options->histogram;
  if (path == NULL) return 0;
  FILE *file = fopen(path, "we");
  if (file != NULL) {
    histogram_print(&plan->tally.latency, 1000, file);
    if (fclose(file) == 0) return 0;
  }
  fprintf(stderr, "idem-bench: %s: %s\n", path, strerror(errno));
  return -1;
}

enum plan_status steady_run(const struct options *options, struct report *report) {
  struct plan *plan = malloc(sizeof *plan);
  if (plan == NULL) return PLAN_FAILED;
  struct measurement found;
  enum plan_status status = plan_init(plan, options, options->scenario, options->like);
  if (status == PLAN_OK &&
      (plan_open(plan) != 0 || measure(plan, &found) != 0 || write_histogram(plan) != 0))
    status = PLAN_FAILED;
  if (status == PLAN_OK) add_figures(plan, &found, report);
  plan_deinit(plan);
  free(plan);
  return status;
}
