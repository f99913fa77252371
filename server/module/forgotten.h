/*
 * forgotten.h - up to when requests of a key may have been forgotten: the start of this master's
 * memory, or the latest time of a record in the key's slot that ended by time.
 *
 * What engine/horizon.h is to the server, without shards, and with the host's memory. It may be
 * too late, since keys share slots, but is never too early. Times are the module's (tokens.h).
 */
#ifndef IDEM_SERVER_MODULE_FORGOTTEN_H
#define IDEM_SERVER_MODULE_FORGOTTEN_H

#include "proto/span.h"

struct forgotten {
  int64_t start_ms;
  int64_t *times; /* by slot; owned; NULL until the first record ends */
  size_t slots;   /* a power of two */
  uint64_t secret;
};

/* secret: random, so that no client can choose keys of one slot. */
void forgotten_init(struct forgotten *forgotten, size_t slots, uint64_t secret, int64_t now_ms);
/* The memory of requests begins now: this process starts, or becomes master. */
void forgotten_begin(struct forgotten *forgotten, int64_t now_ms);
/* A record of the key ended by time; its own time was since_ms. */
void forgotten_note(struct forgotten *forgotten, struct span key, int64_t since_ms);
/* The latest birth of a request of this key that may have been forgotten. */
int64_t forgotten_until_ms(const struct forgotten *forgotten, struct span key);

#endif
