/*
 * cron.h - the housekeeping of one loop: the wall clock, the end of CLIENT PAUSE, connections that
 * are late, idle or stuck.
 */
#ifndef IDEM_SERVER_NET_CRON_H
#define IDEM_SERVER_NET_CRON_H

#include "server/net/conn.h"

/* How often, and how many connections it looks at each time. */
#define CRON_MS 100u
#define CRON_CONNECTIONS 1000u
#define CRON_LATE 250u /* ended each time because their command did not arrive in time */
/* When the loop did not run for so long, what connections have sent since then is still in their
 * sockets: none is closed for being late or idle before all of it can have been read. */
#define CRON_STALL_MS 250
#define CRON_AFTER_STALL_MS 1000
/* Two clocks are read as of one moment within this time; so many tries at the start. */
#define CRON_SAMPLE_NS 5000000u
#define CRON_SAMPLES 10u

struct cron {
  int64_t last_ms; /* when cron_run ran last */
  int64_t fair_ms; /* before this no connection is closed for lateness: see CRON_STALL_MS */
};

void cron_init(struct cron *cron, struct conn_group *group);
/* Every CRON_MS, within a turn. */
void cron_run(struct cron *cron, struct conn_group *group);
/* Resumes every connection that CLIENT PAUSE delays. */
void cron_unpause(struct conn_group *group);

#endif
