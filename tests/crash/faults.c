/*
 * faults.c - every file call of a life fails once; and a disk that fills up.
 *
 *     faults [--seed N] [--steps N] [--fills N] [--life N [--failure N --call N]]
 *
 * A life (world.h) is lived once for each of its file calls and each kind of failure:
 *
 *  - EINTR and a short read or write are not seen from outside at all;
 *  - EIO and ENOSPC: a commit that fails says so, a start refuses and has changed nothing, what
 *    makes room tries again; whatever is left on the disk, nothing that was acknowledged is
 * missing.
 *
 * Then lives on a disk that is full now and then: they go on, and take in more once there is room.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/world.h"

#define LIVES 4u

struct settings {
  uint64_t seed, fills, steps;
  uint64_t life, failure, call; /* to see one life again */
  bool one;
};

struct tally {
  uint64_t tried, hit, refused, killed, states;
};

static bool fail_one(struct world_options options, enum disk_failure failure, uint64_t call,
                     struct tally *tally) {
  struct world_counts counts = {0};
  char text[WORLD_TEXT_BYTES] = "";
  options.fault = (struct disk_fault){call, call, failure};
  bool fine = world_live(&options, &counts, text);
  tally->tried++;
  tally->hit += counts.hit;
  tally->refused += counts.refused;
  tally->killed += counts.killed;
  tally->states += counts.states;
  if (!fine)
    printf("FAILED: failure %d of call %llu: %s\n", failure, (unsigned long long)call, text);
  return fine;
}

/* The fault that never comes: how many calls there are. */
static uint64_t count_calls(struct world_options options) {
  struct world_counts counts = {0};
  char text[WORLD_TEXT_BYTES] = "";
  options.fault = (struct disk_fault){UINT64_MAX, UINT64_MAX, DISK_EIO};
  if (world_live(&options, &counts, text)) return counts.disk_calls;
  printf("FAILED: %s\n", text);
  return 0;
}

static bool fail_each(uint64_t seed, unsigned steps, enum disk_failure failure) {
  static const char *const names[] = {"", "EIO", "ENOSPC", "EINTR", "a short call"};
  struct tally tally = {0};
  bool fine = true;
  for (uint64_t life = 0; life < LIVES; life++) {
    struct world_options options = {.seed = seed, .number = life, .steps = steps, .sparse = true};
    uint64_t calls = count_calls(options);
    if (calls == 0) return false;
    for (uint64_t call = 1; call <= calls && fine; call++)
      fine = fail_one(options, failure, call, &tally);
  }
  printf(
      "  %s at each of %llu file calls: %llu could fail, %llu starts refused, %llu ends; %llu "
      "states\n",
      names[failure], (unsigned long long)tally.tried, (unsigned long long)tally.hit,
      (unsigned long long)tally.refused, (unsigned long long)tally.killed,
      (unsigned long long)tally.states);
  return fine;
}

static bool fill(uint64_t seed, uint64_t lives) {
  struct world_counts counts = {0};
  char text[WORLD_TEXT_BYTES] = "";
  for (uint64_t life = 0; life < lives; life++) {
    struct world_options options = {.seed = seed, .number = life, .sparse = true, .filling = true};
    if (world_live(&options, &counts, text)) continue;
    printf("FAILED: full disk: %s\n", text);
    return false;
  }
  printf("  full disks: %llu lives, %llu times no room; %llu states\n", (unsigned long long)lives,
         (unsigned long long)counts.no_room, (unsigned long long)counts.states);
  return true;
}

static int live_one(const struct settings *settings) {
  struct world_counts counts = {0};
  char text[WORLD_TEXT_BYTES] = "";
  struct world_options options = {
      .seed = settings->seed, .number = settings->life, .sparse = true, .trace = true};
  options.filling = settings->failure == DISK_FINE;
  if (!options.filling) options.steps = (unsigned)settings->steps;
  options.fault =
      (struct disk_fault){settings->call, settings->call, (enum disk_failure)settings->failure};
  bool fine = world_live(&options, &counts, text);
  printf("%s%s\n", fine ? "fine" : "FAILED: ", text);
  return fine ? 0 : 1;
}

static void parse(struct settings *settings, int argc, char **argv) {
  struct {
    const char *name;
    uint64_t *value;
  } const options[] = {{"--seed", &settings->seed},   {"--steps", &settings->steps},
                       {"--fills", &settings->fills}, {"--life", &settings->life},
                       {"--call", &settings->call},   {"--failure", &settings->failure}};
  for (int i = 1; i + 1 < argc; i += 2) {
    for (size_t o = 0; o < sizeof options / sizeof options[0]; o++) {
      if (strcmp(argv[i], options[o].name) != 0) continue;
      *options[o].value = strtoull(argv[i + 1], NULL, 10);
      settings->one |= options[o].value == &settings->life;
    }
  }
}

int main(int argc, char **argv) {
  struct settings settings = {.seed = 1, .fills = 40, .steps = 50};
  parse(&settings, argc, argv);
  if (settings.one) return live_one(&settings);
  bool fine = true;
  for (enum disk_failure failure = DISK_EIO; failure < DISK_FAILURES; failure++)
    fine = fail_each(settings.seed, (unsigned)settings.steps, failure) && fine;
  fine = fill(settings.seed, settings.fills) && fine;
  printf("crash faults: %s\n",
         fine ? "every file call failed once, and nothing is lost" : "FAILED");
  return fine ? 0 : 1;
}
