/*
 * slot.h - the slot of a key in a cluster of Redis or Valkey. Knows nothing else.
 */
#ifndef IDEM_CLIENT_SLOT_H
#define IDEM_CLIENT_SLOT_H

#include "client/idem.h"

#define SLOT_COUNT 16384

/* 0 to SLOT_COUNT - 1: CRC16 (XMODEM) of the key, or of what stands between its first '{' and the
 * next '}' when that is something. */
unsigned slot_of(struct idem_bytes key);

#endif
