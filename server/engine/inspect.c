/* inspect.c - see inspect.h. */
#include "server/engine/inspect.h"

#include "server/engine/due.h"
#include "server/engine/find.h"
#include "server/engine/open_claims.h"
#include "server/engine/pin.h"
#include "server/engine/token.h"

/* ---- showing ---- */

static int64_t left_ms(int64_t deadline_ms, int64_t now_ms, int64_t least_ms) {
  if (deadline_ms == RULES_NEVER) return INSPECTION_NONE;
  return deadline_ms - now_ms > least_ms ? deadline_ms - now_ms : least_ms;
}

static int64_t age_ms(int64_t since_ms, int64_t now_ms) {
  return now_ms > since_ms ? now_ms - since_ms : 0;
}

static int64_t length_of(struct span bytes) {
  return span_present(bytes) ? (int64_t)bytes.len : INSPECTION_NONE;
}

/* As BUSY says it: until a lease ends, at least 1 ms is left. */
static void show_record(struct engine *engine, const struct record *record, int64_t now_ms,
                        struct inspection *shown) {
  const struct rules_record facts = record_facts(record);
  const struct claim *claim = record_claim(record);
  bool held = facts.phase == RULES_HELD;
  *shown = (struct inspection){
      .key = shown->key,
      .state = inspection_state(facts.phase),
      .owner = pin_bytes(record_owner(record)),
      .stage = claim != NULL ? pin_bytes(claim->stage) : SPAN_ABSENT,
      .fingerprint = fingerprint_text(record_fingerprint(record), engine->shown_fingerprint),
      .token = (int64_t)facts.token,
      .attempt = facts.attempt,
      .age_ms = age_ms(facts.since_ms, now_ms),
      .lease_left_ms = held ? left_ms(facts.deadline_ms, now_ms, 1) : INSPECTION_NONE,
      .ttl_left_ms = held ? INSPECTION_NONE : left_ms(facts.deadline_ms, now_ms, 0),
      .waiters = claim != NULL ? claim->waiting : 0,
      .bind = facts.bind,
      .hold = facts.hold,
      .body_bytes = INSPECTION_NONE,
      .meta_bytes = INSPECTION_NONE,
  };
}

static void show_response(struct engine *engine, const struct response *response, int64_t now_ms,
                          struct inspection *shown) {
  *shown = (struct inspection){
      .key = shown->key,
      .state = inspection_state(RULES_DONE),
      .fingerprint = fingerprint_text(response->fingerprint, engine->shown_fingerprint),
      .token = (int64_t)response->token,
      .attempt = INSPECTION_NONE,
      .age_ms = age_ms(response->since_ms, now_ms),
      .lease_left_ms = INSPECTION_NONE,
      .ttl_left_ms = left_ms(response->deadline_ms, now_ms, 0),
      .body_bytes = length_of(response->body),
      .meta_bytes = length_of(response->meta),
  };
}

enum inspect_found inspect_key(struct engine *engine, struct span key, int64_t now_ms,
                               struct inspection *shown) {
  struct name name;
  struct response response;
  name_of(engine, key, &name);
  struct entry entry = find_entry(engine, &name, now_ms, &response);
  if (entry_is_absent(entry)) return INSPECT_ABSENT;
  if (entry.record != NULL && record_is_value(entry.record)) return INSPECT_VALUE;
  shown->key = key;
  if (entry.record != NULL) {
    show_record(engine, entry.record, now_ms, shown);
  } else {
    show_response(engine, &response, now_ms, shown);
  }
  return INSPECT_RECORD;
}

/* ---- walking ---- */

static bool begins_with(struct span text, struct span prefix) {
  return text.len >= prefix.len &&
         (prefix.len == 0 || memcmp(text.data, prefix.data, prefix.len) == 0);
}

/* What is due on the record is applied, unless it is filtered out before. NULL: it is not, or no
 * longer, one to show under its token. */
static struct record *live_match(struct engine *engine, const struct inspect_walk *walk,
                                 struct record *record, struct span key, int64_t now_ms) {
  uint64_t token = record->token;
  if (!begins_with(key, walk->prefix)) return NULL;
  record = due_found_record(engine, record, now_ms).record;
  if (record == NULL || record->token != token) return NULL;
  if (walk->phase != RULES_ABSENT && walk->phase != record->phase) return NULL;
  return age_ms(record_since_ms(record), now_ms) >= walk->older_ms ? record : NULL;
}

/* Whether it takes more. */
static bool look_at(struct engine *engine, const struct inspect_walk *walk, struct record *record,
                    int64_t now_ms) {
  char text[KEY_UUID_TEXT];
  struct inspection shown;
  shown.key = key_text(record_key(record), text);
  record = live_match(engine, walk, record, shown.key, now_ms);
  if (record == NULL) return true;
  show_record(engine, record, now_ms, &shown);
  return walk->visit(walk->context, &shown);
}

void inspect_walk_on(struct engine *engine, struct inspect_walk *walk, unsigned budget,
                     int64_t now_ms) {
  const struct open_claims *claims = &engine->open_claims;
  struct record *record = open_claims_after(claims, walk->after);
  for (bool more = true; more && budget > 0; budget--) {
    walk->ended = record == NULL || record->token >= walk->end;
    if (walk->ended) return;
    walk->after = record->token;
    struct record *next = open_claims_next(claims, record);
    more = look_at(engine, walk, record, now_ms);
    record = next; /* what is due on one record leaves the others where they are */
  }
}

uint64_t inspect_before_oldest(struct engine *engine, enum rules_phase phase) {
  if (phase != RULES_HELD && phase != RULES_UNKNOWN) return 0;
  const struct record *oldest =
      open_claims_oldest(&engine->open_claims, phase, engine->flushed_token);
  return oldest != NULL ? oldest->token - 1 : token_end(engine);
}

uint64_t inspect_end(const struct engine *engine) { return token_end(engine); }
