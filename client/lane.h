/*
 * lane.h - what leads to one node for the renewer: a connection, a batch of renewals, their
 * replies; and in a cluster a thread, so that a node which does not answer holds up its own
 * renewals alone. Another lane asks for the table of the cluster. It sends and hears; what a reply
 * means for a lease is the renewer's.
 *
 *     IDLE --(lane_load ...)--> IDLE --lane_start--> RUNNING --> DONE --lane_finish--> IDLE
 *
 * Of one server, where there are no others to hold up, the exchange runs in lane_start itself: one
 * thread, as for a client that knows no cluster.
 *
 * Invariants: while it is RUNNING all but `state`, `ends` and the leases belongs to the exchange,
 * which knows no lease; so a lease can be taken out of a batch at any time. All else belongs to the
 * thread of the renewer, under its lock.
 */
#ifndef IDEM_CLIENT_LANE_H
#define IDEM_CLIENT_LANE_H

#include <pthread.h>
#include <sys/queue.h>

#include "client/cluster.h"
#include "client/connection.h"
#include "client/lease.h"
#include "client/settings.h"

/* Renewals in one batch, and the bytes of their commands. */
#define LANE_BATCH 64
#define LANE_BYTES (LEASE_KEY_BYTES + 1024)
/* A thread that had nothing to do for so long is ended, with its connection. */
#define LANE_IDLE_MS (10 * 60 * 1000)

/* What the lanes of one renewer share. */
struct lane_base {
  const struct settings *settings;
  struct cluster *cluster;
  pthread_mutex_t *lock;
  pthread_cond_t *changed; /* signalled when one is DONE */
};

enum lane_state { LANE_IDLE, LANE_RUNNING, LANE_DONE };

struct lane {
  SLIST_ENTRY(lane) entry;
  const struct lane_base *base;
  struct node *node; /* that it leads to; of one for the table: that it asks this time */
  bool for_table;
  enum lane_state state;
  /* Its thread, if it has one. */
  bool threaded, ends;
  pthread_t thread;
  pthread_cond_t wanted; /* it is RUNNING, or ends */
  int64_t used_ms;       /* when it was started last */
  /* Those in the batch, and those that are due while it runs. */
  struct lease_list leases;
  struct lease *batch[LANE_BATCH]; /* NULL: taken out */
  int count;
  bool asking[LANE_BATCH]; /* the node is told so before it */
  int64_t timeout_ms;      /* of the shortest lease in it */
  size_t buffer_len;
  /* Of the exchange. */
  struct connection *connection; /* NULL: none */
  int64_t sent_ms;
  int answered; /* of the batch, in its order: so many replies are there */
  struct wire_reply replies[LANE_BATCH];
  char buffer[LANE_BYTES];
};

/* To this node; NULL: for the table. The base is borrowed. NULL: no memory. */
struct lane *lane_create(const struct lane_base *base, struct node *node);
/* It is not RUNNING and has no leases. Lets go of the lock while its thread ends. */
void lane_destroy(struct lane *lane);

/* Puts the renewal of a lease into the batch of an IDLE one. False: it does not fit any more. */
bool lane_load(struct lane *lane, struct lease *lease);
/* Takes it out, if it is in a batch. */
void lane_unload(struct lease *lease);
/* Begins the exchange; without a thread of its own it is DONE on return, and the lock was let go
 * meanwhile. */
void lane_start(struct lane *lane, int64_t now);
/* The replies of a DONE one were taken: frees them. It is IDLE. */
void lane_finish(struct lane *lane);

#endif
