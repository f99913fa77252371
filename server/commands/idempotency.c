/*
 * idempotency.c - the six commands: options -> one engine call -> reply.
 *
 * Sizes were judged before the handler runs, syntax is judged here before the engine sees the key:
 * a request that is wrong changes nothing and learns nothing about the record.
 */
#include "server/commands/idempotency.h"

#include <assert.h>
#include <stdlib.h>

/* ---- options: one table for all commands ---- */

/* Words with bytes behind them come first, then those with a duration, then those alone. */
enum word_id {
  WORD_FP,
  WORD_OWNER,
  WORD_META,
  WORD_STAGE,
  WORD_LEASE,
  WORD_WAIT,
  WORD_TTL,
  WORD_BIND,
  WORD_HOLD,
  WORD_TAKEOVER,
  WORD_COUNT
};
#define WORD_FIRST_DURATION WORD_LEASE
#define WORD_FIRST_FLAG WORD_BIND

#define WORD_NAME(text) \
  { text, sizeof(text) - 1 }
static const struct span WORDS[WORD_COUNT] = {
    [WORD_FP] = WORD_NAME("FP"),       [WORD_OWNER] = WORD_NAME("OWNER"),
    [WORD_META] = WORD_NAME("META"),   [WORD_STAGE] = WORD_NAME("STAGE"),
    [WORD_LEASE] = WORD_NAME("LEASE"), [WORD_WAIT] = WORD_NAME("WAIT"),
    [WORD_TTL] = WORD_NAME("TTL"),     [WORD_BIND] = WORD_NAME("BIND"),
    [WORD_HOLD] = WORD_NAME("HOLD"),   [WORD_TAKEOVER] = WORD_NAME("TAKEOVER"),
};

#define BIT(id) (1u << (id))

/* What a call said. Only what is given has been written: most words of most calls are not, and to
 * clear them took longer than to ask. */
struct words {
  unsigned given;
  struct span bytes[WORD_FIRST_DURATION];
  int64_t ms[WORD_FIRST_FLAG - WORD_FIRST_DURATION];
};

static bool given(const struct words *words, enum word_id id) {
  return (words->given & BIT(id)) != 0;
}

static struct span bytes_of(const struct words *words, enum word_id id) {
  return given(words, id) ? words->bytes[id] : SPAN_ABSENT;
}

static int64_t ms_of(const struct words *words, enum word_id id, int64_t otherwise_ms) {
  return given(words, id) ? words->ms[id - WORD_FIRST_DURATION] : otherwise_ms;
}

/* The only word that may begin so. */
static inline enum word_id word_like(struct span text) {
  switch (text.data[0] & ~0x20) {
    case 'F': return WORD_FP;
    case 'O': return WORD_OWNER;
    case 'M': return WORD_META;
    case 'S': return WORD_STAGE;
    case 'L': return WORD_LEASE;
    case 'W': return WORD_WAIT;
    case 'B': return WORD_BIND;
    case 'H': return WORD_HOLD;
    case 'T': return text.len == WORDS[WORD_TTL].len ? WORD_TTL : WORD_TAKEOVER;
    default: return WORD_COUNT;
  }
}

/* WORD_COUNT: none. */
static inline enum word_id find_word(struct span text) {
  if (text.len == 0) return WORD_COUNT;
  enum word_id id = word_like(text);
  if (id == WORD_COUNT || WORDS[id].len != text.len) return WORD_COUNT;
  bool same = span_letters(text.data, text.len) == span_letters(WORDS[id].data, text.len);
  return same ? id : WORD_COUNT;
}

RESP_WRITE_COLD static bool syntax_error(struct call *call, const char *what, struct span word) {
  resp_write_error_quoting(call->reply, what, word, "'");
  return false;
}

