/*
 * waits.h - how long callers of CLAIM WAIT and WAIT have waited, by how that ended.
 *
 * From when the command ran to when its answer was written, in milliseconds of the loop's clock. A
 * histogram (2.4 KB) is made when a loop first has a wait that ends so. Written by the worker's own
 * thread; read while the other loops are paused.
 */
#ifndef IDEM_SERVER_COMMANDS_WAITS_H
#define IDEM_SERVER_COMMANDS_WAITS_H

#include "server/commands/worker.h"
#include "server/engine/engine_answer.h"
#include "server/ops/metrics.h"

/* A wait that began then, on the monotonic clock, ends with this answer. */
void waits_note(struct worker *worker, int64_t since_ms, enum engine_status status);
/* It ends without: the connection is gone. */
void waits_note_gone(struct worker *worker, int64_t since_ms);
/* Forgets what a worker has counted. */
void waits_reset(struct worker *worker);

void waits_put_lines(const struct instance *instance, const void *figures,
                     struct metrics_text *text);
void waits_put_families(const struct instance *instance, const void *figures,
                        struct metrics_text *text);

extern const struct metric waits_rows[];

#endif
