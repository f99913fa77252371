/* settings.c - see settings.h. */
#include "server/module/settings.h"

#include <stdio.h>

#include "server/ops/options_contract.h"
#include "server/ops/options_scale.h"

#define AT(field) offsetof(struct settings, field)
#define ROW(name, kind, field, min, max, initial, flags, section, help) \
  {name, OPTIONS_ROW_##kind, AT(field), min, max, initial, flags, section, help},
/* Each waiter costs the host a blocked client, 35 KB: so the defaults are lower than the server's.
 */
#define WAITERS_MAX 1048576

/* clang-format off */
static const struct options_row ROWS[] = {
    OPTIONS_CONTRACT_ROWS(ROW)
    ROW("waiters-per-key", INTEGER, waiters_per_key, 1, WAITERS_MAX, "1000", OPTIONS_ROW_LIVE, OPTIONS_CONTRACT_TIMES,
        "Clients that may wait on one key.")
    ROW("waiters-total", INTEGER, waiters_total, 1, WAITERS_MAX, "10000", OPTIONS_ROW_LIVE, OPTIONS_CONTRACT_TIMES,
        "Clients that may wait on all keys together.")
};
/* clang-format on */
#define COUNT (sizeof ROWS / sizeof *ROWS)

size_t settings_count(void) { return COUNT; }

const struct options_row *settings_row(size_t index) { return &ROWS[index]; }

static int64_t *field_of(struct settings *settings, const struct options_row *row) {
  return (int64_t *)(void *)((char *)settings + row->offset);
}

static const struct options_scale_unit *units_of(const struct options_row *row) {
  switch (row->kind) {
    case OPTIONS_ROW_MS: return options_scale_ms;
    case OPTIONS_ROW_BYTES: return options_scale_bytes;
    default: return options_scale_none;
  }
}

/* NULL: there is none. */
static const struct options_row *find_row(struct span name) {
  for (size_t i = 0; i < COUNT; i++) {
    if (span_is(name, ROWS[i].name)) return &ROWS[i];
  }
  return NULL;
}

static bool set_value(struct settings *settings, const struct options_row *row, struct span text) {
  int64_t value;
  if (!options_scale_parse(text, units_of(row), &value)) return false;
  *field_of(settings, row) = value;
  return value >= row->min && value <= row->max;
}

static bool refuse_value(const struct options_row *row, struct span text,
                         char error[SETTINGS_ERROR_BYTES]) {
  char least[SPAN_NUMBER_MAX + 4], most[SPAN_NUMBER_MAX + 4], after[128];
  options_scale_print(units_of(row), row->min, least, sizeof least);
  options_scale_print(units_of(row), row->max, most, sizeof most);
  snprintf(after, sizeof after, "' for %s: expected %s to %s", row->name, least, most);
  *span_quote(error, SETTINGS_ERROR_BYTES - 1, "bad value '", text, after) = '\0';
  return false;
}

static bool refuse_name(const char *before, struct span text, const char *after,
                        char error[SETTINGS_ERROR_BYTES]) {
  *span_quote(error, SETTINGS_ERROR_BYTES - 1, before, text, after) = '\0';
  return false;
}

/* *given: a bit for each row that argv names. */
static bool parse_pairs(const struct span *argv, size_t argc, struct settings *settings,
                        uint64_t *given, char error[SETTINGS_ERROR_BYTES]) {
  _Static_assert(COUNT <= 64, "a bit for each");
  for (size_t i = 0; i < argc; i += 2) {
    const struct options_row *row = find_row(argv[i]);
    if (row == NULL) return refuse_name("unknown argument '", argv[i], "'", error);
    if (i + 1 == argc) return refuse_name("argument '", argv[i], "' needs a value", error);
    if (!set_value(settings, row, argv[i + 1])) return refuse_value(row, argv[i + 1], error);
    *given |= UINT64_C(1) << (row - ROWS);
  }
  return true;
}

/* A default that is over its maximum is lowered; a value that was given is refused. */
static bool follow_maximum(struct settings *settings, const char *name, const char *maximum,
                           uint64_t given, char error[SETTINGS_ERROR_BYTES]) {
  const struct options_row *row = find_row(span_of(name));
  int64_t *value = field_of(settings, row);
  int64_t most = *field_of(settings, find_row(span_of(maximum)));
  if (*value <= most) return true;
  if ((given >> (row - ROWS) & 1) != 0) {
    snprintf(error, SETTINGS_ERROR_BYTES, "%s is over %s", name, maximum);
    return false;
  }
  *value = most;
  return true;
}

static bool is_power_of_two(int64_t number) { return (number & (number - 1)) == 0; }

bool settings_parse(const struct span *argv, size_t argc, struct settings *settings,
                    char error[SETTINGS_ERROR_BYTES]) {
  uint64_t given = 0;
  *settings = (struct settings){0};
  for (size_t i = 0; i < COUNT; i++) set_value(settings, &ROWS[i], span_of(ROWS[i].initial));
  if (!parse_pairs(argv, argc, settings, &given, error)) return false;
  if (!is_power_of_two(settings->horizon_slots)) {
    snprintf(error, SETTINGS_ERROR_BYTES, "horizon-slots must be a power of two");
    return false;
  }
  return follow_maximum(settings, "lease", "lease-max", given, error) &&
         follow_maximum(settings, "ttl", "ttl-max", given, error) &&
         follow_maximum(settings, "waiters-per-key", "waiters-total", given, error);
}
