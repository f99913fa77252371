/* stream_tls.c - see stream_tls.h. */
#include "server/net/stream_tls.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "server/net/tls_kept.h"
#include "server/net/tls_receive.h"
#include "server/net/tls_records.h"
#include "server/net/tls_send.h"

static struct stream_tls *tls_of(const struct stream *stream) {
  return LIST_ENTRY((uintptr_t)stream, struct stream_tls, stream);
}
static struct stream_tls *tls_of_below(struct stream *below) {
  return LIST_ENTRY(below, struct stream_tls, below);
}
static const struct stream_events *events_of(const struct stream_tls *tls) {
  return tls->stream.type->events;
}

/* ---- events of the stream below ---- */

static struct iovec on_room(struct stream *below) {
  struct stream_tls *tls = tls_of_below(below);
  struct stream_tls_group *group = tls->group;
  group->hooks->enter(&tls->stream);
  size_t room = tls->state == STREAM_TLS_SHAKES ? STREAM_TLS_HANDSHAKE_BYTES : sizeof group->read;
  return (struct iovec){group->read, room};
}

static void on_end(struct stream_tls *tls, ssize_t count) {
  tls->draws = false;
  if (tls->state != STREAM_TLS_SHAKES) {
    tls_receive_end(tls, count);
  } else {
    tls_receive_fail(tls, STREAM_TLS_BROKE, count);
  }
}

static void on_read(struct stream *below, const char *data, ssize_t count) {
  struct stream_tls *tls = tls_of_below(below);
  tls->group->hooks->enter(&tls->stream);
  if (count <= 0) {
    on_end(tls, count);
  } else if (tls->state == STREAM_TLS_SHAKES) {
    tls_receive_hello(tls, data, (size_t)count);
  } else if (tls->state == STREAM_TLS_OPEN) {
    tls_records_set_source(tls, data, (size_t)count);
    tls_receive_take(tls);
  }
}

static void on_written(struct stream *below, void *later, int error) {
  struct stream_tls *tls = tls_of_below(below);
  tls->group->hooks->enter(&tls->stream);
  if (later != NULL || error != 0) tls_send_taken(tls, error); /* else a part */
}

static void on_closed(struct stream *below) {
  struct stream_tls *tls = tls_of_below(below);
  tls->group->hooks->enter(&tls->stream);
  tls_send_fail(tls, -ECANCELED);
  SSL_free(tls->ssl); /* it could not be opened */
  tls->ssl = NULL;
  atomic_fetch_sub(tls->group->stream_count, 1);
  events_of(tls)->closed(&tls->stream);
}

const struct stream_events STREAM_TLS_BELOW = {
    .room = on_room,
    .read = on_read,
    .written = on_written,
    .closed = on_closed,
};

/* ---- its user's calls ---- */

static int read_tls(struct stream *stream, bool on) {
  struct stream_tls *tls = tls_of(stream);
  tls->reads = on;
  if (tls->group->taking == tls) return 0; /* settled when what arrived is used */
  bool more = tls->kept != NULL || (tls->state == STREAM_TLS_OPEN && SSL_pending(tls->ssl) > 0);
  if (!on) list_remove(&tls->half);
  if (tls->state == STREAM_TLS_OPEN && !on) tls_kept_leave_queue(tls);
  if (tls->state == STREAM_TLS_OPEN && on && more) tls_kept_join_queue(tls);
  if (on && !more) tls_kept_note_half(tls, true);
  return tls_records_draw(tls, on && !more);
}

static int64_t write_tls(struct stream *stream, const struct iovec *parts, unsigned count,
                         void *later) {
  struct stream_tls *tls = tls_of(stream);
  if (tls->broken || tls->state > STREAM_TLS_OPEN) return -EPIPE;
  return later == NULL ? tls_send_now(tls, parts, count) : tls_send_later(tls, parts, count, later);
}

static int shutdown_tls(struct stream *stream) { return tls_send_shutdown(tls_of(stream)); }

