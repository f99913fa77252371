/* audit.c - see audit.h. */
#include "server/commands/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <xxhash.h>

#include "server/engine/name.h"

static void write_note(const struct call *call, const char *text) {
  struct session_address address;
  call->worker->instance->describe(call->session, &address);
  log_line(call->worker->log, LOG_LEVEL_NOTICE, "%s by client %llu from %s", text,
           (unsigned long long)call->session->id, address.peer);
}

void audit_note(const struct call *call, const char *format, ...) {
  char text[REFUSAL_BYTES];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  write_note(call, text);
}

void audit_flush(const struct call *call) {
  if (log_wants(call->worker->log, LOG_FLUSHED, call->worker->monotonic_ms))
    write_note(call, "FLUSHALL");
}

/* Hashed once more: who has the log must not learn where keys lie in the index. */
static uint64_t number_of(const struct call *call, struct span key) {
  uint64_t hash = name_hash(call_engine(call, key), key);
  return XXH3_64bits(&hash, sizeof hash);
}

void audit_clear(const struct call *call) {
  struct span key = call->argv[1];
  char shown[REFUSAL_SHOWN_BYTES];
  if (!log_wants(call->worker->log, LOG_CLEARED, call->worker->monotonic_ms)) return;
  if (call->worker->log->level == LOG_LEVEL_DEBUG) {
    audit_note(call, "CLEAR of key '%s'", refusal_show(key, shown));
  } else {
    audit_note(call, "CLEAR of key #%016llx", (unsigned long long)number_of(call, key));
  }
}
