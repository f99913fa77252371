/* output_limit.c - see output_limit.h. */
#include "server/commands/output_limit.h"

/* Half of what all readers together may leave untaken; the other half is for their shares. */
static uint64_t half_of_total(const struct worker *worker) {
  uint64_t total = (uint64_t)worker->options->client_output_total;
  uint64_t quarter = (uint64_t)worker->options->maxmemory.bytes / 4;
  return (quarter > 0 && quarter < total ? quarter : total) / 2;
}

bool output_limit_crowds(const struct worker *worker, uint64_t bytes) {
  return bytes > half_of_total(worker);
}

bool output_limit_crowded(const struct worker *worker) {
  return output_limit_crowds(
      worker, atomic_load_explicit(&worker->instance->sending_bytes, memory_order_relaxed));
}

static size_t share_of_each(const struct worker *worker) {
  uint64_t count = atomic_load_explicit(&worker->instance->session_count, memory_order_relaxed);
  uint64_t share = half_of_total(worker) / (count > 0 ? count : 1);
  if (share > OUTPUT_LIMIT_SHARE) return OUTPUT_LIMIT_SHARE;
  return share < OUTPUT_LIMIT_LEAST ? OUTPUT_LIMIT_LEAST : (size_t)share;
}

static size_t limit_of(const struct session *session, const struct worker *worker) {
  size_t limit = (size_t)worker->options->client_output_limit;
  if (session->stranger) return OUTPUT_LIMIT_LEAST;
  if (!output_limit_crowded(worker)) return limit;
  size_t share = share_of_each(worker);
  return share < limit ? share : limit;
}

bool output_limit_over(const struct session *session, const struct worker *worker, size_t more) {
  size_t limit = limit_of(session, worker);
  size_t bytes = session_output_bytes(session);
  return bytes > limit || more > limit - bytes;
}

bool output_limit_allows_push(struct worker *worker, struct session *session, size_t bytes) {
  if (session->close_now || session->close_when_sent) return false;
  if (!output_limit_over(session, worker, bytes)) return true;
  output_limit_close(worker, session);
  return false;
}

void output_limit_close(struct worker *worker, struct session *session) {
  worker->counters.closed_for_unread_replies++;
  session_close(session, worker);
}
