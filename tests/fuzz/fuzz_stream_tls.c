/*
 * fuzz_stream_tls.c - bytes as decisions about a TLS stream between OpenSSL's own client and a
 * stream of memory: what each says, in which pieces it arrives, how much the kernel takes, what an
 * attacker puts in or changes, how it ends.
 *
 * However it goes: each hears a prefix of what the other has said; nothing is called written that
 * has not left; the stream ends once, and keeps nothing.
 *
 * First byte: version of TLS, short records, whether the client has a certificate, whether both
 * shake hands before anything else. Then a byte for what happens, and one for how much of it.
 */
#include <assert.h>
#include <openssl/err.h>
#include <stdint.h>

#include "tests/unit/stream_memory.h"

#include "server/net/stream_tls.h"
#include "server/net/tls_context.h"
#include "tests/unit/certificates.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SAID_MAX (1u << 18) /* by each of the two */
#define WIRE_MAX (1u << 19) /* on its way to the server */
#define LATERS_MAX 64u
#define STEPS_MAX 300u
#define ALL 255u /* as an amount */

enum event {
  CARRY, /* to the server, in pieces of this size */
  CARRY_BACK,
  CLIENT_SAYS,
  SERVER_SAYS,
  ROOM, /* of the kernel for what the server sends */
  TAKE, /* it takes of what was left to it */
  KEY_UPDATE,
  CHANGE_BYTE,
  INSERT,
  REST, /* the server does not read, or reads on */
  SMALL_ROOM,
  PASS_TIME,
  CLIENT_ENDS,
  PEER_ENDS,
  BELOW_FAILS,
  SHUTDOWN,
  CLOSE,
  EVENTS
};

/* A prefix of it is what each of the two says: the byte at any place is known. */
static char said_byte(size_t at) { return (char)(at * 7 + at / 251); }

struct later {
  size_t end; /* in what the server has said */
  bool done;
};

struct world {
  struct stream_tls_group group;
  _Atomic unsigned handshakes;
  _Atomic uint64_t streams;
  struct stream_tls *tls;
  struct peer peer;
  SSL *client;
  BIO *to_client, *from_client;
  char *wire;
  size_t wire_len;
  size_t client_said, user_got, server_said, client_heard;
  size_t written; /* the server's bytes of which that was said */
  size_t room;
  struct later laters[LATERS_MAX];
  unsigned later_count, told;
  unsigned noise; /* the attacker's inserts */
  bool left;      /* to the stream: no write without a `later` */
  bool ended, told_of_handshake, shut, asked_to_close, closed, failed;
};

static SSL_CTX *server_context, *client_context;
static char said[SAID_MAX];

static struct world *world_of(struct stream *stream) {
  struct stream_tls *tls = LIST_ENTRY((uintptr_t)stream, struct stream_tls, stream);
  return LIST_ENTRY(tls->group, struct world, group);
}

/* ---- the user of the stream ---- */

static struct iovec on_room(struct stream *stream) {
  static char room[1u << 16];
  return (struct iovec){room, world_of(stream)->room};
}

static void on_read(struct stream *stream, const char *data, ssize_t count) {
  struct world *w = world_of(stream);
  assert(!w->ended && !w->asked_to_close);
  if (count <= 0) {
    w->ended = true;
    return;
  }
  assert(w->user_got + (size_t)count <= w->client_said);
  assert(memcmp(data, said + w->user_got, (size_t)count) == 0);
  w->user_got += (size_t)count;
}

static void on_written(struct stream *stream, void *later, int error) {
  struct world *w = world_of(stream);
  struct later *told = later;
  if (told == NULL) return;
  assert(told == &w->laters[w->told] && !told->done && error <= 0);
  told->done = true;
  w->told++;
  w->left = w->told < w->later_count;
  if (error == 0) w->written = told->end;
  if (error != 0) w->failed = true;
  assert(error != 0 || !w->failed);
}

static void on_closed(struct stream *stream) { world_of(stream)->closed = true; }

static const struct stream_events USER = {on_room, on_read, on_written, on_closed};
static const struct stream_type TYPE = {&STREAM_TLS, &USER};
static const struct stream_type BELOW = {&STREAM_MEMORY, &STREAM_TLS_BELOW};

static void on_enter(struct stream *stream) { assert(!world_of(stream)->closed); }
static void tell_of_handshake(struct stream *stream) {
  assert(!world_of(stream)->told_of_handshake);
  world_of(stream)->told_of_handshake = true;
}
static void on_failed(struct stream *stream, enum stream_tls_failure failure, const char *reason) {
  (void)failure;
  (void)reason;
  tell_of_handshake(stream);
}
static const struct stream_tls_hooks HOOKS = {on_enter, tell_of_handshake, on_failed};

/* ---- bytes between the two ---- */

static bool more(void *context) { return context == NULL; }

static void end_turns(struct world *w) {
  for (unsigned i = 0; stream_tls_has_work(&w->group); i++) {
    assert(i < 100000);
    stream_tls_begin_turn(&w->group);
    stream_tls_shake(&w->group, more, NULL);
    stream_tls_read_on(&w->group, more, NULL);
  }
}

