/*
 * options_contract.h - the settings that the contract has, wherever it is served: how they are
 * called, written and bounded, their defaults, and what they mean.
 *
 * The server's table (options.c) and the arguments of the module (module/settings.c) are made of
 * these rows; each has a struct with fields of these names. Data only.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_CONTRACT_H
#define IDEM_SERVER_OPS_OPTIONS_CONTRACT_H

#include "server/ops/options_row.h"

#define OPTIONS_CONTRACT_KB INT64_C(1024)
#define OPTIONS_CONTRACT_MB (1024 * OPTIONS_CONTRACT_KB)
#define OPTIONS_CONTRACT_SECOND_MS INT64_C(1000)
#define OPTIONS_CONTRACT_HOUR_MS (3600 * OPTIONS_CONTRACT_SECOND_MS)
#define OPTIONS_CONTRACT_DAY_MS (24 * OPTIONS_CONTRACT_HOUR_MS)
#define OPTIONS_CONTRACT_SLOTS_MAX (16 * OPTIONS_CONTRACT_MB) /* of 8 bytes each */

#define OPTIONS_CONTRACT_TIMES "Claims and responses"
#define OPTIONS_CONTRACT_SIZES "Size limits"

/* ROW(name, kind, field, min, max, initial, flags, section, help): as in struct options_row, the
 * kind without its prefix. The maxima are those of proto/PROTOCOL.md. */
/* clang-format off */
#define OPTIONS_CONTRACT_ROWS(ROW) \
  ROW("lease", MS, limits.lease_ms, 1, OPTIONS_CONTRACT_HOUR_MS, "60s", OPTIONS_ROW_LIVE, OPTIONS_CONTRACT_TIMES, \
      "Lease of a CLAIM that names none.") \
  ROW("lease-max", MS, limits.lease_max_ms, 1, OPTIONS_CONTRACT_HOUR_MS, "1h", 0, OPTIONS_CONTRACT_TIMES, \
      "Longest lease that a client may ask for.") \
  ROW("ttl", MS, limits.ttl_ms, 1, 31 * OPTIONS_CONTRACT_DAY_MS, "24h", OPTIONS_ROW_LIVE, OPTIONS_CONTRACT_TIMES, \
      "How long the response of a STORE that names no TTL is kept.") \
  ROW("ttl-max", MS, limits.ttl_max_ms, 1, 31 * OPTIONS_CONTRACT_DAY_MS, "31d", 0, OPTIONS_CONTRACT_TIMES, \
      "Longest TTL that a client may ask for.") \
  ROW("retention", MS, retention_ms, 1, 31 * OPTIONS_CONTRACT_DAY_MS, "24h", OPTIONS_ROW_LIVE, OPTIONS_CONTRACT_TIMES, \
      "How long an abandoned claim (LAPSED) is remembered.") \
  ROW("unknown-retention", MS, unknown_retention_ms, 0, 3650 * OPTIONS_CONTRACT_DAY_MS, "0", OPTIONS_ROW_LIVE, OPTIONS_CONTRACT_TIMES, \
      "How long an abandoned claim with HOLD (UNKNOWN) is remembered. 0 means for ever.") \
  ROW("born-skew", MS, born_skew_ms, 0, OPTIONS_CONTRACT_HOUR_MS, "5s", OPTIONS_ROW_LIVE, OPTIONS_CONTRACT_TIMES, \
      "By how much the clocks that BORN is read from may differ from this machine's.") \
  ROW("horizon-slots", INTEGER, horizon_slots, 1, OPTIONS_CONTRACT_SLOTS_MAX, "65536", 0, OPTIONS_CONTRACT_TIMES, \
      "Slots in which is noted up to when requests may have been forgotten; a power of two. More of them refuse fewer first " \
      "tries as FORGOTTEN.") \
  ROW("wait-max", MS, limits.wait_max_ms, 1, 300 * OPTIONS_CONTRACT_SECOND_MS, "60s", OPTIONS_ROW_LIVE, OPTIONS_CONTRACT_TIMES, \
      "Longest wait; a longer one is shortened to it, and WAIT 0 means it.") \
  ROW("key-limit", BYTES, limits.key_bytes, 1, 64 * OPTIONS_CONTRACT_KB, "1kb", 0, OPTIONS_CONTRACT_SIZES, \
      "Longest key.") \
  ROW("fingerprint-limit", BYTES, limits.fingerprint_bytes, 1, OPTIONS_CONTRACT_KB, "64", 0, OPTIONS_CONTRACT_SIZES, \
      "Longest fingerprint (FP).") \
  ROW("owner-limit", BYTES, limits.owner_bytes, 1, 4 * OPTIONS_CONTRACT_KB, "128", 0, OPTIONS_CONTRACT_SIZES, \
      "Longest OWNER.") \
  ROW("stage-limit", BYTES, limits.stage_bytes, 1, 64 * OPTIONS_CONTRACT_KB, "1kb", 0, OPTIONS_CONTRACT_SIZES, \
      "Longest STAGE.") \
  ROW("meta-limit", BYTES, limits.meta_bytes, 1, OPTIONS_CONTRACT_MB, "64kb", 0, OPTIONS_CONTRACT_SIZES, \
      "Longest META.") \
  ROW("body-limit", BYTES, limits.body_bytes, 1, 512 * OPTIONS_CONTRACT_MB, "16mb", 0, OPTIONS_CONTRACT_SIZES, \
      "Longest response body.")
/* clang-format on */

#endif
