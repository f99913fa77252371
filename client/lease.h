/*
 * lease.h - the lease of one claim, and a list of those that are renewed, by the time at which they
 * are due:   [a 10][b 12][c 15] ... [z never: IDEM_NO_RENEWAL]
 *
 * It says what an answer to a renewal means for the lease, once for the thread of idem_client
 * (renewer.c) and for the loop of idem_async (renewal.c). It knows neither of them, and sends
 * nothing. Not locked: the owner of the list locks.
 */
#ifndef IDEM_CLIENT_LEASE_H
#define IDEM_CLIENT_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "client/idem.h"
#include "client/wire.h"

/* A longer key is taken by no server; renewals of shorter ones fit into the renewer's buffer. */
#define LEASE_KEY_BYTES (63 * 1024)

struct lane;
struct node;

TAILQ_HEAD(lease_list, lease);

struct lease {
  /* Set before it is listed, constant then. */
  struct idem_claim *claim;
  struct idem_bytes key;
  uint64_t token;
  const struct node *granted_by;
  /* Also read by other threads, in idem_claim_state. */
  _Atomic int64_t expires_ms; /* when it has surely expired */
  _Atomic int stale;          /* enum idem_stale: what the last STALE told */
  _Atomic int state; /* enum idem_claim_state; DOUBTFUL follows from expires_ms, is not kept here */
  /* Of the list. */
  TAILQ_ENTRY(lease) entry;
  struct lease_list *list; /* NULL: in none */
  int64_t lease_ms, due_ms;
  bool muted;         /* finish or abandon is under way: STALE is their own doing */
  bool told_doubtful; /* since the last success */
  /* Of the renewer. */
  struct lane *lane;  /* in whose batch it is; NULL: in none */
  int slot;           /* its place there */
  bool calling;       /* on_lost runs */
  struct node *asked; /* that is to be asked next, because an ASK said so; NULL: none */
  /* Of tokens.h, under its owner's lock. */
  struct lease *same_bucket;
};

/* Granted, or renewed: it runs for lease_ms from sent_ms on. */
void lease_run(struct lease *lease, int64_t sent_ms, int64_t lease_ms);
/* Puts it into the list, or at another place of it. */
void lease_schedule(struct lease_list *list, struct lease *lease, int64_t due_ms);
/* From whatever list it is in; fine for one that is in none. */
void lease_remove(struct lease *lease);
/* One that is listed goes to an end of another list, which is not by time. */
void lease_move_last(struct lease_list *list, struct lease *lease);
/* ... one that is overdue, as all at that end. */
void lease_move_first(struct lease_list *list, struct lease *lease);

/* A call of the user has renewed it: it runs on, and if it is renewed in the background, that comes
 * later. */
void lease_renewed(struct lease_list *list, struct lease *lease, int64_t sent_ms, int64_t lease_ms);
/* A renewal in the background, after its end. */
struct lease_renewal {
  const struct wire_reply *reply; /* NULL: none */
  int64_t sent_ms, ended_ms;
};

/* A renewal in the background has ended. The
 * lease is listed. Returns what the application is to be told: IDEM_CLAIM_LOST,
 * IDEM_CLAIM_DOUBTFUL, or IDEM_CLAIM_HELD for nothing. */
enum idem_claim_state lease_renewal_ended(struct lease_list *list, struct lease *lease,
                                          const struct lease_renewal *renewal);

#endif
