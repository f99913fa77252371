/* inspection.c - see inspection.h: the table. */
#include "server/rules/inspection.h"

#define TEXT(literal) \
  { literal, sizeof(literal) - 1 }

/* clang-format off */
#define KIND_OF(value) _Generic((value), int64_t: INSPECTION_INTEGER, struct span: INSPECTION_BYTES)
#define FIELD(name, field) \
  {TEXT(name), KIND_OF(((struct inspection *)0)->field), offsetof(struct inspection, field)}

const struct inspection_field INSPECTION_FIELDS[INSPECTION_FIELD_COUNT] = {
    FIELD("key", key), /* of CLAIMS only */
    FIELD("state", state),
    FIELD("owner", owner),
    FIELD("token", token),
    FIELD("attempt", attempt),
    FIELD("age-ms", age_ms),
    FIELD("lease-left-ms", lease_left_ms),
    FIELD("ttl-left-ms", ttl_left_ms),
    FIELD("stage", stage),
    FIELD("fingerprint", fingerprint),
    FIELD("waiters", waiters),
    FIELD("bind", bind),
    FIELD("hold", hold),
    FIELD("body-bytes", body_bytes),
    FIELD("meta-bytes", meta_bytes),
};

static const struct span STATES[] = {
    [RULES_HELD]    = TEXT("HELD"),
    [RULES_LAPSED]  = TEXT("LAPSED"),
    [RULES_UNKNOWN] = TEXT("UNKNOWN"),
    [RULES_DONE]    = TEXT("DONE"),
};
/* clang-format on */

struct span inspection_state(enum rules_phase phase) {
  return STATES[phase];
}
