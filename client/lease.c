/* lease.c - see lease.h. */
#include "client/lease.h"

#include "client/clock.h"
#include "client/pace.h"

void lease_run(struct lease *lease, int64_t sent_ms, int64_t lease_ms) {
  lease->lease_ms = lease_ms;
  lease->told_doubtful = false;
  atomic_store(&lease->expires_ms, sent_ms + lease_ms);
}

void lease_remove(struct lease *lease) {
  if (lease->list == NULL) return;
  TAILQ_REMOVE(lease->list, lease, entry);
  lease->list = NULL;
}

void lease_move_last(struct lease_list *list, struct lease *lease) {
  lease_remove(lease);
  TAILQ_INSERT_TAIL(list, lease, entry);
  lease->list = list;
}

void lease_move_first(struct lease_list *list, struct lease *lease) {
  lease_remove(lease);
  TAILQ_INSERT_HEAD(list, lease, entry);
  lease->list = list;
}

/* From the end: claims of one client mostly have one lease, and the newest is due last. */
void lease_schedule(struct lease_list *list, struct lease *lease, int64_t due_ms) {
  lease_remove(lease);
  lease->due_ms = due_ms;
  lease->list = list;
  struct lease *before = TAILQ_LAST(list, lease_list);
  while (before != NULL && before->due_ms > due_ms) before = TAILQ_PREV(before, lease_list, entry);
  if (before != NULL) {
    TAILQ_INSERT_AFTER(list, before, lease, entry);
  } else {
    TAILQ_INSERT_HEAD(list, lease, entry);
  }
}

void lease_renewed(struct lease_list *list, struct lease *lease, int64_t sent_ms,
                   int64_t lease_ms) {
  lease_run(lease, sent_ms, lease_ms);
  if (lease->list == NULL || lease->due_ms == CLOCK_NEVER) return;
  lease_schedule(list, lease, sent_ms + pace_renewal_period_ms(lease_ms));
}

/* The next try comes at the end of the lease at the latest, so that a doubt is told in time. It is
 * told only after a renewal has failed: a process that stood still for longer than its lease may
 * find the claim still its own. While it is muted its owner ends the claim, and learns more from
 * that. */
static enum idem_claim_state note_failure(struct lease_list *list, struct lease *lease,
                                          int64_t now) {
  int64_t expires_ms = atomic_load(&lease->expires_ms);
  int64_t due_ms = now + pace_renewal_retry_ms(lease->lease_ms);
  lease_schedule(list, lease, now < expires_ms ? clock_min(due_ms, expires_ms) : due_ms);
  if (now < expires_ms || lease->told_doubtful || lease->muted) return IDEM_CLAIM_HELD;
  lease->told_doubtful = true;
  return IDEM_CLAIM_DOUBTFUL;
}

enum idem_claim_state lease_renewal_ended(struct lease_list *list, struct lease *lease,
                                          const struct lease_renewal *renewal) {
  const struct wire_reply *reply = renewal->reply;
  if (reply != NULL && reply->status == IDEM_OK) {
    lease_run(lease, renewal->sent_ms, reply->number);
    lease_schedule(list, lease, renewal->sent_ms + pace_renewal_period_ms(reply->number));
    return IDEM_CLAIM_HELD;
  }
  if (reply == NULL || reply->status != IDEM_STALE || lease->muted)
    return note_failure(list, lease, renewal->ended_ms);
  lease_remove(lease);
  atomic_store(&lease->stale, reply->stale);
  atomic_store(&lease->state, IDEM_CLAIM_LOST);
  return IDEM_CLAIM_LOST;
}
