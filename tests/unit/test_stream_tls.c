/* test_stream_tls.c - a TLS stream between a stream of memory and OpenSSL's own client: bytes in
 * any pieces both ways, what is called written, ends of all kinds, floods. TLS 1.2 and 1.3. */
#include "tests/unit/stream_memory.h"

#include "tests/unit/certificates.h"

#include <openssl/err.h>
#include <stdio.h>

#include "server/net/stream_tls.h"
#include "server/net/tls_context.h"

#define SAID_MAX (1u << 20)
/* Header, explicit nonce (1.2) or type (1.3), and tag of a record with AES-GCM. */
#define RECORD_ADDS 29u

static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};
#define EACH_VERSION(version)                                                     \
  for (int index_of_##version = 0, version = VERSIONS[0]; index_of_##version < 2; \
       version = VERSIONS[++index_of_##version == 2 ? 0 : index_of_##version])

/* What the stream's user was told. */
struct user {
  size_t room;       /* of its next read */
  size_t rest_after; /* stops reading after so many bytes */
  char *got;
  size_t got_len;
  bool ended, secured, failed, closed;
  ssize_t end;
  enum stream_tls_failure failure;
  unsigned written; /* calls with a `later` */
  int written_error;
  void *last_later;
};

struct world {
  struct certificates certificates;
  struct options options;
  SSL_CTX *context, *client_context;
  struct stream_tls_group group;
  _Atomic unsigned handshakes;
  _Atomic uint64_t streams;
  struct stream_tls *tls;
  struct peer peer; /* of the stream below */
  SSL *client;
  BIO *to_client, *from_client;
  uint8_t fragment; /* max_fragment_length that the client asks for; 0: it does not */
  char *heard;      /* plaintext, by the client */
  size_t heard_len;
  struct user user;
};

/* Found by the stream: one test, one world. */
static struct world *world_of(struct stream *stream) {
  struct stream_tls *tls = LIST_ENTRY(stream, struct stream_tls, stream);
  return LIST_ENTRY(tls->group, struct world, group);
}

/* ---- the user of the stream ---- */

static struct iovec on_room(struct stream *stream) {
  static char room[SAID_MAX];
  return (struct iovec){room, world_of(stream)->user.room};
}

static void on_read(struct stream *stream, const char *data, ssize_t count) {
  struct user *user = &world_of(stream)->user;
  assert_false(user->ended);
  if (count <= 0) {
    user->ended = true;
    user->end = count;
    return;
  }
  user->got = realloc(user->got, user->got_len + (size_t)count);
  memcpy(user->got + user->got_len, data, (size_t)count);
  user->got_len += (size_t)count;
  if (user->got_len >= user->rest_after) stream_read(stream, false);
}

static void on_written(struct stream *stream, void *later, int error) {
  struct user *user = &world_of(stream)->user;
  if (later == NULL) return;
  user->written++;
  user->written_error = error;
  user->last_later = later;
}

static void on_closed(struct stream *stream) { world_of(stream)->user.closed = true; }

static const struct stream_events USER = {on_room, on_read, on_written, on_closed};
static const struct stream_type TYPE = {&STREAM_TLS, &USER};
static const struct stream_type BELOW = {&STREAM_MEMORY, &STREAM_TLS_BELOW};

static void on_enter(struct stream *stream) { (void)stream; }
static void on_secured(struct stream *stream) { world_of(stream)->user.secured = true; }
static void on_failed(struct stream *stream, enum stream_tls_failure failure, const char *reason) {
  struct user *user = &world_of(stream)->user;
  (void)reason;
  assert_false(user->failed || user->secured);
  user->failed = true;
  user->failure = failure;
}
static const struct stream_tls_hooks HOOKS = {on_enter, on_secured, on_failed};

/* ---- worlds ---- */

static int setup(void **state) {
  struct world *w = calloc(1, sizeof *w);
  const char *option;
  char error[REFUSAL_BYTES], warning[REFUSAL_BYTES];
  assert_non_null(w);
  certificates_make(&w->certificates);
  options_init(&w->options);
  certificates_set(&w->certificates, &w->options);
  w->context = tls_context_create(&w->options, &option, error, warning);
  if (w->context == NULL) fail_msg("%s", error);
  w->client_context = SSL_CTX_new(TLS_client_method());
  w->group.hooks = &HOOKS;
  w->group.handshake_count = &w->handshakes;
  w->group.stream_count = &w->streams;
  assert_true(stream_tls_group_init(&w->group));
  *state = w;
  return 0;
}

/* Ends the connection of the last round, whatever has become of it. */
static void hang_up(struct world *w) {
  if (w->tls == NULL) return;
  if (!w->user.closed && w->tls->state != STREAM_TLS_CLOSED) stream_close(&w->tls->stream);
  peer_finish(&w->peer);
  assert_true(w->user.closed);
  assert_true(list_empty(&w->group.handshakes) && list_empty(&w->group.readers));
  assert_int_equal(w->handshakes, 0);
  assert_int_equal(w->streams, 0);
  SSL_free(w->client);
  free(w->tls);
  free(w->user.got);
  free(w->heard);
  w->tls = NULL;
  w->heard = NULL;
}

static int teardown(void **state) {
  struct world *w = *state;
  hang_up(w);
  free(w->peer.heard);
  stream_tls_group_deinit(&w->group);
  tls_context_destroy(w->context);
  SSL_CTX_free(w->client_context);
  certificates_remove(&w->certificates);
  options_deinit(&w->options);
  free(w);
  return 0;
}

static void make_client(struct world *w, int version) {
  w->client = SSL_new(w->client_context);
  SSL_set_min_proto_version(w->client, version);
  SSL_set_max_proto_version(w->client, version);
  if (w->fragment != 0) SSL_set_tlsext_max_fragment_length(w->client, w->fragment);
  w->to_client = BIO_new(BIO_s_mem());
  w->from_client = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(w->to_client, -1);
  SSL_set_bio(w->client, w->to_client, w->from_client);
  SSL_set_connect_state(w->client);
}

static struct stream *dial(struct world *w, int version) {
  hang_up(w);
  w->heard_len = 0;
  w->user = (struct user){.room = 16384, .rest_after = SIZE_MAX};
  w->tls = calloc(1, offsetof(struct stream_tls, below) + sizeof(struct stream_memory));
  assert_true(stream_tls_open(w->tls, &TYPE, &w->group, w->context));
  peer_connect(&w->peer, &w->tls->below, &BELOW);
  assert_int_equal(stream_read(&w->tls->stream, true), 0);
  make_client(w, version);
  return &w->tls->stream;
}

/* ---- bytes between the two ---- */

static bool more(void *context) { return context == NULL; }

static void end_turn(struct world *w) {
  stream_tls_begin_turn(&w->group);
  stream_tls_shake(&w->group, more, NULL);
  stream_tls_read_on(&w->group, more, NULL);
}

static void end_turns(struct world *w) {
  for (unsigned i = 0; stream_tls_has_work(&w->group); i++) {
    assert_true(i < 10000);
    end_turn(w);
  }
}

/* What the stream has sent, for the client. */
static void carry_back(struct world *w) {
  if (w->peer.heard_len > 0) BIO_write(w->to_client, w->peer.heard, (int)w->peer.heard_len);
  w->peer.heard_len = 0;
  char bytes[4096];
  size_t got;
  while (SSL_read_ex(w->client, bytes, sizeof bytes, &got) == 1) {
    w->heard = realloc(w->heard, w->heard_len + got);
    memcpy(w->heard + w->heard_len, bytes, got);
    w->heard_len += got;
  }
}

/* What the client has to send, in one piece, of which `bytes` are given over. */
static size_t carry_some(struct world *w, size_t bytes) {
  char *data;
  size_t waiting = BIO_ctrl_pending(w->from_client), len = waiting < bytes ? waiting : bytes;
  if (len == 0) return 0;
  data = malloc(len);
  assert_int_equal(BIO_read(w->from_client, data, (int)len), (int)len);
  for (size_t said = 0; said < len;) {
    size_t part = peer_say(&w->peer, data + said, len - said);
    said += part;
    if (part == 0) break; /* it does not read */
    end_turns(w);
  }
  free(data);
  return len;
}

/* Until nothing moves. The first `cut` bytes of the client are a piece of their own; each: all
 * pieces have that size. */
static void carry(struct world *w, size_t cut, bool each) {
  size_t left = cut;
  for (;;) {
    carry_back(w);
    size_t piece = each ? cut : left > 0 ? left : SIZE_MAX;
    size_t moved = carry_some(w, piece);
    if (moved == 0) break;
    left -= moved < left ? moved : left;
  }
}

static void client_says(struct world *w, const char *bytes, size_t len) {
  size_t written;
  assert_int_equal(SSL_write_ex(w->client, bytes, len, &written), 1);
}

/* A handshake, with pieces as for carry. */
static struct stream *connect_client(struct world *w, int version, size_t cut, bool each) {
  struct stream *stream = dial(w, version);
  SSL_do_handshake(w->client);
  carry(w, cut, each);
  assert_true(w->user.secured);
  assert_int_equal(SSL_version(w->client), version);
  return stream;
}

static char *pattern(size_t len) {
  char *bytes = malloc(len);
  for (size_t i = 0; i < len; i++) bytes[i] = (char)(i * 7 + i / 251);
  return bytes;
}

#define assert_got(w, bytes, len)                   \
  do {                                              \
    assert_int_equal((w)->user.got_len, len);       \
    assert_memory_equal((w)->user.got, bytes, len); \
  } while (0)
#define assert_heard(w, bytes, len)              \
  do {                                           \
    assert_int_equal((w)->heard_len, len);       \
    assert_memory_equal((w)->heard, bytes, len); \
  } while (0)

/* ---- bytes in any pieces ---- */

static void a_dialogue(struct world *w, int version, size_t cut, bool each) {
  struct stream *stream = connect_client(w, version, cut, each);
  client_says(w, "PING\r\n", 6);
  client_says(w, "PING two\r\n", 10);
  carry(w, each ? cut : 0, each);
  assert_got(w, "PING\r\nPING two\r\n", 16);
  struct iovec part = {(char *)(uintptr_t) "+PONG\r\n", 7};
  assert_int_equal(stream_write(stream, &part, 1, NULL), 7);
  carry_back(w);
  assert_heard(w, "+PONG\r\n", 7);
}

static void what_arrives_may_be_cut_at_every_byte(void **state) {
  struct world *w = *state;
  EACH_VERSION(version) {
    for (size_t cut = 1; cut < 700; cut++) a_dialogue(w, version, cut, false);
    for (size_t cut = 1; cut < 8; cut++) a_dialogue(w, version, cut, true);
  }
}

static void data_may_be_cut_at_every_byte(void **state) {
  struct world *w = *state;
  EACH_VERSION(version) {
    connect_client(w, version, 0, false);
    for (size_t cut = 1; cut < 120; cut++) {
      client_says(w, "0123456789", 10);
      client_says(w, "abcdefghij", 10);
      carry(w, cut, false);
      assert_got(w, "0123456789abcdefghij", 20);
      w->user.got_len = 0;
    }
  }
}

/* A room of any size, smaller than a record and larger than several. */
static void records_fill_rooms_of_any_size(void **state) {
  struct world *w = *state;
  const size_t rooms[] = {1, 7, 1000, 16383, 16384, 16385, 65536, SAID_MAX}, len = 100000;
  char *bytes = pattern(len);
  EACH_VERSION(version) {
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
      connect_client(w, version, 0, false);
      w->user.room = rooms[i];
      client_says(w, bytes, len);
      carry(w, 0, false);
      assert_got(w, bytes, len);
    }
  }
  free(bytes);
}

/* ---- what is called written ---- */

/* What a connection does: sends what goes at once, and leaves the rest. Returns what was taken. */
static size_t send_or_leave(struct stream *stream, char *bytes, size_t len, void *later) {
  struct iovec part = {bytes, len};
  int64_t taken = stream_write(stream, &part, 1, NULL);
  assert_true(taken >= 0);
  part = (struct iovec){bytes + taken, len - (size_t)taken};
  if (part.iov_len > 0) assert_int_equal(stream_write(stream, &part, 1, later), 0);
  return (size_t)taken;
}

/* The kernel takes `room` bytes at once, and `step` at a time of what is left. */
static void a_slow_reader(struct world *w, int version, size_t len, size_t room, size_t step) {
  char *bytes = pattern(len), later;
  struct stream *stream = connect_client(w, version, 0, false);
  w->peer.room = room;
  size_t taken = send_or_leave(stream, bytes, len, &later), left = len - taken;
  assert_int_equal(stream_ask(stream, STREAM_LEFT), left);
  w->peer.room = SIZE_MAX;
  while (w->user.written == 0 && taken < len) {
    assert_true(peer_take(&w->peer, step) > 0);
    assert_true((size_t)stream_ask(stream, STREAM_LEFT) <= left);
    left = (size_t)stream_ask(stream, STREAM_LEFT);
    carry_back(w);
    if (w->heard_len < len) assert_int_equal(w->user.written, 0);
  }
  carry_back(w);
  assert_heard(w, bytes, len);
  assert_int_equal(left, 0);
  assert_int_equal(w->user.written, taken < len);
  free(bytes);
}

static void nothing_is_written_before_the_kernel_has_it(void **state) {
  struct world *w = *state;
  EACH_VERSION(version) {
    for (size_t room = 0; room < 60; room++) a_slow_reader(w, version, 20, room, 1);
    a_slow_reader(w, version, 100000, 0, 1000);
    a_slow_reader(w, version, 100000, 16383, 16384);
    a_slow_reader(w, version, 100000, 50000, 100000);
    a_slow_reader(w, version, 3000000, 100, 1000000);
  }
}

/* What is encrypted at once is then several records, of which a part flies and the rest follows. */
static void nor_in_short_records(void **state) {
  struct world *w = *state;
  w->fragment = TLSEXT_max_fragment_length_512;
  EACH_VERSION(version) {
    for (size_t room = 0; room < 18000; room += 500) a_slow_reader(w, version, 16384, room, 300);
    a_slow_reader(w, version, 100000, 700, SIZE_MAX);
  }
}

/* The kernel has a part of a reply; what follows it cannot be left to the stream below. */
static void a_rest_that_cannot_be_sent_is_not_written(void **state) {
  struct world *w = *state;
  size_t len = 16384;
  char *bytes = pattern(len), later;
  w->fragment = TLSEXT_max_fragment_length_512;
  EACH_VERSION(version) {
    struct stream *stream = connect_client(w, version, 0, false);
    w->peer.room = 0;
    assert_int_equal(send_or_leave(stream, bytes, len, &later), 0);
    assert_true(w->tls->untaken_len > 0);
    w->peer.write_error = -EPIPE;
    while (peer_take(&w->peer, SIZE_MAX) > 0) continue;
    assert_int_equal(w->user.written, 1);
    assert_int_equal(w->user.written_error, -EPIPE);
    w->peer.write_error = 0;
  }
  free(bytes);
}

static void parts_are_sent_in_order_as_full_records(void **state) {
  struct world *w = *state;
  size_t len = 40000;
  char *bytes = pattern(len);
  EACH_VERSION(version) {
    struct stream *stream = connect_client(w, version, 0, false);
    struct iovec parts[] = {
        {bytes, 1}, {bytes + 1, 20000}, {bytes + 20001, 7}, {bytes + 20008, 19992}};
    assert_int_equal(stream_write(stream, parts, 4, NULL), len);
    assert_true(w->peer.heard_len <= len + 3 * RECORD_ADDS);
    carry_back(w);
    assert_heard(w, bytes, len);
  }
  free(bytes);
}

static void what_is_left_while_another_record_flies_follows_it(void **state) {
  struct world *w = *state;
  char a[] = "first", b[] = "second", c[] = "third", later[3];
  EACH_VERSION(version) {
    struct stream *stream = connect_client(w, version, 0, false);
    w->peer.room = 0;
    send_or_leave(stream, a, 5, &later[0]);
    struct iovec parts[] = {{b, 6}, {c, 5}};
    assert_int_equal(stream_write(stream, &parts[0], 1, &later[1]), 0);
    assert_int_equal(stream_write(stream, &parts[1], 1, &later[2]), 0);
    assert_int_equal(stream_ask(stream, STREAM_LEFT), 16);
    w->peer.room = SIZE_MAX;
    while (peer_take(&w->peer, SIZE_MAX) > 0) continue;
    assert_int_equal(w->user.written, 3);
    assert_ptr_equal(w->user.last_later, &later[2]);
    assert_int_equal(stream_ask(stream, STREAM_LEFT), 0);
    carry_back(w);
    assert_heard(w, "firstsecondthird", 16);
  }
}

static void what_was_left_ends_with_an_error_when_it_closes(void **state) {
  struct world *w = *state;
  char bytes[] = "never", later[2];
  EACH_VERSION(version) {
    struct stream *stream = connect_client(w, version, 0, false);
    w->peer.room = 0;
    send_or_leave(stream, bytes, 5, &later[0]);
    struct iovec part = {bytes, 5};
    assert_int_equal(stream_write(stream, &part, 1, &later[1]), 0);
    stream_close(stream);
    assert_int_equal(w->user.written, 0);
    peer_finish(&w->peer);
    assert_int_equal(w->user.written, 2);
    assert_int_equal(w->user.written_error, -ECANCELED);
    assert_true(w->user.closed);
  }
}

static void an_error_below_is_told_of_all_that_was_left(void **state) {
  struct world *w = *state;
  char bytes[] = "never", later[2];
  struct stream *stream = connect_client(w, TLS1_3_VERSION, 0, false);
  w->peer.room = 0;
  send_or_leave(stream, bytes, 5, &later[0]);
  struct iovec part = {bytes, 5};
  assert_int_equal(stream_write(stream, &part, 1, &later[1]), 0);
  peer_fail(&w->peer, -EPIPE);
  assert_int_equal(w->user.written, 2);
  assert_int_equal(w->user.written_error, -EPIPE);
  assert_int_equal(stream_write(stream, &part, 1, NULL), -EPIPE);
}

/* ---- a user that stops ---- */

static void nothing_is_lost_when_the_user_rests(void **state) {
  struct world *w = *state;
  size_t len = 200000;
  char *bytes = pattern(len);
  EACH_VERSION(version) {
    struct stream *stream = connect_client(w, version, 0, false);
    w->user.room = 1000;
    client_says(w, bytes, len);
    char *records = malloc(2 * len);
    size_t there = (size_t)BIO_read(w->from_client, records, (int)(2 * len)), said = 0;
    for (w->user.rest_after = 1; w->user.got_len < len; w->user.rest_after = w->user.got_len + 1) {
      assert_int_equal(stream_read(stream, true), 0);
      said += peer_say(&w->peer, records + said, there - said);
      end_turns(w);
      assert_false(w->peer.reads); /* or it would read without an end */
      assert_true(w->tls->kept_len <= STREAM_TLS_READ_BYTES);
    }
    assert_got(w, bytes, len);
    assert_int_equal(said, there);
    free(records);
  }
  free(bytes);
}

/* ---- ends ---- */

static bool client_saw_the_end(struct world *w) {
  return (SSL_get_shutdown(w->client) & SSL_RECEIVED_SHUTDOWN) != 0;
}

static void the_goodbye_follows_all_that_is_left(void **state) {
  struct world *w = *state;
  size_t len = 50000;
  char *bytes = pattern(len), later;
  EACH_VERSION(version) {
    struct stream *stream = connect_client(w, version, 0, false);
    w->peer.room = 10;
    send_or_leave(stream, bytes, len, &later);
    assert_int_equal(stream_shutdown(stream), 0);
    assert_false(w->peer.shut);
    w->peer.room = SIZE_MAX;
    while (peer_take(&w->peer, 1000) > 0) continue;
    assert_true(w->peer.shut);
    carry_back(w);
    assert_heard(w, bytes, len);
    assert_true(client_saw_the_end(w));
  }
  free(bytes);
}

static void what_arrives_after_the_goodbye_is_dropped(void **state) {
  struct world *w = *state;
  EACH_VERSION(version) {
    struct stream *stream = connect_client(w, version, 0, false);
    assert_int_equal(stream_shutdown(stream), 0);
    client_says(w, "late", 4);
    carry(w, 0, false);
    assert_int_equal(w->user.got_len, 0);
    peer_end(&w->peer, 0);
    assert_true(w->user.ended && w->user.end == 0);
  }
}

static void a_client_that_says_goodbye_still_gets_its_replies(void **state) {
  struct world *w = *state;
  char bytes[] = "+PONG\r\n";
  EACH_VERSION(version) {
    struct stream *stream = connect_client(w, version, 0, false);
    client_says(w, "PING\r\n", 6);
    SSL_shutdown(w->client);
    carry(w, 0, false);
    assert_got(w, "PING\r\n", 6);
    assert_true(w->user.ended && w->user.end == 0);
    assert_int_equal(stream_ask(stream, STREAM_PEER_GONE), 1);
    struct iovec part = {bytes, 7};
    assert_int_equal(stream_write(stream, &part, 1, NULL), 7);
    stream_close(stream);
    carry_back(w);
    assert_heard(w, bytes, 7);
    assert_true(client_saw_the_end(w));
  }
}

/* Commands say themselves where they end. */
static void an_end_without_a_goodbye_is_an_end(void **state) {
  struct world *w = *state;
  connect_client(w, TLS1_3_VERSION, 0, false);
  peer_end(&w->peer, 0);
  assert_true(w->user.ended && w->user.end == 0);
}

static void a_record_that_was_changed_breaks_it(void **state) {
  struct world *w = *state;
  EACH_VERSION(version) {
    connect_client(w, version, 0, false);
    client_says(w, "PING\r\n", 6);
    char record[256];
    int len = BIO_read(w->from_client, record, sizeof record);
    record[len - 1] ^= 1;
    peer_say(&w->peer, record, (size_t)len);
    assert_int_equal(w->user.got_len, 0);
    assert_true(w->user.ended && w->user.end < 0);
  }
}

/* ---- handshakes that fail ---- */

#define assert_failed(w, wanted)                 \
  do {                                           \
    assert_true((w)->user.failed);               \
    assert_int_equal((w)->user.failure, wanted); \
  } while (0)

static void who_does_not_speak_tls_gets_an_alert(void **state) {
  struct world *w = *state;
  static const char *const plain[] = {"GET / HTTP/1.1\r\n\r\n", "*1\r\n$4\r\nPING\r\n", "\r\n"};
  for (size_t i = 0; i < 3; i++) {
    struct stream *stream = dial(w, TLS1_3_VERSION);
    peer_say(&w->peer, plain[i], strlen(plain[i]));
    assert_failed(w, STREAM_TLS_PLAIN);
    assert_int_equal(w->peer.heard_len, 7);
    assert_int_equal(w->peer.heard[0], SSL3_RT_ALERT);
    assert_int_equal(stream_shutdown(stream), 0);
    assert_true(w->peer.shut && w->peer.reads);
    peer_end(&w->peer, 0);
    assert_true(w->user.ended);
  }
}

static void a_broken_hello_gets_an_alert(void **state) {
  struct world *w = *state;
  static const char hello[] = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
  struct stream *stream = dial(w, TLS1_3_VERSION);
  peer_say(&w->peer, hello, sizeof hello - 1);
  end_turns(w);
  assert_failed(w, STREAM_TLS_FAILED);
  assert_int_equal(w->peer.heard[0], SSL3_RT_ALERT);
  assert_int_equal(stream_read(stream, false), 0);
  assert_int_equal(stream_shutdown(stream), 0);
  assert_int_equal(stream_read(stream, true), 0); /* as a connection lingers */
  assert_true(w->peer.reads);
  peer_end(&w->peer, 0);
  assert_true(w->user.ended);
}

static void who_leaves_in_the_middle_has_failed(void **state) {
  struct world *w = *state;
  EACH_VERSION(version) {
    dial(w, version);
    SSL_do_handshake(w->client);
    carry_some(w, 100);
    peer_end(&w->peer, 0);
    assert_failed(w, STREAM_TLS_BROKE);
    assert_true(w->user.ended);
  }
}

/* Hellos wait for their turn, each for itself, and what is not begun waits on. */
static void handshakes_wait_for_their_turn(void **state) {
  struct world *w = *state;
  dial(w, TLS1_3_VERSION);
  SSL_do_handshake(w->client);
  char hello[4096];
  int len = BIO_read(w->from_client, hello, sizeof hello);
  peer_say(&w->peer, hello, (size_t)len);
  assert_int_equal(w->handshakes, 1);
  assert_int_equal(w->peer.heard_len, 0);
  assert_false(w->peer.reads);
  end_turn(w);
  assert_int_equal(w->handshakes, 0);
  assert_true(w->peer.heard_len > 0);
  assert_true(w->peer.reads);
}

/* ---- records that do not end ---- */

static void pass_ms(struct world *w, int64_t ms) {
  w->group.now_ms += ms;
  stream_tls_end_late(&w->group);
}

static size_t say_part(struct world *w, const char *bytes, size_t len, size_t from, size_t to) {
  assert_true(to <= len);
  return peer_say(&w->peer, bytes + from, to - from);
}

static void a_record_has_ten_seconds_to_arrive(void **state) {
  struct world *w = *state;
  EACH_VERSION(version) {
    struct stream *stream = connect_client(w, version, 0, false);
    char records[512];
    client_says(w, "0123456789", 10);
    client_says(w, "0123456789", 10);
    size_t len = (size_t)BIO_read(w->from_client, records, sizeof records), half = len / 2;
    say_part(w, records, len, 0, 3);
    pass_ms(w, STREAM_TLS_RECORD_MS - 1);
    say_part(w, records, len, 3, half + 1); /* the next one has begun, too */
    pass_ms(w, STREAM_TLS_RECORD_MS - 1);
    stream_read(stream, false);
    pass_ms(w, STREAM_TLS_RECORD_MS); /* not read, and it does not count */
    stream_read(stream, true);
    say_part(w, records, len, half + 1, half + 2);
    pass_ms(w, STREAM_TLS_RECORD_MS - 1);
    assert_false(w->user.ended);
    pass_ms(w, 1);
    assert_true(w->user.ended && w->user.end < 0);
  }
}

/* The user is told of one end. */
static void half_a_record_before_the_end_is_no_second_end(void **state) {
  struct world *w = *state;
  EACH_VERSION(version) {
    connect_client(w, version, 0, false);
    client_says(w, "0123456789", 10);
    carry_some(w, 7);
    peer_end(&w->peer, 0);
    assert_true(w->user.ended && w->user.end == 0);
    pass_ms(w, STREAM_TLS_RECORD_MS);
    assert_int_equal(w->user.end, 0);
  }
}

static void an_idle_stream_has_all_the_time(void **state) {
  struct world *w = *state;
  EACH_VERSION(version) {
    connect_client(w, version, 0, false);
    client_says(w, "PING", 4);
    carry(w, 3, false);
    pass_ms(w, 10 * STREAM_TLS_RECORD_MS);
    assert_false(w->user.ended);
  }
}

/* ---- floods ---- */

static void keys_may_be_updated(void **state) {
  struct world *w = *state;
  char bytes[] = "+OK\r\n";
  struct stream *stream = connect_client(w, TLS1_3_VERSION, 0, false);
  for (unsigned i = 0; i < 1000; i++) {
    assert_int_equal(SSL_key_update(w->client, SSL_KEY_UPDATE_REQUESTED), 1);
    client_says(w, "x", 1);
    carry(w, 0, false);
    struct iovec part = {bytes, 5};
    assert_int_equal(stream_write(stream, &part, 1, NULL), 5);
    carry_back(w);
  }
  assert_int_equal(w->user.got_len, 1000);
  assert_int_equal(w->heard_len, 5000);
}

static void a_flood_of_key_updates_breaks_it(void **state) {
  struct world *w = *state;
  connect_client(w, TLS1_3_VERSION, 0, false);
  unsigned updates = 0;
  while (!w->user.ended && updates < 10000) {
    SSL_key_update(w->client, SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(w->client);
    updates++;
    carry_some(w, SIZE_MAX);
  }
  assert_true(w->user.end < 0);
  assert_true(updates <= STREAM_TLS_BARREN_RECORDS + 1);
}

/* One stream has its records of a turn; the rest is for the next one. */
static void a_turn_decrypts_so_many_records(void **state) {
  struct world *w = *state;
  connect_client(w, TLS1_3_VERSION, 0, false);
  for (unsigned i = 0; i < 200; i++) client_says(w, "x", 1);
  char records[16384];
  int len = BIO_read(w->from_client, records, sizeof records);
  stream_tls_begin_turn(&w->group);
  peer_say(&w->peer, records, (size_t)len);
  assert_int_equal(w->user.got_len, STREAM_TLS_RECORDS_PER_TURN);
  end_turn(w);
  assert_int_equal(w->user.got_len, 2 * STREAM_TLS_RECORDS_PER_TURN);
  end_turns(w);
  assert_int_equal(w->user.got_len, 200);
}

/* The client asks for answers that it does not take. */
static void untaken_answers_are_bounded(void **state) {
  struct world *w = *state;
  char bytes[] = "stuck", later;
  struct stream *stream = connect_client(w, TLS1_3_VERSION, 0, false);
  w->peer.room = 0;
  send_or_leave(stream, bytes, 5, &later);
  for (unsigned i = 0; i < 10000 && !w->user.ended; i++) {
    SSL_key_update(w->client, SSL_KEY_UPDATE_REQUESTED);
    client_says(w, "x", 1);
    carry_some(w, SIZE_MAX);
    assert_true(w->tls->untaken_len <= STREAM_TLS_UNTAKEN_BYTES);
  }
}

static void answers_follow_what_flies(void **state) {
  struct world *w = *state;
  char bytes[] = "stuck", after[] = "after", later;
  struct stream *stream = connect_client(w, TLS1_3_VERSION, 0, false);
  w->peer.room = 0;
  send_or_leave(stream, bytes, 5, &later);
  for (unsigned i = 0; i < 10; i++) {
    SSL_key_update(w->client, SSL_KEY_UPDATE_REQUESTED);
    client_says(w, "x", 1);
    carry_some(w, SIZE_MAX);
  }
  w->peer.room = SIZE_MAX;
  while (peer_take(&w->peer, 1) > 0) continue;
  assert_int_equal(send_or_leave(stream, after, 5, NULL), 5);
  carry_back(w);
  assert_heard(w, "stuckafter", 10);
}

static void nobody_renegotiates(void **state) {
  struct world *w = *state;
  connect_client(w, TLS1_2_VERSION, 0, false);
  assert_int_equal(SSL_renegotiate(w->client), 1);
  SSL_do_handshake(w->client);
  carry_some(w, SIZE_MAX);
  assert_int_equal(w->peer.heard[0], SSL3_RT_ALERT);
  assert_true(w->peer.heard_len <= 2 + RECORD_ADDS);
  assert_false(w->user.ended);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(what_arrives_may_be_cut_at_every_byte),
      TEST(data_may_be_cut_at_every_byte),
      TEST(records_fill_rooms_of_any_size),
      TEST(nothing_is_written_before_the_kernel_has_it),
      TEST(nor_in_short_records),
      TEST(a_rest_that_cannot_be_sent_is_not_written),
      TEST(parts_are_sent_in_order_as_full_records),
      TEST(what_is_left_while_another_record_flies_follows_it),
      TEST(what_was_left_ends_with_an_error_when_it_closes),
      TEST(an_error_below_is_told_of_all_that_was_left),
      TEST(nothing_is_lost_when_the_user_rests),
      TEST(the_goodbye_follows_all_that_is_left),
      TEST(what_arrives_after_the_goodbye_is_dropped),
      TEST(a_client_that_says_goodbye_still_gets_its_replies),
      TEST(an_end_without_a_goodbye_is_an_end),
      TEST(a_record_that_was_changed_breaks_it),
      TEST(who_does_not_speak_tls_gets_an_alert),
      TEST(a_broken_hello_gets_an_alert),
      TEST(who_leaves_in_the_middle_has_failed),
      TEST(handshakes_wait_for_their_turn),
      TEST(a_record_has_ten_seconds_to_arrive),
      TEST(half_a_record_before_the_end_is_no_second_end),
      TEST(an_idle_stream_has_all_the_time),
      TEST(keys_may_be_updated),
      TEST(a_flood_of_key_updates_breaks_it),
      TEST(a_turn_decrypts_so_many_records),
      TEST(untaken_answers_are_bounded),
      TEST(answers_follow_what_flies),
      TEST(nobody_renegotiates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
