/*
 * idem.h - libidem, the C client of idem: run a piece of work once, however often it is asked for.
 *
 *     struct idem_client *client;
 *     struct idem_answer answer;
 *     struct idem_request request = {0};
 *
 *     if (idem_open("redis://127.0.0.1:4336", NULL, &client, NULL) != IDEM_OK) exit(1);
 *     request.key = idem_text("order-17");
 *     switch (idem_once(client, &request, charge_card, &order, &answer)) {
 *       case IDEM_RUN:      // charge_card ran just now, what it made is stored
 *       case IDEM_REPLAY:   // it ran before: the same bytes again
 *         send_to_customer(answer.body.data, answer.body.len);
 *         break;
 *       case IDEM_BUSY:     // another caller still runs it: 409, Retry-After answer.retry_after_ms
 *       case IDEM_MISMATCH: // the key belongs to a different request: 422
 *       default:            // it did not run, or that is unknown: 503, answer.message says why
 *     }
 *     idem_answer_clear(&answer);
 *
 * Link with -lidem (pkg-config libidem). C11, and C++11 through extern "C".
 *
 * RULES THAT HOLD FOR ALL OF IT
 *   - Options and requests are plain structs. Fill them with zeros, then set what matters: zero
 *     means default. Their `size` may stay 0: see THE SIZE OF STRUCTS.
 *   - Durations are milliseconds in int64_t. Setting the wall clock moves nothing. They run on
 *     while this machine is suspended (CLOCK_BOOTTIME): so does a lease at a server elsewhere.
 *   - Byte strings are (data, len), any bytes. data == NULL means absent, which is not the same
 *     as empty. What you pass in is borrowed until the call returns (the asynchronous calls copy
 *     it). What comes out is followed by a NUL byte. (One exception: when there is no memory to
 *     copy what the work made, RUN and UNSTORED hand out its own bytes.)
 *   - Every call that talks to the server ends within its deadline, with a status. None raises a
 *     signal.
 *   - IDEM_OK, IDEM_RUN, IDEM_REPLAY are reported only after the server's own words have been
 *     read. Whatever was not seen is IDEM_UNAVAILABLE, and then nothing ran (fails closed) unless
 *     the request says IDEM_FAIL_OPEN.
 *   - An error is no proof that nothing happened: a payment may have gone through when its answer
 *     timed out. Whatever ends without a result counts as IDEM_WORK_UNSURE, unless the code knows
 *     that nothing happened and says so (IDEM_WORK_NOTHING, IDEM_RELEASE_NOTHING).
 *   - A BUSY is remembered: a call that goes on waiting, and is then no longer served (no answer in
 *     time, or the server's -OOM), ends with the last BUSY and what that said, not with
 *     UNAVAILABLE. Another owner was at work, and IDEM_FAIL_OPEN must not run beside it. The
 *     message says why no newer answer came.
 *   - A server that speaks another protocol (HTTP, say) is IDEM_REFUSED at once, and so is a reply
 *     larger than any of idem's. Only a server that cannot be reached, or that says that it cannot
 *     serve now, is IDEM_UNAVAILABLE.
 *   - A server that is shutting down grants nothing (its -DRAINING). The call asks again until its
 *     deadline, by when the next server may be up, and is IDEM_UNAVAILABLE then. Claims that are
 *     held go on: they are renewed and finished as ever, if it keeps a journal at the next server.
 *   - IDEM_RUN means that the lease runs; it cannot have expired. A claim is renewed before you are
 *     told of it when more time has passed since it was sent than a renewal may take: a third of
 *     the lease, at least 50 ms. (It waited, its answer was late, or, asynchronously, the loop was
 *     blocked.) When another owner has taken over meanwhile, the call asks again. When three
 *     renewals, or deadline_ms after the grant, have not confirmed it, the claim is given back (by
 *     a struct idem_client only if a connection is at hand) and the call ends BUSY, with the lease
 *     as retry_after_ms: nothing ran, and IDEM_FAIL_OPEN does not apply. So a lease has to be three
 *     times as long as an answer takes at worst.
 *   - A struct idem_client does not give back a claim whose answer never came: if the server has
 *     granted it, or does so later, its key is BUSY until the lease expires (IDEM_BIND: until the
 *     server sees the connection end). A struct idem_async gives it back when the grant comes after
 *     all. What is given back says that nothing happened, which is known here.
 *   - Lost replies are handled. A call is sent again, on a new connection, with bounded and
 *     jittered pauses, until its deadline. That is safe: a claim carries a random name of this one
 *     call (its OWNER), everything else carries the token of one grant, so the server recognizes
 *     the repetition.
 *   - One key has one home. A client knows exactly one server and never tries another one: two
 *     servers that both grant a claim are two runs. To move to another server, move its name or
 *     address.
 *   - There are no global variables. The library needs no initialization and writes to no stream.
 *     (OpenSSL has globals of its own, and initializes itself when the first URL with TLS is
 *     opened.)
 *   - fork: open the client in the process that uses it. In the child of a process that had it
 *     open, every call on it returns IDEM_INVALID and idem_close does nothing (what it holds is
 *     freed when the child exits). Its descriptors are closed by exec, not by fork: with IDEM_BIND
 *     the server sees the owner alive until the child ends as well.
 *   - Names of hosts are resolved by getaddrinfo, whose only deadline is that of the resolver's
 *     configuration. Write an address in the URL where that matters.
 *   - A failed malloc is IDEM_NO_MEMORY.
 *
 * THE SIZE OF STRUCTS
 *   The structs that you fill in begin with `size`. 0 is the layout of version 0.1, so that
 *   `struct idem_request request = {.key = ...}` stays as short as that. Later versions append
 *   members; a program that sets one of those sets `.size = sizeof request` too (or always does).
 *   An older library then refuses (IDEM_INVALID) what it does not know, and never ignores it; a
 *   newer one takes what is missing for zeros. Two structs are filled in by the library: struct
 *   idem_result when the work is called, which bears its size, and struct idem_answer, which is
 *   often left uninitialized and has room kept in it instead. The symbols of the shared library
 *   bear versions (IDEM_0.1), for what neither of these can do. struct idem_bytes, idem_error,
 *   idem_header and idem_fingerprint never change.
 *
 * WHAT IDEMPOTENCY DOES NOT GIVE YOU
 *   A process can be stopped longer than its lease (a paused machine), and another one takes
 *   over. The library tells (idem_claim_state), but only what the work writes to can prevent the
 *   damage: hand idem_claim_token() to it, and let it refuse a token lower than the highest that
 *   it has seen.
 */
