/* stream_tls.c - see stream_tls.h. */
#include "server/net/stream_tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The first byte of a record that has a part of a handshake. */
#define RECORD_HANDSHAKE 0x16

/* What was left to the stream. */
struct stream_tls_left {
  struct stream_tls_left *next;
  void *later;
  size_t len, taken;
  unsigned count;
  struct iovec parts[];
};

/* What OpenSSL says of a call. */
enum outcome { DONE, STARVED, ENDED, REFUSED };

static struct stream_tls *tls_of(const struct stream *stream) {
  return LIST_ENTRY((uintptr_t)stream, struct stream_tls, stream);
}
static struct stream_tls *tls_of_below(struct stream *below) {
  return LIST_ENTRY(below, struct stream_tls, below);
}
static const struct stream_events *events_of(const struct stream_tls *tls) {
  return tls->stream.type->events;
}

/* ---- to the stream below ---- */

/* Leaves a copy of it to the stream below. */
static void fly(struct stream_tls *tls, const char *bytes, size_t len) {
  tls->flying = malloc(len);
  if (tls->flying != NULL) {
    memcpy(tls->flying, bytes, len);
    struct iovec part = {tls->flying, len};
    if (stream_write(&tls->below, &part, 1, tls) == 0) return;
  }
  free(tls->flying);
  tls->flying = NULL;
  tls->broken = true;
}

static void append_untaken(struct stream_tls *tls, const char *bytes, size_t len) {
  size_t whole = tls->untaken_len + len;
  char *more = whole <= STREAM_TLS_UNTAKEN_BYTES ? realloc(tls->untaken, whole) : NULL;
  if (more == NULL) {
    tls->broken = true;
    return;
  }
  memcpy(more + tls->untaken_len, bytes, len);
  tls->untaken = more;
  tls->untaken_len = (uint32_t)whole;
}

/* `all`: even what could be taken at once is left to it, so that it tells when that was taken. */
static void send_below(struct stream_tls *tls, const char *bytes, size_t len, bool all) {
  if (len == 0 || tls->broken) return;
  if (tls->flying != NULL) {
    append_untaken(tls, bytes, len);
    return;
  }
  struct iovec part = {(char *)(uintptr_t)bytes, len};
  int64_t taken = all ? 0 : stream_write(&tls->below, &part, 1, NULL);
  if (taken < 0) {
    tls->broken = true;
  } else if ((size_t)taken < len) {
    fly(tls, bytes + taken, len - (size_t)taken);
  }
}

/* Sends what OpenSSL has written. After each call of it. */
static void pass_on(struct stream_tls *tls, bool all) {
  struct stream_tls_group *group = tls->group;
  size_t len = group->sent_len;
  group->sent_len = 0;
  send_below(tls, group->sent, len, all);
}

static int draw(struct stream_tls *tls, bool on) {
  if (tls->draws == on) return 0;
  int error = stream_read(&tls->below, on);
  if (error == 0) tls->draws = on;
  return error;
}

/* ---- what OpenSSL reads from and writes to ---- */

static int bio_write(BIO *bio, const char *data, size_t len, size_t *written) {
  struct stream_tls *tls = BIO_get_data(bio);
  struct stream_tls_group *group = tls->group;
  *written = len;
  while (len > 0) {
    size_t room = sizeof group->sent - group->sent_len, part = len < room ? len : room;
    memcpy(group->sent + group->sent_len, data, part);
    group->sent_len += part;
    data += part;
    len -= part;
    if (len > 0) pass_on(tls, false);
  }
  return !tls->broken;
}

/* OpenSSL asks for the header of a record first. False: it may not begin with another one now. */
static bool may_begin_record(struct stream_tls *tls) {
  if (tls->group->source.records == 0) return false;
  tls->group->source.records--;
  tls->records++;
  tls->barren++;
  return true;
}

