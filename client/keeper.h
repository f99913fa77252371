/*
 * keeper.h - the background thread of a client that renews its claims, all of them together, over
 * one connection.
 *
 *     items, by the time at which they are due:   [a 10][b 12][c 15] ... [z 20000]
 *     one turn: those due now are framed into one buffer, sent at once, the replies read in order
 *
 * It knows items, not claims: what it needs of a claim is in the item, which the claim embeds.
 * Items can be removed at any time without waiting for the network: the batch under way forgets
 * them.
 *
 * Invariants: an item is in the list or not at all known here; after keeper_remove its callback is
 * not running and will not run. No lock is held during I/O and callbacks.
 */
#ifndef IDEM_CLIENT_KEEPER_H
#define IDEM_CLIENT_KEEPER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/settings.h"

/* Renewals in one turn, and the bytes of their commands. A longer key cannot be kept. */
#define KEEPER_BATCH 64
#define KEEPER_BATCH_BYTES (64 * 1024)
#define KEEPER_KEY_BYTES (KEEPER_BATCH_BYTES - 1024)

struct keeper_item {
  /* Set before it is added, constant then. */
  struct idem_claim *claim;
  struct idem_bytes key;
  uint64_t token;
  /* Also read without the lock, by idem_claim_state. */
  _Atomic int64_t expires_ms; /* when the lease is surely over */
  _Atomic int
      state; /* enum idem_claim_state; DOUBTFUL follows from expires_ms and is not kept here */
  /* Under the lock. */
  struct keeper_item *next, *previous;
  int64_t lease_ms, due_ms;
  int slot; /* in the batch under way, or -1 */
  bool added;
  bool muted;         /* finish or abandon is under way: STALE is their own doing */
  bool told_doubtful; /* since the last success */
  bool calling;       /* on_lost runs */
  /* Of tokens.h, under its owner's lock. */
  struct keeper_item *same_bucket;
};

/* The part of lease_ms after which a claim is renewed. */
int64_t keeper_period_ms(int64_t lease_ms);
/* How long a renewal may take from sending to its answer; it is given up then. */
int64_t keeper_patience_ms(int64_t lease_ms);
/* How long after a failed renewal the next one is tried. */
int64_t keeper_retry_ms(int64_t lease_ms);

struct keeper;

/* settings must outlive it. NULL: no memory. No thread runs yet. */
struct keeper *keeper_create(const struct settings *settings);
/* Ends the thread. Items stay where they are, nothing happens to them any more. */
void keeper_stop(struct keeper *keeper);
void keeper_destroy(struct keeper *keeper);

/* Makes sure that the thread runs; cheap when it does. False when it cannot be had, or after
 * keeper_stop. */
bool keeper_start(struct keeper *keeper);
/* Begins renewing; the lease was granted at granted_ms. */
void keeper_add(struct keeper *keeper, struct keeper_item *item, int64_t granted_ms);
/* Somebody else has renewed it, at sent_ms for lease_ms. */
void keeper_renewed(struct keeper *keeper, struct keeper_item *item, int64_t sent_ms,
                    int64_t lease_ms);
void keeper_mute(struct keeper *keeper, struct keeper_item *item, bool muted);
/* Ends renewing. Fine for one that was never added. */
void keeper_remove(struct keeper *keeper, struct keeper_item *item);

#endif
