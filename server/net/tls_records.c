/* tls_records.c - see tls_records.h. */
#include "server/net/tls_records.h"

#include <stdlib.h>
#include <string.h>

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
void tls_records_send(struct stream_tls *tls, const char *bytes, size_t len, bool all) {
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
void tls_records_pass_on(struct stream_tls *tls, bool all) {
  struct stream_tls_group *group = tls->group;
  size_t len = group->sent_len;
  group->sent_len = 0;
  tls_records_send(tls, group->sent, len, all);
}

void tls_records_send_untaken(struct stream_tls *tls) {
  char *untaken = tls->untaken;
  size_t len = tls->untaken_len;
  tls->untaken = NULL;
  tls->untaken_len = 0;
  if (untaken != NULL) fly(tls, untaken, len);
  free(untaken);
}

int tls_records_draw(struct stream_tls *tls, bool on) {
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
    if (len > 0) tls_records_pass_on(tls, false);
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

BIO_METHOD *tls_records_method(void) {
  BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
  if (method == NULL) return NULL;
  if (BIO_meth_set_write_ex(method, bio_write) == 1 &&
      BIO_meth_set_read_ex(method, bio_read) == 1 && BIO_meth_set_ctrl(method, bio_control) == 1)
    return method;
  BIO_meth_free(method);
  return NULL;
}

void tls_records_set_source(struct stream_tls *tls, const char *data, size_t len) {
  struct stream_tls_group *group = tls->group;
  if (tls->turn != group->turn) tls->records = 0;
  tls->turn = group->turn;
  unsigned used =
      tls->records < STREAM_TLS_RECORDS_PER_TURN ? tls->records : STREAM_TLS_RECORDS_PER_TURN;
  group->taking = tls;
  group->source = (struct stream_tls_source){data, len, STREAM_TLS_RECORDS_PER_TURN - used};
}
