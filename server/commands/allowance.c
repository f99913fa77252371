/* allowance.c - see allowance.h. */
#include "server/commands/allowance.h"

#include <inttypes.h>
#include <string.h>

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

#define OF_USER METRIC_TABLE("user", "user_")
const struct metric allowance_rows[] = {
    {"user_claims", METRIC_GAUGE, METRIC_NO_UNIT, "HELD claims of a user.", OF_USER},
    {"user_waiters", METRIC_GAUGE, METRIC_NO_UNIT, "Waiting callers of a user.", OF_USER},
    {"user_claims_refused", METRIC_COUNTER, METRIC_NO_UNIT,
     "Claims refused to a user for its quota-claims.", OF_USER},
    {"user_waiters_refused", METRIC_COUNTER, METRIC_NO_UNIT,
     "Waits refused to a user for its quota-waiters.", OF_USER},
    {"users_left_out", METRIC_GAUGE, METRIC_NO_UNIT,
     "Users about whom this page says nothing, because they are too many.",
     METRIC_TABLE(NULL, NULL)},
    METRIC_END,
};

static uint64_t count(const struct quotas *quotas, enum quotas_kind kind, uint16_t user) {
  return quotas_count(quotas, kind, user);
}

/* The rows of users, in their order. */
static const struct {
  uint64_t (*read)(const struct quotas *quotas, enum quotas_kind kind, uint16_t user);
  enum quotas_kind kind;
} families[] = {
    {count, QUOTAS_CLAIMS},
    {count, QUOTAS_WAITERS},
    {quotas_refused, QUOTAS_CLAIMS},
    {quotas_refused, QUOTAS_WAITERS},
};
#define FAMILIES (sizeof families / sizeof families[0])

/* Whether there is anything to tell: who has no quota and holds nothing is not shown. */
static bool is_shown(const struct quotas *quotas, const struct user *user) {
  uint16_t number = user_number(user);
  if (number == USER_DEFAULT_NUMBER) return false; /* is not counted */
  bool any = quotas_most(quotas, QUOTAS_CLAIMS, number) != 0 ||
             quotas_most(quotas, QUOTAS_WAITERS, number) != 0;
  for (size_t i = 0; i < FAMILIES && !any; i++)
    any = families[i].read(quotas, families[i].kind, number) != 0;
  return any;
}

/* Those who are shown, as far as a family has room for them. The others are counted. */
static size_t choose(const struct instance *instance, const struct user **chosen,
                     uint64_t *left_out) {
  const struct quotas *quotas = keyspace_quotas(instance->keyspace);
  size_t bytes = 0, found = 0;
  *left_out = 0;
  for (size_t i = 0; i < instance->users->count; i++) {
    const struct user *user = instance->users->all[i];
    if (!is_shown(quotas, user)) continue;
    size_t more = ALLOWANCE_SAMPLE_BYTES + strnlen(user->name, PROMETHEUS_LABEL_MAX);
    if (bytes + more > ALLOWANCE_FAMILY_BYTES) {
      ++*left_out;
      continue;
    }
    bytes += more;
    chosen[found++] = user;
  }
  return found;
}

void allowance_put_families(const struct instance *instance, const void *figures,
                            struct metrics_text *text) {
  (void)figures;
  const struct quotas *quotas = keyspace_quotas(instance->keyspace);
  const struct user *chosen[ALLOWANCE_FAMILY_BYTES / ALLOWANCE_SAMPLE_BYTES];
  uint64_t left_out;
  size_t users = choose(instance, chosen, &left_out);
  for (size_t i = 0; i < FAMILIES; i++) {
    prometheus_put_head(text, &allowance_rows[i]);
    for (size_t j = 0; j < users; j++)
      prometheus_put_sample(text, &allowance_rows[i], chosen[j]->name,
                            families[i].read(quotas, families[i].kind, user_number(chosen[j])));
  }
  prometheus_put_head(text, &allowance_rows[FAMILIES]);
  prometheus_put_sample(text, &allowance_rows[FAMILIES], NULL, left_out);
}
