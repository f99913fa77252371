/* wire.c - see wire.h. */
#include "client/wire.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/clock.h"

/* Tokens stay below 2^53 by contract; a larger one is not idem's. */
#define TOKEN_MAX ((long long)1 << 53)

/* ---- requests ---- */

#define DECIMAL_BYTES 20 /* of UINT64_MAX */

static size_t decimal(char *out, uint64_t value) {
  char digits[DECIMAL_BYTES];
  size_t len = 0;
  do digits[len++] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  for (size_t i = 0; i < len; i++) out[i] = digits[len - 1 - i];
  return len;
}

struct framer {
  struct wire_frame *frame;
  char *at;    /* next free byte of the scratch */
  char *start; /* of the part under way */
  int arguments;
};

static void put(struct framer *f, const void *data, size_t len) {
  assert(f->at + len <= f->frame->scratch + WIRE_SCRATCH_BYTES);
  if (len > 0) memcpy(f->at, data, len);
  f->at += len;
}

static void end_part(struct framer *f) {
  if (f->at == f->start) return;
  assert(f->frame->count < WIRE_PARTS);
  f->frame->parts[f->frame->count++] = (struct iovec){f->start, (size_t)(f->at - f->start)};
  f->frame->size += (size_t)(f->at - f->start);
  f->start = f->at;
}

static void put_argument(struct framer *f, struct idem_bytes bytes) {
  assert(f->arguments < WIRE_ARGUMENTS);
  f->arguments++;
  char header[DECIMAL_BYTES + 3] = "$";
  size_t len = 1 + decimal(header + 1, bytes.len);
  header[len++] = '\r';
  header[len++] = '\n';
  put(f, header, len);
  if (bytes.len <= WIRE_INLINE_BYTES) {
    put(f, bytes.data, bytes.len);
  } else {
    end_part(f);
    assert(f->frame->count < WIRE_PARTS);
    f->frame->parts[f->frame->count++] = (struct iovec){(void *)(uintptr_t)bytes.data, bytes.len};
    f->frame->size += bytes.len;
  }
  put(f, "\r\n", 2);
}

static void put_word(struct framer *f, const char *word) { put_argument(f, idem_text(word)); }

static void put_number(struct framer *f, uint64_t value) {
  char text[DECIMAL_BYTES];
  put_argument(f, idem_data(text, decimal(text, value)));
}

static void put_bytes_option(struct framer *f, const char *name, struct idem_bytes bytes) {
  if (bytes.data == NULL) return;
  put_word(f, name);
  put_argument(f, bytes);
}

static void put_ms_option(struct framer *f, const char *name, int64_t ms) {
  if (ms <= 0) return;
  put_word(f, name);
  put_number(f, (uint64_t)ms);
}

static void put_claim(struct framer *f, const struct wire_request *r) {
  put_argument(f, r->key);
  put_bytes_option(f, "FP", r->fingerprint);
  put_bytes_option(f, "OWNER", r->owner);
  put_ms_option(f, "LEASE", r->lease_ms);
  put_ms_option(f, "WAIT", r->wait_ms);
  put_ms_option(f, "BORN", r->born_unix_ms);
  if (r->flags & IDEM_BIND) put_word(f, "BIND");
  if (r->flags & IDEM_HOLD) put_word(f, "HOLD");
  if (r->takeover == 0) return;
  put_word(f, "TAKEOVER");
  put_number(f, r->takeover);
}

/* A plain RELEASE has no word. */
static void put_release_word(struct framer *f, enum idem_release release) {
  if (release == IDEM_RELEASE_UNSURE) put_word(f, "UNSURE");
  if (release == IDEM_RELEASE_CLEAR) put_word(f, "CLEAR");
}

