/*
 * renewal.c - idem_async renews its claims: what keeper.c is to idem_client, in the loop. See
 * async.h.
 *
 *     claims by due_ms:   [a 10][b 12] ... [z never: IDEM_NO_RENEWAL]
 */
#include "client/async.h"
#include "client/clock.h"

static void unlink_item(struct idem_async *async, struct keeper_item *item) {
  *(item->previous != NULL ? &item->previous->next : &async->first) = item->next;
  *(item->next != NULL ? &item->next->previous : &async->last) = item->previous;
  item->next = item->previous = NULL;
}

static void link_item(struct idem_async *async, struct keeper_item *item, int64_t due_ms) {
  struct keeper_item *before = async->last;
  while (before != NULL && before->due_ms > due_ms) before = before->previous;
  item->due_ms = due_ms;
  item->previous = before;
  item->next = before != NULL ? before->next : async->first;
  *(before != NULL ? &before->next : &async->first) = item;
  *(item->next != NULL ? &item->next->previous : &async->last) = item;
  async_wake_at(async, due_ms);
}

void renewal_add(struct idem_async *async, struct idem_claim *claim, int64_t granted_ms,
                 bool renews) {
  struct keeper_item *item = &claim->item;
  item->added = true;
  atomic_store(&item->expires_ms, granted_ms + item->lease_ms);
  link_item(async, item, renews ? granted_ms + keeper_period_ms(item->lease_ms) : CLOCK_NEVER);
}

void renewal_remove(struct idem_async *async, struct idem_claim *claim) {
  if (!claim->item.added) return;
  claim->item.added = false;
  unlink_item(async, &claim->item);
}

void renewal_refresh(struct idem_async *async, struct idem_claim *claim, int64_t sent_ms,
                     int64_t lease_ms) {
  struct keeper_item *item = &claim->item;
  item->lease_ms = lease_ms;
  item->told_doubtful = false;
  atomic_store(&item->expires_ms, sent_ms + lease_ms);
  if (!item->added || item->due_ms == CLOCK_NEVER) return;
  unlink_item(async, item);
  link_item(async, item, sent_ms + keeper_period_ms(lease_ms));
}

static void tell(const struct idem_async *async, struct idem_claim *claim,
                 enum idem_claim_state state) {
  if (async->settings.on_lost == NULL || claim->item.muted) return;
  async->settings.on_lost(claim, state, async->settings.lost_context);
}

void renewal_answered(struct idem_async *async, struct idem_claim *claim, int64_t sent_ms,
                      const struct wire_reply *reply) {
  if (!claim->item.added) return; /* it has ended in the meantime */
  if (reply->status == IDEM_OK) {
    renewal_refresh(async, claim, sent_ms, reply->number);
  } else if (reply->status == IDEM_STALE && !claim->item.muted) {
    renewal_remove(async, claim);
    atomic_store(&claim->item.state, IDEM_CLAIM_LOST);
    tell(async, claim, IDEM_CLAIM_LOST);
  }
  /* Anything else: renewal_run has set the time of the next try. */
}

/* Starts one renewal and sets when the next try is due in case this one fails. */
static void renew(struct idem_async *async, struct keeper_item *item, int64_t now) {
  int64_t due = now + keeper_retry_ms(item->lease_ms), expires = atomic_load(&item->expires_ms);
  if (now < expires) due = clock_min(due, expires);
  unlink_item(async, item);
  link_item(async, item, due);
  struct idem_claim *claim = item->claim;
  if (now >= expires && !item->told_doubtful) {
    item->told_doubtful = true;
    tell(async, claim, IDEM_CLAIM_DOUBTFUL);
  }
  if (claim->renewal != NULL) return;
  struct wire_request request = {.verb = WIRE_RENEW, .key = item->key, .token = item->token};
  claim->renewal = async_start_internal(async, &request, claim, now);
  if (claim->renewal == NULL) return;
  struct pace *pace = &claim->renewal->pace;
  pace->deadline_ms = clock_min(pace->deadline_ms, now + keeper_patience_ms(item->lease_ms));
}

int64_t renewal_run(struct idem_async *async, int64_t now) {
  /* Each goes to a later place, so the loop ends. */
  while (async->first != NULL && async->first->due_ms <= now) renew(async, async->first, now);
  return async->first != NULL ? async->first->due_ms : CLOCK_NEVER;
}

void renewal_orphan_all(struct idem_async *async) {
  while (async->first != NULL) {
    struct idem_claim *claim = async->first->claim;
    renewal_remove(async, claim);
    claim->call = claim->renewal = NULL;
  }
}