static int bio_read(BIO *bio, char *data, size_t room, size_t *got) {
  struct stream_tls *tls = BIO_get_data(bio);
  struct stream_tls_group *group = tls->group;
  struct stream_tls_source *source = &group->source;
  bool at_record = room <= SSL3_RT_HEADER_LENGTH;
  *got = 0;
  BIO_clear_retry_flags(bio);
  if (tls->barren > STREAM_TLS_BARREN_RECORDS) return 0;
  if (group->taking != tls || source->len == 0 || (at_record && !may_begin_record(tls))) {
    BIO_set_retry_read(bio);
    return 0;
  }
  *got = room < source->len ? room : source->len;
  memcpy(data, source->data, *got);
  source->data += *got;
  source->len -= *got;
  return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
  (void)bio;
  (void)number;
  (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *make_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
  if (method == NULL) return NULL;
  if (BIO_meth_set_write_ex(method, bio_write) == 1 &&
      BIO_meth_set_read_ex(method, bio_read) == 1 && BIO_meth_set_ctrl(method, bio_control) == 1)
    return method;
  BIO_meth_free(method);
  return NULL;
}

static enum outcome outcome_of(const struct stream_tls *tls, int result) {
  if (result == 1) return DONE;
  switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ: return STARVED;
    case SSL_ERROR_ZERO_RETURN: return ENDED;
    default: return REFUSED;
  }
}

/* ---- queues ---- */

static bool is_queued(const struct stream_tls *tls) { return !list_empty(&tls->ready); }

static void leave_queue(struct stream_tls *tls) {
  if (!is_queued(tls)) return;
  list_remove(&tls->ready);
  if (tls->state == STREAM_TLS_SHAKES) atomic_fetch_sub(tls->group->handshake_count, 1);
}

static void join_queue(struct stream_tls *tls) {
  if (is_queued(tls)) return;
  bool shakes = tls->state == STREAM_TLS_SHAKES;
  list_append(shakes ? &tls->group->handshakes : &tls->group->readers, &tls->ready);
  if (shakes) atomic_fetch_add(tls->group->handshake_count, 1);
}

static void forget_kept(struct stream_tls *tls) {
  free(tls->kept);
  tls->kept = NULL;
  tls->kept_len = 0;
}

/* A copy of what is left of the source, which may lie in what was kept before. */
static bool keep_source(struct stream_tls *tls) {
  const struct stream_tls_source *source = &tls->group->source;
  char *to = tls->kept;
  if (to == NULL) to = malloc(source->len);
  if (to == NULL) return false;
  memmove(to, source->data, source->len);
  tls->kept = to;
  tls->kept_len = (uint32_t)source->len;
  return true;
}

static void set_source(struct stream_tls *tls, const char *data, size_t len) {
  struct stream_tls_group *group = tls->group;
  if (tls->turn != group->turn) tls->records = 0;
  tls->turn = group->turn;
  unsigned used =
      tls->records < STREAM_TLS_RECORDS_PER_TURN ? tls->records : STREAM_TLS_RECORDS_PER_TURN;
  group->taking = tls;
  group->source = (struct stream_tls_source){data, len, STREAM_TLS_RECORDS_PER_TURN - used};
}

/* ---- sending ---- */

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

/* Sends one record. Returns how much plaintext it has; 0: the stream is broken. */
static size_t send_record(struct stream_tls *tls, const struct place *place, bool all) {
  struct iovec record = next_record(tls->group, place);
  size_t written = 0;
  ERR_clear_error();
  bool done = SSL_write_ex(tls->ssl, record.iov_base, record.iov_len, &written) == 1;
  pass_on(tls, all);
  if (!done) tls->broken = true;
  return tls->broken ? 0 : record.iov_len;
}

