/*
 * engine.c - what a key costs inside the engine: bytes at the worst moment of growth, and
 * nanoseconds of CPU for each command, without sockets or protocol.
 *
 *     bench-engine [keys] [body bytes]          every command; then all of it ends
 *     bench-engine expire [keys] [others] [ms]  keys end within a second beside others that live on
 *     bench-engine pauses [keys]                the longest single calls while it grows
 *
 * UUID keys, fingerprints of 16 bytes, a TTL of a day. `expire`: the ends come in the order of the
 * keys but for so many milliseconds (2: as they arrive by several connections; 1000: any order),
 * and the host's turn is a millisecond. `pauses` times each call by the CPU time of the thread and
 * by the wall, and beside it an idle loop: a virtual machine's CPU time has in it what the host
 * took. Knows engine.h only.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/engine/engine.h"

#define DEFAULT_KEYS 1000000u
#define DEFAULT_BODY 100u
#define FINGERPRINT 16u
#define BATCH 1000u /* claimed, then stored: as many are in flight */
#define TTL_MS INT64_C(86400000)
#define LEASE_MS INT64_C(60000)
#define TICK_STEPS 1000u
#define UUID 36u
#define TOGETHER 32u
#define DEFAULT_OTHERS 10000000u
#define LEAD_MS INT64_C(30000) /* from the last write to the first end */
#define WINDOW_MS INT64_C(1000)
#define PAUSE_STEP_NS 100u
#define PAUSE_STEPS 10000u /* longer ones are counted in the last */
#define PAUSE_LIMIT_NS 50000u
#define IDLE_STEPS 150u /* some 600 ns */

struct bench {
  struct engine *engine;
  uint64_t keys;
  int64_t now_ms;
  char *body;
  size_t body_len;
};

static uint64_t cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t mixed(uint64_t z) { /* splitmix64 */
  z += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static struct span uuid(uint64_t number, char text[UUID + 1]) {
  static const char DIGITS[] = "0123456789abcdef";
  uint64_t bits[] = {mixed(number), mixed(~number)};
  for (unsigned i = 0, digit = 0; i < UUID; i++) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    text[i] = dash ? '-' : DIGITS[bits[digit / 16] >> (4 * (digit % 16)) & 15];
    digit += !dash;
  }
  return (struct span){text, UUID};
}

static uint64_t bytes_of(const struct bench *bench) {
  struct engine_stats stats;
  engine_stats(bench->engine, &stats);
  return stats.memory_bytes;
}

static void expect(bool as_it_should_be, const char *what) {
  if (as_it_should_be) return;
  fprintf(stderr, "bench-engine: %s\n", what);
  exit(1);
}

static uint64_t claim(struct bench *bench, uint64_t number, bool fingerprint) {
  char text[UUID + 1];
  struct engine_claim c = {.key = uuid(number, text), .lease_ms = LEASE_MS};
  if (fingerprint) c.fingerprint = (struct span){bench->body, FINGERPRINT};
  struct engine_answer answer;
  engine_claim(bench->engine, &c, bench->now_ms, &answer);
  expect(answer.status == ENGINE_CLAIMED, "a claim was not granted");
  return answer.token;
}

static void store(struct bench *bench, uint64_t number, uint64_t token, int64_t ttl_ms) {
  char text[UUID + 1];
  struct engine_store s = {.key = uuid(number, text),
                           .token = token,
                           .body = {bench->body, bench->body_len},
                           .ttl_ms = ttl_ms};
  struct engine_answer answer;
  engine_store(bench->engine, &s, bench->now_ms, &answer);
  expect(answer.status == ENGINE_STORED, "a response was not stored");
}

static void fetch(struct bench *bench, uint64_t number) {
  char text[UUID + 1];
  struct engine_read r = {.key = uuid(number, text)};
  struct engine_answer answer;
  engine_read(bench->engine, &r, bench->now_ms, &answer);
  expect(answer.status == ENGINE_DONE, "a response was not replayed");
}