static void put_store(struct framer *f, const struct wire_request *r) {
  put_argument(f, r->key);
  put_number(f, r->token);
  put_argument(f, r->body);
  put_ms_option(f, "TTL", r->ttl_ms);
  put_bytes_option(f, "META", r->meta);
  if (r->release == 0) return;
  put_word(f, "TTL");
  put_word(f, "0");
  put_release_word(f, r->release);
}

static void put_renew(struct framer *f, const struct wire_request *r) {
  put_argument(f, r->key);
  put_number(f, r->token);
  put_ms_option(f, "LEASE", r->lease_ms);
  put_bytes_option(f, "STAGE", r->stage);
}

static void put_release(struct framer *f, const struct wire_request *r) {
  put_argument(f, r->key);
  put_number(f, r->token);
  put_release_word(f, r->release);
}

static void put_fetch(struct framer *f, const struct wire_request *r) {
  put_argument(f, r->key);
  put_bytes_option(f, "FP", r->fingerprint);
}

static void put_wait(struct framer *f, const struct wire_request *r) {
  put_argument(f, r->key);
  put_number(f, (uint64_t)r->wait_ms);
  put_bytes_option(f, "FP", r->fingerprint);
}

static void put_nothing(struct framer *f, const struct wire_request *r) {
  (void)f;
  (void)r;
}

static void put_auth(struct framer *f, const struct wire_request *r) {
  if (r->owner.data != NULL) put_argument(f, r->owner);
  put_argument(f, r->key);
}

static void put_nodes(struct framer *f, const struct wire_request *r) {
  (void)r;
  put_word(f, "NODES");
}

static const struct {
  const char *name;
  void (*put)(struct framer *f, const struct wire_request *r);
} VERBS[] = {
    [WIRE_CLAIM] = {"IDEM.CLAIM", put_claim}, [WIRE_STORE] = {"IDEM.STORE", put_store},
    [WIRE_RENEW] = {"IDEM.RENEW", put_renew}, [WIRE_RELEASE] = {"IDEM.RELEASE", put_release},
    [WIRE_FETCH] = {"IDEM.FETCH", put_fetch}, [WIRE_WAIT] = {"IDEM.WAIT", put_wait},
    [WIRE_PING] = {"PING", put_nothing},      [WIRE_AUTH] = {"AUTH", put_auth},
    [WIRE_NODES] = {"CLUSTER", put_nodes},    [WIRE_ASKING] = {"ASKING", put_nothing},
};

/* Room before the first argument for "*16\r\n", whose number is known at the end. */
#define HEADER_BYTES 5

void wire_frame(struct wire_frame *frame, const struct wire_request *request) {
  frame->count = 0;
  frame->size = 0;
  char *body = frame->scratch + HEADER_BYTES;
  struct framer f = {.frame = frame, .at = body, .start = body};
  put_word(&f, VERBS[request->verb].name);
  VERBS[request->verb].put(&f, request);
  end_part(&f);
  char header[DECIMAL_BYTES + 3] = "*";
  size_t len = 1 + decimal(header + 1, (uint64_t)f.arguments);
  header[len++] = '\r';
  header[len++] = '\n';
  assert(len <= HEADER_BYTES);
  memcpy(body - len, header, len);
  frame->parts[0].iov_base = body - len;
  frame->parts[0].iov_len += len;
  frame->size += len;
}

void wire_copy(const struct wire_frame *frame, char *out) {
  for (int i = 0; i < frame->count; i++) {
    memcpy(out, frame->parts[i].iov_base, frame->parts[i].iov_len);
    out += frame->parts[i].iov_len;
  }
}

/* ---- replies ---- */

static void broken(struct wire_reply *out) {
  out->status = IDEM_REFUSED;
  out->spent = true;
  snprintf(out->message, sizeof out->message, "not a reply of idem: is this another server?");
}

#define TO(verb) (1u << (verb))
#define TO_LOOKS (TO(WIRE_CLAIM) | TO(WIRE_FETCH) | TO(WIRE_WAIT))
#define TO_ANY (~0u)