static int64_t write_now(struct stream_tls *tls, const struct iovec *parts, unsigned count) {
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

static int64_t write_tls(struct stream *stream, const struct iovec *parts, unsigned count,
                         void *later) {
  struct stream_tls *tls = tls_of(stream);
  if (tls->broken || tls->state > STREAM_TLS_OPEN) return -EPIPE;
  if (later == NULL) return write_now(tls, parts, count);
  if (!append_left(tls, parts, count, later)) return -ENOMEM;
  if (tls->flying == NULL && tls->state == STREAM_TLS_OPEN) send_left(tls, true);
  if (!tls->broken) return 0;
  free(pop_left(tls)); /* it is the only one */
  return -EPIPE;
}

/* The kernel has the record that flew. May close. */
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

/* What was left will never be written. May close. */
static void fail_left(struct stream_tls *tls, int error) {
  while (tls->first != NULL) {
    struct stream_tls_left *left = pop_left(tls);
    void *later = left->later;
    free(left);
    events_of(tls)->written(&tls->stream, later, error);
  }
}

/* The stream below has taken all it had: on with what is left. May close. */
static void send_on(struct stream_tls *tls) {
  for (unsigned i = 1; tls->state == STREAM_TLS_OPEN && tls->first != NULL; i++) {
    send_left(tls, i >= STREAM_TLS_RECORDS_PER_EVENT);
    if (tls->broken) fail_left(tls, -EPIPE);
    if (tls->flying != NULL) return;
    note_taken(tls);
  }
}

/* ---- the end of sending ---- */

/* Nothing is left and nothing flies. */
static int finish_shutdown(struct stream_tls *tls) {
  tls->shuts = false;
  if (tls->state == STREAM_TLS_OPEN) {
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    pass_on(tls, false);
  }
  leave_queue(tls);
  tls->state = STREAM_TLS_DEAF;
  forget_kept(tls);
  return tls->broken ? -EPIPE : stream_shutdown(&tls->below);
}

static int shutdown_tls(struct stream *stream) {
  struct stream_tls *tls = tls_of(stream);
  if (tls->broken) return -EPIPE;
  tls->shuts = true;
  return tls->first == NULL && tls->flying == NULL ? finish_shutdown(tls) : 0;
}

static void on_written(struct stream *below, void *later, int error) {
  struct stream_tls *tls = tls_of_below(below);
  tls->group->hooks->enter(&tls->stream);
  if (later == NULL && error == 0) return; /* a part */
  free(tls->flying);
  tls->flying = NULL;
  if (tls->state == STREAM_TLS_CLOSED) return;
  if (error != 0) {
    tls->broken = true;
    fail_left(tls, error);
    return;
  }
  if (tls->untaken != NULL) {
    fly(tls, tls->untaken, tls->untaken_len);
    free(tls->untaken);
    tls->untaken = NULL;
    tls->untaken_len = 0;
  }
  note_taken(tls);
  if (tls->flying == NULL) send_on(tls);
  bool all = tls->first == NULL && tls->flying == NULL;
  if (all && tls->shuts && tls->state != STREAM_TLS_CLOSED) finish_shutdown(tls);
}

/* ---- receiving ---- */

static void end_reading(struct stream_tls *tls, ssize_t count) {
  tls->reads = false;
  draw(tls, false);
  forget_kept(tls);
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

/* The source is used as far as the stream may, now: what is left is kept. */
static void rest(struct stream_tls *tls) {
  struct stream_tls_group *group = tls->group;
  group->taking = NULL;
  bool left = group->source.len > 0;
  bool kept = !left || keep_source(tls);
  if (!left) forget_kept(tls);
  bool more = left || SSL_pending(tls->ssl) > 0;
  if (tls->reads && more) join_queue(tls);
  if (!kept || draw(tls, tls->reads && !more) != 0) end_reading(tls, -ENOMEM);
}

/* Its user has shut down or closed. */
static void drop_source(struct stream_tls *tls) {
  tls->group->taking = NULL;
  if (tls->state == STREAM_TLS_DEAF && draw(tls, tls->reads) != 0) end_reading(tls, -ENOMEM);
}

/* Reads from the source until its user, or the turn, has had enough. May close. */
static void take_in(struct stream_tls *tls) {
  enum outcome outcome = DONE;
  while (tls->reads && outcome == DONE) {
    struct iovec room = events_of(tls)->room(&tls->stream);
    size_t got;
    outcome = decrypt(tls, room, &got);
    pass_on(tls, false);
    if (got == 0) continue;
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
    end_reading(tls, outcome == ENDED ? 0 : -EPROTO);
  } else {
    rest(tls);
  }
}

/* ---- handshakes ---- */

static void fail(struct stream_tls *tls, enum stream_tls_failure failure, const char *reason) {
  leave_queue(tls);
  tls->state = STREAM_TLS_DEAF;
  forget_kept(tls);
  tls->group->hooks->failed(&tls->stream, failure, reason);
}

static void fail_and_end(struct stream_tls *tls, enum stream_tls_failure failure, ssize_t count) {
  fail(tls, failure, NULL);
  if (tls->state != STREAM_TLS_CLOSED) end_reading(tls, count);
}

static void refuse_plain(struct stream_tls *tls) {
  static const char alert[] = {SSL3_RT_ALERT, 3, 1, 0, 2, SSL3_AL_FATAL, SSL_AD_UNEXPECTED_MESSAGE};
  send_below(tls, alert, sizeof alert, false);
  fail(tls, STREAM_TLS_PLAIN, NULL);
}

/* Nothing is decided yet. */
static void await_more(struct stream_tls *tls) {
  struct stream_tls_group *group = tls->group;
  group->taking = NULL;
  if (group->source.len > 0) {
    keep_source(tls); /* where it was */
    join_queue(tls);
    return;
  }
  forget_kept(tls);
  if (tls->broken) {
    fail_and_end(tls, STREAM_TLS_BROKE, -EPIPE);
  } else if (tls->reads && draw(tls, true) != 0) {
    fail_and_end(tls, STREAM_TLS_NO_MEMORY, -ENOMEM);
  }
}

static void secured(struct stream_tls *tls) {
  tls->state = STREAM_TLS_OPEN;
  tls->barren = 0;
  tls->group->hooks->secured(&tls->stream);
  if (tls->state == STREAM_TLS_OPEN && tls->flying == NULL) send_on(tls);
  if (tls->state == STREAM_TLS_OPEN) take_in(tls);
}

static const char *reason_of(void) {
  unsigned long code = ERR_peek_last_error();
  return code != 0 ? ERR_reason_error_string(code) : NULL;
}

static void shake(struct stream_tls *tls) {
  set_source(tls, tls->kept, tls->kept_len);
  ERR_clear_error();
  enum outcome outcome = outcome_of(tls, SSL_do_handshake(tls->ssl));
  const char *reason = outcome == REFUSED ? reason_of() : NULL;
  pass_on(tls, false);
  switch (outcome) {
    case DONE: secured(tls); break;
    case STARVED: await_more(tls); break;
    case ENDED:
    case REFUSED:
    default: fail(tls, STREAM_TLS_FAILED, reason); break;
  }
}

/* Keeps it until its turn comes. */
static void queue_handshake(struct stream_tls *tls, const char *data, size_t len) {
  if (!tls->heard && data[0] != RECORD_HANDSHAKE) {
    refuse_plain(tls);
    return;
  }
  tls->heard = true;
  draw(tls, false);
  set_source(tls, data, len);
  bool kept = keep_source(tls);
  tls->group->taking = NULL;
  if (kept) {
    join_queue(tls);
  } else {
    fail_and_end(tls, STREAM_TLS_NO_MEMORY, -ENOMEM);
  }
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
    end_reading(tls, count);
  } else {
    fail_and_end(tls, STREAM_TLS_BROKE, count);
  }
}

static void on_read(struct stream *below, const char *data, ssize_t count) {
  struct stream_tls *tls = tls_of_below(below);
  tls->group->hooks->enter(&tls->stream);
  if (count <= 0) {
    on_end(tls, count);
  } else if (tls->state == STREAM_TLS_SHAKES) {
    queue_handshake(tls, data, (size_t)count);
  } else if (tls->state == STREAM_TLS_OPEN) {
    set_source(tls, data, (size_t)count);
    take_in(tls);
  }
}

static void on_closed(struct stream *below) {
  struct stream_tls *tls = tls_of_below(below);
  tls->group->hooks->enter(&tls->stream);
  fail_left(tls, -ECANCELED);
  SSL_free(tls->ssl); /* it could not be opened */
  tls->ssl = NULL;
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
  if (tls->state == STREAM_TLS_OPEN && !on) leave_queue(tls);
  if (tls->state == STREAM_TLS_OPEN && on && more) join_queue(tls);
  return draw(tls, on && !more);
}

/* Says goodbye if that can be done at once. */
static void close_tls(struct stream *stream) {
  struct stream_tls *tls = tls_of(stream);
  if (tls->state == STREAM_TLS_OPEN && !tls->broken && tls->first == NULL && tls->flying == NULL) {
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    pass_on(tls, false);
  }
  leave_queue(tls);
  tls->state = STREAM_TLS_CLOSED;
  forget_kept(tls);
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
    leave_queue(tls);
    step(tls);
  } while (more(context));
  list_splice(queue, &now);
}

static void read_on(struct stream_tls *tls) {
  set_source(tls, tls->kept, tls->kept_len);
  take_in(tls);
}

void stream_tls_shake(struct stream_tls_group *group, bool (*more)(void *context), void *context) {
  run(&group->handshakes, shake, more, context);
}

void stream_tls_read_on(struct stream_tls_group *group, bool (*more)(void *context),
                        void *context) {
  run(&group->readers, read_on, more, context);
}

/* ---- life ---- */

bool stream_tls_group_init(struct stream_tls_group *group, const struct stream_tls_hooks *hooks,
                           _Atomic unsigned *handshake_count) {
  group->hooks = hooks;
  group->handshake_count = handshake_count;
  list_init(&group->handshakes);
  list_init(&group->readers);
  group->method = make_method();
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
  stream->ssl = make_ssl(stream, context);
  return stream->ssl != NULL;
}
