/* idem-bench: closed-loop load with checked replies and the server's CPU time per operation.
 *
 * This file orders the phases and knows the details of none: connect, preload, warm up, read the
 * server's CPU time, measure, read it again, report. Between phases nothing is in flight, so the
 * two CPU readings enclose exactly the operations that are counted.
 */
#include "bench/cpu.h"
#include "bench/driver.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
  EXIT_USAGE = 2,
  PRELOAD_PIPELINE = 32,
  BUFFER_LIMIT_BYTES = 512 << 20 /* of all connections */
};

struct plan {
  struct options options;
  struct scenario scenario;
  struct scenario preload;
  size_t preload_pipeline;
  size_t request_most_bytes;
  size_t reply_most_bytes;
};

static int refuse(const char *reason) {
  fprintf(stderr, "idem-bench: %s (see --help)\n", reason);
  return -1;
}

static void widen(struct plan *plan, const struct scenario *scenario) {
  for (size_t i = 0; i < scenario->step_count; i++) {
    size_t request = message_most_bytes(&scenario->steps[i].request);
    size_t reply = message_most_bytes(&scenario->steps[i].reply);
    if (request > plan->request_most_bytes) plan->request_most_bytes = request;
    if (reply > plan->reply_most_bytes) plan->reply_most_bytes = reply;
  }
}

/* What the options ask for, checked as a whole before anything is opened. */
static int plan_init(struct plan *plan) {
  const struct options *options = &plan->options;
  struct scenario_sizes sizes = {.lease_ms = options->lease_ms,
                                 .ttl_ms = options->ttl_ms,
                                 .body_bytes = (size_t)options->body_bytes};
  const char *reason = scenario_init(&plan->scenario, options->scenario, options->like, &sizes);
  if (reason == NULL && plan->scenario.preload != NULL) {
    reason = scenario_init(&plan->preload, plan->scenario.preload, NULL, &sizes);
  }
  if (reason != NULL) return refuse(reason);

  widen(plan, &plan->scenario);
  widen(plan, &plan->preload);
  uint64_t per_request = options->connections * (plan->request_most_bytes + plan->reply_most_bytes);
  if (per_request * options->pipeline > BUFFER_LIMIT_BYTES) {
    return refuse("connections x pipeline x message size is over 512 MiB");
  }
  uint64_t fits = BUFFER_LIMIT_BYTES / per_request;
  plan->preload_pipeline = fits < PRELOAD_PIPELINE ? (size_t)fits : PRELOAD_PIPELINE;
  return 0;
}

static int print_sizes(const struct scenario *scenario) {
  if (scenario->step_count > 1) return refuse("--sizes needs a scenario of one step");
  printf("{\"request_bytes\":%zu,\"reply_bytes\":%zu}\n",
         message_usual_bytes(&scenario->steps[0].request),
         message_usual_bytes(&scenario->steps[0].reply));
  return 0;
}

static int read_server_cpu(const struct options *options, struct cpu_time *time) {
  if (options->server_pid == 0) return 0;
  int error = cpu_read((pid_t)options->server_pid, time);
  if (error == 0) return 0;
  fprintf(stderr, "idem-bench: --server-pid %" PRIu64 ": /proc/PID/task/*/schedstat: %s\n",
          options->server_pid, strerror(-error));
  return -1;
}

static uint64_t own_cpu_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int preload_and_warm_up(struct driver *driver, const struct plan *plan,
                               struct tally *tally) {
  const struct options *options = &plan->options;
  struct phase preload = {
      .scenario = &plan->preload, .pipeline = plan->preload_pipeline, .operations = options->keys};
  if (plan->scenario.preload != NULL && driver_run(driver, &preload, tally) != 0) return -1;

  if (options->warmup_percent == 0) return 0;
  struct phase warmup = {.scenario = &plan->scenario,
                         .pipeline = (size_t)options->pipeline,
                         .operations = (options->requests * options->warmup_percent + 99) / 100,
                         .duration_ms = options->seconds_ms * options->warmup_percent / 100,
                         .keys = options->keys};
  return driver_run(driver, &warmup, tally);
}