static bool parse_duration(struct call *call, const char *name, struct span text, int64_t *ms) {
  long long value = 0;
  if (!span_to_i64(text, &value)) {
    resp_write_errorf(call->reply, "ERR %s is not an integer or out of range", name);
    return false;
  }
  if (value < 0) {
    resp_write_errorf(call->reply, "ERR %s must not be negative", name);
    return false;
  }
  *ms = value;
  return true;
}

static bool parse_given(struct call *call, size_t first, unsigned allowed, struct words *words) {
  for (size_t i = first; i < call->argc; i++) {
    struct span text = call->argv[i];
    enum word_id id = find_word(text);
    if ((allowed & BIT(id)) == 0)
      return syntax_error(call, "ERR syntax error: unknown option '", text);
    if ((words->given & BIT(id)) != 0)
      return syntax_error(call, "ERR syntax error: repeated option '", text);
    words->given |= BIT(id);
    if (id >= WORD_FIRST_FLAG) continue;
    if (++i == call->argc)
      return syntax_error(call, "ERR syntax error: no value behind option '", text);
    if (id < WORD_FIRST_DURATION) {
      words->bytes[id] = call->argv[i];
    } else if (!parse_duration(call, WORDS[id].data, call->argv[i],
                               &words->ms[id - WORD_FIRST_DURATION])) {
      return false;
    }
  }
  return true;
}

/* The words behind argument `first`, of which only those in `allowed` belong to the command. */
static inline bool parse_words(struct call *call, size_t first, unsigned allowed,
                               struct words *words) {
  words->given = 0;
  return call->argc == first || parse_given(call, first, allowed, words);
}

/* ---- bounds ---- */

static bool lease_fits(struct call *call, const struct words *words) {
  int64_t cap = call->worker->options->lease_max_ms;
  int64_t lease_ms = ms_of(words, WORD_LEASE, cap);
  if (lease_ms >= 1 && lease_ms <= cap) return true;
  resp_write_errorf(call->reply, "ERR LEASE must be between 1 and %lld milliseconds",
                    (long long)cap);
  return false;
}

static bool ttl_fits(struct call *call, const struct words *words) {
  int64_t cap = call->worker->options->ttl_max_ms;
  if (ms_of(words, WORD_TTL, 0) <= cap) return true;
  resp_write_errorf(call->reply, "ERR TTL must be between 0 and %lld milliseconds", (long long)cap);
  return false;
}

static bool owner_fits(struct call *call, const struct words *words) {
  if (!given(words, WORD_OWNER) || words->bytes[WORD_OWNER].len > 0) return true;
  resp_write_error(call->reply, "ERR OWNER must not be empty");
  return false;
}

/* A wait is cut to the server's wait-max, and 0 asks for it. Nothing waits inside EXEC, nor while
 * the server drains. */
static int64_t wait_of(const struct call *call, int64_t asked_ms) {
  int64_t max_ms = call->worker->options->wait_max_ms;
  if (call->in_exec || atomic_load(&call->worker->instance->draining)) return 0;
  return asked_ms == 0 || asked_ms > max_ms ? max_ms : asked_ms;
}

static bool parse_token(struct call *call, struct span text, uint64_t *token) {
  long long value = 0;
  if (!span_to_i64(text, &value)) {
    resp_write_error(call->reply, "ERR token is not an integer or out of range");
    return false;
  }
  if (value < 0) {
    resp_write_error(call->reply, "ERR token must not be negative");
    return false;
  }
  *token = (uint64_t)value;
  return true;
}

size_t idempotency_limit(const struct options *options, const struct span *argv, size_t index) {
  if (index == 1) return (size_t)options->key_limit;
  switch (find_word(argv[index - 1])) {
    case WORD_FP: return (size_t)options->fingerprint_limit;
    case WORD_OWNER: return (size_t)options->owner_limit;
    case WORD_META: return (size_t)options->meta_limit;
    case WORD_STAGE: return (size_t)options->stage_limit;
    default: return IDEMPOTENCY_WORD_BYTES;
  }
}