#ifndef IDEM_H
#define IDEM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define IDEM_API __attribute__((visibility("default")))
#define IDEM_MUST_USE __attribute__((warn_unused_result))
#else
#define IDEM_API
#define IDEM_MUST_USE
#endif

#define IDEM_CLIENT_VERSION "0.1.0"
/* The version of the library that is linked, "0.1.0". Static. */
IDEM_API const char *idem_version(void);

/* ---- bytes ---- */

struct idem_bytes {
  const void *data; /* NULL: absent */
  size_t len;
};

/* A C string as bytes; NULL is absent. Borrows. */
static inline struct idem_bytes idem_text(const char *text) {
  struct idem_bytes bytes;
  bytes.data = text;
  bytes.len = text != NULL ? strlen(text) : 0;
  return bytes;
}

static inline struct idem_bytes idem_data(const void *data, size_t len) {
  struct idem_bytes bytes;
  bytes.data = data;
  bytes.len = len;
  return bytes;
}

/* ---- what a call can end with ---- */

enum idem_status {
  /* done, and seen to be done */
  IDEM_OK = 0,

  /* About a key. */
  /* idem_begin: you are to run it. idem_once: it ran here, and its result is stored */
  IDEM_RUN,
  /* it ran before: body, meta, age_ms, ttl_left_ms */
  IDEM_REPLAY,
  /* another caller runs it: retry_after_ms, age_ms, owner. Without an owner and an age: it was
   * granted to this call, but too late to run under it */
  IDEM_BUSY,
  /* its owner vanished and had set IDEM_HOLD, so it is not run again: token, age_ms, attempt,
   * owner, stage. It stays so until somebody decides. Find out what happened; then claim with the
   * token as `takeover`, or idem_release it with IDEM_RELEASE_CLEAR */
  IDEM_UNKNOWN,
  /* idem_fetch, idem_wait: it may have run, without a result, and nobody runs it now: token,
   * age_ms, attempt, owner, stage. The next claim runs it, with a higher attempt */
  IDEM_LAPSED,
  /* the request gave born_unix_ms, there is no record of it, and one may have been forgotten (it
   * expired, or the server lost its memory): horizon_unix_ms. It was not run. Find out whether an
   * earlier try did it; then ask again without born_unix_ms */
  IDEM_FORGOTTEN,
  /* idem_fetch, idem_wait: there is no record of it */
  IDEM_ABSENT,
  /* the key belongs to a request with another fingerprint */
  IDEM_MISMATCH,

  /* idem_once alone: the work was called, but there is no stored result of it. */
  /* it ran here and succeeded; the result is in the answer, but whether it is stored was refused
   * or not seen: answer.store says which. Another caller may run it again when the lease has
   * expired */
  IDEM_UNSTORED,
  /* the work said so: answer.work says what. Nothing is stored */
  IDEM_FAILED,

  /* About a claim. */
  /* no longer the owner, and nothing was changed. idem_claim_stale says what the server has now */
  IDEM_STALE,
  /* this claim has already stored other bytes; the first ones stay */
  IDEM_CONFLICT,

  /* No answer, or a refusal. */
  /* no answer was seen in time, or the server cannot now: it has no room (its -OOM), no disk
   * (-MISCONF), or shuts down (-DRAINING). The call may have taken effect or not; the same call may
   * be made again */
  IDEM_UNAVAILABLE,
  /* over a size limit of the server: key 1 KiB, meta 64 KiB, stage 1 KiB, body 16 MiB by default */
  IDEM_TOOBIG,
  /* the server refused for a reason that trying again does not cure: a wrong password, a lease
   * over its cap, a plain string under the key, a server that is not idem, speaks no TLS or has the
   * wrong certificate, or does not take ours, a reply over reply_limit_bytes */
  IDEM_REFUSED,
  /* a mistake in the call itself; nothing was sent */
  IDEM_INVALID,
  /* malloc failed here. Like UNAVAILABLE: the call may have taken effect */
  IDEM_NO_MEMORY,
  /* asynchronous only: idem_async_cancel or idem_async_close */
  IDEM_CANCELLED
};

