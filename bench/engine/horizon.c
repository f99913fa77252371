/*
 * horizon.c - how often the horizon is too late: which part of the first tries that say when they
 * were born would be refused although nothing of theirs was forgotten.
 *
 *     bench-horizon [bits] [seed]      2^bits slots, 16 unless told otherwise
 *
 * For each load ten million records end, evenly, each TTL after its STORE. At moments of the second
 * half keys that never were are tried, whose request was born a while before; the formula of
 * server/engine/horizon.h stands beside what is counted. No clock, so a seed gives the same figures
 * everywhere. Knows horizon.h only.
 */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/engine/horizon.h"

#define DEFAULT_BITS 16u
#define DEFAULT_SEED 1u
#define ENDS UINT64_C(10000000)
#define MOMENTS 50u /* even steps over the second half */
#define TRIES 100000u
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define DAY (24 * 60 * MINUTE)
#define SKEW_MS (5 * SECOND)
#define START_MS INT64_C(1000000)

struct load {
  const char *name;
  int64_t ttl_ms, stores_ms; /* all records are stored in stores_ms */
};

static const struct load LOADS[] = {
    {"10 million keys over 24 hours, TTL 24 h", DAY, DAY},
    {"100 ends a second, TTL 1 s", SECOND, (int64_t)ENDS *SECOND / 100},
    {"1,000 ends a second, TTL 1 s", SECOND, (int64_t)ENDS *SECOND / 1000},
};

struct age {
  const char *name;
  int64_t ms;
};

static const struct age AGES[] = {
    {"0", 0},          {"1 s", SECOND},
    {"1 min", MINUTE}, {"10 min", 10 * MINUTE},
    {"24 h", DAY},     {"24 h 10 min", DAY + 10 * MINUTE},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct bench {
  uint64_t seed;
  struct memory memory;
  struct horizon horizon;
  uint64_t tries, refused[COUNT(AGES)];
};

static uint64_t next_hash(struct bench *bench) { /* splitmix64 */
  uint64_t z = bench->seed += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static int64_t store_ms(const struct load *load, uint64_t record) {
  return START_MS + (int64_t)(record * (uint64_t)load->stores_ms / ENDS);
}

/* Each try is of a key of its own, and of every age. */
static void try_keys(struct bench *bench, int64_t now_ms) {
  for (unsigned i = 0; i < TRIES; i++) {
    int64_t forgotten_ms = horizon_ms(&bench->horizon, next_hash(bench)) + SKEW_MS;
    for (unsigned age = 0; age < COUNT(AGES); age++) {
      bench->refused[age] += now_ms - AGES[age].ms <= forgotten_ms;
    }
  }
  bench->tries += TRIES;
}

static double formula(const struct load *load, int64_t age_ms, uint32_t slots) {
  int64_t exposed_ms = age_ms + SKEW_MS - load->ttl_ms;
  if (exposed_ms <= 0) return 0;
  double ends = (double)ENDS * (double)exposed_ms / (double)load->stores_ms;
  return 1 - exp(-ends / slots);
}

/* Requests that were born so early that fewer records count than later get no figure. */
static bool is_steady(const struct load *load, int64_t age_ms) {
  return age_ms + SKEW_MS - load->ttl_ms < load->stores_ms / 2;
}

static uint32_t slots_with_an_end(const struct horizon *horizon) {
  uint32_t count = 0, first = horizon_first_slot(horizon);
  for (uint32_t i = 0; i < horizon_slots(horizon); i++) {
    count += horizon_slot_ms(horizon, first + i) > horizon_start_ms(horizon);
  }
  return count;
}

static void print(const struct bench *bench, const struct load *load) {
  printf("\n%s; %" PRIu32 " slots had an end, %zu bytes\n", load->name,
         slots_with_an_end(&bench->horizon), bench->memory.bytes);
  printf("  %-12s %10s %10s\n", "age", "counted", "formula");
  for (unsigned age = 0; age < COUNT(AGES); age++) {
    if (!is_steady(load, AGES[age].ms)) continue;
    printf("  %-12s %8.3f %% %8.3f %%\n", AGES[age].name,
           100.0 * (double)bench->refused[age] / (double)bench->tries,
           100.0 * formula(load, AGES[age].ms, horizon_slots(&bench->horizon)));
  }
}

static void run(const struct load *load, unsigned bits, uint64_t seed) {
  struct bench bench = {.seed = seed};
  horizon_init(&bench.horizon, &bench.memory, &(struct horizon_place){bits, 0, 1}, START_MS);
  for (uint64_t record = 0; record < ENDS; record++) {
    horizon_note(&bench.horizon, next_hash(&bench), store_ms(load, record));
    if (record >= ENDS / 2 && (record + 1) % (ENDS / 2 / MOMENTS) == 0) {
      try_keys(&bench, store_ms(load, record) + load->ttl_ms);
    }
  }
  print(&bench, load);
  horizon_deinit(&bench.horizon);
}

int main(int argc, char **argv) {
  unsigned bits = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : DEFAULT_BITS;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : DEFAULT_SEED;
  if (bits > HORIZON_MOST_BITS) {
    fprintf(stderr, "bench-horizon: at most %u bits\n", HORIZON_MOST_BITS);
    return 1;
  }
  printf("first tries that are refused: %u slots, skew %" PRId64 " ms, seed %" PRIu64 "\n",
         1u << bits, SKEW_MS, seed);
  for (unsigned i = 0; i < COUNT(LOADS); i++) run(&LOADS[i], bits, seed);
  return 0;
}
