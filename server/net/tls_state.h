/*
 * tls_state.h - what a stream over TLS is, and what the streams of one loop share. Data only, which
 * the files of stream_tls.h work on: tls_records, tls_kept, tls_send, tls_receive.
 */
#ifndef IDEM_SERVER_NET_TLS_STATE_H
#define IDEM_SERVER_NET_TLS_STATE_H

#include <openssl/ssl.h>

#include "server/base/list.h"
#include "server/net/stream.h"

/* What is read below at once; of a handshake less, since it is kept until it has its turn. */
#define STREAM_TLS_READ_BYTES (64u * 1024)
#define STREAM_TLS_HANDSHAKE_BYTES (8u * 1024)
/* Plaintext of a record, the largest that there is; a record adds less than 300 bytes. */
#define STREAM_TLS_RECORD_BYTES (16u * 1024)
#define STREAM_TLS_SENT_BYTES (STREAM_TLS_RECORD_BYTES + 512u)
/* What OpenSSL itself has to say (tickets, answers to KeyUpdate, alerts) and the peer does not
 * take: above it the stream breaks. */
#define STREAM_TLS_UNTAKEN_BYTES (64u * 1024)
/* Records of one stream that are decrypted in a turn: a KeyUpdate costs as much as 16 KiB. */
#define STREAM_TLS_RECORDS_PER_TURN 64u
/* Records in a row that bring no byte (KeyUpdate, empty ones): above it the stream breaks. */
#define STREAM_TLS_BARREN_RECORDS 256u
/* From the first byte of a record to its last, while its stream is read. As INPUT_REQUEST_MS. */
#define STREAM_TLS_RECORD_MS 10000
/* Records that are sent at most when the stream below has taken what it had. */
#define STREAM_TLS_RECORDS_PER_EVENT 64u

enum stream_tls_failure {
  STREAM_TLS_FAILED, /* OpenSSL refused it: error has the reason */
  STREAM_TLS_PLAIN,  /* the peer does not speak TLS */
  STREAM_TLS_BROKE,  /* the peer left before the end of the handshake */
  STREAM_TLS_NO_MEMORY
};

/* What the user of a stream is told besides: of its handshake one of the last two, once. Not within
 * its calls of the stream. */
struct stream_tls_hooks {
  /* First in every event: the stream's memory is touched from here on. */
  void (*enter)(struct stream *stream);
  void (*secured)(struct stream *stream);
  /* reason: text of OpenSSL, or NULL. The stream lives; its user ends it, after BROKE and NO_MEMORY
   * as it is told by `read`. */
  void (*failed)(struct stream *stream, enum stream_tls_failure failure, const char *reason);
};

/* Bytes that OpenSSL may take now, of one stream. */
struct stream_tls_source {
  const char *data;
  size_t len;
  unsigned records; /* that it may begin still */
};

/* What the streams of one loop share. */
struct stream_tls_group {
  const struct stream_tls_hooks *hooks;
  BIO_METHOD *method;
  struct list handshakes; /* struct stream_tls.ready: have something for their handshake */
  struct list readers;    /* the same: kept something, and their user reads */
  struct list halves;     /* struct stream_tls.half: have a part of a record, since longest first */
  int64_t now_ms;         /* the caller's to set; counts little of a stall */
  _Atomic unsigned *handshake_count; /* in `handshakes`, of all groups */
  _Atomic uint64_t *stream_count;    /* of all groups */
  unsigned turn;
  struct stream_tls *taking; /* whose SSL is called, and takes from source */
  struct stream_tls_source source;
  size_t sent_len;
  char sent[STREAM_TLS_SENT_BYTES]; /* what SSL has written and the stream below has not seen */
  char gathered[STREAM_TLS_RECORD_BYTES]; /* plaintext of a record, from several parts */
  char read[STREAM_TLS_READ_BYTES];
};

enum stream_tls_state {
  STREAM_TLS_SHAKES, /* hands */
  STREAM_TLS_OPEN,
  STREAM_TLS_DEAF, /* what arrives is dropped: its handshake failed, or its user has shut down */
  STREAM_TLS_CLOSED
};

struct stream_tls_left;

struct stream_tls {
  struct stream stream;
  struct stream_tls_group *group;
  SSL *ssl;          /* NULL once closed */
  struct list ready; /* in a list of the group, or in none */
  struct list half;  /* the same */
  int64_t half_since_ms;
  char *kept; /* records not yet decrypted */
  uint32_t kept_len;
  uint32_t records; /* decrypted in `turn` */
  unsigned turn;
  uint32_t barren; /* records since the last byte of plaintext */
  char *flying;    /* ciphertext left to the stream below; NULL: none */
  char *untaken;   /* what follows it */
  uint32_t untaken_len;
  uint32_t flight;                      /* plaintext in `flying`, and in the next: */
  uint32_t flight_untaken;              /* first bytes of `untaken` that belong to it */
  struct stream_tls_left *first, *last; /* what was left to this stream */
  size_t left_bytes;
  enum stream_tls_state state : 8;
  bool reads : 1;      /* its user does */
  bool draws : 1;      /* from the stream below */
  bool heard : 1;      /* bytes have come */
  bool hung_up : 1;    /* the peer has sent its close_notify */
  bool broken : 1;     /* the stream below takes no more, or OpenSSL gave up */
  bool shuts : 1;      /* once all is sent */
  struct stream below; /* of its kind */
};

#endif