/* An error means this only where it can be an answer; anywhere else the server is not idem's, and
 * the call ends REFUSED: idem.h lists what each call may return. */
static const struct {
  const char *code;
  unsigned verbs;
  enum idem_status status;
  bool again, spent;
  enum wire_topology topology;
} ERRORS[] = {
    {"MISMATCH", TO_LOOKS, IDEM_MISMATCH, false, false, WIRE_SETTLED},
    {"STALE", TO(WIRE_STORE) | TO(WIRE_RENEW), IDEM_STALE, false, false, WIRE_SETTLED},
    {"CONFLICT", TO(WIRE_STORE), IDEM_CONFLICT, false, false, WIRE_SETTLED},
    {"TOOBIG", TO_LOOKS | TO(WIRE_STORE) | TO(WIRE_RENEW) | TO(WIRE_RELEASE), IDEM_TOOBIG, false,
     false, WIRE_SETTLED},
    {"OOM", TO_ANY, IDEM_UNAVAILABLE, false, false, WIRE_SETTLED},
    {"MISCONF", TO_ANY, IDEM_UNAVAILABLE, false, false, WIRE_SETTLED},
    {"BUSYKEY", TO(WIRE_CLAIM) | TO(WIRE_WAIT), IDEM_BUSY, false, false, WIRE_SETTLED},
    /* Claims that are held are renewed and finished over the same connection. */
    {"DRAINING", TO(WIRE_CLAIM), IDEM_UNAVAILABLE, true, false, WIRE_SETTLED},
    /* A cluster. The connection is as good as before. */
    {"MOVED", TO_ANY, IDEM_UNAVAILABLE, true, false, WIRE_MOVED},
    {"ASK", TO_ANY, IDEM_UNAVAILABLE, true, false, WIRE_ASK},
    {"UNBLOCKED", TO_LOOKS, IDEM_UNAVAILABLE, true, false, WIRE_UNBLOCKED},
    {"TRYAGAIN", TO_ANY, IDEM_UNAVAILABLE, true, false, WIRE_SETTLED},
    /* min-replicas-to-write: too few replicas follow this master. */
    {"NOREPLICAS", TO_ANY, IDEM_UNAVAILABLE, true, false, WIRE_UNSETTLED},
    {"CLUSTERDOWN", TO_ANY, IDEM_UNAVAILABLE, true, false, WIRE_UNSETTLED},
    /* A server that starts, fails over or is full. A connection that gets this is of no use,
       another one later may be. */
    {"LOADING", TO_ANY, IDEM_UNAVAILABLE, true, true, WIRE_UNSETTLED},
    {"BUSY", TO_ANY, IDEM_UNAVAILABLE, true, true, WIRE_SETTLED},
    {"MASTERDOWN", TO_ANY, IDEM_UNAVAILABLE, true, true, WIRE_UNSETTLED},
    {"READONLY", TO_ANY, IDEM_UNAVAILABLE, true, true, WIRE_UNSETTLED},
    {"ERR max number of clients reached", TO_ANY, IDEM_UNAVAILABLE, true, true, WIRE_SETTLED},
};

/* The word after STALE. */
static const struct {
  const char *code;
  enum idem_stale stale;
} STALES[] = {
    {"STALE ABSENT", IDEM_STALE_ABSENT},
    {"STALE STORED", IDEM_STALE_STORED},
    {"STALE OVERTAKEN", IDEM_STALE_OVERTAKEN},
};

static bool begins_with_code(const redisReply *reply, const char *code) {
  size_t len = strlen(code);
  return reply->len >= len && memcmp(reply->str, code, len) == 0 &&
         (reply->len == len || reply->str[len] == ' ');
}

/* The server's words, for people and their terminals: without control characters. */
static void quote(const redisReply *reply, char *message) {
  size_t len = reply->len < IDEM_MESSAGE_BYTES ? reply->len : IDEM_MESSAGE_BYTES - 1;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char)reply->str[i];
    message[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
  }
  message[len] = '\0';
}

