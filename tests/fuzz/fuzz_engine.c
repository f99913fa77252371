/*
 * fuzz_engine.c - bytes as decisions: which operation, on which key, by whom, how much later. The
 * engine does it and so does the model of the contract; the first difference aborts, and so does
 * what the sanitizers see.
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
