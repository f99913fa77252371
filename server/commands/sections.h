/*
 * sections.h - all figures, read at one moment, and the tables of rows over them in the order in
 * which INFO shows them: what INFO (info.h) and /metrics (exposition.h) have in common.
 *
 * It counts nothing itself: the rooms that count offer the rows, in *_metrics.c; sections.c says
 * how to add one. It must not know how a row looks to a reader. Called while the other loops are
 * paused and all shards are locked.
 */
#ifndef IDEM_SERVER_COMMANDS_SECTIONS_H
#define IDEM_SERVER_COMMANDS_SECTIONS_H

#include "server/commands/instance_metrics.h"
#include "server/commands/journal_metrics.h"
#include "server/commands/memory_metrics.h"
#include "server/commands/process_metrics.h"
#include "server/commands/pubsub_metrics.h"
#include "server/commands/worker_metrics.h"
#include "server/engine/stats.h"
#include "server/ops/metrics.h"

struct figures {
  struct stats engine; /* the sum over all engines */
  struct process_metrics process;
  struct memory_metrics memory;
  struct instance_metrics instance;
  struct worker_counters workers; /* the sum over all workers */
  struct pubsub_metrics pubsub;
  struct journal_metrics journal;
};

/* Read once for a call; not to be copied. */
void sections_read(struct worker *worker, struct figures *figures);

/* A table of rows, and where in `struct figures` its figures are. */
struct section_part {
  const struct metric *rows;
  size_t figures;
};
#define SECTION_PARTS 4

struct section {
  struct metrics_section is;
  struct section_part parts[SECTION_PARTS]; /* the first without rows ends them */
  /* Of a table whose lines are not rows; each may be NULL. */
  void (*put_lines)(const struct worker *worker, const struct figures *figures,
                    struct metrics_text *text); /* of INFO */
  void (*put_families)(const struct worker *worker, const struct figures *figures,
                       struct metrics_text *text); /* of /metrics */
};

/* Ends with one without a title. */
extern const struct section sections_all[];

static inline const void *sections_figures(const struct section_part *part,
                                          const struct figures *figures) {
  return (const char *)figures + part->figures;
}

#endif