static void parse_error(enum wire_verb verb, const redisReply *reply, struct wire_reply *out) {
  quote(reply, out->message);
  out->status = IDEM_REFUSED;
  for (size_t i = 0; i < sizeof ERRORS / sizeof ERRORS[0]; i++) {
    if (!begins_with_code(reply, ERRORS[i].code) || !(ERRORS[i].verbs & TO(verb))) continue;
    out->status = ERRORS[i].status;
    out->again = ERRORS[i].again;
    out->spent = ERRORS[i].spent;
    out->topology = ERRORS[i].topology;
    break;
  }
  if (out->status == IDEM_BUSY) out->left_ms = WIRE_UNTOLD_RETRY_MS;
  if (out->status != IDEM_STALE) return;
  for (size_t i = 0; i < sizeof STALES / sizeof STALES[0]; i++) {
    if (begins_with_code(reply, STALES[i].code)) out->stale = STALES[i].stale;
  }
}

/* Fields of an array after its status word; each reader says whether the field has its type. */
static bool read_number(const redisReply *field, long long min, int64_t *out) {
  if (field->type != REDIS_REPLY_INTEGER || field->integer < min) return false;
  *out = field->integer;
  return true;
}

static bool read_ms(const redisReply *field, long long min, int64_t *out) {
  if (!read_number(field, min, out)) return false;
  *out = clock_min(*out, CLOCK_SPAN_MAX_MS);
  return true;
}

static bool read_bytes(const redisReply *field, struct idem_bytes *out) {
  if (field->type != REDIS_REPLY_STRING) return false;
  *out = idem_data(field->str, field->len);
  return true;
}

static bool read_bytes_or_nil(const redisReply *field, struct idem_bytes *out) {
  return field->type == REDIS_REPLY_NIL || read_bytes(field, out);
}

static bool read_token(const redisReply *field, struct wire_reply *out) {
  int64_t token = 0;
  if (!read_number(field, 1, &token) || token >= TOKEN_MAX) return false;
  out->token = (uint64_t)token;
  return true;
}

static bool read_claimed(redisReply **field, struct wire_reply *out) {
  if (!read_token(field[1], out)) return false;
  return read_ms(field[2], 1, &out->lease_ms) && read_number(field[3], 1, &out->attempt) &&
         read_bytes_or_nil(field[4], &out->stage);
}

static bool read_done(redisReply **field, struct wire_reply *out) {
  return read_bytes(field[1], &out->body) && read_bytes_or_nil(field[2], &out->meta) &&
         read_ms(field[3], 0, &out->age_ms) && read_ms(field[4], 0, &out->left_ms);
}

static bool read_busy(redisReply **field, struct wire_reply *out) {
  if (!read_ms(field[1], 0, &out->left_ms)) return false;
  if (out->left_ms < 1) out->left_ms = 1;
  return read_ms(field[2], 0, &out->age_ms) && read_bytes_or_nil(field[3], &out->owner) &&
         read_bytes_or_nil(field[4], &out->stage);
}

/* UNKNOWN and LAPSED. */
static bool read_trace(redisReply **field, struct wire_reply *out) {
  return read_token(field[1], out) && read_ms(field[2], 0, &out->age_ms) &&
         read_number(field[3], 1, &out->attempt) && read_bytes_or_nil(field[4], &out->owner) &&
         read_bytes_or_nil(field[5], &out->stage);
}

static bool read_forgotten(redisReply **field, struct wire_reply *out) {
  return read_number(field[1], 0, &out->horizon_unix_ms);
}

