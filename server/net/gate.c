/* gate.c - see gate.h. */
#include "server/net/gate.h"

#include <assert.h>
#include <stdatomic.h>

bool gate_set_init(struct gate_set *set) { return pthread_mutex_init(&set->stopper, NULL) == 0; }

void gate_set_deinit(struct gate_set *set) { pthread_mutex_destroy(&set->stopper); }

void gate_init(struct gate *gate, struct gate_set *set) {
  assert(set->count < GATE_LOOPS);
  *gate = (struct gate){.set = set};
  pthread_mutex_init(&gate->turn, NULL);
  set->gates[set->count++] = gate;
  gate_enter(gate);
}

void gate_deinit(struct gate *gate) {
  struct gate_set *set = gate->set;
  gate_leave(gate);
  if (set->gates[set->count - 1] == gate) set->count--; /* it never ran, or all have ended */
  pthread_mutex_destroy(&gate->turn);
}

void gate_enter_turn(struct gate *gate) {
  struct gate_set *set = gate->set;
  atomic_store(&gate->asleep, false);
  if (atomic_load(&set->stopping)) {
    pthread_mutex_lock(&set->stopper);
    pthread_mutex_unlock(&set->stopper);
  }
  pthread_mutex_lock(&gate->turn);
  gate->in_turn = true;
}

void gate_leave(struct gate *gate) {
  if (!gate->in_turn) return;
  gate->in_turn = false;
  pthread_mutex_unlock(&gate->turn);
}

void gate_leave_for_poll(struct gate *gate) {
  if (gate->set->count > 1) gate_leave(gate);
}

/*
 * Two loops may want this at the same time: the one that has the stopper lock goes first. The other
 * has left its own turn, so it counts as paused too; the command that wanted the pause has not
 * begun. Loops that sleep are not woken: they cannot enter a turn.
 */
void gate_pause_others(struct gate *gate) {
  struct gate_set *set = gate->set;
  pthread_mutex_unlock(&gate->turn);
  pthread_mutex_lock(&set->stopper);
  atomic_store(&set->stopping, true);
  for (unsigned i = 0; i < set->count; i++) pthread_mutex_lock(&set->gates[i]->turn);
}

void gate_resume_others(struct gate *gate) {
  struct gate_set *set = gate->set;
  for (unsigned i = 0; i < set->count; i++) {
    if (set->gates[i] != gate) pthread_mutex_unlock(&set->gates[i]->turn);
  }
  atomic_store(&set->stopping, false);
  pthread_mutex_unlock(&set->stopper);
}
