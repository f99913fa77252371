/*
 * cluster.h - which server a key lies on. One server, or a cluster of Redis or Valkey: its nodes,
 * and the node of each of its slots. It opens no connection; who asks a node and what came of that
 * is told to it.
 *
 *     cluster_route     the node of a key, as far as is known; else one of those in the URL
 *     cluster_follow    what a reply says of the table: MOVED, ASK, or that it may have changed
 *     cluster_failed    a node was not reached: the table may have changed
 *     cluster_refresh, cluster_learn     one caller at a time asks a node for the whole table
 *     cluster_may_rename  a certificate that does not bear the node's name is no refusal yet
 *
 * With one server in the URL it is a cluster as soon as it says MOVED or ASK. With several it has
 * to be one, and nothing is sent before one of them has shown a table with slots: each of several
 * single servers would grant the same key. For the same reason a call goes to members alone: to
 * nodes that have shown a table, that one names, or that a redirect leads to.
 *
 * Under TLS a node is called by the host name that the table has for its address, for certificates
 * bear names; an address that no table has named waits for the next one. A new node's name takes
 * its time to reach the table, and so does one that changes: until then its certificate may not
 * bear what the node is called by, and the table is asked again.
 *
 * May be used by several threads at once. Invariants: nodes are added and never freed before
 * cluster_deinit, and their targets do not change, so a node may be used without a lock.
 */
#ifndef IDEM_CLIENT_CLUSTER_H
#define IDEM_CLIENT_CLUSTER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/addresses.h"
#include "client/target.h"
#include "client/wire.h"

/* Servers that were ever heard of. A further one is not followed to, until the client is opened
 * anew. */
#define CLUSTER_NODES_MAX 1024
/* The table is not asked for more often. */
#define CLUSTER_REFRESH_MS 100
/* Nor does one that was asked for count as under way for longer. */
#define CLUSTER_REFRESH_LIMIT_MS 10000

/* A node that was not reached for so long under the name that it has gets no better one: nodes tell
 * their names in the pings of the cluster's bus, of which each node has one from each other within
 * cluster-node-timeout, 15 s by default. An end there has to be: what is configured wrong is to be
 * REFUSED some day, and not to be UNAVAILABLE for good. */
#define CLUSTER_NAMING_MS 15000

/* An address in numbers, with a zone. */
#define CLUSTER_ADDRESS_BYTES 64

struct node {
  struct target target;       /* user and password are those of the URL */
  uint16_t number;            /* 1 + its place in `nodes` */
  _Atomic int64_t failing_ms; /* since when it is not reached; 0: it was heard last */
  /* Under the lock of the cluster. */
  bool member;                         /* may be sent calls */
  bool unnamed;                        /* the table is to be asked for its name first */
  unsigned listed;                     /* in the table of this number; of a redirect: the last */
  char address[CLUSTER_ADDRESS_BYTES]; /* that the table `listed` has for it; "": no other one */
  /* Of the synchronous calls: connections of an earlier one are closed, not used, because one of
   * their kind has failed. Under the lock of the client. */
  uint64_t generation;
  /* Of the asynchronous calls, whose thread they belong to. */
  struct addresses addresses;
  unsigned command_links;
};

struct cluster {
  const struct target *target; /* of the URL */
  pthread_mutex_t lock;
  _Atomic bool on; /* it is a cluster, or has to be one */
  /* Under the lock. */
  struct node **nodes; /* the first target->seed_count are those of the URL */
  unsigned count;
  uint16_t *owners; /* of each slot: the number of the node; 0: not known */
  bool known;       /* that it is a cluster: by its table, or by what it says */
  bool stale;       /* the table may have changed */
  bool hidden;      /* it may not be asked for: no name comes */
  int64_t asked_ms; /* when the table was asked for last; 0: never */
  bool asking;
  unsigned source;                  /* who is asked next */
  unsigned table;                   /* the number of the last one; 0: there was none */
  char refused[IDEM_MESSAGE_BYTES]; /* why it is no cluster; "": it may be one */
};

/* `target` is borrowed. False: no memory. */
bool cluster_init(struct cluster *cluster, const struct target *target);
/* No node is used any more. */
void cluster_deinit(struct cluster *cluster);

/* Where to send a command about `key`; absent: anywhere. OK; UNAVAILABLE: the table has to be asked
 * for first; REFUSED: the servers are no cluster. */
enum idem_status cluster_route(struct cluster *cluster, struct idem_bytes key, struct node **node,
                               struct idem_error *why);
/* What a reply of `from` to a command about `key` says of the table. The node that an ASK names:
 * the next try of this very call is to go there, asking. Else NULL. */
struct node *cluster_follow(struct cluster *cluster, struct node *from, struct idem_bytes key,
                            const struct wire_reply *reply);
/* It was not reached, or did not answer. */
void cluster_failed(struct cluster *cluster, struct node *node, int64_t now);
/* Whether the node may still get a better name than the one in its target, or one that its
 * certificate will bear. Not a server of the URL: its name is the user's. Nor when no table can be
 * asked for, or the node was not reached for CLUSTER_NAMING_MS. */
bool cluster_may_rename(struct cluster *cluster, const struct node *node, int64_t now);

/* Whom the caller has to ask for the table now (WIRE_NODES); NULL: nobody. cluster_learn follows in
 * any case. */
struct node *cluster_refresh(struct cluster *cluster, int64_t now);
/* The answer, or why there is none. */
void cluster_learn(struct cluster *cluster, struct node *from, const struct wire_reply *reply);

#endif
