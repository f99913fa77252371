/*
 * latency.h - how long commands take: a histogram for each command and loop, and what shows them.
 *
 *     measure.c -> latency_note -> command_stats.latency -> INFO latencystats, LATENCY HISTOGRAM,
 *                                                           /metrics
 *
 * A histogram (2.4 KB) is made when a loop first runs the command while latency-tracking is on.
 * Commands of a timed run (measure.h) share its average. Time in which a command waits does not
 * count (waits.h), nor does the network.
 */
#ifndef IDEM_SERVER_COMMANDS_LATENCY_H
#define IDEM_SERVER_COMMANDS_LATENCY_H

#include "server/commands/call.h"
#include "server/ops/metrics.h"

/* So many calls of a command took so long together. calls > 0. */
void latency_note(struct worker *worker, const struct command *command, unsigned calls,
                  uint64_t spent_ns);
/* Forgets what a worker has counted: the histograms are freed. */
void latency_reset(struct worker *worker);

/* ---- to be read while the other loops are paused ---- */

/* LATENCY HISTOGRAM [command ...]: for each command that has run, its calls and how many of them
 * took less than powers of two of a microsecond, as in Redis 7. */
void latency_histogram(struct call *call);
/* A line of INFO latencystats for each command, with the percentiles that
 * latency-tracking-info-percentiles asks for; nothing while latency-tracking is off. */
void latency_put_lines(const struct instance *instance, const void *figures,
                       struct metrics_text *text);
void latency_put_families(const struct instance *instance, const void *figures,
                          struct metrics_text *text);

extern const struct metric latency_rows[];

#endif
