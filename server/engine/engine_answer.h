/* engine_answer.h - the result of a call on the engine, or of a wait. */
#ifndef IDEM_SERVER_ENGINE_ENGINE_ANSWER_H
#define IDEM_SERVER_ENGINE_ENGINE_ANSWER_H

#include <stdint.h>

#include "proto/span.h"

struct blob;
struct waiter;

enum engine_status {
  ENGINE_CLAIMED,   /* token, lease_ms, attempt, stage */
  ENGINE_DONE,      /* body, meta, age_ms, left_ms */
  ENGINE_BUSY,      /* left_ms, age_ms, owner, stage */
  ENGINE_LAPSED,    /* token, age_ms, attempt, owner, stage */
  ENGINE_UNKNOWN,   /* the same */
  ENGINE_FORGOTTEN, /* horizon_ms: records of requests that were born up to then may be gone */
  ENGINE_NOTHING,   /* there is no record */
  ENGINE_QUEUED,    /* waiter */
  ENGINE_STORED,    /* count: waiters answered by it */
  ENGINE_RENEWED,   /* lease_ms */
  ENGINE_RELEASED,
  ENGINE_NOT_YOURS,
  ENGINE_MISMATCH,
  ENGINE_STALE_ABSENT,
  ENGINE_STALE_STORED,
  ENGINE_STALE_OVERTAKEN,
  ENGINE_CONFLICT,
  ENGINE_OOM,          /* the memory limit */
  ENGINE_BUSYKEY,      /* a waiter limit */
  ENGINE_CLAIM_QUOTA,  /* count: so many claims the user may hold, and does */
  ENGINE_WAITER_QUOTA, /* count: so many waiters the user may have, and has */
  ENGINE_DRAINING,     /* nothing is granted any more */
  ENGINE_NO_ROOM,      /* nothing is granted until the journal has room */
  ENGINE_WRONGTYPE,    /* a plain value lives there, or the other way round */
  ENGINE_NO_MEMORY,    /* the allocator failed; nothing changed */
};
#define ENGINE_STATUSES (ENGINE_NO_MEMORY + 1)

/*
 * Blobs in an answer are borrowed: valid until the next call on the engine (an answer in a waiter:
 * until the waiter is settled). pin_take (pin.h) keeps one longer. NULL means absent.
 */
struct engine_answer {
  enum engine_status status;
  uint32_t attempt;
  union { /* each waiter has one, so it is kept small */
    struct {
      uint64_t token;
      int64_t lease_ms;
    };
    struct span body_bytes; /* of body, of a DONE */
    int64_t horizon_ms;
  };
  struct span meta_bytes; /* the same of meta; absent of others */
  int64_t age_ms, left_ms;
  uint64_t count;
  struct blob *body, *meta, *stage, *owner;
  struct waiter *waiter;
};

#endif