/* "RUN", "REPLAY", ...; "?" for any other value. Static. */
IDEM_API const char *idem_status_name(enum idem_status status);

/* STALE: what the server has under the key instead of this grant. */
enum idem_stale {
  /* it was not told */
  IDEM_STALE_UNTOLD = 0,
  /* no record: it has expired, or was deleted, or a server without a journal was restarted */
  IDEM_STALE_ABSENT,
  /* the result of another grant */
  IDEM_STALE_STORED,
  /* another owner, or the trace of one */
  IDEM_STALE_OVERTAKEN
};

/* What an owner says of its work when it ends without a result that is kept. */
enum idem_release {
  /* this attempt did nothing. The next caller runs at once, as if there had been no such grant;
   * what earlier attempts left (their number, the stage, IDEM_HOLD) stays */
  IDEM_RELEASE_NOTHING = 1,
  /* it may have acted. The lease is over at once: the next caller runs with a higher attempt and
   * finds the stage; with IDEM_HOLD it is UNKNOWN */
  IDEM_RELEASE_UNSURE = 2,
  /* somebody has looked: no attempt ever did anything. Attempts, stage and IDEM_HOLD are forgotten,
   * and the next caller runs with attempt 1 */
  IDEM_RELEASE_CLEAR = 3
};

#define IDEM_MESSAGE_BYTES 160

/* Why a call failed, for people. text is always terminated; empty when there is nothing to say. */
struct idem_error {
  char text[IDEM_MESSAGE_BYTES];
};

/* ---- a client: one server and the connections to it ---- */

struct idem_client;
struct idem_claim;

/* See idem_claim_state. */
enum idem_claim_state {
  /* yours, as far as is known */
  IDEM_CLAIM_HELD,
  /* no renewal got through for a whole lease: another one may be running by now. Stop where that
   * matters. It turns HELD again when a renewal succeeds */
  IDEM_CLAIM_DOUBTFUL,
  /* the server said so: another one has taken over, or the record is gone. Final */
  IDEM_CLAIM_LOST,
  /* finished or given back by you. Final */
  IDEM_CLAIM_ENDED
};

/*
 * Called when a claim turns LOST; and when it turns DOUBTFUL, once a renewal has failed since (a
 * process that stood still asks first, and may find the claim still its own), again only after it
 * was HELD in between. It is called from the client's own thread (idem_client) or from the loop
 * (idem_async), must be quick, and may call only idem_claim_* getters. `claim` is valid during the
 * call.
 */
typedef void idem_lost_fn(struct idem_claim *claim, enum idem_claim_state state, void *context);

enum idem_tls_version { IDEM_TLS_1_2 = 1, IDEM_TLS_1_3 = 2 };

enum idem_tls_flag {
  /* takes any certificate of any server: whoever sits in between reads and answers everything. For
   * trying something out, never for more */
  IDEM_TLS_INSECURE_ANY_CERTIFICATE = 1
};

struct idem_options {
  size_t size; /* 0, or sizeof(struct idem_options) */
  /* 1000: one attempt to connect, all addresses of the name and the handshake of TLS together */
  int64_t connect_timeout_ms;
  /* 2000: one attempt of a call, from sending to its whole reply, and the answer to AUTH. A waiting
   * call adds its wait. A server answers a wrong password after one second: with less than that, or
   * with a shorter deadline, it is UNAVAILABLE instead of REFUSED */
  int64_t command_timeout_ms;
  /* 5000: one call with all its attempts and pauses. A waiting call adds the time for which it
   * really waits: with no server to be reached it ends as soon as any other */
  int64_t deadline_ms;
  /* 20: the longest first pause between attempts; it doubles ... */
  int64_t backoff_first_ms;
  /* 1000: ... up to here; each pause is a random part of it, at least half */
  int64_t backoff_max_ms;
  /* 16: kept open between calls. A call uses one connection of its own */
  unsigned idle_connections;
  /* 2: that commands of idem_async share (those that wait have one each) */
  unsigned async_connections;
  /* 256: connections on which idem_async waits; further calls queue for one */
  unsigned async_waits;
  /* the name of this client, shown to others as the first part of `owner`, as in "web-3". At most
   * 64 bytes. Copied. NULL: only the random part */
  const char *name;
  /* TLS (see below) alone, as all that follows with ca_, cert_, key_, server_ and tls_ before it.
   * PEM of the authorities to trust. NULL, and no ca_dir: those of the system. Copied */
  const char *ca_file;
  /* own certificate, with what leads to its authority after it, and key, PEM. NULL: none; key_file
   * NULL: the key is in cert_file too. A key with a passphrase is INVALID. Copied */
  const char *cert_file;
  const char *key_file;
  /* NULL: none */
  idem_lost_fn *on_lost;
  void *lost_context;
  /* 513 MiB, which no server exceeds: a larger reply is REFUSED. At least 64 KiB */
  size_t reply_limit_bytes;
  /* authorities, one file each by the names of `openssl rehash`; beside ca_file. Copied */
  const char *ca_dir;
  /* the name or address that the server's certificate has to bear, and (a name) that the server is
   * asked for, instead of the host in the URL. Copied */
  const char *server_name;
  /* enum idem_tls_version; 0: IDEM_TLS_1_2 */
  unsigned tls_version_min;
  /* enum idem_tls_flag */
  unsigned tls_flags;
};

