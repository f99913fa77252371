/* claim.c - see claim.h. */
#include "server/engine/claim.h"

#include <assert.h>

#include "server/engine/blob.h"
#include "server/engine/waiter_state.h"

struct claim *claim_create(struct memory *memory, struct record *record) {
  struct claim *claim = memory_take(memory, sizeof *claim);
  if (claim == NULL) return NULL;
  *claim = (struct claim){.record = record, .first_wait_ms = RULES_NEVER};
  list_init(&claim->claimers);
  list_init(&claim->readers);
  list_init(&claim->waited);
  list_init(&claim->bound);
  return claim;
}

void claim_destroy(struct memory *memory, struct claim *claim) {
  if (claim == NULL) return;
  assert(claim->waiting == 0 && claim->binding == NULL);
  claim_confirm(claim);
  list_remove(&claim->waited);
  blob_release(memory, claim->owner);
  blob_release(memory, claim->stage);
  memory_give(memory, claim, sizeof *claim);
}

void claim_confirm(struct claim *claim) {
  if (claim == NULL || claim->granted == NULL) return;
  claim->granted->phase = WAITER_ANSWERED;
  claim->granted->record = NULL;
  claim->granted = NULL;
}
