/*
 * wire.h - idem's commands as bytes and its replies as statuses. Knows hiredis' reply objects, no
 * socket and no clock.
 *
 * Requests are framed here, not by hiredis: that saves the copy of a large body, and lets the
 * sender pass MSG_NOSIGNAL, which hiredis does not.
 *
 *     frame:  [ *6 $10 IDEM.STORE $3 key $16 token $1000000 ][ body, where it lies ][ $3 TTL $4
 * 5000 ]
 *
 * Commands go by their names with IDEM. before them, which mean the same in idem, Redis and Valkey.
 */
#ifndef IDEM_CLIENT_WIRE_H
#define IDEM_CLIENT_WIRE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <sys/uio.h>

#include "client/idem.h"

enum wire_verb {
  WIRE_CLAIM,
  WIRE_STORE,
  WIRE_RENEW,
  WIRE_RELEASE,
  WIRE_FETCH,
  WIRE_WAIT,
  WIRE_PING,
  WIRE_AUTH,  /* owner is the user (may be absent), key the password */
  WIRE_NODES, /* CLUSTER NODES */
  WIRE_ASKING /* what comes next is asked of the node that an ASK named */
};

/* One command. Bytes are borrowed; absent ones and zero durations are not sent. */
struct wire_request {
  enum wire_verb verb;
  struct idem_bytes key, fingerprint, owner, body, meta, stage;
  uint64_t token;
  int64_t lease_ms;
  int64_t wait_ms;
  int64_t ttl_ms;
  int64_t born_unix_ms;
  uint64_t takeover;
  unsigned flags; /* IDEM_HOLD, IDEM_BIND */
  bool asking;    /* WIRE_ASKING goes before it */
  /* RELEASE: what is said of the work. STORE: the same, with TTL 0; 0: it is kept */
  enum idem_release release;
};

/* What a reply says of who has which keys. */
enum wire_topology {
  WIRE_SETTLED,   /* nothing */
  WIRE_MOVED,     /* another node has the key, for good */
  WIRE_ASK,       /* another node may have it, this once */
  WIRE_UNBLOCKED, /* it was taken from this node while the call waited */
  WIRE_UNSETTLED  /* this node cannot serve it: another one may have it by now */
};

/* For a BUSY that tells no lease: a second is soon enough when too many wait, or when a grant was
 * overtaken. */
#define WIRE_UNTOLD_RETRY_MS 1000

/* Arguments longer than this are sent from where they lie. */
#define WIRE_INLINE_BYTES 256
#define WIRE_ARGUMENTS 16
/* Every argument may need its header, its bytes and a line end in the scratch. */
#define WIRE_SCRATCH_BYTES (WIRE_ARGUMENTS * (WIRE_INLINE_BYTES + 32))
#define WIRE_PARTS (2 * WIRE_ARGUMENTS + 1)

struct wire_frame {
  struct iovec parts[WIRE_PARTS];
  int count;
  size_t size; /* of all parts */
  char scratch[WIRE_SCRATCH_BYTES];
};

/* The frame borrows from the request and points into itself: do not copy it. */
void wire_frame(struct wire_frame *frame, const struct wire_request *request);
/* Writes all parts, frame->size bytes. */
void wire_copy(const struct wire_frame *frame, char *out);

/* What the server said. Bytes live in `memory`. */
struct wire_reply {
  enum idem_status status;
  bool again; /* the server cannot now (loading, draining, too many clients): ask later */
  bool spent; /* the connection is of no further use: so the server says, or it is no answer */
  enum idem_stale stale;
  enum wire_topology topology;
  struct idem_bytes body, meta, owner, stage;
  int64_t age_ms, left_ms; /* left: of the TTL (REPLAY) or of the lease (BUSY) */
  int64_t lease_ms, attempt;
  int64_t horizon_unix_ms;
  int64_t number; /* STORE: callers answered, RENEW: lease, RELEASE: 1 or 0 */
  uint64_t token;
  redisReply *memory;               /* freeReplyObject */
  char message[IDEM_MESSAGE_BYTES]; /* last: all before it is cleared at once */
};

/* Parses the reply to `verb` and takes it over. Durations beyond CLOCK_SPAN_MAX_MS count as that.
 */
void wire_parse(enum wire_verb verb, redisReply *reply, struct wire_reply *out);
/* The reply to AUTH, which stays the caller's: IDEM_OK, UNAVAILABLE (not now) or REFUSED; error
 * says why. */
enum idem_status wire_parse_auth(redisReply *reply, struct idem_error *error);
/* A reply without the server's words. */
void wire_reply_fail(struct wire_reply *reply, enum idem_status status, const char *message);
void wire_reply_deinit(struct wire_reply *reply);

#endif
