/*
 * born.h - BORN and FORGOTTEN: unix times of requests, and the engine's clock.
 *
 * A past time is converted with the largest difference between the two clocks that was seen
 * (worker.h): the engine's is never too early on the wall clock, and a birth never too late on the
 * engine's, whatever was set back or stood still since. Only whether a birth is after now is asked
 * of the wall clock as it is.
 */
#ifndef IDEM_SERVER_COMMANDS_BORN_H
#define IDEM_SERVER_COMMANDS_BORN_H

#include "server/commands/call.h"
#include "server/engine/engine_answer.h"
#include "server/rules/request.h"

/* The birth of a request on the engine's clock. false, with the error replied: it is after now, by
 * more than clocks may differ. */
bool born_on_engine(const struct call *call, int64_t unix_ms, int64_t *born_ms);
/* A time of the engine as unix time. */
int64_t born_unix_ms(const struct worker *worker, int64_t engine_ms);
/* An answer of the engine as the client is told: a FORGOTTEN with its horizon in unix time, which
 * is written to *told; any other answer as it is. */
static inline const struct engine_answer *born_told(const struct worker *worker,
                                                    const struct engine_answer *answer,
                                                    struct engine_answer *told) {
  if (__builtin_expect(answer->status != ENGINE_FORGOTTEN, 1)) return answer;
  *told = *answer;
  told->horizon_ms = born_unix_ms(worker, answer->horizon_ms);
  return told;
}

#endif