static void carry_back(struct world *w) {
  char bytes[4096];
  size_t got;
  if (w->peer.heard_len > 0) BIO_write(w->to_client, w->peer.heard, (int)w->peer.heard_len);
  w->peer.heard_len = 0;
  while (SSL_read_ex(w->client, bytes, sizeof bytes, &got) == 1) {
    assert(w->client_heard + got <= w->server_said);
    assert(memcmp(bytes, said + w->client_heard, got) == 0);
    w->client_heard += got;
  }
  ERR_clear_error();
}

/* What the client has to send goes onto the wire. */
static void fill_wire(struct world *w) {
  int got = BIO_read(w->from_client, w->wire + w->wire_len, (int)(WIRE_MAX - w->wire_len));
  if (got > 0) w->wire_len += (size_t)got;
}

static void carry(struct world *w, size_t piece) {
  fill_wire(w);
  size_t at = 0;
  while (at < w->wire_len && w->peer.reads) {
    size_t len = w->wire_len - at < piece ? w->wire_len - at : piece;
    size_t taken = peer_say(&w->peer, w->wire + at, len);
    at += taken;
    end_turns(w);
    if (taken == 0) break;
  }
  w->wire_len -= at;
  memmove(w->wire, w->wire + at, w->wire_len);
}

static void shake_hands(struct world *w) {
  while (!w->told_of_handshake || !SSL_is_init_finished(w->client)) {
    carry(w, WIRE_MAX);
    carry_back(w);
  }
}

static void change_byte(struct world *w, size_t amount) {
  fill_wire(w);
  if (w->wire_len > 0) w->wire[amount * w->wire_len / 256] ^= (char)(1u << amount % 8);
}

/* ---- what happens ---- */

static void client_says(struct world *w, size_t len) {
  size_t written;
  if (len == 0 || w->client_said + len > SAID_MAX || w->wire_len > WIRE_MAX / 2) return;
  if (SSL_is_init_finished(w->client) &&
      SSL_write_ex(w->client, said + w->client_said, len, &written) == 1)
    w->client_said += written;
  ERR_clear_error();
}

/* As a connection does: what does not go at once is left. */
static void server_says(struct world *w, size_t len) {
  struct stream *stream = &w->tls->stream;
  if (len == 0 || w->server_said + len > SAID_MAX || w->shut || w->later_count == LATERS_MAX)
    return;
  char *bytes = said + w->server_said;
  w->server_said += len;
  struct iovec part = {bytes, len};
  int64_t taken = w->left ? 0 : stream_write(stream, &part, 1, NULL);
  assert(taken <= (int64_t)len);
  if (taken < 0 || taken == (int64_t)len) return;
  struct later *later = &w->laters[w->later_count];
  *later = (struct later){.end = w->server_said};
  part = (struct iovec){bytes + taken, len - (size_t)taken};
  if (stream_write(stream, &part, 1, later) != 0) return;
  w->later_count++;
  w->left = true;
}

static void insert(struct world *w, size_t len) {
  static const char header[] = {SSL3_RT_HANDSHAKE, 3, 3, 0, 40};
  fill_wire(w);
  if (w->noise++ == 64 || w->wire_len + 256 > WIRE_MAX) return;
  memmove(w->wire + len, w->wire, w->wire_len);
  for (size_t i = 0; i < len; i++)
    w->wire[i] = i < sizeof header ? header[i] : (char)(i * 31 + w->noise);
  if (len > 0 && w->noise % 2 == 0) w->wire[0] = (char)(20 + w->noise % 5);
  w->wire_len += len;
}

static void end_peer(struct world *w, ssize_t count) {
  if (w->peer.reads) peer_end(&w->peer, count);
  end_turns(w);
}

static void fail_below(struct world *w) {
  w->peer.write_error = -EPIPE;
  if (w->peer.left_first < w->peer.left_end) peer_fail(&w->peer, -EPIPE);
}

static void shut_down(struct world *w) {
  if (w->shut || !w->told_of_handshake) return;
  w->shut = true;
  stream_shutdown(&w->tls->stream);
}

static void close_stream(struct world *w) {
  w->asked_to_close = true;
  stream_close(&w->tls->stream);
}

static void pass_time(struct world *w, size_t amount) {
  w->group.now_ms += (int64_t)amount * STREAM_TLS_RECORD_MS / 128;
  stream_tls_end_late(&w->group);
}

