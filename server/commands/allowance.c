/* allowance.c - see allowance.h. */
#include "server/commands/allowance.h"

#include <inttypes.h>

#include "server/engine/quotas.h"
#include "server/ops/prometheus.h"
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

const struct metric allowance_rows[] = {
    {"user_claims_refused", METRIC_COUNTER, METRIC_NO_UNIT,
     "Claims refused to a user for its quota-claims.", METRIC_TABLE("user", "user_")},
    {"user_waiters_refused", METRIC_COUNTER, METRIC_NO_UNIT,
     "Waits refused to a user for its quota-waiters.", METRIC_TABLE("user", "user_")},
    METRIC_END,
};

static void put_family(const struct instance *instance, const struct metric *row,
                       enum quotas_kind kind, struct metrics_text *text) {
  const struct quotas *quotas = keyspace_quotas(instance->keyspace);
  prometheus_put_head(text, row);
  for (size_t i = 0; i < instance->users->count; i++) {
    const struct user *user = instance->users->all[i];
    uint16_t number = user_number(user);
    if (number == USER_DEFAULT_NUMBER) continue;
    prometheus_put_sample(text, row, user->name, quotas_refused(quotas, kind, number));
  }
}

void allowance_put_families(const struct instance *instance, const void *figures,
                            struct metrics_text *text) {
  (void)figures;
  put_family(instance, &allowance_rows[0], QUOTAS_CLAIMS, text);
  put_family(instance, &allowance_rows[1], QUOTAS_WAITERS, text);
}
