/*
 * mutants.c - disks that lie and journals that forget a step: the explorer has to find each, or a
 * promise is not looked at.
 *
 *     mutants [--states N] [--mutant NAME]
 *
 * A mutant is a wrong layer between the journal and the disk, which does what a wrong journal would
 * have done. Each may take N states (400,000).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/world.h"

struct mutant {
  const char *name, *does;
  struct world_options options;
};

static const struct mutant MUTANTS[] = {
    {"no-sync", "no file is synced", {.lies = DISK_NO_SYNC}},
    {"no-first-sync", "a file is not synced before it has its name", {.lies = DISK_NO_FIRST_SYNC}},
    {"no-later-sync", "a file with a name is not synced", {.lies = DISK_NO_LATER_SYNC}},
    {"late-sync", "a file is synced only with the next one", {.lies = DISK_LATE_SYNC}},
    {"no-directory",
     "the directory is not synced",
     {.lies = DISK_NO_SYNC_NEW_NAMES | DISK_NO_SYNC_OLD_NAMES}},
    {"no-new-names",
     "the directory is not synced after a rename",
     {.lies = DISK_NO_SYNC_NEW_NAMES}},
    {"no-again",
     "a start does not write the tail again",
     {.lies = DISK_NO_AGAIN, .failing_syncs = true}},
    {"early-ack", "acknowledged before the commit", {.early = true}},
};
#define MUTANT_COUNT (sizeof MUTANTS / sizeof MUTANTS[0])

static bool find(const struct mutant *mutant, uint64_t states) {
  struct world_counts counts = {0};
  struct world_options options = mutant->options;
  char text[WORLD_TEXT_BYTES] = "";
  options.seed = 3;
  for (; counts.states < states; options.number++) {
    if (world_live(&options, &counts, text)) continue;
    char *pieces = strstr(text, "; pieces:");
    if (pieces != NULL) *pieces = '\0';
    printf("  mutant %s (%s): found after %llu states\n    %s\n", mutant->name, mutant->does,
           (unsigned long long)counts.states, text);
    return true;
  }
  printf("NOT FOUND: %s (%s) in %llu states\n", mutant->name, mutant->does,
         (unsigned long long)counts.states);
  return false;
}

int main(int argc, char **argv) {
  uint64_t states = 400000, found = 0, tried = 0;
  const char *only = NULL;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--states") == 0) states = strtoull(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--mutant") == 0) only = argv[i + 1];
  }
  for (size_t i = 0; i < MUTANT_COUNT; i++) {
    if (only != NULL && strcmp(only, MUTANTS[i].name) != 0) continue;
    tried++;
    found += find(&MUTANTS[i], states);
  }
  if (tried == 0 || found < tried) return 1;
  printf("crash: each of %llu mutants is found\n", (unsigned long long)found);
  return 0;
}
