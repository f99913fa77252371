/* config.c - CONFIG: the options table, told to clients. */
#include "server/commands/server.h"

static bool matches_any(const struct call *call, const char *name) {
  for (size_t i = 2; i < call->argc; i++) {
    if (glob_match(call->argv[i], span_of(name), true)) return true;
  }
  return false;
}

void server_config_get(struct call *call) {
  size_t found = 0;
  for (size_t i = 0; i < options_count(); i++) found += matches_any(call, options_name(i));
  resp_map(call->reply, found);
  for (size_t i = 0; i < options_count(); i++) {
    if (!matches_any(call, options_name(i))) continue;
    char text[OPTIONS_TEXT_BYTES];
    options_text(call->host->options, i, text);
    resp_bulk_text(call->reply, options_name(i));
    resp_bulk_text(call->reply, text);
  }
}
