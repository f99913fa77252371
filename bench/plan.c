/* Scenarios, buffers and phases of one run. */
#include "bench/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FILL_PIPELINE = 32, BUFFER_LIMIT_BYTES = 512 << 20 /* of all connections */ };

enum plan_status plan_refuse(const char *reason) {
  fprintf(stderr, "idem-bench: %s (see --help)\n", reason);
  return PLAN_USAGE;
}

static void widen(struct plan *plan, const struct mix *mix) {
  for (size_t i = 0; i < mix->part_count; i++)
    scenario_widen(&mix->parts[i], &plan->request_most_bytes, &plan->reply_most_bytes);
}

/* The first part that wants keys or a setup names it for all: a mix has one kind of server. */
static const char *init_helpers(struct plan *plan, struct step_sizes sizes) {
  const char *preload = NULL, *setup = NULL, *reason = NULL;
  for (size_t i = 0; i < plan->mix.part_count; i++) {
    if (preload == NULL) preload = plan->mix.parts[i].preload;
    if (setup == NULL) setup = plan->mix.parts[i].setup;
  }
  if (setup != NULL) reason = mix_init(&plan->setup, setup, NULL, &sizes);
  if (preload == NULL || reason != NULL) return reason;
  reason = mix_init(&plan->preload, preload, NULL, &sizes);
  sizes.ttl_ms = 0;
  return reason != NULL ? reason : mix_init(&plan->expiring, preload, NULL, &sizes);
}

/* Sizes that share no allocation class, most of them small. */
static const char *init_aging(struct plan *plan, const char *name, struct step_sizes sizes) {
  static const size_t factors[MIX_PARTS_MAX] = {1, 4, 16};
  static const unsigned weights[MIX_PARTS_MAX] = {60, 30, 10};
  struct mix *mix = &plan->aging;
  const char *reason = NULL;
  size_t body_bytes = sizes.body_bytes;
  sizes.ttl_ms = plan->options->lead_ms;
  for (size_t i = 0; i < MIX_PARTS_MAX && reason == NULL; i++) {
    sizes.body_bytes = factors[i] * body_bytes;
    reason = scenario_init(&mix->parts[i], name, NULL, &sizes);
    mix->part_count = i + 1;
    mix->weights[i] = weights[i];
    mix->weight_sum += weights[i];
  }
  return reason;
}

enum plan_status plan_init(struct plan *plan, const struct options *options, const char *scenario,
                           const char *like) {
  memset(plan, 0, sizeof *plan);
  plan->options = options;
  struct step_sizes sizes = {.lease_ms = options->lease_ms,
                             .ttl_ms = options->ttl_ms,
                             .body_bytes = (size_t)options->body_bytes,
                             .fingerprint_bytes = (size_t)options->fingerprint_bytes,
                             .echo_step = (size_t)options->step - 1};
  const char *reason = mix_init(&plan->mix, scenario, like, &sizes);
  if (reason == NULL) reason = init_helpers(plan, sizes);
  if (reason == NULL && options->generations > 0) reason = init_aging(plan, scenario, sizes);
  if (reason != NULL) return plan_refuse(reason);

  widen(plan, &plan->mix);
  widen(plan, &plan->preload);
  widen(plan, &plan->setup);
  widen(plan, &plan->expiring);
  widen(plan, &plan->aging);
  uint64_t per_request = options->connections * (plan->request_most_bytes + plan->reply_most_bytes);
  if (per_request * options->pipeline > BUFFER_LIMIT_BYTES)
    return plan_refuse("connections x pipeline x message size is over 512 MiB");
  uint64_t fits = BUFFER_LIMIT_BYTES / per_request;
  plan->fill_pipeline = fits < FILL_PIPELINE ? (size_t)fits : FILL_PIPELINE;
  return PLAN_OK;
}

void plan_deinit(struct plan *plan) {
  driver_destroy(plan->driver);
  mix_deinit(&plan->mix);
  mix_deinit(&plan->preload);
  mix_deinit(&plan->setup);
  mix_deinit(&plan->expiring);
  mix_deinit(&plan->aging);
}

