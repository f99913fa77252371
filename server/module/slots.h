/*
 * slots.h - in a cluster: since when this master has had each of its slots, as far as it knows.
 *
 * The host tells a module nothing when slots come and go, so the caller reads the host's list of
 * nodes from time to time (slots_take). A slot that the last list did not have may have come a
 * moment ago, with whatever its former master knew: it is not known. Outside a cluster all are.
 *
 * Pure; it must not know the host.
 */
#ifndef IDEM_SERVER_MODULE_SLOTS_H
#define IDEM_SERVER_MODULE_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/span.h"

#define SLOTS_COUNT 16384

struct slots {
  int64_t *since_ms; /* by slot; 0: not known; owned by the caller. NULL: this is no cluster */
  uint16_t crc[256];
};

/* since_ms: SLOTS_COUNT zeros, or NULL. */
void slots_init(struct slots *slots, int64_t *since_ms);

/* CRC16 (XMODEM) of the key, or of what stands between its first '{' and the next '}', if that is
 * anything. */
unsigned slots_of(const struct slots *slots, struct span key);

/* What CLUSTER NODES said at now_ms (above 0): slots of this node that were not known have come
 * then, those that are not listed are not known any more. Returns whether any came. One that left
 * and came back between two lists was never away, as far as this can tell. */
bool slots_take(struct slots *slots, struct span nodes, int64_t now_ms);

/* When the key's slot came, at the latest; now_ms if it is not known. INT64_MIN: this is no
 * cluster. */
int64_t slots_since_ms(const struct slots *slots, struct span key, int64_t now_ms);
/* Whether the key's slot is one that this node has, and had at the last look. */
bool slots_known(const struct slots *slots, struct span key);

#endif
