/* The table of mixes. */
#include "bench/mix.h"

#include <stdio.h>
#include <string.h>

/* What an idempotency service sees: mostly duplicates and whole jobs, some owners that are slow. */
static const struct row {
  const char *name;
  const char *help;
  struct {
    const char *name;
    unsigned weight;
  } parts[MIX_PARTS_MAX];
} rows[] = {
    {"mixed",
     "60 % replay, 30 % job, 10 % claim; each batch is of one kind",
     {{"replay", 60}, {"job", 30}, {"claim", 10}}},
    {"redis-mixed",
     "Redis: 60 % redis-replay, 30 % redis-job, 10 % redis-claim",
     {{"redis-replay", 60}, {"redis-job", 30}, {"redis-claim", 10}}},
};

static const struct row *find(const char *name) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (strcmp(rows[i].name, name) == 0) return &rows[i];
  }
  return NULL;
}

const char *mix_init(struct mix *mix, const char *name, const char *like,
                     const struct step_sizes *sizes) {
  memset(mix, 0, sizeof *mix);
  const struct row *row = find(name);
  if (row == NULL || like != NULL) {
    mix->weights[0] = mix->weight_sum = 1;
    mix->part_count = 1;
    return scenario_init(&mix->parts[0], name, like, sizes);
  }
  for (size_t i = 0; i < MIX_PARTS_MAX && row->parts[i].name != NULL; i++) {
    const char *reason = scenario_init(&mix->parts[i], row->parts[i].name, NULL, sizes);
    mix->part_count = i + 1;
    if (reason != NULL) return reason;
    mix->weights[i] = row->parts[i].weight;
    mix->weight_sum += row->parts[i].weight;
  }
  return NULL;
}

void mix_deinit(struct mix *mix) {
  for (size_t i = 0; i < mix->part_count; i++) scenario_deinit(&mix->parts[i]);
}

void mix_print_list(void) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    printf("  %-18s %s\n", rows[i].name, rows[i].help);
}