/* What the system says, beside what the engine counts. */
static uint64_t resident_bytes(void) {
  unsigned long long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL) return 0;
  if (fscanf(file, "%*s %llu", &pages) != 1) pages = 0;
  fclose(file);
  return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double per(uint64_t total, uint64_t count) { return (double)total / (double)count; }

static void fill(struct bench *bench) {
  uint64_t claiming = 0, storing = 0, tokens[BATCH], before = bytes_of(bench);
  uint64_t resident = resident_bytes();
  double worst = 0;
  for (uint64_t from = 0; from < bench->keys; from += BATCH) {
    uint64_t start = cpu_ns();
    for (uint64_t i = 0; i < BATCH; i++) tokens[i] = claim(bench, from + i, true);
    uint64_t middle = cpu_ns();
    for (uint64_t i = 0; i < BATCH; i++) store(bench, from + i, tokens[i], TTL_MS);
    claiming += middle - start;
    storing += cpu_ns() - middle;
    if (from + BATCH < bench->keys / 2) continue;
    double bytes = per(bytes_of(bench) - before, from + BATCH);
    if (bytes > worst) worst = bytes;
  }
  printf("claim  %6.1f ns\nstore  %6.1f ns\n", per(claiming, bench->keys),
         per(storing, bench->keys));
  printf("stored %6.1f bytes a key, %.1f at the worst moment of the second half\n",
         per(bytes_of(bench) - before, bench->keys), worst);
  printf("       %6.1f bytes a key resident\n", per(resident_bytes() - resident, bench->keys));
}

/* As a host does with commands that came together. */
static void replay_ahead(struct bench *bench) {
  uint64_t count = bench->keys < DEFAULT_KEYS ? bench->keys : DEFAULT_KEYS, start = cpu_ns();
  struct engine_name names[TOGETHER];
  char text[UUID + 1];
  for (uint64_t from = 0; from < count; from += TOGETHER) {
    for (uint64_t i = 0; i < TOGETHER; i++) {
      uint64_t number = mixed(from + i + count) % bench->keys;
      engine_name_of(bench->engine, uuid(number, text), &names[i]);
      engine_prefetch(bench->engine, &names[i]);
    }
    for (uint64_t i = 0; i < TOGETHER; i++) engine_prefetch_entry(bench->engine, &names[i]);
    for (uint64_t i = 0; i < TOGETHER; i++) fetch(bench, mixed(from + i + count) % bench->keys);
  }
  printf("fetch  %6.1f ns, %u fetched ahead\n", per(cpu_ns() - start, count), TOGETHER);
}

static void replay(struct bench *bench) {
  uint64_t count = bench->keys < DEFAULT_KEYS ? bench->keys : DEFAULT_KEYS, start = cpu_ns();
  for (uint64_t i = 0; i < count; i++) fetch(bench, mixed(i) % bench->keys);
  printf("fetch  %6.1f ns\n", per(cpu_ns() - start, count));
}

static void end_all(struct bench *bench) {
  bench->now_ms += TTL_MS;
  uint64_t start = cpu_ns(), longest = 0;
  for (bool more = true; more;) {
    uint64_t before = cpu_ns();
    more = engine_tick(bench->engine, bench->now_ms, TICK_STEPS);
    uint64_t took = cpu_ns() - before;
    if (took > longest) longest = took;
  }
  printf("expire %6.1f ns a key, the longest of the ticks of %u steps %.1f us\n",
         per(cpu_ns() - start, bench->keys), TICK_STEPS, (double)longest / 1000);
}

static void claims_only(struct bench *bench) {
  uint64_t before = bytes_of(bench);
  double worst = 0;
  for (uint64_t i = 0; i < bench->keys; i++) {
    claim(bench, i, false);
    if (i < bench->keys / 2 || i % BATCH != 0) continue;
    double bytes = per(bytes_of(bench) - before, i + 1);
    if (bytes > worst) worst = bytes;
  }
  printf("claims %6.1f bytes a key, %.1f at the worst moment of the second half\n",
         per(bytes_of(bench) - before, bench->keys), worst);
}

