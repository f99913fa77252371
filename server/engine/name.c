/* name.c - see name.h. */
#include "server/engine/name.h"

#include "server/engine/state.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(ENGINE_HASH_SECRET_BYTES >= XXH3_SECRET_SIZE_MIN,
               "a shorter secret is refused by XXH3");

static inline uint64_t hash_of(const struct engine *engine, const char *bytes, size_t len) {
  return XXH3_64bits_withSecret(bytes, len, engine->options.hash_secret, ENGINE_HASH_SECRET_BYTES);
}

/* Most keys are UUIDs: where the length is known, little is left of XXH3. */
static __attribute__((flatten)) uint64_t hash_of_uuid(const struct engine *engine,
                                                      const char *bytes) {
  return hash_of(engine, bytes, KEY_UUID_BYTES);
}

uint64_t name_hash(const struct engine *engine, struct span bytes) {
  return bytes.len == KEY_UUID_BYTES ? hash_of_uuid(engine, bytes.data)
                                     : hash_of(engine, bytes.data, bytes.len);
}

void name_of(const struct engine *engine, struct span text, struct name *name) {
  name->key = key_of(text, name->packed);
  name->hash = name_hash(engine, name->key.bytes);
}