/*
 * Prepares a client for the server at `url`; *client is NULL unless IDEM_OK is returned. It does
 * not connect: a server that is down is found by the first call (or idem_ping). Close with
 * idem_close. options and error may be NULL.
 *   redis://[[user]:password@]host[:port]  port 4336 when not given; IPv6 as [::1], with a zone
 *                                          as [fe80::1%25eth0]; percent-escapes in user and
 *                                          password (needed for % ? #, and for "@/" before a path)
 *   rediss://...                           the same over TLS
 *   idem://..., idems://...                the same as redis:// and rediss://
 *   unix:///path/of/socket                 also unix://[[user]:password@]/path
 *   redis://[...@]host[:port],host[:port]  and so on, up to 16, with any of the schemes but unix:
 *                                          nodes of a cluster
 * The case of the scheme does not matter. A password that the server does not ask for is REFUSED by
 * the calls: it is probably another server. IDEM_INVALID: the URL or an option makes no sense, or a
 * file cannot be used. A client may be used by any number of threads at once.
 *
 * A cluster of Redis or Valkey with idem's module: a call goes to the node that has its key, by the
 * table that the nodes show (CLUSTER NODES), and follows MOVED and ASK; after a failover calls,
 * waits and renewals go on at the new master. That costs no more than the call's deadline_ms, after
 * which it is UNAVAILABLE as ever. One node in the URL is enough, the cluster is noticed by its
 * first MOVED. Several servers have to be a cluster, and one of them has to show its table: else
 * calls are REFUSED and nothing is sent, for each of them would grant the same key. (A user that
 * may not ask for the table gives one node.) idle_connections and async_waits hold for all nodes
 * together, async_connections for each; an idem_client renews with a thread for each node, so that
 * one which hangs holds up its own leases alone. Under TLS each node's certificate has to bear the
 * host name that it announces, or its address when it announces none, or server_name. A name that
 * came from the cluster may be about to change: when the certificate does not bear it, the call
 * asks for the table again and is UNAVAILABLE at its deadline, until the node was not reached for
 * 15 s; from then on it is REFUSED at once. At most 1,024 addresses are followed to in the life of
 * a client. Tokens rise for each key; those of two nodes may be the same.
 *
 * TLS: 1.2 and 1.3. The server has to have a certificate of a trusted authority that is valid now
 * and bears the host of the URL (or server_name), a name or an IP address; a * stands for one whole
 * label. Else calls are REFUSED at once (but for names that a cluster told, see above), and the
 * message says which of it is wrong. "Those of the system" are OpenSSL's, with SSL_CERT_FILE and
 * SSL_CERT_DIR. The handshake belongs to connecting: connect_timeout_ms holds for both. A file that
 * changes (ca_file, cert_file, key_file) is read again before the next connection; one that cannot
 * be used then leaves what was read before. Until a file changes, a connection resumes the session
 * of the one before it where the server allows. A connection that ends without TLS's own end (a cut
 * cable, an attacker) is UNAVAILABLE, never the end of a reply. OpenSSL's queue of errors of the
 * calling thread is emptied.
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_open(const char *url,
                                                  const struct idem_options *options,
                                                  struct idem_client **client,
                                                  struct idem_error *error);
/*
 * Stops renewing, closes the connections, frees; with a server that does not answer this may take
 * as long as one attempt of a renewal. NULL is fine. No call may be running. Claims that are still
 * open remain valid memory (idem_claim_free them as ever), but no longer belong to a client: calls
 * on them return IDEM_INVALID.
 */
IDEM_API void idem_close(struct idem_client *client);
/* IDEM_OK when the server answers and takes the password. error may be NULL. */
IDEM_API enum idem_status idem_ping(struct idem_client *client, struct idem_error *error);

/* ---- what is asked ---- */

enum idem_flag {
  /* should this owner vanish, the work may have happened and is not run again: the others get
   * UNKNOWN. The strict reading of "at most once" */
  IDEM_HOLD = 1,
  /* the claim ends with this process: it owns a connection, and when that closes without a result
   * the next caller runs at once, not after the lease. Renewals travel on another connection, so
   * the bound one is silent for as long as the work takes: the server's `timeout` spares it, and
   * TCP keep-alive probes it, but a proxy in between that ends silent connections ends the claim.
   * When a server with a journal restarts, the claim goes on unbound: until its lease expires */
  IDEM_BIND = 2,
  /* do not renew in the background: the work ends within lease_ms or calls idem_renew */
  IDEM_NO_RENEWAL = 4,
  /* idem_once: when the call ends UNAVAILABLE, run the work without protection (it gets no
   * claim). The outcome is IDEM_UNSTORED. Not after BUSY (another owner may be at work), nor when
   * the call is REFUSED (a wrong password, another protocol: that would run without protection for
   * good), FORGOTTEN or UNKNOWN */
  IDEM_FAIL_OPEN = 8
};

#define IDEM_KEY_LIMIT 1024 /* bytes of a key, the server's default limit */
#define IDEM_NO_WAIT (-1)

