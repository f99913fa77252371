/*
 * tick.h - what happens without a call: deadlines, closed connections, memory to free. Correctness
 * does not need it, since every call applies what is due on its key first.
 */
#ifndef IDEM_SERVER_ENGINE_TICK_H
#define IDEM_SERVER_ENGINE_TICK_H

#include <stdbool.h>
#include <stdint.h>

struct engine;

/* Applies what is due, at most `budget` steps (a step touches one record or waiter, or moves one
 * bucket), at least two of them: with one a chunk of responses is found and not read. Returns true when more is already due. */
bool tick_run(struct engine *engine, int64_t now_ms, unsigned budget);
/* When tick_run has something to do next; may be early, never late. INT64_MAX: never; now or
 * earlier: at once. */
int64_t tick_next_due(const struct engine *engine);
/* Every key that ends by itself has, and is counted in the horizon, if its end is not after this.
 */
int64_t tick_past_ms(const struct engine *engine, int64_t now_ms);
/* Like tick_next_due, O(1): may be earlier than that, never late. tick_run makes it exact again. */
int64_t tick_next_due_hint(const struct engine *engine);

#endif