static const struct {
  const char *word;
  unsigned verbs; /* that it can answer */
  size_t fields;  /* with the word; a later server may say more after them */
  enum idem_status status;
  bool (*read)(redisReply **field, struct wire_reply *out);
} SHAPES[] = {
    {"CLAIMED", TO(WIRE_CLAIM), 5, IDEM_RUN, read_claimed},
    {"DONE", TO_LOOKS, 5, IDEM_REPLAY, read_done},
    {"BUSY", TO_LOOKS, 5, IDEM_BUSY, read_busy},
    {"UNKNOWN", TO_LOOKS, 6, IDEM_UNKNOWN, read_trace},
    {"LAPSED", TO(WIRE_FETCH) | TO(WIRE_WAIT), 6, IDEM_LAPSED, read_trace},
    {"FORGOTTEN", TO(WIRE_CLAIM), 2, IDEM_FORGOTTEN, read_forgotten},
};

static bool is_word(const redisReply *field, const char *word) {
  if (field->type != REDIS_REPLY_STRING && field->type != REDIS_REPLY_STATUS) return false;
  return field->len == strlen(word) && memcmp(field->str, word, field->len) == 0;
}

static void parse_record(enum wire_verb verb, const redisReply *reply, struct wire_reply *out) {
  if (reply->type == REDIS_REPLY_NIL && verb != WIRE_CLAIM) {
    out->status = IDEM_ABSENT;
    return;
  }
  if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
    broken(out);
    return;
  }
  for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++) {
    if (!is_word(reply->element[0], SHAPES[i].word)) continue;
    out->status = SHAPES[i].status;
    bool fits = (SHAPES[i].verbs & TO(verb)) != 0;
    if (!fits || reply->elements < SHAPES[i].fields || !SHAPES[i].read(reply->element, out))
      broken(out);
    return;
  }
  broken(out);
}

static void parse_number(enum wire_verb verb, const redisReply *reply, struct wire_reply *out) {
  bool fits =
      verb == WIRE_RENEW ? read_ms(reply, 1, &out->number) : read_number(reply, 0, &out->number);
  if (!fits) {
    broken(out);
    return;
  }
  out->status = verb == WIRE_RELEASE && out->number == 0 ? IDEM_STALE : IDEM_OK;
}

void wire_parse(enum wire_verb verb, redisReply *reply, struct wire_reply *out) {
  memset(out, 0, offsetof(struct wire_reply, message));
  out->message[0] = '\0';
  out->memory = reply;
  if (reply->type == REDIS_REPLY_ERROR) {
    parse_error(verb, reply, out);
    return;
  }
  switch (verb) {
    case WIRE_CLAIM:
    case WIRE_FETCH:
    case WIRE_WAIT: parse_record(verb, reply, out); break;
    case WIRE_STORE:
    case WIRE_RENEW:
    case WIRE_RELEASE: parse_number(verb, reply, out); break;
    case WIRE_PING:
      if (!is_word(reply, "PONG")) broken(out);
      break;
    case WIRE_AUTH:
    case WIRE_ASKING:
      if (!is_word(reply, "OK")) broken(out);
      break;
    case WIRE_NODES:
      if (!read_bytes(reply, &out->body)) broken(out);
      break;
  }
}

enum idem_status wire_parse_auth(redisReply *reply, struct idem_error *error) {
  struct wire_reply parsed;
  wire_parse(WIRE_AUTH, reply, &parsed);
  if (parsed.status == IDEM_OK) return IDEM_OK;
  snprintf(error->text, sizeof error->text, "the password: %.140s", parsed.message);
  return parsed.status == IDEM_UNAVAILABLE ? IDEM_UNAVAILABLE : IDEM_REFUSED;
}

void wire_reply_fail(struct wire_reply *reply, enum idem_status status, const char *message) {
  memset(reply, 0, offsetof(struct wire_reply, message));
  reply->status = status;
  snprintf(reply->message, sizeof reply->message, "%s", message);
}

void wire_reply_deinit(struct wire_reply *reply) {
  if (reply->memory != NULL) freeReplyObject(reply->memory);
  reply->memory = NULL;
}