struct idem_request {
  size_t size; /* 0, or sizeof(struct idem_request) */
  /* names the work. Build it with idem_key when it has more than one part */
  struct idem_bytes key;
  /* what was asked (idem_fingerprint), at most 64 bytes: the same key with another one is a
   * MISMATCH. Absent: not compared. Either all callers of a key give one or none does */
  struct idem_bytes fingerprint;
  /* how long the owner may be silent; renewed in the background at a third of it. The server may
   * count up to 250 ms in which it stood still, so half a second is the least that is safe. 0: the
   * server's default (60 s) */
  int64_t lease_ms;
  /* how long to wait while another caller runs it, in the order of arrival; the server waits only
   * so long in one go (60 s by default), after that the call goes to the end of the queue. 0:
   * idem_begin does not wait, idem_once waits 60 s. IDEM_NO_WAIT: neither waits */
  int64_t wait_ms;
  /* when the request was born, unix ms, by a clock that can be trusted: the birth of its first try
   * (the time in the order, in the message, in a UUIDv7), never that of this try. With it a request
   * whose record may have been forgotten is FORGOTTEN instead of run. A time in the server's future
   * is REFUSED. 0: not known, or somebody has looked after FORGOTTEN */
  int64_t born_unix_ms;
  /* the token of an UNKNOWN answer: run although the record is UNKNOWN with that token, for you
   * have found out that it may be run. It does nothing in any other state. 0: none */
  uint64_t takeover;
  /* enum idem_flag */
  unsigned flags;
  unsigned reserved; /* for later versions: 0 */
};

/* ---- what is answered ---- */

/*
 * Written whole by every call that takes one (clear an older answer first). Clear it after use,
 * whatever the outcome; the bytes live until then. Fields that the outcome does not have are zero
 * or absent.
 */
struct idem_answer {
  /* what the call returned */
  enum idem_status status;
  /* REPLAY; idem_once: RUN, UNSTORED */
  struct idem_bytes body;
  /* the same; absent when none was stored */
  struct idem_bytes meta;
  /* REPLAY: since it was stored. BUSY, UNKNOWN, LAPSED: since it was granted (after a release:
   * since that) */
  int64_t age_ms;
  /* REPLAY */
  int64_t ttl_left_ms;
  /* BUSY: what is left of the owner's lease, at least 1 (the whole of it when it was granted to
   * this call). UNAVAILABLE: a pause worth making */
  int64_t retry_after_ms;
  /* FORGOTTEN: of requests that were born up to here records may be gone */
  int64_t horizon_unix_ms;
  /* RUN, UNKNOWN, LAPSED: 1, or more when earlier owners may have acted */
  int64_t attempt;
  /* RUN, UNSTORED, FAILED: the fencing token. UNKNOWN: for `takeover` and idem_release; LAPSED: for
   * idem_release */
  uint64_t token;
  /* BUSY, UNKNOWN, LAPSED: absent when the owner gave no name, or has said that it did nothing */
  struct idem_bytes owner;
  /* BUSY, UNKNOWN, LAPSED: how far the work has come (idem_stage); absent when nobody said */
  struct idem_bytes stage;
  /* idem_once, UNSTORED: how storing ended. FAILED: how giving back ended */
  enum idem_status store;
  /* STALE, or a `store` that is STALE: what the server has now */
  enum idem_stale stale;
  /* idem_once, FAILED: what the work returned */
  int work;
  /* why, for people; empty when there is nothing to say */
  char message[IDEM_MESSAGE_BYTES];
  /* Private. */
  void (*release)(void *memory);
  void *memory;
  void *reserved[8]; /* for later versions: zeros */
};

/* Frees what the answer holds and fills it with zeros. May be called on a zero-filled answer, and
 * twice. */
IDEM_API void idem_answer_clear(struct idem_answer *answer);
/* *to takes over what *from holds; *from is zeros. To keep the answer that a callback gets. */
IDEM_API void idem_answer_move(struct idem_answer *to, struct idem_answer *from);

/* ---- the whole job in one call ---- */

/* What the work made. Zero-filled when the work is called, but for its size. */
struct idem_result {
  /* 0, or sizeof(struct idem_result). In the work: how much of it the library knows; do not write
   * beyond */
  size_t size;
  /* absent counts as empty */
  struct idem_bytes body;
  /* what belongs to the body, such as a status line and headers; may be absent */
  struct idem_bytes meta;
  /* how long it is kept. 0: the server's default (24 h) */
  int64_t ttl_ms;
  /* 0: it is kept for ttl_ms. Else an enum idem_release: those who wait get it and nothing is kept
   * (an error is shared, not cached), and the claim ends as by idem_abandon with that */
  int uncached;
  /* called with memory when the answer is cleared, to free the bytes. NULL: nothing to free */
  void (*release)(void *memory);
  void *memory;
};

/* What the work returns. Any other value counts as IDEM_WORK_UNSURE. */
enum idem_work {
  /* store the result */
  IDEM_WORK_DONE = 0,
  /* it is certain that nothing happened: IDEM_RELEASE_NOTHING */
  IDEM_WORK_NOTHING = IDEM_RELEASE_NOTHING,
  /* it may have happened: IDEM_RELEASE_UNSURE. An error, a time-out, an exception is this */
  IDEM_WORK_UNSURE = IDEM_RELEASE_UNSURE
};

/*
 * The work. Runs on the caller's thread while the claim is renewed. Of the claim it may use the
 * getters, idem_stage and idem_renew; claim is NULL when it runs unprotected (IDEM_FAIL_OPEN).
 */
typedef int idem_work_fn(struct idem_claim *claim, void *context, struct idem_result *result);

