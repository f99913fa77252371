/* overview.c - see overview.h. */
#include "server/commands/overview.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/commands/access.h"
#include "server/engine/inspect.h"

/* How many records are looked at while a shard is locked: some ten microseconds. */
#define LOOKED_AT_ONCE 128u

struct overview_walk {
  struct inspect_walk walk;
  struct overview *overview;
  bool passed; /* all that is to come is younger than what the list has */
};

static const enum rules_phase PHASES[OVERVIEW_STATES] = {
    [OVERVIEW_UNKNOWN] = RULES_UNKNOWN,
    [OVERVIEW_HELD] = RULES_HELD,
    [OVERVIEW_LAPSED] = RULES_LAPSED,
};

struct span overview_state_name(enum overview_state state) {
  return inspection_state(PHASES[state]);
}

/* ---- life ---- */

static void forget_claims(struct overview *overview) {
  for (unsigned i = 0; i < OVERVIEW_STATES; i++) {
    struct overview_list *list = &overview->of[i];
    while (list->count > 0) free(list->claims[--list->count]);
    list->total = 0;
  }
}

static void end_walk(struct overview *overview) {
  free(overview->walk);
  overview->walk = NULL;
}

struct overview *overview_create(void) {
  return calloc(1, sizeof(struct overview));
}

void overview_destroy(struct overview *overview) {
  if (overview == NULL) return;
  forget_claims(overview);
  end_walk(overview);
  free(overview);
}

/* ---- one claim ---- */

static struct span shortened(struct span bytes, size_t most) {
  if (span_present(bytes) && bytes.len > most) bytes.len = most;
  return bytes;
}

static struct span copied(char *to, struct span bytes) {
  if (!span_present(bytes)) return bytes;
  if (bytes.len > 0) memcpy(to, bytes.data, bytes.len);
  return (struct span){to, bytes.len};
}

static struct overview_claim *claim_of(const struct inspection *shown, enum overview_state state) {
  struct span key = shortened(shown->key, OVERVIEW_KEY_BYTES);
  struct span stage = shortened(shown->stage, OVERVIEW_STAGE_BYTES);
  size_t stage_len = span_present(stage) ? stage.len : 0;
  struct overview_claim *claim = malloc(sizeof *claim + key.len + stage_len);
  if (claim == NULL) return NULL;
  *claim = (struct overview_claim){
      .place = (uint64_t)shown->token,
      .state = state,
      .age_ms = shown->age_ms,
      .lease_left_ms = shown->lease_left_ms,
      .ttl_left_ms = shown->ttl_left_ms,
      .attempt = shown->attempt,
      .waiters = shown->waiters,
      .bind = shown->bind != 0,
      .hold = shown->hold != 0,
      .key_cut = shown->key.len > key.len,
  };
  claim->key = copied(claim->bytes, key);
  claim->stage = copied(claim->bytes + key.len, stage);
  return claim;
}

/* ---- a list ---- */

/* Where a claim belongs, from the end: a shard's claims come in the order of their tokens. */
static unsigned place_in(const struct overview_list *list, uint64_t place) {
  unsigned at = list->count;
  while (at > 0 && list->claims[at - 1]->place > place) at--;
  return at;
}

static void insert(struct overview_list *list, unsigned at, struct overview_claim *claim) {
  if (list->count == OVERVIEW_CLAIMS) free(list->claims[--list->count]);
  memmove(&list->claims[at + 1], &list->claims[at],
          (list->count - at) * sizeof(struct overview_claim *));
  list->claims[at] = claim;
  list->count++;
}

/* inspect_visitor. */
static bool visit(void *context, const struct inspection *shown) {
  struct overview_walk *walk = context;
  struct overview *overview = walk->overview;
  struct overview_list *list = &overview->of[overview->state];
  unsigned at = place_in(list, (uint64_t)shown->token);
  walk->passed = at == OVERVIEW_CLAIMS;
  if (walk->passed) return false;
  struct overview_claim *claim = claim_of(shown, (enum overview_state)overview->state);
  overview->failed |= claim == NULL;
  if (claim == NULL) return false;
  insert(list, at, claim);
  return true;
}

/* ---- the walk ---- */

void overview_begin(struct overview *overview, struct worker *worker) {
  int64_t now_ms = worker->now_ms;
  forget_claims(overview);
  end_walk(overview);
  access_pause_others(worker);
  access_lock_all(worker, &now_ms);
  sections_read(worker, &overview->figures);
  overview->end = inspect_end(shard_engine(keyspace_shard(worker->instance->keyspace, 0)));
  access_unlock_all(worker);
  access_resume_others(worker);
  for (unsigned i = 0; i < OVERVIEW_STATES; i++)
    overview->of[i].total = overview->figures.engine.phases[PHASES[i]];
  overview->failed = false;
  overview->state = overview->shard = 0;
  overview->left = OVERVIEW_LOOKED_AT;
}

static void begin_walk(struct overview *overview, struct engine *engine) {
  enum rules_phase phase = PHASES[overview->state];
  overview->walk = malloc(sizeof *overview->walk);
  overview->failed |= overview->walk == NULL;
  if (overview->walk == NULL) return;
  *overview->walk = (struct overview_walk){
      .overview = overview,
      .walk = {.after = inspect_before_oldest(engine, phase),
               .end = overview->end,
               .phase = phase,
               .prefix = SPAN_ABSENT,
               .visit = visit,
               .context = overview->walk},
  };
}

/* Looks at a few records of the present shard; true: it has no more. */
static bool walk_on(struct overview *overview, struct worker *worker) {
  struct shard *shard = keyspace_shard(worker->instance->keyspace, overview->shard);
  int64_t now_ms = worker->now_ms;
  struct engine *engine = access_lock(worker, shard, &now_ms);
  if (overview->walk == NULL) begin_walk(overview, engine);
  if (overview->walk != NULL)
    inspect_walk_on(engine, &overview->walk->walk, LOOKED_AT_ONCE, now_ms);
  access_unlock(worker, shard);
  overview->left -= overview->left < LOOKED_AT_ONCE ? overview->left : LOOKED_AT_ONCE;
  return overview->walk == NULL || overview->walk->walk.ended || overview->walk->passed ||
         overview->failed;
}

static void next_state(struct overview *overview) {
  end_walk(overview);
  overview->state++;
  overview->shard = 0;
  overview->left = OVERVIEW_LOOKED_AT;
}

static void step(struct overview *overview, struct worker *worker) {
  const struct overview_list *list = &overview->of[overview->state];
  bool has_all = list->count >= list->total;
  if (has_all || overview->left == 0 || overview->failed) {
    next_state(overview);
  } else if (walk_on(overview, worker)) {
    end_walk(overview);
    if (++overview->shard == keyspace_shards(worker->instance->keyspace)) next_state(overview);
  }
}

bool overview_step(struct overview *overview, struct worker *worker, uint64_t end_ns) {
  while (overview->state < OVERVIEW_STATES && clock_monotonic_ns() < end_ns) step(overview, worker);
  return overview->state == OVERVIEW_STATES;
}
