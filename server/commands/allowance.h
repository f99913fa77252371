/*
 * allowance.h - the quotas of users (ops/user.h) become those that engines obey (engine/quotas.h),
 * and what each user holds is shown: the section Users of INFO.
 *
 *     user_NAME:claims=3,waiters=0,quota_claims=10,quota_waiters=100,refused_claims=1,refused_waiters=0
 */
#ifndef IDEM_SERVER_COMMANDS_ALLOWANCE_H
#define IDEM_SERVER_COMMANDS_ALLOWANCE_H

#include "server/commands/instance.h"

struct metrics_text;

/* Call when users have changed, while all other loops are paused, or before they run. */
void allowance_apply(struct instance *instance);

/* A line for each user, as sections.h wants it: no figures. While users do not change. */
void allowance_put_lines(const struct instance *instance, const void *figures,
                         struct metrics_text *text);

#endif