static void every_command(struct bench *bench) {
  uint64_t empty = bytes_of(bench);
  fill(bench);
  replay(bench);
  replay_ahead(bench);
  end_all(bench);
  printf("left   %6" PRIu64 " bytes more than at the start\n", bytes_of(bench) - empty);
  claims_only(bench);
}

/* ---- how long single calls take ---- */

struct pauses {
  const char *name;
  uint64_t counts[PAUSE_STEPS];
  uint64_t total, over, longest, longest_at;
};

static uint64_t clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void note(struct pauses *pauses, uint64_t took_ns, uint64_t at) {
  uint64_t step = took_ns / PAUSE_STEP_NS;
  pauses->counts[step < PAUSE_STEPS ? step : PAUSE_STEPS - 1]++;
  pauses->total++;
  if (took_ns > PAUSE_LIMIT_NS) pauses->over++;
  if (took_ns <= pauses->longest) return;
  pauses->longest = took_ns;
  pauses->longest_at = at;
}

static double percentile_us(const struct pauses *pauses, double part) {
  uint64_t seen = 0;
  for (unsigned step = 0; step < PAUSE_STEPS; step++) {
    seen += pauses->counts[step];
    if ((double)seen >= (double)pauses->total * part) return (step + 1) * PAUSE_STEP_NS / 1000.0;
  }
  return 0;
}

static void print_pauses(const struct pauses *pauses) {
  printf("%s  p50 %.1f  p99 %.1f  p99.99 %.1f  longest %.1f us (at key %" PRIu64 "), %" PRIu64
         " of %" PRIu64 " calls over %u us\n",
         pauses->name, percentile_us(pauses, .5), percentile_us(pauses, .99),
         percentile_us(pauses, .9999), (double)pauses->longest / 1000, pauses->longest_at,
         pauses->over, pauses->total, PAUSE_LIMIT_NS / 1000);
  for (unsigned lower = 0, upper = 10; lower < PAUSE_STEPS; lower = upper, upper *= 2) {
    uint64_t count = 0;
    for (unsigned step = lower; step < upper && step < PAUSE_STEPS; step++)
      count += pauses->counts[step];
    if (count > 0) printf("      from %5u us %12" PRIu64 "\n", lower * PAUSE_STEP_NS / 1000, count);
  }
}

/* ---- mass expiry ---- */

static uint64_t records_of(const struct bench *bench) {
  struct engine_stats stats;
  engine_stats(bench->engine, &stats);
  return stats.records;
}

static void expire(struct bench *bench, uint64_t others, int64_t jitter_ms) {
  for (uint64_t i = 0; i < others; i++) store(bench, i, claim(bench, i, true), TTL_MS);
  for (uint64_t i = 0; i < bench->keys; i++) {
    int64_t end_ms = LEAD_MS + (int64_t)(i * (uint64_t)WINDOW_MS / bench->keys) +
                     (int64_t)(mixed(i) % (uint64_t)(jitter_ms + 1));
    store(bench, others + i, claim(bench, others + i, true), end_ms);
  }
  struct pauses *ticks = calloc(1, sizeof *ticks);
  expect(ticks != NULL, "cannot begin");
  uint64_t began = cpu_ns(), full = bytes_of(bench), ticked = 0;
  for (int64_t ms = 0; ms <= WINDOW_MS + jitter_ms; ms++) {
    for (bool more = true; more;) {
      uint64_t before = cpu_ns();
      more = engine_tick(bench->engine, bench->now_ms + LEAD_MS + ms, TICK_STEPS);
      note(ticks, cpu_ns() - before, ticked++);
    }
  }
  uint64_t took = cpu_ns() - began;
  expect(records_of(bench) == others, "not all keys have ended in time");
  printf(
      "expire %6.1f ns a key, %.1f bytes a key; ticks of %u steps: p50 %.1f  p99.9 %.1f  longest "
      "%.1f us\n",
      per(took, bench->keys), per(full - bytes_of(bench), bench->keys), TICK_STEPS,
      percentile_us(ticks, .5), percentile_us(ticks, .999), (double)ticks->longest / 1000);
  free(ticks);
}

