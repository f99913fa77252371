/*
 * link.h - the connections of an idem_async in the user's loop. What connection.h is to the
 * synchronous calls: the bytes are transport.h's, hiredis' reader builds the replies. It knows how
 * a command is sent and that its reply comes, not what the reply means, nor what a call is.
 *
 *     link_send -> flight --(the link is not READY: pending)--> departs --> sent --> arrived
 *
 * Invariants: a flight is one command given to a link, and arrives exactly once. Replies answer the
 * flights in `sent` in their order; one that none of them waits for ends the link. All of it
 * belongs to the thread of the loop.
 */
#ifndef IDEM_CLIENT_LINK_H
#define IDEM_CLIENT_LINK_H

#include <stdbool.h>
#include <sys/queue.h>

#include "client/cluster.h"
#include "client/outbox.h"
#include "client/outcome.h"
#include "client/reply_limit.h"
#include "client/settings.h"
#include "client/transport.h"
#include "client/wakeup.h"
#include "client/wire.h"

struct idem_call;

enum link_state {
  LINK_CONNECTING,     /* up to READY flights are `pending` */
  LINK_HANDSHAKING,    /* TLS */
  LINK_AUTHENTICATING, /* the password is given */
  LINK_READY,          /* flights are sent */
  LINK_CLOSING,        /* takes no more flights; what the server still says is read */
  LINK_ENDED           /* has no socket; link_sweep frees it */
};

/* One command. */
struct link_flight {
  struct link *link;
  struct idem_call *call;          /* NULL: its reply is no longer wanted */
  bool reused;                     /* the link was READY before */
  bool departed;                   /* the server may get it */
  STAILQ_ENTRY(link_flight) entry; /* in `pending` or `sent` */
};

STAILQ_HEAD(link_flights, link_flight);

/* What the calls do when something happens to a flight of theirs. */
struct link_user {
  /* The request leaves now: what depends on the time is filled in. Borrowed until it returns. */
  const struct wire_request *(*departs)(struct idem_call *call, int64_t now);
  /* With a reply, which it takes over, or with a loss. False: the link is of no further use. */
  bool (*arrived)(struct idem_call *call, redisReply *reply, const struct outcome_loss *loss,
                  int64_t now);
  /* After every event from the loop. */
  void (*settle)(void *context);
};

/* One connection. */
struct link {
  struct link_set *set;
  struct node *node; /* that it leads to */
  LIST_ENTRY(link) entry;
  struct transport transport;
  redisReader *reader;
  struct reply_limit limit;
  struct outbox outbox;
  void *watch;
  int events;
  enum link_state state;
  /* What the last read and the last write wanted; DONE: nothing. */
  enum stream_result read_wants, write_wants;
  int64_t until_ms; /* when one that is not READY is given up */
  unsigned flights;
  struct link_flights pending, sent;
  int64_t heard_ms; /* when the last reply came, or it became READY */
  bool waiting;     /* for calls that wait, one at a time */
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
  LIST_HEAD(, link) links;
  unsigned waiting_links;
  bool untidy; /* a link wants link_sweep */
};

/* What the set points to is set before and must outlive it. */
void link_set_init(struct link_set *set);
/* Resolves the addresses of a server, which may block and may fail: then it is tried again when one
 * is needed. */
void link_resolve(struct node *node);
/* Ends all links; every flight arrives. */
void link_set_deinit(struct link_set *set);

/* What a link_send is about. */
struct link_order {
  struct idem_call *call;
  struct node *node; /* that it goes to */
  bool waits;        /* on a link of its own */
  bool provisional;  /* the node's name, for a link that is opened: see cluster_may_rename */
};

/* What came of a link_send. */
struct link_sent {
  struct link_flight *flight; /* OK: its bytes may leave later (departs) */
  struct idem_error why;      /* what it failed for */
};

/* Sends the call's request: on a shared link, or on one of its own when it waits. OK; BUSY: no link
 * to wait on is free; UNAVAILABLE, REFUSED or NO_MEMORY. *sent is filled with zeros before. */
enum idem_status link_send(struct link_set *set, const struct link_order *order,
                           struct link_sent *sent);
/* The reply of the flight is no longer wanted. */
void link_forget(struct link_flight *flight);
/* It has not come as far as READY. */
bool link_opening(const struct link *link);
/* Why the time of a link, or of a call on it, is over; IDEM_MESSAGE_BYTES at `why`. */
void link_explain_silence(const struct link *link, char *why);
/* The link is of no further use: every flight on it arrives without a reply. why NULL: what is
 * known already. */
void link_end(struct link *link, const char *why);
/* Hangs up, but hears what the server says until then. */
void link_half_close(struct link *link, int64_t now);
/* Reads once what its socket holds. False: nothing. */
bool link_read(struct link *link);
/* Frees links that have ended, ends those whose time is over. */
void link_sweep(struct link_set *set, int64_t now);

#endif
