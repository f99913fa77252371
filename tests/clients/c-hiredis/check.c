/*
 * check.c - hiredis: every step, with redisCommand and redisCommandArgv.
 *
 * What waits is a command appended and written but not yet read: hiredis needs no second thread for
 * that.
 */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BODY "{\"id\":1}"
#define META "201"
#define MANY 200

static const char *step = "connect";
static redisContext *first, *second;

static _Noreturn void fail(const char *what, const redisReply *reply) {
  const char *text = reply && reply->str ? reply->str : "";
  printf("not ok %s %s: %s %s\n", step, what, first ? first->errstr : "", text);
  exit(1);
}

static void next(const char *name) {
  printf("ok %s\n", step);
  fflush(stdout);
  step = name;
}

static redisContext *open_connection(void) {
  const char *host = getenv("IDEM_HOST"), *port = getenv("IDEM_PORT");
  redisContext *context = redisConnectWithTimeout(host, atoi(port), (struct timeval){.tv_sec = 60});
  if (!context || context->err ||
      redisSetTimeout(context, (struct timeval){.tv_sec = 120}) != REDIS_OK)
    fail("cannot connect", NULL);
  return context;
}

/* A command that is answered; the reply is of the type, or the step has failed. */
static redisReply *ask(redisContext *context, int type, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  redisReply *reply = redisvCommand(context, format, arguments);
  va_end(arguments);
  if (!reply || reply->type != type) fail(format, reply);
  return reply;
}

static redisReply *read_reply(redisContext *context) {
  void *reply = NULL;
  if (redisGetReply(context, &reply) != REDIS_OK) fail("no reply", NULL);
  return reply;
}

static bool is(const redisReply *reply, const char *text) {
  return reply->str && reply->len == strlen(text) && memcmp(reply->str, text, reply->len) == 0;
}

static bool is_done(const redisReply *reply) {
  return reply->type == REDIS_REPLY_ARRAY && reply->elements == 5 &&
         is(reply->element[0], "DONE") && is(reply->element[1], BODY) &&
         is(reply->element[2], META) && reply->element[4]->integer > 0 &&
         reply->element[4]->integer <= 60000;
}

static void expect_text(int type, const char *text, const char *command) {
  redisReply *reply = ask(first, type, command);
  if (!is(reply, text)) fail(command, reply);
  freeReplyObject(reply);
}

static void expect_number(long long number, const char *command) {
  redisReply *reply = ask(first, REDIS_REPLY_INTEGER, command);
  if (reply->integer != number) fail(command, reply);
  freeReplyObject(reply);
}

static void expect_refused(const char *code, redisReply *reply) {
  if (!strstr(reply->str, code)) fail(code, reply);
  freeReplyObject(reply);
}

/* Asks until the answer contains the text. */
static void await_text(const char *command, const char *text) {
  for (int attempt = 0; attempt < 12000; attempt++) {
    redisReply *reply = redisCommand(first, command);
    const redisReply *last = reply && reply->elements ? reply->element[reply->elements - 1] : reply;
    char number[32] = "";
    if (last && last->type == REDIS_REPLY_INTEGER)
      snprintf(number, sizeof number, "%lld", last->integer);
    bool found = last && strstr(last->str ? last->str : number, text);
    freeReplyObject(reply);
    if (found) return;
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
  }
  fail(text, NULL);
}

static long long claim(const char *key) {
  redisReply *reply = ask(first, REDIS_REPLY_ARRAY, "IDEM.CLAIM %s", key);
  if (!is(reply->element[0], "CLAIMED") || reply->element[3]->integer != 1) fail("CLAIM", reply);
  long long token = reply->element[1]->integer;
  freeReplyObject(reply);
  return token;
}

static long long claim_step(void) {
  redisReply *reply =
      ask(first, REDIS_REPLY_ARRAY, "IDEM.CLAIM order-1 FP fp-1 OWNER call-1 LEASE 600000");
  if (reply->elements != 5 || !is(reply->element[0], "CLAIMED") ||
      reply->element[1]->type != REDIS_REPLY_INTEGER || reply->element[2]->integer != 600000 ||
      reply->element[3]->integer != 1 || reply->element[4]->type != REDIS_REPLY_NIL)
    fail("CLAIM", reply->element[0]);
  long long token = reply->element[1]->integer;
  freeReplyObject(reply);
  return token;
}