static int measure(struct driver *driver, const struct plan *plan, struct tally *tally) {
  const struct options *options = &plan->options;
  struct phase phase = {.scenario = &plan->scenario,
                        .pipeline = (size_t)options->pipeline,
                        .operations = options->requests,
                        .duration_ms = options->seconds_ms,
                        .keys = options->keys};
  struct cpu_time before = {0, 0}, after = {0, 0};
  if (preload_and_warm_up(driver, plan, tally) != 0) return -1;
  if (read_server_cpu(options, &before) != 0) return -1;
  uint64_t own_before_ns = own_cpu_ns();
  if (driver_run(driver, &phase, tally) != 0) return -1;
  uint64_t own_after_ns = own_cpu_ns();
  if (read_server_cpu(options, &after) != 0) return -1;
  if (options->server_pid != 0 && after.run_ns <= before.run_ns) {
    return refuse(
        "the server's CPU time did not rise: another process, or one of its threads ended");
  }

  struct report report = {.scenario = options->scenario,
                          .like = options->like,
                          .connections = options->connections,
                          .pipeline = options->pipeline,
                          .keys = plan->scenario.key_source == KEYS_LOADED ? options->keys : 0,
                          .seed = options->seed,
                          .tally = tally,
                          .has_server_cpu = options->server_pid != 0,
                          .server_cpu = {.run_ns = after.run_ns - before.run_ns,
                                         .wait_ns = after.wait_ns - before.wait_ns},
                          .load_cpu_ns = own_after_ns - own_before_ns};
  if (options->json) {
    report_print_json(&report);
  } else {
    report_print_table(&report);
  }
  return fflush(stdout) == 0 ? 0 : -1;
}

/* A second run on the same server must find no key of the first one. 53 bits, so that readers of
 * JSON with doubles keep the printed seed. */
static int pick_seed(uint64_t *seed) {
  if (getrandom(seed, sizeof *seed, 0) != sizeof *seed)
    return refuse("no random seed from the system; give --seed");
  *seed = *seed >> 11 | 1;
  return 0;
}

static int run(struct plan *plan) {
  struct options *options = &plan->options;
  if (options->seed == 0 && pick_seed(&options->seed) != 0) return -1;

  size_t pipeline = (size_t)options->pipeline;
  struct driver_options wanted = {
      .host = options->host,
      .port = (uint16_t)options->port,
      .connections = (size_t)options->connections,
      .batch_most = pipeline > plan->preload_pipeline ? pipeline : plan->preload_pipeline,
      .request_most_bytes = plan->request_most_bytes,
      .reply_most_bytes = plan->reply_most_bytes,
      .stall_ms = options->stall_ms,
      .seed = options->seed};
  struct tally *tally = malloc(sizeof *tally);
  struct driver *driver = driver_create(&wanted);
  int error = tally != NULL && driver != NULL ? measure(driver, plan, tally) : -1;
  driver_destroy(driver);
  free(tally);
  return error;
}

int main(int argc, char **argv) {
  struct plan plan;
  memset(&plan, 0, sizeof plan);
  if (options_parse(&plan.options, argc, argv) != 0) return EXIT_USAGE;
  if (plan.options.help) {
    options_print_help();
    scenario_print_list();
    return EXIT_SUCCESS;
  }
  int status = EXIT_USAGE;
  if (plan_init(&plan) == 0) {
    if (plan.options.sizes) {
      status = print_sizes(&plan.scenario) == 0 ? EXIT_SUCCESS : EXIT_USAGE;
    } else {
      status = run(&plan) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
  }
  scenario_deinit(&plan.scenario);
  scenario_deinit(&plan.preload);
  return status;
}
