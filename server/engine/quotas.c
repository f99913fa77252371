/* quotas.c - see quotas.h. */
#include "server/engine/quotas.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct count {
  _Atomic uint32_t now, most;
  _Atomic uint64_t refused;
};

/* 2 MiB, of which only the pages of users that have something are ever touched. */
struct quotas {
  struct count of[QUOTAS_USERS][QUOTAS_KINDS];
};

struct quotas *quotas_create(void) {
  return calloc(1, sizeof(struct quotas));
}

void quotas_destroy(struct quotas *quotas) { free(quotas); }

/* ---- the most ---- */

void quotas_set_most(struct quotas *quotas, enum quotas_kind kind, uint16_t user, uint32_t most) {
  atomic_store_explicit(&quotas->of[user][kind].most, most, memory_order_relaxed);
}

uint32_t quotas_most(const struct quotas *quotas, enum quotas_kind kind, uint16_t user) {
  return atomic_load_explicit(&quotas->of[user][kind].most, memory_order_relaxed);
}

/* Reading a page does not make it. */
static void clear(_Atomic uint32_t *number) {
  if (atomic_load_explicit(number, memory_order_relaxed) != 0) atomic_store(number, 0);
}

void quotas_clear_most(struct quotas *quotas) {
  for (unsigned user = 0; user < QUOTAS_USERS; user++) {
    for (unsigned kind = 0; kind < QUOTAS_KINDS; kind++) clear(&quotas->of[user][kind].most);
  }
}

void quotas_forget_claims(struct quotas *quotas) {
  for (unsigned user = 0; user < QUOTAS_USERS; user++) clear(&quotas->of[user][QUOTAS_CLAIMS].now);
}

/* ---- counting ---- */

bool quotas_take(struct quotas *quotas, enum quotas_kind kind, uint16_t user) {
  struct count *count = &quotas->of[user][kind];
  uint32_t most = quotas_most(quotas, kind, user);
  uint32_t now = atomic_load_explicit(&count->now, memory_order_relaxed);
  while (most == 0 || now < most) {
    if (atomic_compare_exchange_weak_explicit(&count->now, &now, now + 1, memory_order_relaxed,
                                              memory_order_relaxed))
      return true;
  }
  atomic_fetch_add_explicit(&count->refused, 1, memory_order_relaxed);
  return false;
}

void quotas_add(struct quotas *quotas, enum quotas_kind kind, uint16_t user) {
  atomic_fetch_add_explicit(&quotas->of[user][kind].now, 1, memory_order_relaxed);
}

void quotas_give(struct quotas *quotas, enum quotas_kind kind, uint16_t user) {
  uint32_t before = atomic_fetch_sub_explicit(&quotas->of[user][kind].now, 1, memory_order_relaxed);
  assert(before > 0);
  (void)before;
}

uint32_t quotas_count(const struct quotas *quotas, enum quotas_kind kind, uint16_t user) {
  return atomic_load_explicit(&quotas->of[user][kind].now, memory_order_relaxed);
}

uint64_t quotas_refused(const struct quotas *quotas, enum quotas_kind kind, uint16_t user) {
  return atomic_load_explicit(&quotas->of[user][kind].refused, memory_order_relaxed);
}
