/*
 * exposition.h - the figures of INFO in the text format of Prometheus (0.0.4): what /metrics
 * serves.
 *
 * The same rows as INFO's (info.h says how to add one). A caller needs no session and no call.
 */
#ifndef IDEM_SERVER_COMMANDS_EXPOSITION_H
#define IDEM_SERVER_COMMANDS_EXPOSITION_H

#include "server/commands/worker.h"
#include "server/ops/metrics.h"

/* The media type of the text. */
#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends all metrics to the text, which the caller zero-fills at first and frees with
 * metrics_text_deinit; text->failed: memory was short, and the text is not to be sent. Called by
 * the worker's own thread between two of its commands, with no shard locked, no other loop paused
 * and all that is restored read: it pauses the other loops and locks all shards for as long as it
 * takes, which is less than a millisecond. */
void exposition_write(struct worker *worker, struct metrics_text *text);

#endif
