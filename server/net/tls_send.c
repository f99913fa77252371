/* tls_send.c - see tls_send.h. */
#include "server/net/tls_send.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "server/net/tls_kept.h"
#include "server/net/tls_records.h"

/* What was left to the stream. */
struct stream_tls_left {
  struct stream_tls_left *next;
  void *later;
  size_t len, taken;
  unsigned count;
  struct iovec parts[];
};

static const struct stream_events *events_of(const struct stream_tls *tls) {
  return tls->stream.type->events;
}

/* Where the next bytes of some parts are. */
struct place {
  const struct iovec *parts;
  unsigned count;
  size_t offset; /* in the first of them */
};

static void skip(struct place *place, size_t len) {
  while (place->count > 0 && len >= place->parts->iov_len - place->offset) {
    len -= place->parts->iov_len - place->offset;
    place->parts++;
    place->count--;
    place->offset = 0;
  }
  place->offset += len;
}

/* The plaintext of the next record, which lies in one part or is gathered from several. */
static struct iovec next_record(struct stream_tls_group *group, const struct place *place) {
  const char *first = (const char *)place->parts->iov_base + place->offset;
  size_t len = place->parts->iov_len - place->offset;
  if (len >= STREAM_TLS_RECORD_BYTES)
    return (struct iovec){(char *)(uintptr_t)first, STREAM_TLS_RECORD_BYTES};
  if (place->count == 1) return (struct iovec){(char *)(uintptr_t)first, len};
  memcpy(group->gathered, first, len);
  for (unsigned i = 1; i < place->count && len < sizeof group->gathered; i++) {
    size_t room = sizeof group->gathered - len, part = place->parts[i].iov_len;
    if (part > room) part = room;
    memcpy(group->gathered + len, place->parts[i].iov_base, part);
    len += part;
  }
  return (struct iovec){group->gathered, len};
}

/* Sends one record, or as many short ones as the peer wants (max_fragment_length): then the first
 * may fly, and the rest of them be untaken. Returns how much plaintext it has; 0: the stream is
 * broken. */
static size_t send_record(struct stream_tls *tls, const struct place *place, bool all) {
  struct iovec record = next_record(tls->group, place);
  size_t written = 0;
  ERR_clear_error();
  bool done = SSL_write_ex(tls->ssl, record.iov_base, record.iov_len, &written) == 1;
  tls_records_pass_on(tls, all);
  tls->flight_untaken = tls->untaken_len;
  if (!done) tls->broken = true;
  return tls->broken ? 0 : record.iov_len;
}

int64_t tls_send_now(struct stream_tls *tls, const struct iovec *parts, unsigned count) {
  struct place place = {parts, count, 0};
  int64_t taken = 0;
  if (tls->state != STREAM_TLS_OPEN) return 0;
  while (place.count > 0 && tls->flying == NULL) {
    size_t len = send_record(tls, &place, false);
    if (tls->broken) return -EPIPE;
    if (tls->flying != NULL) {
      tls->flight = (uint32_t)len;
    } else {
      taken += (int64_t)len;
      skip(&place, len);
    }
  }
  return taken;
}

static bool append_left(struct stream_tls *tls, const struct iovec *parts, unsigned count,
                        void *later) {
  struct stream_tls_left *left = malloc(sizeof *left + count * sizeof parts[0]);
  if (left == NULL) return false;
  *left = (struct stream_tls_left){.later = later, .count = count};
  memcpy(left->parts, parts, count * sizeof parts[0]);
  for (unsigned i = 0; i < count; i++) left->len += parts[i].iov_len;
  if (tls->first == NULL) {
    tls->first = left;
  } else {
    tls->last->next = left;
  }
  tls->last = left;
  tls->left_bytes += left->len;
  return true;
}

static struct stream_tls_left *pop_left(struct stream_tls *tls) {
  struct stream_tls_left *left = tls->first;
  tls->first = left->next;
  tls->left_bytes -= left->len - left->taken;
  return left;
}

/* Sends a record of what was left. Nothing flies. */
static void send_left(struct stream_tls *tls, bool all) {
  const struct stream_tls_left *left = tls->first;
  struct place place = {left->parts, left->count, 0};
  skip(&place, left->taken);
  tls->flight = (uint32_t)send_record(tls, &place, all);
}

int64_t tls_send_later(struct stream_tls *tls, const struct iovec *parts, unsigned count,
                       void *later) {
  if (!append_left(tls, parts, count, later)) return -ENOMEM;
  if (tls->flying == NULL && tls->state == STREAM_TLS_OPEN) send_left(tls, true);
  if (!tls->broken) return 0;
  free(pop_left(tls)); /* it is the only one */
  return -EPIPE;
}

/* The kernel has all of the record that flew. May close. */
static void note_taken(struct stream_tls *tls) {
  size_t taken = tls->flight;
  tls->flight = 0;
  if (taken == 0 || tls->first == NULL) return;
  void *later = NULL;
  tls->first->taken += taken;
  tls->left_bytes -= taken;
  if (tls->first->taken == tls->first->len) {
    struct stream_tls_left *left = pop_left(tls);
    later = left->later;
    free(left);
  }
  events_of(tls)->written(&tls->stream, later, 0);
}

void tls_send_fail(struct stream_tls *tls, int error) {
  while (tls->first != NULL) {
    struct stream_tls_left *left = pop_left(tls);
    void *later = left->later;
    free(left);
    events_of(tls)->written(&tls->stream, later, error);
  }
}

void tls_send_on(struct stream_tls *tls) {
  for (unsigned i = 1; tls->state == STREAM_TLS_OPEN && tls->first != NULL; i++) {
    send_left(tls, i >= STREAM_TLS_RECORDS_PER_EVENT);
    if (tls->broken) tls_send_fail(tls, -EPIPE);
    if (tls->flying != NULL) return;
    note_taken(tls);
  }
}

/* ---- the end ---- */

void tls_send_goodbye(struct stream_tls *tls) {
  bool open = tls->state == STREAM_TLS_OPEN && !tls->broken;
  if (!open || tls->first != NULL || tls->flying != NULL) return;
  ERR_clear_error();
  SSL_shutdown(tls->ssl);
  tls_records_pass_on(tls, false);
}

/* Nothing is left and nothing flies. */
static int finish_shutdown(struct stream_tls *tls) {
  tls_send_goodbye(tls);
  tls_kept_leave_queue(tls);
  tls->shuts = false;
  tls->state = STREAM_TLS_DEAF;
  tls_kept_forget(tls);
  return tls->broken ? -EPIPE : stream_shutdown(&tls->below);
}

int tls_send_shutdown(struct stream_tls *tls) {
  if (tls->broken) return -EPIPE;
  tls->shuts = true;
  return tls->first == NULL && tls->flying == NULL ? finish_shutdown(tls) : 0;
}

void tls_send_taken(struct stream_tls *tls, int error) {
  free(tls->flying);
  tls->flying = NULL;
  if (tls->state == STREAM_TLS_CLOSED) return;
  if (error != 0) {
    tls->broken = true;
    tls_send_fail(tls, error);
    return;
  }
  bool whole = tls->flight_untaken == 0;
  tls->flight_untaken = 0;
  tls_records_send_untaken(tls);
  if (whole) {
    note_taken(tls);
  } else if (tls->flying == NULL) {
    tls_send_fail(tls, -EPIPE);
  }
  if (tls->flying == NULL) tls_send_on(tls);
  bool all = tls->first == NULL && tls->flying == NULL;
  if (all && tls->shuts && tls->state != STREAM_TLS_CLOSED) finish_shutdown(tls);
}
