/* tls_receive.c - see tls_receive.h. */
#include "server/net/tls_receive.h"

#include <errno.h>
#include <openssl/err.h>

#include "server/net/tls_kept.h"
#include "server/net/tls_records.h"
#include "server/net/tls_send.h"

/* The first byte of a record that has a part of a handshake. */
#define RECORD_HANDSHAKE 0x16

/* What OpenSSL says of a call. */
enum outcome { DONE, STARVED, ENDED, REFUSED };

static const struct stream_events *events_of(const struct stream_tls *tls) {
  return tls->stream.type->events;
}

static enum outcome outcome_of(const struct stream_tls *tls, int result) {
  if (result == 1) return DONE;
  switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ: return STARVED;
    case SSL_ERROR_ZERO_RETURN: return ENDED;
    default: return REFUSED;
  }
}

/* ---- receiving ---- */

void tls_receive_end(struct stream_tls *tls, ssize_t count) {
  tls->reads = false;
  list_remove(&tls->half); /* or its time would bring a second end */
  tls_records_draw(tls, false);
  tls_kept_forget(tls);
  events_of(tls)->read(&tls->stream, NULL, count);
}

/* Fills the room, as far as it goes. */
static enum outcome decrypt(struct stream_tls *tls, struct iovec room, size_t *got) {
  enum outcome outcome = DONE;
  *got = 0;
  ERR_clear_error();
  while (outcome == DONE && *got < room.iov_len) {
    size_t part = 0;
    outcome = outcome_of(
        tls, SSL_read_ex(tls->ssl, (char *)room.iov_base + *got, room.iov_len - *got, &part));
    *got += part;
  }
  if (*got > 0) tls->barren = 0;
  return outcome;
}

/* The source is used as far as the stream may, now: what is left is kept. any: some plaintext came.
 */
static void rest(struct stream_tls *tls, bool any) {
  struct stream_tls_group *group = tls->group;
  group->taking = NULL;
  bool left = group->source.len > 0;
  bool kept = !left || tls_kept_keep(tls);
  if (!left) tls_kept_forget(tls);
  if (tls->reads && left) tls_kept_join_queue(tls);
  tls_kept_note_half(tls, any || left);
  if (!kept || tls_records_draw(tls, tls->reads && !left) != 0) tls_receive_end(tls, -ENOMEM);
}

/* Its user has shut down or closed. */
static void drop_source(struct stream_tls *tls) {
  tls->group->taking = NULL;
  if (tls->state == STREAM_TLS_DEAF && tls_records_draw(tls, tls->reads) != 0)
    tls_receive_end(tls, -ENOMEM);
}

void tls_receive_take(struct stream_tls *tls) {
  enum outcome outcome = DONE;
  bool any = false;
  while (tls->reads && outcome == DONE) {
    struct iovec room = events_of(tls)->room(&tls->stream);
    size_t got;
    outcome = decrypt(tls, room, &got);
    tls_records_pass_on(tls, false);
    if (got == 0) continue;
    any = true;
    events_of(tls)->read(&tls->stream, room.iov_base, (ssize_t)got);
    if (tls->state != STREAM_TLS_OPEN) {
      drop_source(tls);
      return;
    }
    outcome = DONE; /* asked again */
  }
  if (tls->broken) outcome = REFUSED;
  if (outcome == ENDED) tls->hung_up = true;
  if (outcome == REFUSED) tls->broken = true;
  if (outcome == ENDED || outcome == REFUSED) {
    tls->group->taking = NULL;
    tls_receive_end(tls, outcome == ENDED ? 0 : -EPROTO);
  } else {
    rest(tls, any);
  }
}

/* ---- handshakes ---- */

static void fail(struct stream_tls *tls, enum stream_tls_failure failure, const char *reason) {
  tls->group->taking = NULL;
  tls_kept_leave_queue(tls);
  tls->state = STREAM_TLS_DEAF;
  tls_kept_forget(tls);
  tls->group->hooks->failed(&tls->stream, failure, reason);
}

void tls_receive_fail(struct stream_tls *tls, enum stream_tls_failure failure, ssize_t count) {
  fail(tls, failure, NULL);
  if (tls->state != STREAM_TLS_CLOSED) tls_receive_end(tls, count);
}

static void refuse_plain(struct stream_tls *tls) {
  static const char alert[] = {SSL3_RT_ALERT, 3, 1, 0, 2, SSL3_AL_FATAL, SSL_AD_UNEXPECTED_MESSAGE};
  tls_records_send(tls, alert, sizeof alert, false);
  fail(tls, STREAM_TLS_PLAIN, NULL);
}

/* Nothing is decided yet. */
static void await_more(struct stream_tls *tls) {
  struct stream_tls_group *group = tls->group;
  group->taking = NULL;
  if (group->source.len > 0) {
    tls_kept_keep(tls); /* where it was */
    tls_kept_join_queue(tls);
    return;
  }
  tls_kept_forget(tls);
  if (tls->broken) {
    tls_receive_fail(tls, STREAM_TLS_BROKE, -EPIPE);
  } else if (tls->reads && tls_records_draw(tls, true) != 0) {
    tls_receive_fail(tls, STREAM_TLS_NO_MEMORY, -ENOMEM);
  }
}

static void empty(STACK_OF(X509) * chain) {
  while (sk_X509_num(chain) > 0) X509_free(sk_X509_pop(chain));
}

/* The certificates between the client's own and its CA have been checked, and a ticket holds the
 * client's own only. An idle connection would keep a kilobyte or more for each. Both stacks own a
 * reference to each of theirs, and nothing but this SSL knows them: its session is in no cache
 * (tls_context.c), where it would have to stay as it is. */
static void forget_chains(SSL *ssl) {
  empty(SSL_get0_verified_chain(ssl));
  empty(SSL_get_peer_cert_chain(ssl));
}

static void secured(struct stream_tls *tls) {
  tls->state = STREAM_TLS_OPEN;
  forget_chains(tls->ssl);
  tls->barren = 0;
  tls->group->hooks->secured(&tls->stream);
  if (tls->state == STREAM_TLS_OPEN && tls->flying == NULL) tls_send_on(tls);
  if (tls->state == STREAM_TLS_OPEN) tls_receive_take(tls);
}

static const char *reason_of(void) {
  unsigned long code = ERR_peek_last_error();
  return code != 0 ? ERR_reason_error_string(code) : NULL;
}

void tls_receive_shake(struct stream_tls *tls) {
  tls_records_set_source(tls, tls->kept, tls->kept_len);
  ERR_clear_error();
  enum outcome outcome = outcome_of(tls, SSL_do_handshake(tls->ssl));
  const char *reason = outcome == REFUSED ? reason_of() : NULL;
  tls_records_pass_on(tls, false);
  switch (outcome) {
    case DONE: secured(tls); break;
    case STARVED: await_more(tls); break;
    case ENDED:
    case REFUSED:
    default: fail(tls, STREAM_TLS_FAILED, reason); break;
  }
}

void tls_receive_hello(struct stream_tls *tls, const char *data, size_t len) {
  if (!tls->heard && data[0] != RECORD_HANDSHAKE) {
    refuse_plain(tls);
    return;
  }
  tls->heard = true;
  tls_records_draw(tls, false);
  tls_records_set_source(tls, data, len);
  bool kept = tls_kept_keep(tls);
  tls->group->taking = NULL;
  if (kept) {
    tls_kept_join_queue(tls);
  } else {
    tls_receive_fail(tls, STREAM_TLS_NO_MEMORY, -ENOMEM);
  }
}
