/* renewal.c - see renewal.h. */
#include "client/renewal.h"

#include "client/clock.h"

static void conclude(struct idem_async *async, struct lease *lease,
                     const struct lease_renewal *renewal) {
  enum idem_claim_state told = lease_renewal_ended(&async->leases, lease, renewal);
  if (lease->list != NULL) wakeup_at(&async->wakeup, lease->due_ms);
  if (told == IDEM_CLAIM_HELD || async->settings.on_lost == NULL) return;
  async->settings.on_lost(lease->claim, told, async->settings.lost_context);
}

static void on_ended(struct idem_call *call, const struct wire_reply *reply, int64_t now) {
  struct idem_claim *claim = call->claim;
  const struct lease_renewal renewal = {reply, call->attempt.sent_ms, now};
  if (claim == NULL) return; /* freed meanwhile */
  claim->renewal = NULL;
  if (claim->lease.list != NULL) conclude(call->async, &claim->lease, &renewal);
}

/* Starts one renewal. Until it has ended the lease has a later place, at which nothing is due. */
static void renew(struct idem_async *async, struct lease *lease, int64_t now) {
  struct idem_claim *claim = lease->claim;
  int64_t until_ms = now + pace_renewal_timeout_ms(lease->lease_ms);
  lease_schedule(&async->leases, lease, until_ms);
  if (claim->renewal != NULL) return;
  const struct wire_request request = claim_renew_request(claim, 0, idem_data(NULL, 0));
  const struct call_order order = {.request = &request, .claim = claim, .ended = on_ended};
  claim->renewal = call_create(async, &order, now);
  if (claim->renewal == NULL) {
    const struct lease_renewal none = {NULL, now, now};
    conclude(async, lease, &none);
    return;
  }
  pace_bound(&claim->renewal->pace, until_ms);
  call_send_later(claim->renewal, now);
}

int64_t renewal_run(struct idem_async *async, int64_t now) {
  /* Each goes to a later place, so the loop ends. */
  for (struct lease *first; (first = TAILQ_FIRST(&async->leases)) != NULL;) {
    if (first->due_ms > now) return first->due_ms;
    renew(async, first, now);
  }
  return CLOCK_NEVER;
}

void renewal_orphan_all(struct idem_async *async) {
  for (struct lease *lease; (lease = TAILQ_FIRST(&async->leases)) != NULL;) {
    lease_remove(lease);
    lease->claim->call = lease->claim->renewal = NULL;
  }
}