/*
 * Claims, runs the work if the claim is granted, stores what it made. Otherwise waits for the
 * caller that runs it, and replays. The work is called at most once by one idem_once; a second one
 * never runs while the first is alive and renews, and never again once a result is stored (while it
 * is kept). When the work is unsure, or the process dies in the middle, the next caller runs it
 * again with attempt > 1 (at once, or after the lease), or gets UNKNOWN with IDEM_HOLD. Returns
 * RUN, REPLAY, BUSY, UNKNOWN, FORGOTTEN, MISMATCH, UNSTORED, FAILED, UNAVAILABLE, TOOBIG, REFUSED,
 * INVALID or NO_MEMORY; the work was called for RUN, UNSTORED and FAILED and in no other case.
 * Takes at most wait_ms + deadline_ms before the work (deadline_ms when no server can be reached)
 * and deadline_ms after it.
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_once(struct idem_client *client,
                                                  const struct idem_request *request,
                                                  idem_work_fn *work, void *context,
                                                  struct idem_answer *answer);

/* ---- the same in steps ---- */

/*
 * Asks whether to run. RUN: *claim is yours; else *claim is NULL and the answer says what to do.
 * Returns RUN, REPLAY, BUSY, UNKNOWN, FORGOTTEN, MISMATCH, UNAVAILABLE, TOOBIG, REFUSED, INVALID or
 * NO_MEMORY.
 *
 * A claim is renewed in the background until it ends (IDEM_NO_RENEWAL: not). It may be used by
 * one thread at a time, except for idem_claim_state, which any thread may ask. Always free it
 * with idem_claim_free.
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_begin(struct idem_client *client,
                                                   const struct idem_request *request,
                                                   struct idem_claim **claim,
                                                   struct idem_answer *answer);

/*
 * Stores the result (its release and memory are not used here); all callers that wait get it.
 *   OK           stored: seen. The claim has ended
 *   STALE        no longer yours: not stored (idem_claim_stale). After the lease it is stored all
 *                the same as long as nobody took over
 *   CONFLICT     this claim has stored other bytes before
 *   TOOBIG       not stored, the claim is still yours: store something smaller
 *   UNAVAILABLE, NO_MEMORY
 *                not seen. The claim is still renewed; idem_finish may be called again with the
 *                same bytes
 *   REFUSED, INVALID
 * After a lost reply of an `uncached` result, or of one with a ttl shorter than the outage, the
 * server can no longer tell whether it was stored: that is UNAVAILABLE too.
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_finish(struct idem_claim *claim,
                                                    const struct idem_result *result);
/*
 * Gives the claim back without a result, and says what is known of the work. IDEM_RELEASE_NOTHING
 * is for work that certainly did nothing; after an error it is IDEM_RELEASE_UNSURE.
 *   OK           given back: seen. The claim has ended
 *   STALE        no longer yours (an earlier attempt of this call may be the reason). The claim has
 *                ended
 *   UNAVAILABLE, TOOBIG, REFUSED, INVALID, NO_MEMORY
 */
IDEM_API enum idem_status idem_abandon(struct idem_claim *claim, enum idem_release how);
/*
 * Stores how far the work has come (at most 1 KiB): the next owner finds it in idem_claim_stage
 * after a crash. Renews, too. OK, STALE, UNAVAILABLE, TOOBIG, REFUSED, INVALID, NO_MEMORY.
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_stage(struct idem_claim *claim,
                                                   struct idem_bytes stage);
/* Renews now, for lease_ms from now on (0: as it was granted). Outcomes as idem_stage. */
IDEM_API IDEM_MUST_USE enum idem_status idem_renew(struct idem_claim *claim, int64_t lease_ms);
/*
 * Ends renewal and frees the claim; NULL is fine. It says nothing to the server: a claim that was
 * neither finished nor abandoned stays taken until its lease expires, as if the process had died
 * (IDEM_BIND: until now), and counts as unsure. When it returns, on_lost is not running for this
 * claim and will not be called for it again.
 */
IDEM_API void idem_claim_free(struct idem_claim *claim);

/* Whether the work should go on. Any thread, no blocking, no system call. */
IDEM_API enum idem_claim_state idem_claim_state(const struct idem_claim *claim);
/* The fencing number of this grant: later grants of any key have higher ones. Below 2^53. */
IDEM_API uint64_t idem_claim_token(const struct idem_claim *claim);
/* 1, or more when earlier owners may have acted: they vanished in the middle, or were unsure. */
IDEM_API int64_t idem_claim_attempt(const struct idem_claim *claim);
/* The lease that was granted, ms. */
IDEM_API int64_t idem_claim_lease_ms(const struct idem_claim *claim);
/* What the former owner had stored with idem_stage; absent when nothing. Lives as long as the
 * claim.
 */
IDEM_API struct idem_bytes idem_claim_stage(const struct idem_claim *claim);
/* Lives as long as the claim. */
IDEM_API struct idem_bytes idem_claim_key(const struct idem_claim *claim);
/* How many waiting callers the successful idem_finish answered (0 before, and when its first reply
 * was lost). */
IDEM_API int64_t idem_claim_answered(const struct idem_claim *claim);
/* After STALE, and when the claim is LOST: what the server has under the key now. */
IDEM_API enum idem_stale idem_claim_stale(const struct idem_claim *claim);
/* Why the last call on this claim failed, for people; "" when it did not. Lives until the next call
 * on the claim. */
