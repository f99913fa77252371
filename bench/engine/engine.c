/*
 * engine.c - what a key costs inside the engine: bytes at the worst moment of growth, and
 * nanoseconds of CPU for each command, without sockets or protocol.
 *
 *     bench-engine [keys] [body bytes]          every command; then all of it ends
 *     bench-engine expire [keys] [others] [ms]  keys end within a second beside others that live on
 *     bench-engine pauses [keys] [runs]         claims that take over 50 us while it grows
 *
 * `expire` and `pauses` print lines of a name and a value, which run.py reads. UUID keys,
 * fingerprints of 16 bytes, a TTL of a day. `expire`: the ends come in the order of the keys but
 * for so many milliseconds (2: as they arrive by several connections; 1000: any order), and the
 * host's turn is a millisecond. Memory as a server has it. Knows engine.h and regions.h only.
 *
 * `pauses` times each call by the wall, which on a shared machine stands still for longer than 50
 * us thousands of times in a growth of millions of keys, whatever runs. But the growth is the same
 * in every run: keys, secret, addresses. What the engine does at a step it does there in each of
 * them, and what the machine does it does elsewhere the next time; so for each step the least of
 * the runs counts.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/engine/engine.h"
#include "server/engine/regions.h"
#include "server/engine/keys.h"
#include "server/engine/stats.h"
#include "server/engine/tick.h"

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
#define CALL_STEP_NS 100u
#define CALL_STEPS 10000u /* longer ones are counted in the last */
#define PAUSE_LIMIT_NS 50000u
#define PAUSE_STEP_NS 100u /* so that a step's least fits 16 bits: up to 6.5 ms */
#define DEFAULT_RUNS 3u
#define RUNS_MAX 16u

