/*
 * link.h - the connections of an idem_async: hiredis' asynchronous contexts in the user's loop.
 * What connection.h is to the synchronous calls. It knows how a command is sent and that its reply
 * comes, not what the reply means, nor what a call is.
 *
 *     link_send -> flight --(link OPENING: pending)--> departs --> hiredis --> arrived
 *
 * Invariants: a flight is one command given to a link, and arrives exactly once. hiredis never
 * reads what was not asked for: it would abort the process. All of it belongs to the thread of the
 * loop.
 */
#ifndef IDEM_CLIENT_LINK_H
#define IDEM_CLIENT_LINK_H

#include <hiredis/async.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "client/outcome.h"
#include "client/reply_limit.h"
#include "client/settings.h"
#include "client/wakeup.h"
#include "client/wire.h"

/* Addresses of the server's name that are tried in turn. */
#define LINK_ADDRESSES 8
/* Text of a numeric address. */
#define LINK_ADDRESS_BYTES 64

struct idem_call;

enum link_state {
  LINK_OPENING, /* connecting, then giving the password: flights are `pending` */
  LINK_READY,   /* flights are given to hiredis */
  LINK_CLOSING  /* takes no more flights; what the server still says is read */
};

/* One command. */
struct link_flight {
  struct link *link;
  struct idem_call *call;          /* NULL: its reply is no longer wanted */
  bool reused;                     /* the link was READY before */
  bool sent;                       /* hiredis has it: the server may get it */
  STAILQ_ENTRY(link_flight) entry; /* in `pending` */
};

/* What the calls do when something happens to a flight of theirs. */
struct link_user {
  /* The request leaves now: what depends on the time is filled in. Borrowed until it returns. */
  const struct wire_request *(*departs)(struct idem_call *call, int64_t now);
  /* With a reply, which is hiredis', or with a loss. False: the link is of no further use. */
  bool (*arrived)(struct idem_call *call, redisReply *reply, const struct outcome_loss *loss,
                  int64_t now);
  /* After every event from the loop. */
  void (*settle)(void *context);
};

/* One connection. `context` is NULL once hiredis has let go of it; it is then freed by link_sweep.
 */
struct link {
  struct link_set *set;
  LIST_ENTRY(link) entry;
  redisAsyncContext *context;
  struct reply_limit limit;
  void *watch;
  int events;
  enum link_state state;
  int64_t until_ms; /* when an OPENING or CLOSING one is given up */
  unsigned flights; /* with those in `pending` */
  STAILQ_HEAD(, link_flight) pending;
  int64_t heard_ms; /* when the last reply came, or it became READY */
  bool waiting;     /* for calls that wait, one at a time */
  bool connected;   /* and not to itself */
  bool answered;    /* a reply came: what follows is no failed handshake */
  /* Why it ends; OK: not known yet. */
  enum idem_status end_status;
  char why[IDEM_MESSAGE_BYTES];
};

struct link_set {
  const struct settings *settings;
  const struct idem_loop *loop;
  struct wakeup *wakeup;
  const struct link_user *user;
  void *context; /* of user->settle */
  char addresses[LINK_ADDRESSES][LINK_ADDRESS_BYTES];
  unsigned address_count, address; /* the one to use */
  bool addresses_failed;           /* each of them, since they were resolved */
  int64_t resolve_ms;              /* not resolved again before */
  LIST_HEAD(, link) links;
  unsigned command_links, waiting_links;
  bool untidy; /* a link wants link_sweep */
};

/* Resolves the addresses of the server, which may block and may fail: then it is tried again when
 * one is needed. What the set points to is set before and must outlive it. */
void link_set_init(struct link_set *set);
/* Ends all links; every flight arrives. */
void link_set_deinit(struct link_set *set);

/* What came of a link_send. */
struct link_sent {
  struct link_flight *flight; /* OK: its bytes may leave later (departs) */
  struct idem_error why;      /* what it failed for */
};

/* Sends the call's request: on a shared link, or on one of its own when it waits. OK; BUSY: no link
 * to wait on is free; UNAVAILABLE, REFUSED or NO_MEMORY. *sent is filled with zeros before. */
enum idem_status link_send(struct link_set *set, struct idem_call *call, bool waits,
                           struct link_sent *sent);
/* The reply of the flight is no longer wanted. */
void link_forget(struct link_flight *flight);
/* The link is of no further use: every flight on it arrives without a reply. why NULL: what hiredis
 * says. */
void link_end(struct link *link, const char *why);
/* Hangs up, but hears what the server says until then. */
void link_half_close(struct link *link, int64_t now);
/* Reads once what its socket holds. False: nothing. */
bool link_read(struct link *link);
/* Frees links that hiredis has let go of, ends those whose time is over. */
void link_sweep(struct link_set *set, int64_t now);

#endif
