/*
 * quotas.h - how many HELD claims and how many waiters each user has, and may have.
 *
 *     user, a number --> [claims: now, most, refused | waiters: the same]
 *
 * One table for all engines of a keyspace: a number is taken where it is compared with the most, in
 * one atomic step, so that two engines never take the last one both. User 0 is nobody: it is never
 * counted, and has no quota. It must not know users' names, nor engines.
 *
 * Any thread may call, but quotas_forget_claims: with all engines locked.
 */
#ifndef IDEM_SERVER_ENGINE_QUOTAS_H
#define IDEM_SERVER_ENGINE_QUOTAS_H

#include <stdbool.h>
#include <stdint.h>

enum quotas_kind { QUOTAS_CLAIMS, QUOTAS_WAITERS, QUOTAS_KINDS };

#define QUOTAS_USERS 65536u

struct quotas;

struct quotas *quotas_create(void); /* NULL: memory is short */
void quotas_destroy(struct quotas *quotas);

/* From now on; 0: as many as it likes. More than it may have stay. */
void quotas_set_most(struct quotas *quotas, enum quotas_kind kind, uint16_t user, uint32_t most);
uint32_t quotas_most(const struct quotas *quotas, enum quotas_kind kind, uint16_t user);
/* Nobody has a quota any more. */
void quotas_clear_most(struct quotas *quotas);

/* One more, unless it would be over the quota: false, and the refusal is counted. */
bool quotas_take(struct quotas *quotas, enum quotas_kind kind, uint16_t user);
/* One more, whatever the quota is: it is there already. */
void quotas_add(struct quotas *quotas, enum quotas_kind kind, uint16_t user);
/* One less, that was taken or added. */
void quotas_give(struct quotas *quotas, enum quotas_kind kind, uint16_t user);
/* FLUSHALL: nobody holds a claim. */
void quotas_forget_claims(struct quotas *quotas);

uint32_t quotas_count(const struct quotas *quotas, enum quotas_kind kind, uint16_t user);
/* Since the start. */
uint64_t quotas_refused(const struct quotas *quotas, enum quotas_kind kind, uint16_t user);

#endif
