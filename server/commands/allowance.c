/* allowance.c - see allowance.h. */
#include "server/commands/allowance.h"

#include <inttypes.h>

#include "server/engine/quotas.h"
#include "server/ops/metrics.h"
#include "server/ops/users.h"

static uint32_t most_of(uint64_t quota) {
  return quota < UINT32_MAX ? (uint32_t)quota : UINT32_MAX;
}

void allowance_apply(struct instance *instance) {
  struct quotas *quotas = keyspace_quotas(instance->keyspace);
  quotas_clear_most(quotas);
  for (size_t i = 0; i < instance->users->count; i++) {
    const struct user *user = instance->users->all[i];
    uint16_t number = user_number(user);
    if (number == USER_DEFAULT_NUMBER) continue;
    quotas_set_most(quotas, QUOTAS_CLAIMS, number, most_of(user_quota_claims(user)));
    quotas_set_most(quotas, QUOTAS_WAITERS, number, most_of(user_quota_waiters(user)));
  }
}

void allowance_put_lines(const struct instance *instance, const void *figures,
                         struct metrics_text *text) {
  (void)figures;
  const struct quotas *quotas = keyspace_quotas(instance->keyspace);
  for (size_t i = 0; i < instance->users->count; i++) {
    const struct user *user = instance->users->all[i];
    uint16_t number = user_number(user);
    if (number == USER_DEFAULT_NUMBER) continue; /* is not counted */
    metrics_put(
        text,
        "user_%s:claims=%u,waiters=%u,quota_claims=%u,quota_waiters=%u,refused_claims=%" PRIu64
        ",refused_waiters=%" PRIu64 "\r\n",
        user->name, quotas_count(quotas, QUOTAS_CLAIMS, number),
        quotas_count(quotas, QUOTAS_WAITERS, number), quotas_most(quotas, QUOTAS_CLAIMS, number),
        quotas_most(quotas, QUOTAS_WAITERS, number), quotas_refused(quotas, QUOTAS_CLAIMS, number),
        quotas_refused(quotas, QUOTAS_WAITERS, number));
  }
}