static void update_keys(struct world *w, bool asks) {
  if (SSL_is_init_finished(w->client) && SSL_version(w->client) == TLS1_3_VERSION) {
    SSL_key_update(w->client, asks ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
    SSL_do_handshake(w->client);
  }
  ERR_clear_error();
}

static void happen(struct world *w, enum event event, size_t amount) {
  struct stream *stream = &w->tls->stream;
  switch (event) {
    case CARRY: carry(w, amount == ALL ? WIRE_MAX : amount + 1); break;
    case CARRY_BACK: carry_back(w); break;
    case CLIENT_SAYS: client_says(w, amount < 200 ? amount : (amount - 199) * 1000); break;
    case SERVER_SAYS: server_says(w, amount < 200 ? amount : (amount - 199) * 1000); break;
    case ROOM: w->peer.room = amount == ALL ? SIZE_MAX : amount * 64; break;
    case TAKE: peer_take(&w->peer, amount == ALL ? SIZE_MAX : amount * 64); break;
    case KEY_UPDATE: update_keys(w, amount % 2 == 0); break;
    case CHANGE_BYTE: change_byte(w, amount); break;
    case INSERT: insert(w, amount); break;
    case REST:
      if (!w->ended) stream_read(stream, amount % 2 == 0);
      end_turns(w);
      break;
    case SMALL_ROOM: w->room = amount == ALL ? 1u << 16 : amount + 1; break;
    case PASS_TIME: pass_time(w, amount); break;
    case CLIENT_ENDS: SSL_shutdown(w->client); break;
    case PEER_ENDS: end_peer(w, amount % 2 == 0 ? 0 : -ECONNRESET); break;
    case BELOW_FAILS: fail_below(w); break;
    case SHUTDOWN: shut_down(w); break;
    case CLOSE: close_stream(w); break;
    case EVENTS:
    default: break;
  }
}

/* ---- worlds ---- */

static void make_contexts(void) {
  struct certificates files;
  struct options options;
  const char *option;
  char error[REFUSAL_BYTES], warning[REFUSAL_BYTES];
  certificates_make(&files);
  options_init(&options);
  certificates_set(&files, &options);
  options.tls_auth_clients = OPTIONS_TLS_AUTH_CLIENTS_OPTIONAL;
  certificates_text(&options.tls_ca_cert_file, files.certificate);
  server_context = tls_context_create(&options, &option, error, warning);
  client_context = SSL_CTX_new(TLS_client_method());
  assert(server_context != NULL && client_context != NULL);
  SSL_CTX_use_certificate_file(client_context, files.certificate, SSL_FILETYPE_PEM);
  SSL_CTX_use_PrivateKey_file(client_context, files.key, SSL_FILETYPE_PEM);
  certificates_remove(&files);
  options_deinit(&options);
  for (size_t i = 0; i < SAID_MAX; i++) said[i] = said_byte(i);
}

static void make_client(struct world *w, uint8_t kind) {
  int version = (kind & 1) != 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
  w->client = SSL_new(client_context);
  SSL_set_min_proto_version(w->client, version);
  SSL_set_max_proto_version(w->client, version);
  if ((kind & 2) != 0)
    SSL_set_tlsext_max_fragment_length(w->client, TLSEXT_max_fragment_length_512);
  if ((kind & 4) != 0) SSL_certs_clear(w->client);
  w->to_client = BIO_new(BIO_s_mem());
  w->from_client = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(w->to_client, -1);
  SSL_set_bio(w->client, w->to_client, w->from_client);
  SSL_set_connect_state(w->client);
  SSL_do_handshake(w->client);
}

static void make_server(struct world *w) {
  w->group.hooks = &HOOKS;
  w->group.handshake_count = &w->handshakes;
  w->group.stream_count = &w->streams;
  w->room = 16384;
  bool made = stream_tls_group_init(&w->group);
  w->tls = calloc(1, offsetof(struct stream_tls, below) + sizeof(struct stream_memory));
  assert(made && w->tls != NULL);
  made = stream_tls_open(w->tls, &TYPE, &w->group, server_context);
  assert(made);
  peer_connect(&w->peer, &w->tls->below, &BELOW);
  stream_read(&w->tls->stream, true);
}

/* A client that is still heard has what was called written. */
static void finish(struct world *w) {
  if (!w->asked_to_close) close_stream(w);
  carry_back(w);
  assert(w->client_heard >= w->written || (SSL_get_shutdown(w->client) & SSL_SENT_SHUTDOWN) != 0 ||
         w->noise > 0);
  peer_finish(&w->peer);
  assert(w->closed && w->told == w->later_count);
  assert(w->handshakes == 0 && w->streams == 0 && !stream_tls_has_work(&w->group));
  assert(list_empty(&w->group.halves));
}

static void destroy(struct world *w) {
  SSL_free(w->client);
  stream_tls_group_deinit(&w->group);
  free(w->tls);
  free(w->peer.heard);
  free(w->wire);
  free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (server_context == NULL) make_contexts();
  if (size == 0) return 0;
  struct world *w = calloc(1, sizeof *w);
  assert(w != NULL);
  w->wire = malloc(WIRE_MAX);
  assert(w->wire != NULL);
  make_server(w);
  make_client(w, data[0]);
  if ((data[0] & 8) != 0) shake_hands(w);
  for (size_t i = 1; i + 1 < size && i / 2 < STEPS_MAX && !w->asked_to_close; i += 2)
    happen(w, (enum event)(data[i] % EVENTS), data[i + 1]);
  finish(w);
  destroy(w);
  return 0;
}
