/*
 * shadow.h - what a restart would find: the images that a live engine leaves are kept as a log, and
 * restored into a second engine at once, and now and then from the log into a fresh one, also with
 * another number of shards and of slots of the horizon. Both have to be as the live one is, but for
 * waiters and connections.
 *
 * The log is kept short in the two ways of a journal: a prefix is read and what still counts is
 * emitted again; or batches whose keys have all ended, as counted by a newer head, are dropped
 * unread.
 *
 * It knows images, engines and their entries, but neither the model nor the runner. Its decisions
 * come from a seed of its own, so that the same operations run with and without it. Functions that
 * compare return NULL, or say what differs; the text is the shadow's.
 */
#ifndef IDEM_TESTS_MODEL_SHADOW_H
#define IDEM_TESTS_MODEL_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/span.h"

struct engine;
struct engine_options;
struct shadow;

/* The live engine has just been created, with the same options. Aborts when memory is short. */
struct shadow *shadow_create(struct engine *live, const struct engine_options *options,
                             int64_t now_ms, uint64_t seed);
void shadow_destroy(struct shadow *shadow); /* takes NULL; as all below do */

/* Room for the body of the next call. */
void shadow_reserve(struct shadow *shadow, size_t bytes);
/* After each call on the live engine: what it left goes into the log and the second engine. */
const char *shadow_take(struct shadow *shadow, int64_t now_ms);
/* The live engine goes on with other options, and everything due has been applied. */
void shadow_reconfigure(struct shadow *shadow, const struct engine_options *options,
                        int64_t now_ms);

/* One key, or all, as far as nothing is due on them in the live engine. */
const char *shadow_compare_key(struct shadow *shadow, struct span key, int64_t now_ms);
const char *shadow_compare_all(struct shadow *shadow, int64_t now_ms);
/* Nothing is due in the live engine: the horizons too. */
const char *shadow_compare_horizon(struct shadow *shadow, int64_t now_ms);

/* Sometimes shortens the log; what is due may be applied in the live engine by that. True: it did.
 */
bool shadow_trim(struct shadow *shadow, int64_t now_ms);
/* Whether it is time for a restart. */
bool shadow_restarts(struct shadow *shadow);
/* Begins anew from the log, and compares all. */
const char *shadow_restart(struct shadow *shadow, int64_t now_ms);
/* The horizon of a key after the last restart is at least this. */
const char *shadow_expect_horizon(struct shadow *shadow, struct span key, int64_t least_ms);

#endif