IDEM_API const char *idem_claim_message(const struct idem_claim *claim);

/*
 * Looks; it runs nothing and does not wait. fingerprint absent: not compared.
 * REPLAY, BUSY, UNKNOWN, LAPSED, ABSENT, MISMATCH, UNAVAILABLE, TOOBIG, REFUSED, INVALID or
 * NO_MEMORY.
 */
IDEM_API enum idem_status idem_fetch(struct idem_client *client, struct idem_bytes key,
                                     struct idem_bytes fingerprint, struct idem_answer *answer);
/* The same, but waits up to wait_ms (1 or more) while it is BUSY. */
IDEM_API enum idem_status idem_wait(struct idem_client *client, struct idem_bytes key,
                                    struct idem_bytes fingerprint, int64_t wait_ms,
                                    struct idem_answer *answer);

/*
 * The word of somebody who has looked, about a grant of which there is only a token: that of an
 * UNKNOWN or LAPSED answer. IDEM_RELEASE_CLEAR: no attempt did anything, and the next caller runs
 * with attempt 1. It ends a claim that is held, too: that is its owner's to decide.
 *   OK     seen
 *   STALE  the token is no longer that of the key (an earlier attempt of this call may be the
 *          reason), or a result is stored
 *   UNAVAILABLE, TOOBIG, REFUSED, INVALID or NO_MEMORY
 * error may be NULL.
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_release(struct idem_client *client,
                                                     struct idem_bytes key, uint64_t token,
                                                     enum idem_release how,
                                                     struct idem_error *error);

/* ---- keys, fingerprints, the Idempotency-Key header ---- */

/*
 * Joins parts to a key so that different parts never give the same key: each is preceded by its
 * length ("4:POST"), an absent one is "-". *len gets the length; out is not terminated. TOOBIG:
 * longer than size (*len says how long it would be).
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_key(const struct idem_bytes *parts, size_t count,
                                                 char *out, size_t size, size_t *len);
/* The usual four parts: whose request it is, what is asked, the caller's own key. */
IDEM_API IDEM_MUST_USE enum idem_status idem_key_http(struct idem_bytes tenant,
                                                      struct idem_bytes method,
                                                      struct idem_bytes route,
                                                      struct idem_bytes key, char *out, size_t size,
                                                      size_t *len);

enum idem_digest {
  /* 16 bytes. Fast; finds honest mistakes. A caller that chooses its requests can make two that
   * collide, and then gets a replay under its own key */
  IDEM_XXH3_128 = 0,
  /* 32 bytes. REFUSED when the library was built without it */
  IDEM_SHA256 = 1
};

struct idem_header {
  struct idem_bytes name; /* compared without case */
  struct idem_bytes value;
};

/* The request whose retry is to be recognized. Absent parts differ from empty ones. */
struct idem_http_request {
  size_t size; /* 0, or sizeof(struct idem_http_request) */
  /* as it is: "POST" */
  struct idem_bytes method;
  /* with the query, as it is */
  struct idem_bytes path;
  /* those that matter (Content-Type, not Date), in any order: they are sorted by name, several
   * with one name stay in their order. At most IDEM_HEADERS_LIMIT */
  const struct idem_header *headers;
  size_t header_count;
  struct idem_bytes body;
  enum idem_digest digest;
  unsigned reserved; /* for later versions: 0 */
};

#define IDEM_HEADERS_LIMIT 64
#define IDEM_FINGERPRINT_BYTES 32

/* A fingerprint: give `idem_data(fp.bytes, fp.len)` as idem_request.fingerprint. */
struct idem_fingerprint {
  unsigned char bytes[IDEM_FINGERPRINT_BYTES];
  size_t len;
};

/*
 * OK, INVALID (too many headers), REFUSED (no such digest here) or NO_MEMORY. Every part is
 * preceded by its length, so moving bytes from one part to another changes the fingerprint. The
 * same on every machine.
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_fingerprint(const struct idem_http_request *request,
                                                         struct idem_fingerprint *out);

enum idem_header_flag {
  /* also take what Stripe's and other clients send: visible ASCII without quotes */
  IDEM_HEADER_UNQUOTED = 1
};

/*
 * The key inside the value of an Idempotency-Key header, which is a quoted string (IETF
 * draft-ietf-httpapi-idempotency-key-header: an Item of RFC 8941 that is a String,
 * "8e03978e-40d5-..."). Escapes are resolved, parameters after it are checked and ignored. out
 * is not terminated; size is also the longest key to take (255 is usual). OK, INVALID (not such a
 * string, or an empty one: answer 400) or TOOBIG (*len says how long it would be; out may be NULL
 * when size is 0).
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_key_from_header(struct idem_bytes value,
                                                             unsigned flags, char *out, size_t size,
                                                             size_t *len);

/*
 * ---- asynchronous: one event loop, no blocking, no thread ----
 *
 *     #include <idem_uv.h>                           // or idem_event.h; both are headers alone
 *     struct idem_loop loop = idem_uv_loop(uv_default_loop());
 *     idem_async_open("redis://127.0.0.1:4336", NULL, &loop, &async, NULL);
 *     idem_async_begin(async, &request, on_begun, job, NULL);
 *
 *     void on_begun(struct idem_answer *answer, struct idem_claim *claim, void *context) {
 *       if (answer->status == IDEM_RUN) start_work(context, claim); // ends in idem_async_finish
 *       ...
 *     }
 *
 * An idem_async belongs to the thread of its loop. Many claims share a few connections; calls that
 * wait have connections of their own. Claims are renewed by the loop: work that blocks the loop
 * for longer than its lease may lose it. A grant that has come meanwhile is renewed before its
 * owner is told (and ends BUSY when the loop is blocked for more than a third of the lease each
 * time).
 */

