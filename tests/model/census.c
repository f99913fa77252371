/* census.c - see census.h. */
#include "tests/model/census.h"

#include <stdio.h>

#include "server/engine/holding.h"
#include "server/engine/open_claims.h"
#include "server/engine/waiter_state.h"

static void count_list(const struct list *waiters, uint32_t counts[CENSUS_USERS]) {
  for (const struct list *node = waiters->next; node != waiters; node = node->next)
    counts[LIST_ENTRY(node, struct waiter, link)->user]++;
}

const char *census_differs(const struct engine *engine, char text[128]) {
  uint32_t held[CENSUS_USERS] = {0}, waiting[CENSUS_USERS] = {0};
  const struct open_claims *claims = &engine->open_claims;
  for (const struct record *record = open_claims_after(claims, 0); record != NULL;
       record = open_claims_next(claims, record))
    held[holding_user(engine, record)]++;
  for (const struct list *node = engine->waited.next; node != &engine->waited; node = node->next) {
    const struct claim *claim = LIST_ENTRY(node, struct claim, waited);
    count_list(&claim->claimers, waiting);
    count_list(&claim->readers, waiting);
  }
  for (uint16_t user = 1; user < CENSUS_USERS; user++) {
    uint32_t claims_counted = quotas_count(engine->quotas, QUOTAS_CLAIMS, user);
    uint32_t waiters_counted = quotas_count(engine->quotas, QUOTAS_WAITERS, user);
    if (claims_counted == held[user] && waiters_counted == waiting[user]) continue;
    snprintf(text, 128, "user %u holds %u claims and has %u waiters; counted %u and %u", user,
             held[user], waiting[user], claims_counted, waiters_counted);
    return text;
  }
  return engine->taken_for != 0 ? "a claim is taken in advance" : NULL;
}
