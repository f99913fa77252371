/* A driver with the scenarios that a run needs: what the options name, what has to be loaded or set
 * up before, all checked before anything is opened.
 */
#ifndef IDEM_BENCH_PLAN_H
#define IDEM_BENCH_PLAN_H

#include "bench/calls.h"
#include "bench/cpu.h"
#include "bench/driver.h"
#include "bench/memory.h"
#include "bench/mix.h"
#include "bench/options.h"
#include "bench/report.h"
#include "bench/secure.h"

enum plan_status { PLAN_OK = 0, PLAN_FAILED = 1, PLAN_USAGE = 2 };

struct plan {
  const struct options *options;
  struct mix mix;
  struct mix preload;  /* no parts: nothing to load */
  struct mix setup;    /* no parts: nothing to set up */
  struct mix expiring; /* `preload` with a TTL per subject */
  struct mix aging;    /* with --generations: `mix` in several sizes, ending after --lead-seconds */
  size_t fill_pipeline; /* for phases that are not measured */
  size_t request_most_bytes;
  size_t reply_most_bytes;
  struct secure_options secure; /* of the driver */
  struct driver *driver;
  struct driver_tally tally; /* of the last phase */
};

struct plan_server {
  struct cpu_time cpu;
  struct memory memory;
  struct calls calls;
};

/* Says why on stderr, returns PLAN_USAGE. */
enum plan_status plan_refuse(const char *reason);

/* Builds the scenarios; `plan_deinit` undoes it in either case. */
enum plan_status plan_init(struct plan *plan, const struct options *options, const char *scenario,
                           const char *like);
void plan_deinit(struct plan *plan);

/* A connection of its own to the server, blocking: the socket, or -1, explained on stderr. */
int plan_connect(const struct options *options);

/* Connects, sets up and loads the keys. 0 or -1, as the following. */
int plan_open(struct plan *plan);

/* Runs a phase over the plan's connections; the result is in plan->tally. */
int plan_run(struct plan *plan, const struct driver_phase *phase);

/* CPU time, memory and calls of --server-pid; zeros without one. */
int plan_read_server(const struct options *options, struct plan_server *state);

/* What `operations` cost the server: CPU time, reads, writes, sleeps. */
void plan_add_server(struct report *report, const struct plan_server *before,
                     const struct plan_server *after, double operations);

/* What every run begins with. */
void plan_begin_report(const struct options *options, struct report *report);

#endif