enum idem_event { IDEM_READABLE = 1, IDEM_WRITABLE = 2 };

/*
 * How the library uses an event loop. An adapter fills this in; idem_uv.h and idem_event.h are
 * two. Functions that return a pointer return NULL on failure. `arg` is handed to the callback.
 * After unwatch and timer_free no callback comes.
 */
struct idem_loop {
  size_t size; /* 0, or sizeof(struct idem_loop) */
  void *loop;
  /* no events yet */
  void *(*watch)(void *loop, int descriptor, void (*ready)(void *arg, int events), void *arg);
  /* enum idem_event; 0: none. Nonzero on failure */
  int (*want)(void *watch, int events);
  /* before the descriptor is closed; may be called from `ready` */
  void (*unwatch)(void *watch);
  /* not running */
  void *(*timer)(void *loop, void (*fire)(void *arg), void *arg);
  /* once, in ms from now; replaces what was set. Nonzero on failure */
  int (*timer_start)(void *timer, int64_t ms);
  void (*timer_free)(void *timer);
};

struct idem_async;
struct idem_call; /* an asynchronous call that has not ended */

/*
 * Called exactly once for every call that was started, from the loop, never from inside the call
 * that started it (except idem_async_close: from inside that). answer belongs to the library and
 * is cleared after it; idem_answer_move keeps it. claim: with RUN of idem_async_begin the new
 * claim, which is yours; else the claim that the call was about; else NULL.
 */
typedef void idem_done_fn(struct idem_answer *answer, struct idem_claim *claim, void *context);

/*
 * As idem_open. loop is copied. The name of the host is resolved here, and again when none of its
 * addresses answers: this may block, for no more than a tenth of the time after the first one. A
 * resolver that is down is found by the first call.
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_async_open(const char *url,
                                                        const struct idem_options *options,
                                                        const struct idem_loop *loop,
                                                        struct idem_async **async,
                                                        struct idem_error *error);
/*
 * Ends every call with CANCELLED, closes the connections, frees. NULL is fine. Not from inside a
 * callback of the library. Claims that are still open, lost or ended remain valid memory
 * (idem_claim_free them as ever), but calls on them return IDEM_INVALID. What the server grants to
 * a call that was cancelled here is no longer seen: that key is BUSY until the lease expires.
 * The loop may have to run on to end its own handles.
 */
IDEM_API void idem_async_close(struct idem_async *async);

/*
 * The calls. What they are given is copied. They return OK when started: `done` will be called,
 * with the outcomes of the synchronous call in answer->status (answer->message says why). INVALID
 * or NO_MEMORY: not started, `done` is not called (of a call on a claim, idem_claim_message says
 * why). *call (may be NULL) is for idem_async_cancel and is valid until `done` is called. wait_ms 0
 * of idem_async_begin: does not wait. IDEM_BIND is INVALID here: connections are shared.
 * IDEM_FAIL_OPEN has no effect. One call at a time on a claim; a claim must not be freed while a
 * call on it runs.
 */
IDEM_API IDEM_MUST_USE enum idem_status idem_async_begin(struct idem_async *async,
                                                         const struct idem_request *request,
                                                         idem_done_fn *done, void *context,
                                                         struct idem_call **call);
IDEM_API IDEM_MUST_USE enum idem_status idem_async_finish(struct idem_claim *claim,
                                                          const struct idem_result *result,
                                                          idem_done_fn *done, void *context,
                                                          struct idem_call **call);
IDEM_API IDEM_MUST_USE enum idem_status idem_async_abandon(struct idem_claim *claim,
                                                           enum idem_release how,
                                                           idem_done_fn *done, void *context,
                                                           struct idem_call **call);
IDEM_API IDEM_MUST_USE enum idem_status idem_async_stage(struct idem_claim *claim,
                                                         struct idem_bytes stage,
                                                         idem_done_fn *done, void *context,
                                                         struct idem_call **call);
IDEM_API IDEM_MUST_USE enum idem_status idem_async_fetch(struct idem_async *async,
                                                         struct idem_bytes key,
                                                         struct idem_bytes fingerprint,
                                                         idem_done_fn *done, void *context,
                                                         struct idem_call **call);
IDEM_API IDEM_MUST_USE enum idem_status idem_async_wait(struct idem_async *async,
                                                        struct idem_bytes key,
                                                        struct idem_bytes fingerprint,
                                                        int64_t wait_ms, idem_done_fn *done,
                                                        void *context, struct idem_call **call);
/*
 * Ends a call with CANCELLED; `done` comes from the loop. What was already sent may still take
 * effect; a claim that is granted to a cancelled idem_async_begin is given back as soon as its
 * grant is seen.
 */
IDEM_API void idem_async_cancel(struct idem_call *call);

#ifdef __cplusplus
}
#endif

#endif