static void close_tls(struct stream *stream) {
  struct stream_tls *tls = tls_of(stream);
  tls_send_goodbye(tls);
  tls_kept_leave_queue(tls);
  list_remove(&tls->half);
  tls->state = STREAM_TLS_CLOSED;
  tls_kept_forget(tls);
  free(tls->untaken);
  tls->untaken = NULL;
  SSL_free(tls->ssl);
  tls->ssl = NULL;
  stream_close(&tls->below);
}

static int64_t arrived(const struct stream_tls *tls) {
  int64_t here = tls->state == STREAM_TLS_OPEN ? SSL_pending(tls->ssl) : 0;
  return here + tls->kept_len + stream_ask(&tls->below, STREAM_ARRIVED);
}

static int64_t ask_tls(const struct stream *stream, enum stream_question question) {
  const struct stream_tls *tls = tls_of(stream);
  switch (question) {
    case STREAM_PEER_GONE: return tls->hung_up || stream_ask(&tls->below, question) != 0;
    case STREAM_ARRIVED: return arrived(tls);
    case STREAM_LEFT: return (int64_t)tls->left_bytes;
    case STREAM_UNACKNOWLEDGED:
    case STREAM_DESCRIPTOR:
    default: return stream_ask(&tls->below, question);
  }
}

const struct stream_ops STREAM_TLS = {
    .read = read_tls,
    .write = write_tls,
    .shutdown = shutdown_tls,
    .close = close_tls,
    .ask = ask_tls,
};

/* ---- turns ---- */

static void run(struct list *queue, void (*step)(struct stream_tls *tls),
                bool (*more)(void *context), void *context) {
  struct list now;
  list_init(&now);
  list_splice(&now, queue);
  do {
    if (list_empty(&now)) return;
    struct stream_tls *tls = LIST_ENTRY(now.next, struct stream_tls, ready);
    tls_kept_leave_queue(tls);
    step(tls);
  } while (more(context));
  list_splice(queue, &now);
}

static void read_on(struct stream_tls *tls) {
  tls_records_set_source(tls, tls->kept, tls->kept_len);
  tls_receive_take(tls);
}

void stream_tls_shake(struct stream_tls_group *group, bool (*more)(void *context), void *context) {
  run(&group->handshakes, tls_receive_shake, more, context);
}

void stream_tls_read_on(struct stream_tls_group *group, bool (*more)(void *context),
                        void *context) {
  run(&group->readers, read_on, more, context);
}

void stream_tls_end_late(struct stream_tls_group *group) {
  while (!list_empty(&group->halves)) {
    struct stream_tls *tls = LIST_ENTRY(group->halves.next, struct stream_tls, half);
    if (group->now_ms - tls->half_since_ms < STREAM_TLS_RECORD_MS) return;
    list_remove(&tls->half);
    tls->broken = true;
    tls_receive_end(tls, -ETIMEDOUT);
  }
}

/* ---- life ---- */

bool stream_tls_group_init(struct stream_tls_group *group) {
  list_init(&group->handshakes);
  list_init(&group->readers);
  list_init(&group->halves);
  group->method = tls_records_method();
  return group->method != NULL;
}

void stream_tls_group_deinit(struct stream_tls_group *group) { BIO_meth_free(group->method); }

static SSL *make_ssl(struct stream_tls *tls, SSL_CTX *context) {
  SSL *ssl = SSL_new(context);
  BIO *bio = ssl != NULL ? BIO_new(tls->group->method) : NULL;
  if (bio == NULL) {
    SSL_free(ssl);
    return NULL;
  }
  BIO_set_data(bio, tls);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_accept_state(ssl);
  return ssl;
}

bool stream_tls_open(struct stream_tls *stream, const struct stream_type *type,
                     struct stream_tls_group *group, SSL_CTX *context) {
  stream->stream.type = type;
  stream->group = group;
  stream->state = STREAM_TLS_SHAKES;
  list_init(&stream->ready);
  list_init(&stream->half);
  stream->ssl = make_ssl(stream, context);
  if (stream->ssl == NULL) return false;
  atomic_fetch_add(group->stream_count, 1);
  return true;
}
