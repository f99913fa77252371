/* Prints what a run found, as a table for people or as JSON for programs. It computes rates,
 * measures nothing.
 */
#ifndef IDEM_BENCH_REPORT_H
#define IDEM_BENCH_REPORT_H

#include "bench/cpu.h"
#include "bench/driver.h"

#include <stdbool.h>
#include <stdint.h>

struct report {
  const char *scenario;
  const char *like; /* or NULL */
  uint64_t connections;
  uint64_t pipeline;
  uint64_t keys; /* 0 when the keys are ever-new */
  uint64_t seed;
  const struct tally *tally;
  bool has_server_cpu;
  struct cpu_time server_cpu;
  uint64_t load_cpu_ns;
};

void report_print_table(const struct report *report);
void report_print_json(const struct report *report);

#endif
