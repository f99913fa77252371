/* find.c - see find.h. */
#include "server/engine/find.h"

#include "server/engine/due.h"

struct entry find_entry(struct engine *engine, const struct name *name, int64_t now_ms,
                        struct response *response) {
  struct index_search search = index_search(&engine->index, name->hash);
  for (uint64_t word; (word = index_next_of(&search)) != 0;) {
    struct entry entry = entry_of_word(word);
    if (entry.record != NULL) {
      if (!record_key_is(entry.record, name->key)) continue;
      return due_found_record(engine, entry.record, now_ms);
    }
    response_log_prefetch(entry.response);
    response_log_read(entry.response, response);
    if (!key_equal(response->key, name->key)) continue;
    return due_found_response(engine, entry.response, response->deadline_ms, name->hash, now_ms);
  }
  return (struct entry){0};
}

const struct record *find_record(const struct engine *engine, struct span key) {
  struct name name;
  name_of(engine, key, &name);
  struct index_search search = index_search(&engine->index, name.hash);
  for (uint64_t word; (word = index_next_of(&search)) != 0;) {
    const struct record *record = entry_of_word(word).record;
    if (record != NULL && record_key_is(record, name.key)) return record;
  }
  return NULL;
}

struct entry find_key(struct engine *engine, struct span key, int64_t now_ms) {
  struct name name;
  struct response response;
  name_of(engine, key, &name);
  return find_entry(engine, &name, now_ms, &response);
}
