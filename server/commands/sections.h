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

#include "server/commands/error_metrics.h"
#include "server/commands/instance_metrics.h"
#include "server/commands/journal_metrics.h"
#include "server/commands/memory_metrics.h"
#include "server/commands/process_metrics.h"
#include "server/commands/pubsub_metrics.h"
#include "server/commands/tls_metrics.h"
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
  struct resp_errors errors; /* the same */
  struct tls_metrics tls;
};

/* Read once for a call; not to be copied. */
void sections_read(struct worker *worker, struct figures *figures);

/* A table of rows, and where in `struct figures` its figures are. */
struct section_part {
  const struct metric *rows;
  size_t figures;
};
#define SECTION_PARTS 6

/* What is no row: `put` appends it, given the figures at that place in `struct figures`. */
struct section_table {
  void (*put)(const struct instance *instance, const void *figures, struct metrics_text *text);
  size_t figures;
};

struct section {
  struct metrics_section is;
  struct section_part parts[SECTION_PARTS]; /* one without rows ends them */
  struct section_table lines;               /* of INFO, after the rows; or none */
  struct section_table families;            /* of /metrics, after those of the rows; or none */
  const struct metric *heads;               /* of these families; or NULL */
  bool whole; /* INFO shows it only to a user that may touch every key */
};

/* Ends with one without a title. */
extern const struct section sections_all[];

static inline const void *sections_figures(const struct figures *figures, size_t offset) {
  return (const char *)figures + offset;
}

#endif
