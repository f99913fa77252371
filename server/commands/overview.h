/*
 * overview.h - what is in flight, for people: the oldest claims of each state, and the figures of
 * the same moment. What the status page and claims.json show.
 *
 *     shard 0 ... n, walked in the order of tokens --> the OVERVIEW_CLAIMS oldest of each state
 *
 * It is gathered in steps, so that nobody waits for it: between them everything may change, and a
 * claim may be missing that changed its state meanwhile. It never takes a token, fingerprint, owner
 * or body. It must not know HTML, nor the network. Called by the worker's own thread, with no shard
 * locked.
 */
#ifndef IDEM_SERVER_COMMANDS_OVERVIEW_H
#define IDEM_SERVER_COMMANDS_OVERVIEW_H

#include "server/commands/sections.h"
#include "server/rules/inspection.h"

/* Of each state; bytes of a key or stage that are kept; records that are looked at for a state. */
#define OVERVIEW_CLAIMS 200u
#define OVERVIEW_KEY_BYTES 1024u
#define OVERVIEW_STAGE_BYTES 256u
#define OVERVIEW_LOOKED_AT 8192u

/* In the order in which they are shown. */
enum overview_state { OVERVIEW_UNKNOWN, OVERVIEW_HELD, OVERVIEW_LAPSED, OVERVIEW_STATES };

struct overview_claim {
  uint64_t place; /* for their order; not to be shown */
  enum overview_state state;
  int64_t age_ms, lease_left_ms, ttl_left_ms; /* as in struct inspection */
  int64_t attempt, waiters;
  bool bind, hold;
  bool key_cut;           /* its bytes are more than those kept */
  struct span key, stage; /* stage: may be absent */
  char bytes[];
};

struct overview_list {
  struct overview_claim *claims[OVERVIEW_CLAIMS]; /* the oldest first */
  unsigned count;
  uint64_t total; /* records in this state */
};

struct overview {
  struct overview_list of[OVERVIEW_STATES];
  struct figures figures;
  bool failed; /* memory was short: claims are missing */
  /* The walk: which state and shard are next, and how many records may still be looked at. */
  unsigned state, shard, left;
  struct overview_walk *walk; /* of that shard; NULL: not begun */
  uint64_t end;
};

/* NULL: no memory. It is empty; destroy takes NULL. */
struct overview *overview_create(void);
void overview_destroy(struct overview *overview);

/* Forgets what was gathered, and reads the figures. */
void overview_begin(struct overview *overview, struct worker *worker);
/* Gathers until the time (clock_monotonic_ns) or the end; true: it is whole. */
bool overview_step(struct overview *overview, struct worker *worker, uint64_t end_ns);

/* "HELD" and so on. */
struct span overview_state_name(enum overview_state state);

#endif
