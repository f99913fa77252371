/* live.c - see live.h. */
#include "server/module/live.h"

static int64_t *field_of(struct settings *settings, const struct options_row *row) {
  return (int64_t *)(void *)((char *)settings + row->offset);
}

static long long get(const char *name, void *setting) {
  (void)name;
  return *(int64_t *)setting;
}

/* The host has checked the bounds. */
static int set(const char *name, long long value, void *setting, RedisModuleString **error) {
  (void)name, (void)error;
  *(int64_t *)setting = value;
  return API_OK;
}

/* A default must not be over its maximum, which is fixed at load: no value may be. */
static int64_t most_of(const struct settings *settings, const struct options_row *row) {
  if (row->offset == offsetof(struct settings, limits.lease_ms))
    return settings->limits.lease_max_ms;
  return row->offset == offsetof(struct settings, limits.ttl_ms) ? settings->limits.ttl_max_ms
                                                                 : row->max;
}

bool live_register(RedisModuleCtx *ctx, struct settings *settings) {
  for (size_t i = 0; i < settings_count(); i++) {
    const struct options_row *row = settings_row(i);
    if ((row->flags & OPTIONS_ROW_LIVE) == 0) continue;
    int64_t *field = field_of(settings, row);
    if (api.RegisterNumericConfig(ctx, row->name, *field, 0, row->min, most_of(settings, row), get,
                                  set, NULL, field) != API_OK)
      return false;
  }
  return api.LoadConfigs(ctx) == API_OK;
}
