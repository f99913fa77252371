/* outputs.c - see outputs.h. */
#include "server/commands/outputs.h"

#include <stdlib.h>

#include "server/commands/access.h"
#include "server/commands/counted.h"
#include "server/engine/pin.h"

static void destroy(struct resp_output *out) {
  resp_output_deinit(out);
  free(out);
}

bool outputs_init(struct worker *worker) {
  worker->spare_outputs = calloc(OUTPUTS_SPARE, sizeof *worker->spare_outputs);
  worker->errors = calloc(1, sizeof *worker->errors);
  worker->aside.errors = worker->lost_output.errors = worker->errors;
  return worker->spare_outputs != NULL && worker->errors != NULL;
}

void outputs_deinit(struct worker *worker) {
  while (worker->spare_count > 0) destroy(worker->spare_outputs[--worker->spare_count]);
  free(worker->spare_outputs);
  free(worker->errors);
}

struct resp_output *outputs_take(struct worker *worker) {
  if (worker->spare_count > 0) return worker->spare_outputs[--worker->spare_count];
  struct resp_output *out = calloc(1, sizeof *out);
  if (out != NULL) out->errors = worker->errors;
  return out;
}

void outputs_give(struct worker *worker, struct resp_output *out) {
  if (worker->spare_count == OUTPUTS_SPARE || out->capacity > OUTPUTS_SPARE_BYTES) {
    destroy(out);
    return;
  }
  resp_output_reset(out);
  worker->spare_outputs[worker->spare_count++] = out;
}

void outputs_unpin_one(struct worker *worker, const struct resp_output_ref *ref) {
  int64_t now_ms = worker->now_ms;
  if (ref->keeper == NULL) {
    counted_release(ref->pin);
    return;
  }
  struct engine *engine = access_lock(worker, ref->keeper, &now_ms);
  pin_release(engine, ref->pin);
  access_unlock(worker, ref->keeper);
}

void outputs_unpin(struct worker *worker, struct resp_output *out, size_t first) {
  for (size_t i = first; i < out->ref_count; i++) outputs_unpin_one(worker, &out->refs[i]);
}
