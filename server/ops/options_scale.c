/* options_scale.c - see options_scale.h. */
#include "server/ops/options_scale.h"

#include <stdio.h>

#define SECOND_MS INT64_C(1000)
#define KIB INT64_C(1024)

/* Smallest first; a bound is shown in the largest unit that divides it. */
const struct options_scale_unit options_scale_ms[] = {
    {"ms", 1},
    {"s", SECOND_MS},
    {"m", 60 * SECOND_MS},
    {"h", 3600 * SECOND_MS},
    {"d", 86400 * SECOND_MS},
    {NULL, 0},
};
const struct options_scale_unit options_scale_seconds[] = {
    {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0}};
/* redis.conf: k is 1000 and kb is 1024. */
const struct options_scale_unit options_scale_bytes[] = {
    {"b", 1},
    {"k", 1000},
    {"kb", KIB},
    {"m", 1000 * 1000},
    {"mb", KIB *KIB},
    {"g", 1000 * 1000 * 1000},
    {"gb", KIB *KIB *KIB},
    {NULL, 0},
};
const struct options_scale_unit options_scale_none[] = {{NULL, 0}};

void options_scale_print(const struct options_scale_unit *units, int64_t number, char *text,
                         size_t size) {
  struct options_scale_unit best = {"", 1};
  for (const struct options_scale_unit *unit = units; unit->suffix != NULL && number != 0; unit++) {
    if (number % unit->factor == 0) best = *unit;
  }
  /* A size in single bytes reads better without its b. */
  if (best.factor == 1 && units == options_scale_bytes) best.suffix = "";
  snprintf(text, size, "%lld%s", (long long)(number / best.factor), best.suffix);
}

/* A number, then one of the units or nothing. span_to_i64 refuses plus signs and leading zeros. */
bool options_scale_parse(struct span text, const struct options_scale_unit *units,
                         int64_t *number) {
  size_t digits = text.len > 0 && text.data[0] == '-' ? 1 : 0;
  while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') digits++;
  long long count;
  if (!span_to_i64((struct span){text.data, digits}, &count)) return false;
  struct span suffix = {text.data + digits, text.len - digits};
  if (suffix.len == 0) {
    *number = count;
    return true;
  }
  for (const struct options_scale_unit *unit = units; unit->suffix != NULL; unit++) {
    if (span_is(suffix, unit->suffix)) return !__builtin_mul_overflow(count, unit->factor, number);
  }
  return false;
}