static void duplicate_step(void) {
  redisReply *reply = ask(first, REDIS_REPLY_ARRAY, "IDEM.CLAIM order-1 FP fp-1 OWNER call-2");
  if (reply->elements != 5 || !is(reply->element[0], "BUSY") || reply->element[1]->integer <= 0 ||
      !is(reply->element[3], "call-1"))
    fail("CLAIM", reply->element[0]);
  freeReplyObject(reply);
}

static void send_now(redisContext *context, const char *command) {
  int written = 0;
  redisAppendCommand(context, command);
  while (!written)
    if (redisBufferWrite(context, &written) != REDIS_OK) fail("cannot write", NULL);
}

static void store_step(long long token) {
  send_now(second, "IDEM.CLAIM order-1 FP fp-1 WAIT 50000");
  await_text("INFO clients", "blocked_clients:1\r\n");
  redisReply *reply = ask(first, REDIS_REPLY_INTEGER,
                          "IDEM.STORE order-1 %lld %s TTL 60000 META %s", token, BODY, META);
  if (reply->integer != 1) fail("one waiting caller", reply);
  freeReplyObject(reply);
}

static void expect_done(redisReply *reply) {
  if (!is_done(reply)) fail("DONE", reply);
  freeReplyObject(reply);
}

static void binary_step(void) {
  static const char key[] = "bin\r\n\0\xff key";
  char body[262];
  for (int i = 0; i < 256; i++) body[i] = (char)i;
  memcpy(body + 256, "\r\n\0\r\n$", 6);
  redisReply *claimed = ask(first, REDIS_REPLY_ARRAY, "IDEM.CLAIM %b", key, sizeof key - 1);
  redisReply *stored = ask(first, REDIS_REPLY_INTEGER, "IDEM.STORE %b %lld %b", key, sizeof key - 1,
                           claimed->element[1]->integer, body, sizeof body);
  redisReply *fetched = ask(first, REDIS_REPLY_ARRAY, "IDEM.FETCH %b", key, sizeof key - 1);
  if (stored->integer != 0 || fetched->element[1]->len != sizeof body ||
      memcmp(fetched->element[1]->str, body, sizeof body) != 0)
    fail("the body came back changed", NULL);
  freeReplyObject(claimed);
  freeReplyObject(stored);
  freeReplyObject(fetched);
}

static void strings_step(void) {
  expect_text(REDIS_REPLY_STATUS, "OK", "SET lock mine NX PX 600000");
  freeReplyObject(ask(first, REDIS_REPLY_NIL, "SET lock yours NX PX 600000"));
  expect_text(REDIS_REPLY_STRING, "mine", "GET lock");
  expect_number(1, "DEL lock");
  expect_number(0, "EXISTS lock");
}

static void transaction_step(void) {
  expect_text(REDIS_REPLY_STATUS, "OK", "MULTI");
  expect_text(REDIS_REPLY_STATUS, "QUEUED", "SET t 1");
  expect_text(REDIS_REPLY_STATUS, "QUEUED", "GET t");
  redisReply *reply = ask(first, REDIS_REPLY_ARRAY, "EXEC");
  if (reply->elements != 2 || !is(reply->element[0], "OK") || !is(reply->element[1], "1"))
    fail("EXEC", reply);
  freeReplyObject(reply);
}

static void pubsub_step(void) {
  freeReplyObject(ask(second, REDIS_REPLY_ARRAY, "SUBSCRIBE __idem__:order-2"));
  await_text("PUBSUB NUMSUB __idem__:order-2", "1");
  freeReplyObject(ask(first, REDIS_REPLY_INTEGER, "IDEM.STORE order-2 %lld x", claim("order-2")));
  redisReply *reply = read_reply(second);
  if (reply->elements != 3 || !is(reply->element[0], "message") || !is(reply->element[2], "done"))
    fail("the message", reply);
  freeReplyObject(reply);
}

