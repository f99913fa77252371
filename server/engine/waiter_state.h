/* waiter_state.h - the layout of a waiter, for the rooms of the engine. waiter.h says what it is.
 */
#ifndef IDEM_SERVER_ENGINE_WAITER_STATE_H
#define IDEM_SERVER_ENGINE_WAITER_STATE_H

#include "server/base/list.h"
#include "server/base/table.h"
#include "server/base/wheel.h"
#include "server/engine/engine_answer.h"
#include "server/rules/rules.h"

struct binding;
struct record;

enum waiter_phase {
  WAITER_WAITING,  /* in a queue of `record` */
  WAITER_GRANTED,  /* has its answer: `record` is its own, and may be taken back */
  WAITER_ANSWERED, /* has its answer, and no longer a record */
};

/* What a hand-over replaced. */
struct waiter_undo {
  enum rules_end end;
  uint16_t user;
  struct rules_record facts;
  struct blob *owner, *stage;
  struct binding *binding;
};

struct waiter {
  struct list link;
  struct table_node by_owner; /* in engine.queued_owners, while it waits with an owner */
  struct wheel_node timer;
  struct record *record;
  uint8_t loop_id; /* the loop in whose ready list it will be */
  bool claims;     /* CLAIM ... WAIT; otherwise WAIT */
  bool hold, born;
  uint8_t phase; /* enum waiter_phase */
  uint16_t user; /* for whom it counts; 0: nobody */
  uint32_t lease_ms;
  int64_t born_ms; /* of its request, if `born` */
  struct blob *owner;
  struct binding *binding;
  void *context;
  struct engine_answer answer;
  struct waiter_undo undo; /* of one that is GRANTED */
};

#endif
