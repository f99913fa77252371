/*
 * async.h - the inside of struct idem_async: links (hiredis connections in the user's loop), calls,
 * claims that are renewed.
 *
 *     user -> async.c (calls: started, repeated, ended) -> link.c (connections: bytes, hiredis)
 *                          \-> renewal.c (claims: renewed when due, by calls of their own)
 *
 * Nothing here is shared between threads. The user's callbacks run only in async_settle, which
 * every entry from the loop ends with: so no callback finds the inside half changed, and hiredis is
 * never on the stack below one.
 *
 * Invariants: a call is in `calls` until `done` has been called; a flight is one command given to
 * hiredis, which calls back exactly once for each; a call has at most one flight.
 */
#ifndef IDEM_CLIENT_ASYNC_H
#define IDEM_CLIENT_ASYNC_H

#include <hiredis/async.h>

#include "client/claim.h"
#include "client/pace.h"

/* Addresses of the server's name that are tried in turn. */
#define ASYNC_ADDRESSES 8
/* Text of a numeric address. */
#define ASYNC_ADDRESS_BYTES 64
/* The loop is not woken more often than this for deadlines and pauses. */
#define ASYNC_TICK_MS 2

enum call_state {
  CALL_RESTING, /* until due_ms, then it is sent (again) */
  CALL_LINED,   /* in line for a link to wait on */
  CALL_SENT,    /* its flight is under way; due_ms is when patience ends */
  CALL_ENDED    /* in `ended`: its answer waits to be delivered */
};

struct link;

struct call_list {
  struct idem_call *first, *last;
};

/* One command that hiredis has. Its call may have ended before the reply comes. */
struct flight {
  struct link *link;
  struct idem_call *call; /* NULL: nobody cares any more */
};

struct idem_call {
  struct idem_async *async;
  struct call_list *list;
  struct idem_call *next, *previous;
  enum call_state state;
  struct wire_request request; /* its bytes lie in `bytes` */
  struct pace pace;
  int64_t due_ms, attempt_ms, sent_ms, first_sent_ms;
  int64_t wait_ms;
  bool waits;     /* the attempt under way is on a link of its own */
  bool ambiguous; /* an attempt that was not answered may have reached the server */
  bool cancelled; /* answered already; what the server may still grant is given back */
  bool internal;  /* nobody to tell: a renewal, a giving back */
  bool no_renewal;
  struct flight *flight;
  struct idem_claim *claim; /* begin: the one to be granted; else the one it is about; NULL: gone */
  idem_done_fn *done;
  void *context;
  struct idem_answer answer;
  char bytes[];
};

/* One connection. `context` is NULL once hiredis has let go of it; it is then freed in
 * async_settle. */
struct link {
  struct idem_async *async;
  struct link *next;
  redisAsyncContext *context;
  void *watch;
  int events;
  unsigned flights;
  int64_t heard_ms; /* when the last reply came, or it was opened */
  bool waiting;     /* for calls that wait, one at a time */
  bool checked;     /* it is not connected to itself */
  bool closing;     /* half closed: only what the server still says is read */
  int64_t closing_until_ms;
};

struct idem_async {
  struct settings settings;
  struct idem_loop loop;
  void *timer;
  int64_t timer_ms; /* when it fires; CLOCK_NEVER: it does not */
  char addresses[ASYNC_ADDRESSES][ASYNC_ADDRESS_BYTES];
  unsigned address_count, address; /* the one to use */
  struct link *links;
  unsigned command_links, waiting_links;
  struct call_list calls, ended;
  struct keeper_item *first, *last; /* claims, by due_ms */
  unsigned lined;                   /* calls in CALL_LINED */
  bool untidy;                      /* a link wants link_sweep */
  bool closed;
  char trouble[IDEM_MESSAGE_BYTES]; /* why the last link ended */
};

/* ---- async.c ---- */
/* The reply to a call's flight, or NULL: the link ended without one. False: the link is of no
 * further use. */
bool async_answered(struct idem_call *call, redisReply *reply, int64_t now);
/* Delivers what has ended, lets those in line have free links, frees links that are gone. */
void async_settle(struct idem_async *async);
/* Makes sure that the timer fires at ms at the latest. */
void async_wake_at(struct idem_async *async, int64_t ms);
/* Begins a call that nobody is told about; claim may be NULL. It is sent from the timer. NULL: no
 * memory. */
struct idem_call *async_start_internal(struct idem_async *async, const struct wire_request *request,
                                       struct idem_claim *claim, int64_t now);

/* ---- link.c ---- */
/* Sends the call's request: on a shared link, or on one of its own when it waits. IDEM_OK;
 * IDEM_BUSY: no link to wait on is free; IDEM_UNAVAILABLE (trouble says why) or IDEM_NO_MEMORY. */
enum idem_status link_send(struct idem_call *call, int64_t now);
/* The link is of no further use: every flight on it comes back without a reply. */
void link_end(struct link *link);
/* Hangs up, but hears what the server says until then. */
void link_half_close(struct link *link, int64_t now);
/* Frees links that hiredis has let go of. */
void link_sweep(struct idem_async *async, int64_t now);
/* IDEM_OK or INVALID: the addresses of the server. Blocks. */
enum idem_status link_resolve(struct idem_async *async, struct idem_error *error);

/* ---- renewal.c ---- */
void renewal_add(struct idem_async *async, struct idem_claim *claim, int64_t granted_ms,
                 bool renews);
void renewal_remove(struct idem_async *async, struct idem_claim *claim);
/* Somebody has renewed it. */
void renewal_refresh(struct idem_async *async, struct idem_claim *claim, int64_t sent_ms,
                     int64_t lease_ms);
/* The answer to a renewal of its own. */
void renewal_answered(struct idem_async *async, struct idem_claim *claim, int64_t sent_ms,
                      const struct wire_reply *reply);
/* Sends the renewals that are due; when the next one is. */
int64_t renewal_run(struct idem_async *async, int64_t now);
/* idem_async_close: claims belong to nobody. */
void renewal_orphan_all(struct idem_async *async);

#endif