static void pipeline_step(void) {
  long long tokens[MANY], before = 0;
  for (int i = 0; i < MANY; i++) redisAppendCommand(first, "IDEM.CLAIM many-%d", i);
  for (int i = 0; i < MANY; i++) {
    redisReply *reply = read_reply(first);
    tokens[i] = reply->elements == 5 ? reply->element[1]->integer : 0;
    if (tokens[i] <= before) fail("tokens rise", reply);
    before = tokens[i];
    freeReplyObject(reply);
  }
  for (int i = 0; i < MANY; i++)
    redisAppendCommand(first, "IDEM.STORE many-%d %lld %d", i, tokens[i], i);
  for (int i = 0; i < MANY; i++) {
    redisReply *reply = read_reply(first);
    if (reply->type != REDIS_REPLY_INTEGER || reply->integer != 0) fail("STORE", reply);
    freeReplyObject(reply);
  }
}

/* CLIENT REPLY SKIP and OFF: only what comes behind them is answered. */
static void silence_step(void) {
  redisAppendCommand(first, "CLIENT REPLY SKIP");
  redisAppendCommand(first, "SET silent 1");
  redisAppendCommand(first, "CLIENT REPLY OFF");
  redisAppendCommand(first, "SET silent 2");
  redisAppendCommand(first, "CLIENT REPLY ON");
  redisAppendCommand(first, "GET silent");
  for (int i = 0; i < 2; i++) {
    redisReply *reply = read_reply(first);
    if (!is(reply, i == 0 ? "OK" : "2")) fail("CLIENT REPLY", reply);
    freeReplyObject(reply);
  }
}

static void reconnect_step(long long token) {
  char line[32];
  printf("restart\n");
  fflush(stdout);
  if (!fgets(line, sizeof line, stdin) || strcmp(line, "restarted\n") != 0)
    fail("the server was not restarted", NULL);
  redisReply *lost = redisCommand(first, "PING");
  if (lost || !first->err) fail("a connection to the former server still answers", lost);
  if (redisReconnect(first) != REDIS_OK) fail("redisReconnect", NULL);
  if (claim("order-1") <= token) fail("the token did not rise", NULL);
}

int main(void) {
  first = open_connection();
  second = open_connection();
  expect_text(REDIS_REPLY_STATUS, "PONG", "PING");
  next("name");
  expect_text(REDIS_REPLY_STATUS, "OK", "CLIENT SETNAME hiredis");
  expect_text(REDIS_REPLY_STRING, "hiredis", "CLIENT GETNAME");
  next("claim");
  long long token = claim_step();
  next("duplicate");
  duplicate_step();
  next("store");
  store_step(token);
  next("wait");
  expect_done(read_reply(second));
  next("replay");
  expect_done(ask(first, REDIS_REPLY_ARRAY, "IDEM.CLAIM order-1 FP fp-1"));
  expect_done(ask(first, REDIS_REPLY_ARRAY, "IDEM.FETCH order-1"));
  next("binary");
  binary_step();
  next("refusal");
  expect_refused("MISMATCH", ask(first, REDIS_REPLY_ERROR, "IDEM.CLAIM order-1 FP fp-2"));
  expect_refused("STALE", ask(first, REDIS_REPLY_ERROR, "IDEM.STORE order-1 %lld x", token - 1));
  expect_refused("unknown command", ask(first, REDIS_REPLY_ERROR, "LPUSH a b"));
  next("null");
  freeReplyObject(ask(first, REDIS_REPLY_NIL, "IDEM.FETCH nobody"));
  next("strings");
  strings_step();
  next("transaction");
  transaction_step();
  next("pubsub");
  pubsub_step();
  next("pipeline");
  pipeline_step();
  next("silence");
  silence_step();
  next("reconnect");
  reconnect_step(token);
  next("");
  redisFree(first);
  redisFree(second);
  return 0;
}
