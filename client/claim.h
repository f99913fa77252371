/*
 * claim.h - struct idem_claim: one grant. Shared by the synchronous and the asynchronous calls, of
 * which it knows nothing: how it leaves the client that it came from is a function that they set.
 */
#ifndef IDEM_CLIENT_CLAIM_H
#define IDEM_CLIENT_CLAIM_H

#include "client/lease.h"
#include "client/outcome.h"
#include "client/wire.h"

struct connection;

struct idem_claim {
  struct lease lease; /* key, token, state */
  /* Exactly one of the two is set while its client is open. */
  struct idem_client *client;
  struct idem_async *async;
  /* Takes it out of what it came from; NULL: nothing to leave. For idem_claim_free. */
  void (*leave)(struct idem_claim *claim);
  struct connection *bound; /* IDEM_BIND: the connection with which the claim ends */
  redisReply *grant;        /* keeps `stage` */
  struct idem_bytes stage;
  int64_t attempt;
  int64_t lease_ms; /* as it was granted */
  int64_t answered;
  int64_t stored_ms;         /* when a STORE was first sent whose fate is unknown; 0: none */
  struct idem_call *call;    /* asynchronous: the user's, in flight */
  struct idem_call *renewal; /* asynchronous: the one in flight */
  char message[IDEM_MESSAGE_BYTES];
  char key[]; /* a copy */
};

/* Memory for a claim of this key, before it is granted: after a grant nothing may fail. NULL: no
 * memory. */
struct idem_claim *claim_create(struct idem_bytes key);
/* Fills in what the server granted and when that was asked for; takes over reply->memory. */
void claim_grant(struct idem_claim *claim, struct wire_reply *reply, int64_t sent_ms);
/* Frees the memory alone. NULL is fine. */
void claim_destroy(struct idem_claim *claim);
/* Sets what idem_claim_message says. Returns status. */
enum idem_status claim_set_message(struct idem_claim *claim, enum idem_status status,
                                   const char *message);
/* NULL when calls may be made on it, else what is wrong. Whose it is, is the caller's to check. */
const char *claim_check(const struct idem_claim *claim);
/* Copies a result of the caller's. NULL, or what is wrong with it. */
const char *claim_take_result(struct idem_result *to, const struct idem_result *from);
/* NULL, or what is wrong with it. */
const char *claim_check_release(enum idem_release how);

/* The final reply to a call on it: keeps the message, and how many callers a STORE answered. May
 * change the reply. Returns what is to be done to the lease. */
enum outcome_claim claim_conclude(struct idem_claim *claim, const struct outcome_of_call *call,
                                  struct wire_reply *reply);

/* ---- its requests; they borrow from the claim and the arguments ---- */

/* The CLAIM of a request that was checked (settings_take_request), under the name of `owner`. OK;
 * or what the call ends with, and *why: nothing is sent then. */
enum idem_status claim_request(struct wire_request *claim, const struct idem_request *request,
                               struct idem_bytes owner, const char **why);
struct wire_request claim_store_request(const struct idem_claim *claim,
                                        const struct idem_result *result);
/* lease_ms 0: as it was granted. stage may be absent. */
struct wire_request claim_renew_request(const struct idem_claim *claim, int64_t lease_ms,
                                        struct idem_bytes stage);
struct wire_request claim_release_request(const struct idem_claim *claim, enum idem_release how);
/* Gives a grant back under which nothing ran: `asked` was answered with `granted`. What earlier
 * attempts left stays. */
struct wire_request claim_give_back_request(const struct wire_request *asked,
                                            const struct wire_reply *granted);

#endif
