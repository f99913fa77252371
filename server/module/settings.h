/*
 * settings.h - the arguments of the module: NAME VALUE pairs after its path, in `loadmodule` or
 * MODULE LOAD, with the names, bounds and units of the server's options of the same meaning.
 *
 * Pure; it must not know the host.
 */
#ifndef IDEM_SERVER_MODULE_SETTINGS_H
#define IDEM_SERVER_MODULE_SETTINGS_H

#include "proto/span.h"
#include "server/ops/options_row.h"
#include "server/rules/request.h"

/* Milliseconds, bytes, counts. */
struct settings {
  struct request_limits limits;
  int64_t retention_ms;
  int64_t unknown_retention_ms; /* 0: for ever */
  int64_t born_skew_ms;
  int64_t horizon_slots; /* a power of two */
  int64_t waiters_per_key, waiters_total;
};

/* The rows: 0 .. settings_count()-1; their offsets are of struct settings. */
size_t settings_count(void);
const struct options_row *settings_row(size_t index);

#define SETTINGS_ERROR_BYTES 256
/* Defaults, and what argv says; lease, ttl and waiters-per-key follow a lower maximum. False with
 * the reason. */
bool settings_parse(const struct span *argv, size_t argc, struct settings *settings,
                    char error[SETTINGS_ERROR_BYTES]);

#endif