/* ---- pauses ---- */

enum call { CALL_CLAIM, CALL_STORE, CALL_IDLE, CALLS };
enum { BY_CPU, BY_WALL, IDLE_CPU, IDLE_WALL, PAUSES };

/* About as long as a call, in registers: what this takes longer now and then, the machine takes. */
static uint64_t idle(uint64_t z) {
  for (unsigned i = 0; i < IDLE_STEPS; i++) z = mixed(z);
  return z;
}

/* The bytes by which a call makes the engine larger: what it allocates, and all that it may have
 * cleared or copied. */
static void pauses(struct bench *bench) {
  static const char *const NAMES[PAUSES] = {"cpu ", "wall", "cpu, idle ", "wall, idle"};
  struct pauses *by = calloc(PAUSES, sizeof *by);
  expect(by != NULL, "cannot begin");
  for (unsigned i = 0; i < PAUSES; i++) by[i].name = NAMES[i];
  uint64_t token = 0, bytes = bytes_of(bench), grew = 0, grew_at = 0, spun = 0;
  for (uint64_t i = 0; i < bench->keys; i++) {
    for (enum call call = CALL_CLAIM; call < CALLS; call++) {
      uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID), wall = clock_ns(CLOCK_MONOTONIC);
      if (call == CALL_CLAIM) token = claim(bench, i, true);
      if (call == CALL_STORE) store(bench, i, token, TTL_MS);
      if (call == CALL_IDLE) spun += idle(i);
      wall = clock_ns(CLOCK_MONOTONIC) - wall;
      cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
      note(&by[call == CALL_IDLE ? IDLE_WALL : BY_WALL], wall, i);
      note(&by[call == CALL_IDLE ? IDLE_CPU : BY_CPU], cpu, i);
      uint64_t now = bytes_of(bench);
      if (now > bytes + grew) {
        grew = now - bytes;
        grew_at = i;
      }
      bytes = now;
    }
  }
  for (unsigned i = 0; i < PAUSES; i++) print_pauses(&by[i]);
  printf("one call took at most %" PRIu64 " bytes more (at key %" PRIu64 ")%s\n", grew, grew_at,
         spun == 0 ? " " : "");
  free(by);
}

static uint64_t number_in(char **argv, int argc, int at, uint64_t otherwise) {
  return at < argc ? strtoull(argv[at], NULL, 10) : otherwise;
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  bool expiring = strcmp(mode, "expire") == 0, pausing = strcmp(mode, "pauses") == 0;
  int at = expiring || pausing ? 2 : 1;
  struct bench bench = {
      .keys = number_in(argv, argc, at, DEFAULT_KEYS),
      .body_len = expiring ? DEFAULT_BODY : number_in(argv, argc, at + 1, DEFAULT_BODY),
      .now_ms = 1000000};
  const struct engine_options options = {
      .first_token = UINT64_C(86150000) << RULES_TOKEN_SHIFT,
      .retention_ms = TTL_MS,
      .waiters_per_key = 1,
      .waiters_total = 1,
  };
  bench.keys = bench.keys / BATCH * BATCH;
  bench.body = calloc(1, bench.body_len + FINGERPRINT);
  bench.engine = engine_create(&options, bench.now_ms);
  expect(bench.keys > 0 && bench.body != NULL && bench.engine != NULL, "cannot begin");
  if (expiring) {
    expire(&bench, number_in(argv, argc, at + 1, DEFAULT_OTHERS),
           (int64_t)number_in(argv, argc, at + 2, 2));
  } else if (pausing) {
    pauses(&bench);
  } else {
    every_command(&bench);
  }
  engine_destroy(bench.engine);
  free(bench.body);
  return 0;
}
