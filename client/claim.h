/*
 * claim.h - struct idem_claim: one grant. Shared by the synchronous and the asynchronous half;
 * exactly one of client and async is set while its owner lives.
 */
#ifndef IDEM_CLIENT_CLAIM_H
#define IDEM_CLIENT_CLAIM_H

#include "client/keeper.h"
#include "client/wire.h"

struct connection;

struct idem_claim {
  struct keeper_item item; /* key, token, lease, state */
  struct idem_client *client;
  struct idem_async *async;
  struct connection *bound; /* IDEM_BIND: the connection with which the claim ends */
  redisReply *grant;        /* keeps `stage` */
  struct idem_bytes stage;
  int64_t attempt;
  int64_t lease_ms;
  int64_t answered;
  int64_t stored_ms;         /* when a STORE was first sent whose fate is unknown; 0: none */
  struct idem_call *call;    /* asynchronous: the user's, under way */
  struct idem_call *renewal; /* asynchronous: one under way */
  char message[IDEM_MESSAGE_BYTES];
  char key[]; /* a copy */
};

/* Memory for a claim of this key, before it is granted: after a grant nothing may fail. NULL: no
 * memory. */
struct idem_claim *claim_create(struct idem_bytes key);
/* A grant that nobody wants: the request that gives it back. */
struct wire_request claim_give_back_request(const struct wire_request *asked,
                                            const struct wire_reply *granted);
/* Fills in what the server granted; takes over reply->memory. */
void claim_grant(struct idem_claim *claim, struct wire_reply *reply);
/* Asynchronous: the half in the loop forgets the claim (async.c). */
void claim_leave_async(struct idem_claim *claim);
/* Frees the memory alone. */
void claim_destroy(struct idem_claim *claim);
/* A STORE was answered STALE. Whether an attempt of stored_ms, whose fate is unknown, can be the
 * reason. */
bool claim_store_uncertain(const struct idem_claim *claim, const struct idem_result *result,
                           int64_t now);
/* Copies a result of the caller's. NULL, or what is wrong with it. */
const char *claim_take_result(struct idem_result *to, const struct idem_result *from);
/* The STORE of a result. */
struct wire_request claim_store_request(const struct idem_claim *claim,
                                        const struct idem_result *result);

#endif
