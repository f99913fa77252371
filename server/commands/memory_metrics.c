/* memory_metrics.c - see memory_metrics.h. */
#include "server/commands/memory_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static uint64_t resident_bytes(void) {
  FILE *file = fopen("/proc/self/statm", "re");
  if (file == NULL) return 0;
  uint64_t all = 0, resident = 0;
  int fields = fscanf(file, "%" SCNu64 " %" SCNu64, &all, &resident);
  fclose(file);
  return fields == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void memory_metrics_read(const struct stats *engine, const struct options *options,
                         struct memory_metrics *figures) {
  uint64_t used = engine->memory_bytes, resident = resident_bytes();
  *figures = (struct memory_metrics){
      .used_bytes = used,
      .peak_bytes = engine->memory_peak_bytes,
      .resident_bytes = resident,
      .limit_bytes = (uint64_t)options->maxmemory.bytes,
      .reserve_bytes = options->store_reserve,
      .resident_by_used = used > 0 ? (double)resident / (double)used : 0,
  };
}

#define FIELD(field) METRIC_FIELD(struct memory_metrics, field)
#define OF_FAMILY(field, family) METRIC_FIELD_AS(struct memory_metrics, field, family, NULL)
#define HUMAN(field) METRIC_HUMAN(struct memory_metrics, field)
#define BYTES METRIC_GAUGE, METRIC_BYTES
#define TEXT METRIC_TEXT, METRIC_NO_UNIT

const struct metric memory_metrics_rows[] = {
    {"used_memory", BYTES, "Allocated for keys, responses, claims, waiters and the table.",
     OF_FAMILY(used_bytes, "memory_used")},
    {"used_memory_human", TEXT, "The same for people.", HUMAN(used_bytes)},
    {"used_memory_rss", BYTES, "Memory of the process that is resident.",
     OF_FAMILY(resident_bytes, "memory_resident")},
    {"used_memory_rss_human", TEXT, "The same for people.", HUMAN(resident_bytes)},
    {"used_memory_peak", BYTES, "Highest used memory.", OF_FAMILY(peak_bytes, "memory_peak")},
    {"used_memory_peak_human", TEXT, "The same for people.", HUMAN(peak_bytes)},
    {"used_memory_dataset", METRIC_TEXT, METRIC_BYTES, "As used_memory.", FIELD(used_bytes)},
    {"used_memory_lua", TEXT, "There are no scripts.", METRIC_FIXED("0")},
    {"maxmemory", BYTES, "The option maxmemory; 0 means no limit.",
     OF_FAMILY(limit_bytes, "memory_max")},
    {"maxmemory_human", TEXT, "The same for people.", HUMAN(limit_bytes)},
    {"maxmemory_policy", TEXT, "Nothing is evicted.", METRIC_FIXED("noeviction")},
    {"mem_fragmentation_ratio", METRIC_GAUGE, METRIC_RATIO, "Resident memory by used memory.",
     OF_FAMILY(resident_by_used, "memory_fragmentation")},
    {"mem_allocator", TEXT, "The allocator.", METRIC_FIXED("jemalloc")},
    {"store_reserve", BYTES, "The option store-reserve.", FIELD(reserve_bytes)},
    METRIC_END,
};
