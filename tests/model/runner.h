/*
 * runner.h - drives the engine and the model with the same operations under a virtual clock, and
 * compares everything that can be seen: answers, waiters that became ready, effects, figures, and
 * now and then every key.
 *
 * Decisions come from a seed or from a fuzzer's bytes; with both, every operation is possible at
 * every moment. The first difference prints the seed, the world and the last operations, and
 * aborts.
 */
#ifndef IDEM_TESTS_MODEL_RUNNER_H
#define IDEM_TESTS_MODEL_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/model/model.h"

struct runner;

/* Both create a fresh engine in a new world (number of keys, durations, limits, ticks). shadowed:
 * what is restored from the engine's images has to be as it is (shadow.h). NULL: no memory. */
struct runner *runner_from_seed(uint64_t seed, bool shadowed);
struct runner *runner_from_bytes(const uint8_t *bytes, size_t size);

/* Runs at most that many operations; stops early when the bytes are used up. Returns how many ran.
 */
uint64_t runner_run(struct runner *runner, uint64_t steps);

/* Lets everything expire, checks that nothing is left, and adds what happened to events. */
void runner_finish(struct runner *runner, uint64_t events[EVENTS]);

#endif
