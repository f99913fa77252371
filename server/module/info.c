/* info.c - see info.h. */
#include "server/module/info.h"

#include "server/module/host.h"

static uint64_t value_of(const struct metric *row) {
  return *(const uint64_t *)(const void *)((const char *)&host.counters + row->offset);
}

void info_section(RedisModuleInfoCtx *info, int for_crash_report) {
  (void)for_crash_report;
  if (api.InfoAddSection(info, NULL) != API_OK) return; /* it was not asked for */
  host.counters.waiters = host.waiters.count;
  host.counters.bound = api.DictSize(host.bindings.keys);
  for (const struct metric *row = host_metrics; row->name != NULL; row++)
    api.InfoAddFieldULongLong(info, row->name, value_of(row));
  api.InfoAddFieldULongLong(info, "highest_token", host.tokens.high);
  api.InfoAddFieldULongLong(info, "horizon_start_unix_ms", (uint64_t)host.forgotten.start_ms);
}
