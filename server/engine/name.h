/*
 * name.h - a key as it is looked up: packed (key.h), with its hash.
 *
 * The hash is keyed with the secret of the engine's options, so that no client can choose keys that
 * collide; engines with one secret have the same names. Its low 32 bits are the index's, those
 * above choose a shard.
 */
#ifndef IDEM_SERVER_ENGINE_NAME_H
#define IDEM_SERVER_ENGINE_NAME_H

#include "server/engine/key.h"

struct engine;

struct name {
  struct key key; /* may point into packed or into the text: do not copy it, nor keep it longer */
  char packed[KEY_UUID_BYTES];
  uint64_t hash;
};

void name_of(const struct engine *engine, struct span text, struct name *name);
/* The hash of a key that is packed already; bytes are those of struct key. */
uint64_t name_hash(const struct engine *engine, struct span bytes);
/* By bits that are not the index's. */
static inline unsigned name_shard(uint64_t hash, unsigned shards) {
  return (unsigned)((hash >> 32) * shards >> 32);
}

#endif