int plan_run(struct plan *plan, const struct driver_phase *phase) {
  return driver_run(plan->driver, phase, &plan->tally);
}

static struct net_target target_of(const struct options *options) {
  return (struct net_target){
      .unix_path = options->unix_path, .host = options->host, .port = (uint16_t)options->port};
}

int plan_connect(const struct options *options) {
  struct net_target target = target_of(options);
  return net_connect(&target);
}

int plan_open(struct plan *plan) {
  const struct options *options = plan->options;
  size_t pipeline = (size_t)options->pipeline;
  const struct secure_options secure = {.host = options->host,
                                        .ca_file = options->ca_file,
                                        .cert_file = options->cert_file,
                                        .key_file = options->key_file,
                                        .insecure = options->insecure != 0};
  struct driver_options wanted = {
      .target = target_of(options),
      .secure = options->tls ? &plan->secure : NULL,
      .connections = (size_t)options->connections,
      .batch_most = pipeline > plan->fill_pipeline ? pipeline : plan->fill_pipeline,
      .request_most_bytes = plan->request_most_bytes,
      .reply_most_bytes = plan->reply_most_bytes,
      .stall_ms = options->stall_ms,
      .seed = options->seed};
  plan->secure = secure;
  plan->driver = driver_create(&wanted);
  if (plan->driver == NULL) return -1;

  struct driver_phase setup = {
      .name = "setting up", .mix = &plan->setup, .pipeline = 1, .operations = 1};
  if (plan->setup.part_count > 0 && plan_run(plan, &setup) != 0) return -1;
  struct driver_phase preload = {.name = "loading keys",
                                 .mix = &plan->preload,
                                 .pipeline = plan->fill_pipeline,
                                 .operations = options->keys};
  return plan->preload.part_count > 0 && !options->loaded ? plan_run(plan, &preload) : 0;
}

int plan_read_server(const struct options *options, struct plan_server *state) {
  memset(state, 0, sizeof *state);
  if (options->server_pid == 0) return 0;
  int error = cpu_read((pid_t)options->server_pid, &state->cpu);
  const char *what = "task/*/schedstat";
  if (error == 0) {
    error = memory_read((pid_t)options->server_pid, &state->memory);
    what = "status";
  }
  calls_read((pid_t)options->server_pid, &state->calls);
  if (error == 0) return 0;
  fprintf(stderr, "idem-bench: --server-pid %" PRIu64 ": /proc/PID/%s: %s\n", options->server_pid,
          what, strerror(-error));
  return -1;
}

static double each(uint64_t after, uint64_t before, double operations) {
  return (double)(after - before) / operations;
}

void plan_add_server(struct report *report, const struct plan_server *before,
                     const struct plan_server *after, double operations) {
  report_add_number(report, "server_cpu_ns_per_operation",
                    each(after->cpu.run_ns, before->cpu.run_ns, operations), 2);
  /* One or the other is none where the server's calls are of another kind. */
  if (after->calls.reads > before->calls.reads && after->calls.writes > before->calls.writes) {
    report_add_number(report, "server_reads_per_operation",
                      each(after->calls.reads, before->calls.reads, operations), 4);
    report_add_number(report, "server_writes_per_operation",
                      each(after->calls.writes, before->calls.writes, operations), 4);
  }
  report_add_number(report, "server_sleeps_per_operation",
                    each(after->calls.sleeps, before->calls.sleeps, operations), 4);
}

void plan_begin_report(const struct options *options, struct report *report) {
  report_add_text(report, "scenario", options->scenario);
  if (options->like != NULL) report_add_text(report, "like", options->like);
  report_add_count(report, "connections", options->connections);
  report_add_count(report, "pipeline", options->pipeline);
  report_add_count(report, "tls", options->tls);
  report_add_count(report, "body_bytes", options->body_bytes);
  report_add_count(report, "seed", options->seed);
}
