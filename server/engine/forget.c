/* forget.c - see forget.h. */
#include "server/engine/forget.h"

#include "server/engine/effect.h"

void forget_record(struct engine *engine, struct record *record) {
  effect_emit_free(engine, (struct entry){.record = record});
  entry_remove_record(engine, record);
}

void forget_response(struct engine *engine, struct response_ref *response, uint64_t hash) {
  effect_emit_free(engine, (struct entry){.response = response});
  entry_remove_response(engine, response, hash);
}

void forget_entry(struct engine *engine, struct entry entry) {
  effect_emit_free(engine, entry);
  entry_remove(engine, entry);
}
