/*
 * runner.h - drives the engine and the model with the same operations under a clock of its own and
 * compares everything that can be seen: answers, waiters that became ready, effects, figures, and
 * now and then every key.
 *
 * Decisions come from a seed or from bytes (a fuzzer's); both give every operation a chance at
 * every moment. The first difference prints the seed, the world and the last operations, and
 * aborts.
 */
#ifndef IDEM_TESTS_MODEL_RUNNER_H
#define IDEM_TESTS_MODEL_RUNNER_H

#include <stddef.h>
#include <stdint.h>

#include "tests/model/model.h"

struct runner;

/* Both create a fresh engine in a world of its own (number of keys, durations, limits, ticks); NULL
 * when memory is short. */
struct runner *runner_from_seed(uint64_t seed);
struct runner *runner_from_bytes(const uint8_t *bytes, size_t size);

/* At most that many operations; stops early when the bytes are used up. Returns how many were done.
 */
uint64_t runner_run(struct runner *runner, uint64_t steps);

/* Lets everything end, proves that nothing is left, and adds what happened to events. */
void runner_finish(struct runner *runner, uint64_t events[EVENTS]);

#endif
