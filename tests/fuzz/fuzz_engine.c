/*
 * fuzz_engine.c - bytes as decisions: which operation, on which key, for which client, how much
 * later. The engine and the model of the contract both carry it out; the first difference aborts,
 * and so does a finding of the sanitizers.
 */
#include <stdlib.h>

#include "tests/model/runner.h"

#define MAX_STEPS 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint64_t events[EVENTS] = {0};
  struct runner *runner = runner_from_bytes(data, size);
  if (runner == NULL) abort();
  runner_run(runner, MAX_STEPS);
  runner_finish(runner, events);
  return 0;
}
