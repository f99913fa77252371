/* waits.c - see waits.h. */
#include "server/commands/waits.h"

#include <inttypes.h>
#include <stdlib.h>

#include "server/base/histogram.h"
#include "server/ops/prometheus.h"

static const char *const OUTCOMES[WORKER_WAIT_OUTCOMES] = {
    [WORKER_WAIT_CLAIMED] = "claimed", [WORKER_WAIT_DONE] = "done",
    [WORKER_WAIT_BUSY] = "busy",       [WORKER_WAIT_LAPSED] = "lapsed",
    [WORKER_WAIT_UNKNOWN] = "unknown", [WORKER_WAIT_NOTHING] = "nothing",
    [WORKER_WAIT_ERROR] = "error",     [WORKER_WAIT_GONE] = "gone",
};

static enum worker_wait outcome_of(enum engine_status status) {
  switch (status) {
    case ENGINE_CLAIMED: return WORKER_WAIT_CLAIMED;
    case ENGINE_DONE: return WORKER_WAIT_DONE;
    case ENGINE_BUSY: return WORKER_WAIT_BUSY;
    case ENGINE_LAPSED: return WORKER_WAIT_LAPSED;
    case ENGINE_UNKNOWN: return WORKER_WAIT_UNKNOWN;
    case ENGINE_NOTHING: return WORKER_WAIT_NOTHING;
    default: return WORKER_WAIT_ERROR;
  }
}

static void note(struct worker *worker, int64_t since_ms, enum worker_wait outcome) {
  struct histogram **histogram = &worker->waits[outcome];
  int64_t waited_ms = worker->monotonic_ms - since_ms;
  if (*histogram == NULL) *histogram = calloc(1, sizeof **histogram);
  if (*histogram == NULL) return;
  histogram_add(*histogram, waited_ms > 0 ? (uint64_t)waited_ms : 0, 1);
}

void waits_note(struct worker *worker, int64_t since_ms, enum engine_status status) {
  note(worker, since_ms, outcome_of(status));
}

void waits_note_gone(struct worker *worker, int64_t since_ms) {
  note(worker, since_ms, WORKER_WAIT_GONE);
}

void waits_reset(struct worker *worker) {
  for (unsigned i = 0; i < WORKER_WAIT_OUTCOMES; i++) {
    free(worker->waits[i]);
    worker->waits[i] = NULL;
  }
}

/* ---- reading ---- */

static void sum(const struct instance *instance, unsigned outcome, struct histogram *all) {
  *all = (struct histogram){0};
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct histogram *waits = instance->workers[i]->waits[outcome];
    if (waits != NULL) histogram_merge(all, waits);
  }
}

void waits_put_lines(const struct instance *instance, const void *figures,
                     struct metrics_text *text) {
  (void)figures;
  struct histogram all;
  for (unsigned i = 0; i < WORKER_WAIT_OUTCOMES; i++) {
    sum(instance, i, &all);
    if (all.count == 0) continue;
    metrics_put(text,
                "wait_%s:count=%" PRIu64 ",sum_ms=%" PRIu64 ",p50_ms=%" PRIu64 ",p99_ms=%" PRIu64
                ",max_ms=%" PRIu64 "\r\n",
                OUTCOMES[i], all.count, all.sum, histogram_percentile(&all, 50),
                histogram_percentile(&all, 99), all.max);
  }
}

const struct metric waits_rows[] = {
    {"wait", METRIC_HISTOGRAM, METRIC_MILLISECONDS,
     "How long callers of CLAIM WAIT and WAIT waited, by what they were answered; gone: the "
     "connection closed.",
     METRIC_TABLE("outcome", "wait_")},
    METRIC_END,
};

void waits_put_families(const struct instance *instance, const void *figures,
                        struct metrics_text *text) {
  /* 1 ms to 262 s; wait-max is at most 300 s */
  static const struct prometheus_buckets buckets = {.first = 0, .last = 18, .step = 2};
  (void)figures;
  struct histogram all;
  prometheus_put_head(text, waits_rows);
  for (unsigned i = 0; i < WORKER_WAIT_OUTCOMES; i++) {
    sum(instance, i, &all);
    prometheus_put_histogram(text, waits_rows, OUTCOMES[i], &all, &buckets);
  }
}
