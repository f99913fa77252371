/* deadlines.c - see deadlines.h. */
#include "server/engine/deadlines.h"

void deadlines_set(struct slabs *slabs, struct record *record, int64_t deadline_ms) {
  record_write_deadline(record, deadline_ms);
  if (deadline_ms != RULES_NEVER) slab_arm(slabs, record_slab(record), deadline_ms);
}

static struct record *record_at(struct slab *slab, uint64_t bits) {
  return slab_piece(slab, (unsigned)__builtin_ctzll(bits));
}

static void look_at(struct deadlines_pass *pass, struct slab *slab, int64_t past_ms) {
  *pass = (struct deadlines_pass){slab, 0, RULES_NEVER, RULES_NEVER, true};
  for (uint64_t left = slab->used; left != 0; left &= left - 1) {
    int64_t deadline_ms = record_deadline_ms(record_at(slab, left));
    if (deadline_ms < pass->first_ms) pass->first_ms = deadline_ms;
    if (deadline_ms <= past_ms) {
      pass->due |= left & -left;
    } else if (deadline_ms < pass->rest_ms) {
      pass->rest_ms = deadline_ms;
    }
  }
}

/* A slab that still has such a record is there. */
static void arm_again(struct slabs *slabs, const struct deadlines_pass *pass) {
  int64_t deadline_ms = pass->due != 0 ? pass->first_ms : pass->rest_ms;
  if (deadline_ms != RULES_NEVER) slab_arm(slabs, pass->slab, deadline_ms);
}

/* The next slab whose timer has come. */
static bool next_slab(struct slabs *slabs, struct deadlines_pass *pass, int64_t past_ms,
                      unsigned *budget) {
  if (pass->slab != NULL) arm_again(slabs, pass);
  pass->slab = NULL;
  struct wheel_node *node = wheel_pop(&slabs->timers, past_ms, budget);
  if (node == NULL) return false;
  look_at(pass, LIST_ENTRY(node, struct slab, timer), past_ms);
  return true;
}

struct record *deadlines_next(struct slabs *slabs, struct deadlines_pass *pass, int64_t past_ms,
                              unsigned *budget) {
  while (pass->due == 0 || (*budget == 0 && !pass->paid)) {
    if (!next_slab(slabs, pass, past_ms, budget)) return NULL;
  }
  if (!pass->paid) --*budget;
  pass->paid = false;
  struct record *record = record_at(pass->slab, pass->due);
  pass->due &= pass->due - 1;
  return record;
}
