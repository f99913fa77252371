/* options_memory.h - a size of memory as an option: bytes, or "75%" of what the process may have
 * (base/machine_memory.h), which is asked for when the value is read. */
#ifndef IDEM_SERVER_OPS_OPTIONS_MEMORY_H
#define IDEM_SERVER_OPS_OPTIONS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "server/ops/refusal.h"

/* A percentage of less is refused: not even the tables of an empty server would fit. */
#define OPTIONS_MEMORY_LEAST (INT64_C(16) << 20)

/* Whether it is written as a percentage. */
bool options_memory_is_percent(struct span text);
/* "75%" -> 75, and the bytes. whole: what the process may have. False with the reason: it is not
 * from 1% to 100%, the bytes are too few, or nobody knows how many there are (whole is 0). */
bool options_memory_parse(struct span text, uint64_t whole, int64_t *percent, int64_t *bytes,
                          char error[REFUSAL_BYTES]);

#endif