struct bench {
  const struct engine_options *options;
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
  struct stats stats;
  stats_read(bench->engine, &stats);
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
  struct name names[TOGETHER];
  char text[UUID + 1];
  for (uint64_t from = 0; from < count; from += TOGETHER) {
    for (uint64_t i = 0; i < TOGETHER; i++) {
      uint64_t number = mixed(from + i + count) % bench->keys;
      name_of(bench->engine, uuid(number, text), &names[i]);
      keys_prefetch(bench->engine, &names[i]);
    }
    for (uint64_t i = 0; i < TOGETHER; i++) keys_prefetch_entry(bench->engine, &names[i]);
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
    more = tick_run(bench->engine, bench->now_ms, TICK_STEPS);
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

struct calls {
  uint64_t counts[CALL_STEPS];
  uint64_t total, longest;
};

static void note(struct calls *calls, uint64_t took_ns) {
  uint64_t step = took_ns / CALL_STEP_NS;
  calls->counts[step < CALL_STEPS ? step : CALL_STEPS - 1]++;
  calls->total++;
  if (took_ns > calls->longest) calls->longest = took_ns;
}

static double percentile_us(const struct calls *calls, double part) {
  uint64_t seen = 0;
  for (unsigned step = 0; step < CALL_STEPS; step++) {
    seen += calls->counts[step];
    if ((double)seen >= (double)calls->total * part) return (step + 1) * CALL_STEP_NS / 1000.0;
  }
  return 0;
}

/* ---- mass expiry ---- */

static uint64_t records_of(const struct bench *bench) {
  struct stats stats;
  stats_read(bench->engine, &stats);
  return stats.records;
}

static void expire(struct bench *bench, uint64_t others, int64_t jitter_ms) {
  for (uint64_t i = 0; i < others; i++) store(bench, i, claim(bench, i, true), TTL_MS);
  for (uint64_t i = 0; i < bench->keys; i++) {
    int64_t end_ms = LEAD_MS + (int64_t)(i * (uint64_t)WINDOW_MS / bench->keys) +
                     (int64_t)(mixed(i) % (uint64_t)(jitter_ms + 1));
    store(bench, others + i, claim(bench, others + i, true), end_ms);
  }
  struct calls *ticks = calloc(1, sizeof *ticks);
  expect(ticks != NULL, "cannot begin");
  uint64_t began = cpu_ns(), full = bytes_of(bench);
  for (int64_t ms = 0; ms <= WINDOW_MS + jitter_ms; ms++) {
    for (bool more = true; more;) {
      uint64_t before = cpu_ns();
      more = tick_run(bench->engine, bench->now_ms + LEAD_MS + ms, TICK_STEPS);
      note(ticks, cpu_ns() - before);
    }
  }
  uint64_t took = cpu_ns() - began;
  expect(records_of(bench) == others, "not all keys have ended in time");
  printf("expiring %" PRIu64 "\nothers %" PRIu64 "\ncpu_ns_per_key %.1f\nbytes_per_key %.1f\n",
         bench->keys, others, per(took, bench->keys), per(full - bytes_of(bench), bench->keys));
  printf("tick_p50_us %.1f\ntick_p999_us %.1f\ntick_longest_us %.1f\n", percentile_us(ticks, .5),
         percentile_us(ticks, .999), (double)ticks->longest / 1000);
  free(ticks);
}

/* ---- pauses ---- */

struct growth {
  uint16_t *least; /* of each step over the runs so far, in PAUSE_STEP_NS */
  uint64_t *over;  /* of each run: steps over PAUSE_LIMIT_NS */
};

static uint64_t wall_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void grow(struct bench *bench, struct growth *growth, uint64_t run) {
  for (uint64_t i = 0; i < bench->keys; i++) {
    uint64_t before = wall_ns();
    claim(bench, i, false);
    uint64_t took = wall_ns() - before, step = took / PAUSE_STEP_NS;
    if (took > PAUSE_LIMIT_NS) growth->over[run]++;
    if (step > UINT16_MAX) step = UINT16_MAX;
    if (run == 0 || step < growth->least[i]) growth->least[i] = (uint16_t)step;
  }
}

static void print_pauses(const struct bench *bench, const struct growth *growth, uint64_t runs) {
  uint64_t longest_at = 0, always = 0;
  for (uint64_t i = 0; i < bench->keys; i++) {
    if (growth->least[i] > growth->least[longest_at]) longest_at = i;
    always += growth->least[i] >= PAUSE_LIMIT_NS / PAUSE_STEP_NS;
  }
  printf("keys %" PRIu64 "\nruns %" PRIu64 "\n", bench->keys, runs);
  for (uint64_t run = 0; run < runs; run++)
    printf("run_%" PRIu64 "_over_50us %" PRIu64 "\n", run + 1, growth->over[run]);
  printf("always_over_50us %" PRIu64 "\nlongest_us %.1f\nlongest_at %" PRIu64 "\n", always,
         growth->least[longest_at] * PAUSE_STEP_NS / 1000.0, longest_at);
}

static void *shared(size_t bytes) {
  void *found = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  expect(found != MAP_FAILED, "cannot begin");
  return found;
}

/* Each run is a child: its memory is new and lies where it lay in the run before. */
static void pauses(struct bench *bench, uint64_t runs) {
  expect(runs > 0 && runs <= RUNS_MAX, "1 to 16 runs");
  struct growth growth = {.least = shared(bench->keys * sizeof *growth.least),
                          .over = shared(RUNS_MAX * sizeof *growth.over)};
  for (uint64_t run = 0; run < runs; run++) {
    fprintf(stderr, "bench-engine: growth %" PRIu64 " of %" PRIu64 "\n", run + 1, runs);
    pid_t child = fork();
    expect(child >= 0, "cannot fork");
    if (child == 0) {
      bench->engine = engine_create(bench->options, bench->now_ms);
      expect(bench->engine != NULL, "cannot begin");
      grow(bench, &growth, run);
      _exit(0);
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child && status == 0, "a run failed");
  }
  print_pauses(bench, &growth, runs);
}

static uint64_t number_in(char **argv, int argc, int at, uint64_t otherwise) {
  return at < argc ? strtoull(argv[at], NULL, 10) : otherwise;
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "";
  bool expiring = strcmp(mode, "expire") == 0, pausing = strcmp(mode, "pauses") == 0;
  int at = expiring || pausing ? 2 : 1;
  const struct engine_options options = {
      .regions = regions_create(),
      .first_token = UINT64_C(86150000) << RULES_TOKEN_SHIFT,
      .retention_ms = TTL_MS,
      .waiters_per_key = 1,
      .waiters_total = 1,
  };
  struct bench bench = {
      .options = &options,
      .keys = number_in(argv, argc, at, DEFAULT_KEYS),
      .body_len = expiring || pausing ? DEFAULT_BODY : number_in(argv, argc, at + 1, DEFAULT_BODY),
      .now_ms = 1000000};
  bench.keys = bench.keys / BATCH * BATCH;
  bench.body = calloc(1, bench.body_len + FINGERPRINT);
  expect(bench.keys > 0 && bench.body != NULL, "cannot begin");
  if (pausing) {
    pauses(&bench, number_in(argv, argc, at + 1, DEFAULT_RUNS));
    regions_destroy(options.regions);
    free(bench.body);
    return 0;
  }
  bench.engine = engine_create(&options, bench.now_ms);
  expect(bench.engine != NULL, "cannot begin");
  if (expiring) {
    expire(&bench, number_in(argv, argc, at + 1, DEFAULT_OTHERS),
           (int64_t)number_in(argv, argc, at + 2, 2));
  } else {
    every_command(&bench);
  }
  engine_destroy(bench.engine);
  regions_destroy(options.regions);
  free(bench.body);
  return 0;
}