size_t idempotency_store_limit(const struct options *options, const struct span *argv,
                               size_t index) {
  return index == IDEMPOTENCY_STORE_BODY ? (size_t)options->body_limit
                                         : idempotency_limit(options, argv, index);
}

/* ---- replies ---- */

static void reply_claimed(struct resp_writer *reply, const struct engine_answer *answer) {
  const struct span head = SPAN_LITERAL("*5\r\n$7\r\nCLAIMED\r\n");
  struct span stage = engine_bytes(answer->stage);
  char *p = resp_write_reserve(
      reply, head.len + 3 * RESP_WRITE_INTEGER_MAX + RESP_WRITE_BULK_MAX(stage.len));
  if (p == NULL) return;
  p = resp_write_put_integer(resp_write_put_literal(p, head), (int64_t)answer->token);
  p = resp_write_put_integer(p, answer->lease_ms);
  p = resp_write_put_integer(p, answer->attempt);
  resp_write_commit(reply, resp_write_put_bulk(reply, p, stage));
}

static void reply_done(struct resp_writer *reply, struct shard *shard,
                       const struct engine_answer *answer) {
  const struct span head = SPAN_LITERAL("*5\r\n$4\r\nDONE\r\n");
  resp_output_append(reply->out, head.data, head.len);
  reply_blob(reply, shard, answer->body, answer->body_bytes);
  reply_blob(reply, shard, answer->meta, answer->meta_bytes);
  char *p = resp_write_reserve(reply, 2 * RESP_WRITE_INTEGER_MAX);
  if (p == NULL) return;
  resp_write_commit(
      reply, resp_write_put_integer(resp_write_put_integer(p, answer->age_ms), answer->left_ms));
}

/* BUSY and UNKNOWN: two numbers, and who it is. */
static void reply_owned(struct resp_writer *reply, struct span head, int64_t first, int64_t second,
                        const struct engine_blob *by) {
  struct span owner = engine_bytes(by);
  char *p = resp_write_reserve(
      reply, head.len + 2 * RESP_WRITE_INTEGER_MAX + RESP_WRITE_BULK_MAX(owner.len));
  if (p == NULL) return;
  p = resp_write_put_integer(resp_write_put_literal(p, head), first);
  resp_write_commit(reply, resp_write_put_bulk(reply, resp_write_put_integer(p, second), owner));
}

static void reply_busy(struct resp_writer *reply, const struct engine_answer *answer) {
  const struct span head = SPAN_LITERAL("*4\r\n$4\r\nBUSY\r\n");
  reply_owned(reply, head, answer->left_ms, answer->age_ms, answer->owner);
}

static void reply_unknown(struct resp_writer *reply, const struct engine_answer *answer) {
  const struct span head = SPAN_LITERAL("*4\r\n$7\r\nUNKNOWN\r\n");
  reply_owned(reply, head, answer->age_ms, answer->attempt, answer->owner);
}

static const char *error_of(enum engine_status status) {
  switch (status) {
    case ENGINE_MISMATCH: return "MISMATCH the key is in use by a request with another fingerprint";
    case ENGINE_STALE: return "STALE the token is not, or not any more, the owner's";
    case ENGINE_CONFLICT:
      return "CONFLICT this grant has already stored other bytes; the first ones stay";
    case ENGINE_OOM:
      return "OOM the memory limit is reached; nothing is evicted, new claims are refused";
    case ENGINE_BUSYKEY: return "BUSYKEY too many callers wait";
    case ENGINE_WRONGTYPE:
      return "WRONGTYPE Operation against a key holding the wrong kind of value";
    default: return "ERR out of memory";
  }
}

