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
 * Invariants: a call is in `calls` or `ended` until `done` has been called; a flight is one command
 * given to a link, which comes back exactly once; a call has at most one flight. A grant counts
 * when its owner is told, not when it is heard: a callback in between may take longer than the
 * lease. hiredis never reads what nobody asked for: it would abort the process.
 */
#ifndef IDEM_CLIENT_ASYNC_H
#define IDEM_CLIENT_ASYNC_H

#include <hiredis/async.h>

#include "client/claim.h"
#include "client/pace.h"
#include "client/reply_limit.h"
#include "client/tokens.h"

/* Addresses of the server's name that are tried in turn. */
#define ASYNC_ADDRESSES 8
/* Text of a numeric address. */
#define ASYNC_ADDRESS_BYTES 64
/* The loop is not woken more often than this for deadlines and pauses. */
#define ASYNC_TICK_MS 2
/* Between two attempts to resolve the name, which block the loop: this, and ASYNC_RESOLVE_SHARE
 * times as long as the former one took. */
#define ASYNC_RESOLVE_PAUSE_MS 1000
#define ASYNC_RESOLVE_SHARE 9
/* Reads of what a socket holds when a call's time is over, before the call is given up. */
#define ASYNC_LATE_READS_MAX 64

enum call_state {
  CALL_RESTING, /* until due_ms, then it is sent (again) */
  CALL_LINED,   /* in line for a link to wait on */
  CALL_SENT,    /* its flight is under way; due_ms is when patience ends */
  CALL_ENDED    /* in `ended`: its answer, or its grant, waits to be delivered */
};

struct link;

struct call_list {
  struct idem_call *first, *last;
};

/* One command under way. Its call may have ended before the reply comes. */
struct flight {
  struct link *link;
  struct idem_call *call; /* NULL: nobody cares any more */
  struct flight *next;    /* in `pending` */
  size_t len;
  char bytes[]; /* the command */
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
  bool begins;    /* it is an idem_async_begin, whatever its request is at the moment */
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
  struct wire_reply busy;    /* the last BUSY after which it went on */
  struct wire_reply granted; /* begin: a grant that its owner was not told of yet; has memory */
  struct pace_grant grant;   /* the same: its lease */
  struct pace asked;         /* the same: the pace of the claim, to go on with should it be lost */
  char bytes[];
};

enum link_state {
  LINK_OPENING, /* connecting, then giving the password: flights are `pending` */
  LINK_READY,   /* flights are given to hiredis */
  LINK_CLOSING  /* takes no more flights; what the server still says is read */
};

/* One connection. `context` is NULL once hiredis has let go of it; it is then freed in
 * async_settle. */
struct link {
  struct idem_async *async;
  struct link *next;
  redisAsyncContext *context;
  struct reply_limit limit;
  void *watch;
  int events;
  enum link_state state;
  int64_t until_ms; /* when an OPENING or CLOSING one is given up */
  unsigned flights; /* with those in `pending` */
  struct flight *pending, **pending_end;
  int64_t heard_ms; /* when the last reply came, or it became READY */
  bool waiting;     /* for calls that wait, one at a time */
  bool greeted;     /* connected, not to itself, and the password sent */
  bool refused;     /* the server wants no such client, or is no idem: `why` */
  char why[IDEM_MESSAGE_BYTES];
};

struct idem_async {
  struct settings settings;
  struct idem_loop loop;
  void *timer;
  int64_t timer_ms; /* when it fires; CLOCK_NEVER: it does not */
  char addresses[ASYNC_ADDRESSES][ASYNC_ADDRESS_BYTES];
  unsigned address_count, address; /* the one to use */
  bool addresses_failed;           /* each of them, since they were resolved */
  int64_t resolve_ms;              /* not resolved again before */
  struct link *links;
  unsigned command_links, waiting_links;
  struct call_list calls, ended;
  struct keeper_item *first, *last; /* claims, by due_ms */
  struct tokens tokens;             /* of the claims that were not freed yet */
  unsigned references;              /* one of the user until idem_async_close, one of each claim */
  unsigned lined;                   /* calls in CALL_LINED */
  bool untidy;                      /* a link wants link_sweep */
  bool closed;
  char trouble[IDEM_MESSAGE_BYTES]; /* why the last link ended */
};

/* ---- async.c ---- */
/* The reply to a call's flight, or NULL: the link ended without one. False: the link is of no
 * further use. */
bool async_answered(struct idem_call *call, redisReply *reply, int64_t now);
/* The link that a call was sent on is refused for good. */
void async_refused(struct idem_call *call, const char *why, int64_t now);
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
/* Reads what the socket of a call that was sent holds, as far as the call needs it. */
void link_read_for(struct idem_call *call);
/* Frees links that hiredis has let go of, ends those whose time is over. */
void link_sweep(struct idem_async *async, int64_t now);
/* The addresses of the server. False: trouble says why. Blocks. */
bool link_resolve(struct idem_async *async);

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
