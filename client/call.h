/*
 * call.h - the asynchronous calls: sent, repeated, ended, delivered; and struct idem_async, which
 * they live in. What client_make is to the synchronous calls. What a reply means is outcome.h's,
 * when to try again is pace.h's.
 *
 *     start -> BACKOFF -> IN_FLIGHT -> ENDED -> done()
 *                ^  \         |
 *                |   QUEUED   |      QUEUED: waits for a link to wait on
 *                +------------+      not answered, or BUSY while it still may wait; from ENDED: a
 *                                    grant that must be renewed before its owner is told
 *
 *     link.h (connections) <- call.h <- renewal.h (claims, renewed by own calls) <- async.c
 *
 * Nothing here is shared between threads. `done` is called only by call_settle, which every entry
 * from the loop ends with: so no callback finds a change half made.
 *
 * Invariants: a call is in `calls` or `ended` until `done` has been called; it has at most one
 * flight. A grant counts when its owner is told, not when it arrives: a callback in between may
 * take longer than the lease.
 */
#ifndef IDEM_CLIENT_CALL_H
#define IDEM_CLIENT_CALL_H

#include <sys/queue.h>

#include "client/claim.h"
#include "client/lease.h"
#include "client/link.h"
#include "client/outcome.h"
#include "client/pace.h"
#include "client/tokens.h"

enum call_state {
  CALL_BACKOFF,   /* until due_ms, then it is sent (again) */
  CALL_QUEUED,    /* for a link to wait on */
  CALL_IN_FLIGHT, /* its flight is under way; due_ms is its timeout */
  CALL_ENDED      /* in `ended`: its answer, or its grant, waits to be delivered */
};

TAILQ_HEAD(call_list, idem_call);

/* The end of a call of the library's own. It may not start calls. */
typedef void call_ended_fn(struct idem_call *call, const struct wire_reply *reply, int64_t now);

/* What is to be done. */
struct call_order {
  const struct wire_request *request; /* copied, with its bytes */
  struct idem_claim *claim;           /* that it is about, or that it is to be granted */
  int64_t wait_ms;
  bool begins; /* it is an idem_async_begin */
  /* One of the two, or neither. */
  idem_done_fn *done;
  void *context;
  call_ended_fn *ended; /* and there is one attempt only */
};

struct idem_call {
  struct idem_async *async;
  struct call_list *list; /* NULL: in none */
  TAILQ_ENTRY(idem_call) entry;
  enum call_state state;
  struct wire_request request; /* its bytes lie in `bytes` */
  struct pace pace;
  struct pace_attempt attempt;
  struct outcome outcome;
  int64_t due_ms;
  struct node *node; /* that the last attempt went to; NULL: none was known */
  struct node
      *next;      /* that the next one goes to: its own choice, or an ASK said so; NULL: by key */
  bool unrouted;  /* BACKOFF: sent as soon as a table of the cluster is known */
  bool begins;    /* whatever its request is at the moment */
  bool waits;     /* the attempt under way is on a link of its own */
  bool cancelled; /* answered already; what the server may still grant is given back */
  struct link_flight *flight;
  struct idem_claim *claim; /* of the order; NULL: gone */
  idem_done_fn *done;       /* NULL: a call of the library's own */
  void *context;
  call_ended_fn *ended;
  struct idem_answer answer;
  /* A begin: a grant that its owner was not told of yet. */
  struct wire_reply granted; /* has memory */
  struct pace_grant grant;
  struct pace asked; /* the pace of the claim, to go on with should it be overtaken */
  char bytes[];
};

struct idem_async {
  struct settings settings;
  struct idem_loop loop;
  struct wakeup wakeup;
  struct cluster cluster;
  struct link_set links;
  struct call_list calls, ended;
  unsigned queued; /* calls in CALL_QUEUED */
  struct lease_list leases;
  struct tokens tokens; /* of the claims that were not freed yet */
  unsigned references;  /* one of the user until idem_async_close, one of each claim */
  bool closed;
};

/* settings, loop and wakeup are set. Resolves the servers' names, which may block. False: no
 * memory. */
bool call_init(struct idem_async *async);

/* A call that was not sent yet: call_send, call_send_later or call_fail is next. NULL: no memory.
 */
struct idem_call *call_create(struct idem_async *async, const struct call_order *order,
                              int64_t now);
void call_send(struct idem_call *call, int64_t now);
/* From the timer: for calls that are started inside of other ones. */
void call_send_later(struct idem_call *call, int64_t now);
/* Ends it for a reason of the library's own. `done` comes from the loop. */
void call_fail(struct idem_call *call, enum idem_status status, const char *message);

/* Does what is due; when the next thing is. */
int64_t call_run_due(struct idem_async *async, int64_t now);
/* Delivers what has ended, gives free links to queued calls, frees links that are gone. */
void call_settle(struct idem_async *async);
/* Ends every call with CANCELLED, and delivers it. */
void call_close_all(struct idem_async *async, int64_t now);
/* Drops a reference; the last one frees. */
void call_release_async(struct idem_async *async);

#endif
