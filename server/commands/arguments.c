/* arguments.c - see arguments.h. */
#include "server/commands/arguments.h"

bool arguments_integer(struct call *call, struct span text, long long *value) {
  if (span_to_i64(text, value)) return true;
  resp_write_error(call->reply, "ERR value is not an integer or out of range");
  return false;
}
