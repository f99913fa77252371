/* holding.c - see holding.h. */
#include "server/engine/holding.h"

#include <assert.h>

#include "server/engine/open_claims.h"

bool holding_take_slowly(struct engine *engine, const struct record *record, uint16_t user) {
  assert(engine->taken_for == 0);
  if (engine->quotas == NULL) return true;
  if (record != NULL && holding_user(engine, record) == user) return true;
  if (!quotas_take(engine->quotas, QUOTAS_CLAIMS, user)) return false;
  engine->taken_for = user;
  return true;
}

void holding_give_back(struct engine *engine) {
  if (engine->taken_for != 0) quotas_give(engine->quotas, QUOTAS_CLAIMS, engine->taken_for);
  engine->taken_for = 0;
}

void holding_move_slowly(struct engine *engine, uint16_t from, uint16_t to) {
  if (engine->quotas == NULL) return;
  if (to != 0 && to == engine->taken_for) {
    engine->taken_for = 0;
  } else if (to != 0) {
    quotas_add(engine->quotas, QUOTAS_CLAIMS, to);
  }
  if (from != 0) quotas_give(engine->quotas, QUOTAS_CLAIMS, from);
}

void holding_begin(struct engine *engine, struct quotas *quotas) {
  assert(engine->quotas == NULL && engine->waiters == 0);
  engine->quotas = quotas;
  const struct open_claims *claims = &engine->open_claims;
  for (struct record *record = open_claims_after(claims, 0); record != NULL;
       record = open_claims_next(claims, record))
    holding_move(engine, 0, holding_user(engine, record));
}
