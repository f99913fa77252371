/* born.c - see born.h. */
#include "server/commands/born.h"

#include "server/commands/reply.h"

int64_t born_unix_ms(const struct worker *worker, int64_t engine_ms) {
  return eras_unix_ms(&worker->instance->eras, worker_largest_offset_ms(worker), engine_ms);
}

bool born_on_engine(const struct call *call, int64_t unix_ms, int64_t *born_ms) {
  const struct worker *worker = call->worker;
  int64_t now_ms = worker_unix_ms(worker) + WALL_CLOCK_LATE_MS;
  if (unix_ms > now_ms + worker->options->born_skew_ms) {
    reply_request_error(call->reply, &(struct request_error){.fault = REQUEST_BORN_LATER});
    return false;
  }
  *born_ms = eras_clock_ms(&worker->instance->eras, worker_largest_offset_ms(worker), unix_ms);
  return true;
}
