/*
 * gate.h - turns of several loops: a loop locks its gate from its first callback after a poll to
 * its next poll, so that another one can pause all of them between two turns.
 *
 *     loop 0   poll | turn ......| poll     | turn ...
 *     loop 1   poll     | turn   ...pause_others ==== alone ==== resume_others ... | poll
 *
 * With one loop the gate stays locked, and costs nothing.
 */
#ifndef IDEM_SERVER_NET_GATE_H
#define IDEM_SERVER_NET_GATE_H

#include <pthread.h>
#include <stdbool.h>

/* Of all loops of a server. */
#define GATE_LOOPS 64u
struct gate_set {
  pthread_mutex_t stopper; /* locked by the loop for which the others are paused */
  _Atomic bool stopping;
  struct gate *gates[GATE_LOOPS];
  unsigned count;
};

struct gate {
  struct gate_set *set;
  pthread_mutex_t turn;
  bool in_turn;        /* its own thread's */
  _Atomic bool asleep; /* about to poll, or polling: it has to be woken */
};

/* False: the locks could not be made. */
bool gate_set_init(struct gate_set *set);
void gate_set_deinit(struct gate_set *set);
/* Joins the set, within its first turn. */
void gate_init(struct gate *gate, struct gate_set *set);
void gate_deinit(struct gate *gate);

/* The loop's own thread. A loop that wants to pause the others goes first, or a busy loop would
 * never let it. */
void gate_enter_turn(struct gate *gate);
/* First in every callback: what the loop owns may be touched from here on. */
static inline void gate_enter(struct gate *gate) {
  if (!gate->in_turn) gate_enter_turn(gate);
}
void gate_leave(struct gate *gate);
/* Before a poll, if there are other loops: they may pause it during the poll. */
void gate_leave_for_poll(struct gate *gate);

/* From within a turn: all others are paused between two of theirs until they are resumed. The
 * caller's own gate is unlocked and locked again in between. */
void gate_pause_others(struct gate *gate);
void gate_resume_others(struct gate *gate);

#endif
