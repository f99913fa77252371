/*
 * states.c - millions of states that a power cut may leave: none of them loses what was
 * acknowledged.
 *
 *     states [--states N] [--seed N] [--workers N] [--world N]
 *
 * Lives of a journal (world.h), each with a number, until N states were looked at. --world lives
 * one of them again. How many there are depends on N and the number of workers alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash/clock.h"
#include "tests/crash/world.h"

#define MOST_WORKERS 64u

struct settings {
  uint64_t states, seed, workers, world;
  bool one;
};

struct result {
  struct world_counts counts;
  bool failed;
  char text[WORLD_TEXT_BYTES];
};

static void work(const struct settings *settings, uint64_t worker, struct result *result) {
  struct world_options options = {.seed = settings->seed, .number = worker};
  uint64_t states = settings->states / settings->workers + 1;
  for (; result->counts.states < states && !result->failed; options.number += settings->workers)
    result->failed = !world_live(&options, &result->counts, result->text);
}

static bool run_workers(const struct settings *settings, struct result *results) {
  pid_t workers[MOST_WORKERS];
  bool fine = true;
  for (uint64_t i = 0; i < settings->workers; i++) {
    workers[i] = fork();
    if (workers[i] < 0) return false;
    if (workers[i] > 0) continue;
    work(settings, i, &results[i]);
    _exit(results[i].failed ? 1 : 0);
  }
  for (uint64_t i = 0; i < settings->workers; i++) {
    int status;
    waitpid(workers[i], &status, 0);
    if (status == 0) continue;
    fine = false;
    if (results[i].failed) printf("FAILED: %s\n", results[i].text);
    if (WIFSIGNALED(status))
      printf("FAILED: worker %u: signal %d\n", (unsigned)i, WTERMSIG(status));
  }
  return fine;
}

/* All fields are counters of 64 bits. */
static void add(struct world_counts *to, const struct world_counts *counts) {
  uint64_t *sums = (uint64_t *)to;
  const uint64_t *more = (const uint64_t *)counts;
  for (size_t i = 0; i < sizeof *to / sizeof *sums; i++) sums[i] += more[i];
}

static void print_counts(const struct world_counts *c) {
  printf(
      "  states: %llu of every choice, %llu drawn, %llu with torn sectors, %llu with nothing "
      "open;\n"
      "    %llu of them with names open, %llu in a start\n",
      (unsigned long long)c->every, (unsigned long long)c->drawn, (unsigned long long)c->torn,
      (unsigned long long)c->durable, (unsigned long long)c->with_names,
      (unsigned long long)c->in_start);
  printf(
      "  lives: %llu with %llu steps, %llu file calls, %llu appends, %llu again, %llu segments "
      "removed;\n"
      "    %llu closed, %llu killed, %llu power cuts (%llu in a start), %llu with failing calls\n",
      (unsigned long long)c->worlds, (unsigned long long)c->steps, (unsigned long long)c->calls,
      (unsigned long long)c->appends, (unsigned long long)c->again, (unsigned long long)c->trimmed,
      (unsigned long long)c->closed, (unsigned long long)c->killed, (unsigned long long)c->cut,
      (unsigned long long)c->cut_in_start, (unsigned long long)c->failed_syncs);
}

static int live_one(const struct settings *settings) {
  struct result result = {.failed = false};
  struct world_options options = {.seed = settings->seed, .number = settings->world, .trace = true};
  bool fine = world_live(&options, &result.counts, result.text);
  if (!fine) printf("FAILED: %s\n", result.text);
  print_counts(&result.counts);
  return fine ? 0 : 1;
}

static uint64_t number(const char *text) {
  char *end;
  uint64_t value = text == NULL ? 0 : strtoull(text, &end, 10);
  if (text != NULL && *text != '\0' && *end == '\0') return value;
  fprintf(stderr, "usage: states [--states N] [--seed N] [--workers N] [--world N]\n");
  exit(2);
}

static void parse(struct settings *settings, int argc, char **argv) {
  for (int i = 1; i < argc; i += 2) {
    uint64_t value = number(i + 1 < argc ? argv[i + 1] : NULL);
    settings->one |= strcmp(argv[i], "--world") == 0;
    if (strcmp(argv[i], "--states") == 0)
      settings->states = value;
    else if (strcmp(argv[i], "--seed") == 0)
      settings->seed = value;
    else if (strcmp(argv[i], "--workers") == 0)
      settings->workers = value;
    else if (strcmp(argv[i], "--world") == 0)
      settings->world = value;
    else
      number(NULL);
  }
  if (settings->workers == 0 || settings->workers > MOST_WORKERS) number(NULL);
}

int main(int argc, char **argv) {
  struct settings settings = {.states = 5000000, .seed = 1, .workers = 2};
  parse(&settings, argc, argv);
  if (settings.one) return live_one(&settings);
  struct result *results = mmap(NULL, sizeof *results * MOST_WORKERS, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (results == MAP_FAILED) return 2;
  double began_s = clock_real_s();
  bool fine = run_workers(&settings, results);
  struct world_counts all = {0};
  for (uint64_t i = 0; i < settings.workers; i++) add(&all, &results[i].counts);
  double took_s = clock_real_s() - began_s;
  printf("crash states: %llu looked at, seed %llu, %s\n", (unsigned long long)all.states,
         (unsigned long long)settings.seed, fine ? "nothing is lost in any" : "FAILED");
  print_counts(&all);
  printf("measured: %.1f s, %.0f states/s\n", took_s, (double)all.states / took_s);
  return fine ? 0 : 1;
}
