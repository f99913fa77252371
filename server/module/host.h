/*
 * host.h - the one state of the module in its process.
 *
 * The host calls commands and events without a pointer of ours, so there is one `host`; only the
 * files that the host calls into name it, all others are handed a pointer to it. Main thread only.
 */
#ifndef IDEM_SERVER_MODULE_HOST_H
#define IDEM_SERVER_MODULE_HOST_H

#include "server/base/metric.h"
#include "server/module/bindings.h"
#include "server/module/forgotten.h"
#include "server/module/settings.h"
#include "server/module/slots.h"
#include "server/module/tokens.h"
#include "server/module/undos.h"
#include "server/module/waiters.h"
#include "server/rules/answer.h"

/* Since the module was loaded. */
struct host_counters {
  uint64_t granted, granted_again, handed_over, taken_back;
  uint64_t became_unknown, waits_timed_out;
  uint64_t answers[ANSWER_KINDS]; /* given at once; FORGOTTEN: all */
  uint64_t waiters, bound;        /* now: clients that wait, claims with BIND */
};

struct host {
  struct settings settings;
  struct tokens tokens;
  struct forgotten forgotten;
  struct slots slots;
  struct waiters waiters;
  struct bindings bindings;
  struct list undos; /* struct undo.link */
  struct host_counters counters;
  RedisModuleCtx *ctx;     /* of no client; for what begins without a call of the host */
  RedisModuleString *pxat; /* the word */
  bool replica;            /* it grants nothing */
  bool loading;            /* from a file, or from its master */
  bool knows_expired;      /* the host tells what a value was when it ends by time */
  bool timer_runs;         /* what alarm.h does next is at timer_ms */
  RedisModuleTimerID timer;
  int64_t timer_ms;
  bool check_runs; /* whether replies were written is asked soon */
};
extern struct host host;

/* The rows of INFO, about struct host_counters. */
extern const struct metric host_metrics[];

/* The time now. */
int64_t host_now_ms(struct host *of);

#endif
