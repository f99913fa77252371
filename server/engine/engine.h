/*
 * engine.h - the expiring dictionary: records and plain values under keys, their deadlines, and the
 * waiters. Here are an engine's life and the six commands.
 *
 * The rest of the manual: waiter.h, binding.h, effect.h, keys.h, pin.h, tick.h, memory_limit.h,
 * stats.h; outbox.h, image.h, emit.h, reemit.h and restore.h for the journal; keyspace.h for
 * several engines behind one hash.
 *
 * An engine is single-threaded and knows no clock, file, socket or event loop. Time is an argument:
 * milliseconds, never negative, on a clock that never runs backwards. It never calls upward; its
 * results are in four places: the return value, the list of waiters that became ready (waiter.h),
 * the effects (effect.h), and, if there is one, the outbox of images (outbox.h).
 *
 * Every call first applies what is due on its key, in the order of the deadlines, so no answer
 * shows a state that should have ended. tick.h does the same for keys that no call looks at.
 *
 * Limits on the lengths of keys, owners, bodies and so on are the caller's to check (it has the
 * arguments first); the engine takes any span up to 4 GiB.
 */
#ifndef IDEM_SERVER_ENGINE_ENGINE_H
#define IDEM_SERVER_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/span.h"
#include "server/engine/adopted_body.h"
#include "server/engine/engine_answer.h"
#include "server/engine/engine_options.h"
#include "server/engine/name.h"
#include "server/rules/rules.h"

struct binding;
struct engine;
struct outbox;

/* ---- life ---- */

/* NULL when memory is short. destroy takes NULL; all waiters and bindings have to be freed
 * before. */
struct engine *engine_create(const struct engine_options *options, int64_t now_ms);
void engine_destroy(struct engine *engine);
/* Everything but common, regions, first_token, clock_grain_ms and hash_secret may change while
 * running. */
void engine_reconfigure(struct engine *engine, const struct engine_options *options);
/* From now on no claim is granted, neither at once nor by hand-over: the server leaves. All CLAIMs
 * that wait are answered BUSY. */
void engine_stop_grants(struct engine *engine, int64_t now_ms);
/* Where the images of what changes go (emit.h), until the next such call; NULL: nowhere. Borrowed.
 * no_room: the journal takes no grants: a CLAIM that would be granted is answered NO_ROOM, and a
 * claim that lapses is not handed over until there is room again. */
void engine_use_outbox(struct engine *engine, struct outbox *outbox, bool no_room);
/* When this engine's memory of requests began. */
int64_t engine_horizon_start_ms(const struct engine *engine);

/* ---- the six commands ----
 *
 * `name` is the name of the same key, if the caller has computed it already (name_of, for
 * keys_prefetch); NULL: the engine computes it. Spans are borrowed for the call. */

struct engine_claim {
  const struct name *name;
  struct span key, fingerprint, owner; /* fingerprint and owner may be absent */
  uint32_t lease_ms;                   /* above 0 */
  int64_t wait_ms;                     /* 0: do not wait */
  bool born;                           /* born_ms is known */
  int64_t born_ms;                     /* when the request was first made; may be below 0 */
  uint64_t takeover;                   /* the token that was shown with UNKNOWN; 0: none */
  bool hold;
  struct binding *binding; /* BIND: the connection's; NULL without */
  void *context;           /* of the waiter, if one is made */
  unsigned loop_id;        /* which loop is to answer the waiter, below ENGINE_MAX_LOOPS */
  uint16_t user;           /* for whom the claim and the waiter count (quotas.h); 0: nobody */
};
/* CLAIMED, DONE, BUSY, UNKNOWN, FORGOTTEN, QUEUED, MISMATCH, OOM, BUSYKEY, CLAIM_QUOTA,
 * WAITER_QUOTA, DRAINING, NO_ROOM, WRONGTYPE, NO_MEMORY. Of a waiter: CLAIMED, DONE, BUSY, UNKNOWN,
 * FORGOTTEN, CLAIM_QUOTA, NOTHING */
void engine_claim(struct engine *engine, const struct engine_claim *claim, int64_t now_ms,
                  struct engine_answer *answer);

struct engine_store {
  const struct name *name;
  struct span key, body, meta; /* meta may be absent */
  uint64_t token;
  int64_t ttl_ms;               /* 0: the waiters get it, then it ends as by RELEASE */
  enum rules_word word;         /* of that RELEASE */
  struct adopted_body *adopted; /* where body lies, if it may be taken over; NULL: it is copied */
};
/* STORED, STALE_*, CONFLICT, WRONGTYPE, NO_MEMORY; OOM on LAPSED and UNKNOWN */
void engine_store(struct engine *engine, const struct engine_store *store, int64_t now_ms,
                  struct engine_answer *answer);

struct engine_renew {
  const struct name *name;
  struct span key, stage; /* stage may be absent */
  uint64_t token;
  int64_t lease_ms; /* 0: the length last granted */
};
/* RENEWED, STALE_*, WRONGTYPE, NO_MEMORY; OOM and CLAIM_QUOTA on LAPSED and UNKNOWN */
void engine_renew(struct engine *engine, const struct engine_renew *renew, int64_t now_ms,
                  struct engine_answer *answer);

struct engine_release {
  const struct name *name;
  struct span key;
  uint64_t token;
  enum rules_word word;
};
/* RELEASED, NOT_YOURS, WRONGTYPE */
void engine_release(struct engine *engine, const struct engine_release *release, int64_t now_ms,
                    struct engine_answer *answer);

struct engine_read {
  const struct name *name;
  struct span key, fingerprint; /* fingerprint may be absent: then nothing is compared */
  int64_t wait_ms;              /* 0: FETCH; above: WAIT */
  void *context;
  unsigned loop_id;
  uint16_t user;
};
/* DONE, BUSY, LAPSED, UNKNOWN, NOTHING, QUEUED, MISMATCH, BUSYKEY, WAITER_QUOTA, WRONGTYPE,
 * NO_MEMORY */
void engine_read(struct engine *engine, const struct engine_read *read, int64_t now_ms,
                 struct engine_answer *answer);

#endif