static void reply_answer(struct resp_writer *reply, struct shard *shard,
                         const struct engine_answer *answer) {
  switch (answer->status) {
    case ENGINE_CLAIMED: reply_claimed(reply, answer); return;
    case ENGINE_DONE: reply_done(reply, shard, answer); return;
    case ENGINE_BUSY: reply_busy(reply, answer); return;
    case ENGINE_UNKNOWN: reply_unknown(reply, answer); return;
    case ENGINE_NOTHING: resp_write_null_array(reply); return;
    case ENGINE_STORED: resp_write_integer(reply, (int64_t)answer->count); return;
    case ENGINE_RENEWED: resp_write_integer(reply, answer->lease_ms); return;
    case ENGINE_RELEASED: resp_write_integer(reply, 1); return;
    case ENGINE_NOT_YOURS: resp_write_integer(reply, 0); return;
    default: resp_write_error(reply, error_of(answer->status)); return;
  }
}

static void finish(struct call *call, const struct engine_answer *answer) {
  if (answer->status != ENGINE_QUEUED) {
    reply_answer(call->reply, call->shard, answer);
    return;
  }
  assert(call->session->waiter == NULL && !call->in_exec);
  call->session->waiter = answer->waiter;
  call->session->shard = (uint8_t)shard_number(call->shard);
  call->session->waiting = true;
  call->worker->waiting_count++;
}

void command_answer_waiter(struct worker *worker, struct engine_waiter *waiter) {
  struct session *session = engine_waiter_context(waiter);
  const struct engine_answer *answer = engine_waiter_answer(waiter);
  assert(session->waiter == waiter && session->waiting);
  struct resp_writer reply = session_writer(session, worker);
  struct shard *shard = keyspace_shard(worker->instance->keyspace, session->shard);
  int64_t now_ms = worker->now_ms;
  struct engine *engine = worker_lock(worker, shard, &now_ms);
  if (!session->silent) reply_answer(&reply, shard, answer);
  session->silent = false;
  session->waiting = false;
  session->active_ms = worker->now_ms;
  worker->waiting_count--;
  if (answer->status != ENGINE_CLAIMED) {
    session->waiter = NULL;
    engine_waiter_settle(engine, waiter);
  }
  worker_unlock(worker, shard);
}

void session_granted_written(struct session *session, struct worker *worker) {
  if (session->waiter == NULL || session->waiting) return;
  struct shard *shard = keyspace_shard(worker->instance->keyspace, session->shard);
  int64_t now_ms = worker->now_ms;
  engine_waiter_settle(worker_lock(worker, shard, &now_ms), session->waiter);
  worker_unlock(worker, shard);
  session->waiter = NULL;
}

/* ---- the commands ---- */

/* What claims of this connection are bound to. False: memory is short, said so. */
static bool binding_of(struct call *call, bool wanted, struct engine_binding **binding) {
  *binding = NULL;
  if (!wanted) return true;
  struct session_details *details = session_details(call->session);
  if (details != NULL && details->bindings == NULL)
    details->bindings =
        calloc(keyspace_shards(call->worker->instance->keyspace), sizeof(struct engine_binding *));
  if (details != NULL && details->bindings != NULL) {
    struct engine_binding **own = &details->bindings[shard_number(call->shard)];
    if (*own == NULL) *own = engine_binding_create(call->engine);
    *binding = *own;
  }
  if (*binding == NULL) resp_write_error(call->reply, error_of(ENGINE_NO_MEMORY));
  return *binding != NULL;
}

