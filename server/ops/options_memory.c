/* options_memory.c - see options_memory.h. */
#include "server/ops/options_memory.h"

#define MIB (UINT64_C(1) << 20)

bool options_memory_is_percent(struct span text) {
  return text.len > 0 && text.data[text.len - 1] == '%';
}

bool options_memory_parse(struct span text, uint64_t whole, int64_t *percent, int64_t *bytes,
                          char error[REFUSAL_BYTES]) {
  long long number;
  char shown[REFUSAL_SHOWN_BYTES];
  refusal_show(text, shown);
  if (!span_to_i64((struct span){text.data, text.len - 1}, &number) || number < 1 || number > 100)
    return refusal_write(error, "bad value '%s' for maxmemory: expected 1%% to 100%%", shown);
  if (whole == 0)
    return refusal_write(error,
                         "maxmemory %s: nothing says how much memory this machine has: name "
                         "a size",
                         shown);
  *percent = number;
  *bytes = (int64_t)(whole / 100 * (uint64_t)number + whole % 100 * (uint64_t)number / 100);
  if (*bytes >= OPTIONS_MEMORY_LEAST) return true;
  return refusal_write(error, "maxmemory %s of %llu mb is less than %llu mb: name a size", shown,
                       (unsigned long long)(whole / MIB),
                       (unsigned long long)OPTIONS_MEMORY_LEAST / MIB);
}
