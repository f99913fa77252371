/*
 * allowance.h - the quotas of users (ops/user.h) become those that engines obey (engine/quotas.h),
 * and what each user holds is shown: the section Users of INFO.
 *
 *     user_NAME:claims=3,waiters=0,quota_claims=10,quota_waiters=100,refused_claims=1,refused_waiters=0
 */
#ifndef IDEM_SERVER_COMMANDS_ALLOWANCE_H
#define IDEM_SERVER_COMMANDS_ALLOWANCE_H

#include "server/base/metric.h"
#include "server/commands/instance.h"

struct metrics_text;

/* Call when users have changed, while all other loops are paused, or before they run. */
void allowance_apply(struct instance *instance);

/* A line for each user, as sections.h wants it: no figures. While users do not change. */
void allowance_put_lines(const struct instance *instance, const void *figures,
                         struct metrics_text *text);

/* About so long is a sample of /metrics besides its user's name; and so much a family may have.
 * 10,000 users with long names took 7.5 MB, and stopped every loop for 44 ms. Now all four families
 * take a millisecond at most; about 400 users with short names are shown. */
#define ALLOWANCE_SAMPLE_BYTES 64u
#define ALLOWANCE_FAMILY_BYTES (32u * 1024)

/* The same for /metrics, of users that have a quota or hold something, in the table's order; and
 * how many were left out for ALLOWANCE_FAMILY_BYTES. */
void allowance_put_families(const struct instance *instance, const void *figures,
                            struct metrics_text *text);

extern const struct metric allowance_rows[];

#endif