void idempotency_claim(struct call *call) {
  const unsigned allowed = BIT(WORD_FP) | BIT(WORD_OWNER) | BIT(WORD_LEASE) | BIT(WORD_WAIT) |
                           BIT(WORD_BIND) | BIT(WORD_HOLD) | BIT(WORD_TAKEOVER);
  struct words words;
  if (!parse_words(call, 2, allowed, &words) || !lease_fits(call, &words) ||
      !owner_fits(call, &words))
    return;
  struct engine_claim claim = {
      .name = call->name,
      .key = call->argv[1],
      .fingerprint = bytes_of(&words, WORD_FP),
      .owner = bytes_of(&words, WORD_OWNER),
      .lease_ms = ms_of(&words, WORD_LEASE, call->worker->options->lease_ms),
      .wait_ms = given(&words, WORD_WAIT) ? wait_of(call, ms_of(&words, WORD_WAIT, 0)) : 0,
      .hold = given(&words, WORD_HOLD),
      .takeover = given(&words, WORD_TAKEOVER),
      .context = call->session,
      .loop_id = call->worker->number,
  };
  if (!binding_of(call, given(&words, WORD_BIND), &claim.binding)) return;
  struct engine_answer answer;
  engine_claim(call->engine, &claim, call->now_ms, &answer);
  finish(call, &answer);
}

/* Where the body was received, if in a piece of its own. */
static struct engine_piece *received_piece(const struct call *call, struct span body) {
  struct received *received = call->worker->received;
  if (received == NULL || received->piece.bytes + ENGINE_PIECE_HEAD != body.data) return NULL;
  received->keeper = call->shard;
  return &received->piece;
}

void idempotency_store(struct call *call) {
  struct span body = call->argv[IDEMPOTENCY_STORE_BODY];
  struct engine_store store = {
      .name = call->name, .key = call->argv[1], .body = body, .piece = received_piece(call, body)};
  struct words words;
  if (!parse_token(call, call->argv[2], &store.token)) return;
  if (!parse_words(call, 4, BIT(WORD_TTL) | BIT(WORD_META), &words) || !ttl_fits(call, &words))
    return;
  store.meta = bytes_of(&words, WORD_META);
  store.ttl_ms = ms_of(&words, WORD_TTL, call->worker->options->ttl_ms);
  struct engine_answer answer;
  engine_store(call->engine, &store, call->now_ms, &answer);
  finish(call, &answer);
}

void idempotency_renew(struct call *call) {
  struct engine_renew renew = {.name = call->name, .key = call->argv[1]};
  struct words words;
  if (!parse_token(call, call->argv[2], &renew.token)) return;
  if (!parse_words(call, 3, BIT(WORD_LEASE) | BIT(WORD_STAGE), &words) || !lease_fits(call, &words))
    return;
  renew.stage = bytes_of(&words, WORD_STAGE);
  renew.lease_ms = ms_of(&words, WORD_LEASE, 0);
  struct engine_answer answer;
  engine_renew(call->engine, &renew, call->now_ms, &answer);
  finish(call, &answer);
}

void idempotency_release(struct call *call) {
  struct engine_release release = {.name = call->name, .key = call->argv[1]};
  if (!parse_token(call, call->argv[2], &release.token)) return;
  struct engine_answer answer;
  engine_release(call->engine, &release, call->now_ms, &answer);
  finish(call, &answer);
}

void idempotency_fetch(struct call *call) {
  struct words words;
  if (!parse_words(call, 2, BIT(WORD_FP), &words)) return;
  const struct engine_read read = {
      .name = call->name,
      .key = call->argv[1],
      .fingerprint = bytes_of(&words, WORD_FP),
  };
  struct engine_answer answer;
  engine_read(call->engine, &read, call->now_ms, &answer);
  finish(call, &answer);
}

void idempotency_wait(struct call *call) {
  int64_t asked_ms = 0;
  struct words words;
  if (!parse_duration(call, "WAIT", call->argv[2], &asked_ms) ||
      !parse_words(call, 3, BIT(WORD_FP), &words))
    return;
  const struct engine_read read = {
      .name = call->name,
      .key = call->argv[1],
      .fingerprint = bytes_of(&words, WORD_FP),
      .wait_ms = wait_of(call, asked_ms),
      .context = call->session,
      .loop_id = call->worker->number,
  };
  struct engine_answer answer;
  engine_read(call->engine, &read, call->now_ms, &answer);
  finish(call, &answer);
}
