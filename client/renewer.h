/*
 * renewer.h - the background thread of an idem_client that renews its claims, those of one node
 * together, over one connection (lane.h).
 *
 *     leases, by the time at which they are due:  [a 10][b 12][c 15] ...
 *          |           |
 *       lane to A   lane to B   lane for the table     each batch is framed into one buffer, sent
 * at once, and its replies are read in order
 *
 * In a cluster each lane has a thread: one node that hangs holds up nobody else's renewals, nor
 * does one that hangs with the table. What an answer means for a lease, and the callbacks, are the
 * one thread's.
 *
 * It knows leases, not claims. A lease can be removed at any time without waiting for the network:
 * the batch under way forgets it.
 *
 * Invariants: a lease is in the list or not known here at all; after renewer_remove its callback is
 * not running and will not run. No lock is held during I/O and callbacks. All functions may be
 * called by any thread.
 */
#ifndef IDEM_CLIENT_RENEWER_H
#define IDEM_CLIENT_RENEWER_H

#include "client/cluster.h"
#include "client/lease.h"
#include "client/settings.h"

struct renewer;

/* Both must outlive it. NULL: no memory. No thread runs yet. */
struct renewer *renewer_create(const struct settings *settings, struct cluster *cluster);
/* Ends the thread. Leases stay where they are; nothing more happens to them. */
void renewer_stop(struct renewer *renewer);
/* NULL is fine. */
void renewer_destroy(struct renewer *renewer);

/* Makes sure that the thread runs; cheap when it does. False when it cannot be had, or after
 * renewer_stop. */
bool renewer_start(struct renewer *renewer);
/* Begins renewing a lease that runs (lease_run) and was asked for at sent_ms. */
void renewer_add(struct renewer *renewer, struct lease *lease, int64_t sent_ms);
/* A call of the user has renewed it, at sent_ms for lease_ms. Fine for one that was not added. */
void renewer_renewed(struct renewer *renewer, struct lease *lease, int64_t sent_ms,
                     int64_t lease_ms);
/* While muted, a STALE is taken for the doing of the call that mutes it. */
void renewer_mute(struct renewer *renewer, struct lease *lease, bool muted);
/* Ends renewing. Fine for one that was never added. */
void renewer_remove(struct renewer *renewer, struct lease *lease);

#endif
