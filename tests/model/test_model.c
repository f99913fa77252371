/*
 * test_model.c - a million random operations and more, in many small worlds, against the model of
 * the contract.
 *
 *     test_model [--seed N] [--steps N]      (or the environment: MODEL_SEED, MODEL_STEPS)
 *     test_model --shadowed 5                a shadow in 5 of 5 worlds
 *
 * A shadow (shadow.h) makes a world take two to three times as long, so unless told otherwise 1 of
 * 5 has one. The seed of every world is printed when something differs; the same seed makes the
 * same operations. Fails too when some line of the contract's table never happened: then the test
 * has stopped to test it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/model/runner.h"

#define DEFAULT_STEPS 5000000
#define SHADOWED 1
#define SHADOWED_OF 5
#define WORLD_STEPS 20000
#define FULL_STEPS 4000000 /* with fewer, rare events may be missing by chance */

static uint64_t number(const char *text) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (*text == '\0' || *end != '\0' || errno != 0) {
    fprintf(stderr, "not a number: %s\n", text);
    exit(2);
  }
  return value;
}

static uint64_t setting(int argc, char **argv, const char *option, const char *variable,
                        uint64_t otherwise) {
  for (int i = 1; i + 1 < argc; i++) {
    if (strcmp(argv[i], option) == 0) return number(argv[i + 1]);
  }
  const char *text = getenv(variable);
  return text != NULL ? number(text) : otherwise;
}

static int report(const uint64_t events[EVENTS], uint64_t steps) {
  int missing = 0;
  for (int e = 0; e < EVENTS; e++) {
    if (getenv("MODEL_EVENTS") != NULL)
      printf("%10" PRIu64 "  %s\n", events[e], MODEL_EVENT_NAMES[e]);
    if (events[e] > 0) continue;
    fprintf(stderr, "never happened: %s\n", MODEL_EVENT_NAMES[e]);
    missing++;
  }
  printf("model: %" PRIu64 " steps, %d of %d transitions taken\n", steps, EVENTS - missing, EVENTS);
  return missing > 0 && steps >= FULL_STEPS ? 1 : 0;
}

int main(int argc, char **argv) {
  uint64_t seed = setting(argc, argv, "--seed", "MODEL_SEED", (uint64_t)time(NULL));
  uint64_t steps = setting(argc, argv, "--steps", "MODEL_STEPS", DEFAULT_STEPS);
  uint64_t shadowed = setting(argc, argv, "--shadowed", "MODEL_SHADOWED", SHADOWED);
  printf("model: --seed %" PRIu64 " --steps %" PRIu64 "\n", seed, steps);
  fflush(stdout);
  uint64_t events[EVENTS] = {0};
  uint64_t done = 0;
  while (done < steps) {
    struct runner *runner = runner_from_seed(seed, seed % SHADOWED_OF < shadowed);
    seed++;
    if (runner == NULL) return 2;
    uint64_t now = steps - done < WORLD_STEPS ? steps - done : WORLD_STEPS;
    done += runner_run(runner, now);
    runner_finish(runner, events);
  }
  return report(events, done);
}
