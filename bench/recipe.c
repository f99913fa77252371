/* The table of recipes. */
#include "bench/recipe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ID_DIGITS = 13 };

struct wish {
  struct step_sizes sizes;
  uint64_t waiters;
};

typedef void shape(struct recipe *recipe, const struct wish *wish);

static void shape_idem(struct recipe *recipe, const struct wish *wish) {
  struct step step;
  memset(&step, 0, sizeof step);
  recipe->proof = RECIPE_PROOF_BLOCKED;
  step_claim(&step, &wish->sizes);
  recipe->prepare = (struct recipe_exchange){step.request, step.reply};
  memset(&step, 0, sizeof step);
  step_store(&step, &wish->sizes);
  message_deinit(&step.reply);
  message_add_text(&step.reply, ":%" PRIu64 "\r\n", wish->waiters);
  recipe->wake = (struct recipe_exchange){step.request, step.reply};
  step_add_command(&recipe->join.request, 4, "CLAIM");
  step_add_word(&recipe->join.request, "WAIT");
  step_add_number(&recipe->join.request, RECIPE_WAIT_MS);
  step_add_done_reply(&recipe->woken, wish->sizes.body_bytes);
}

/* RESP3, because there a subscribed connection may also GET. */
static void add_subscription(struct recipe *recipe) {
  message_add_text(&recipe->hello.request, "HELLO 3 SETNAME waiter\r\n");
  recipe->proof = RECIPE_PROOF_REPLY;
  step_add_command(&recipe->join.request, 2, "SUBSCRIBE");
  message_add_text(&recipe->join.reply, ">3\r\n$9\r\nsubscribe\r\n$36\r\n");
  message_add_hole(&recipe->join.reply, MESSAGE_PIECE_KEY, 0);
  message_add_text(&recipe->join.reply, "\r\n:1\r\n");
  step_add_command(&recipe->leave.request, 2, "UNSUBSCRIBE");
  message_add_text(&recipe->leave.reply, ">3\r\n$11\r\nunsubscribe\r\n$36\r\n");
  message_add_hole(&recipe->leave.reply, MESSAGE_PIECE_KEY, 0);
  message_add_text(&recipe->leave.reply, "\r\n:0\r\n");
}

static void add_redis_set(struct message *message, const struct wish *wish) {
  step_add_command(message, 5, "SET");
  step_add_body(message, wish->sizes.body_bytes);
  step_add_word(message, "PX");
  step_add_number(message, wish->sizes.ttl_ms);
}

static void shape_redis(struct recipe *recipe, const struct wish *wish) {
  add_subscription(recipe);
  add_redis_set(&recipe->wake.request, wish);
  step_add_command(&recipe->wake.request, 3, "PUBLISH");
  step_add_word(&recipe->wake.request, "1");
  message_add_text(&recipe->wake.reply, "+OK\r\n:%" PRIu64 "\r\n", wish->waiters);
  message_add_text(&recipe->woken, ">3\r\n$7\r\nmessage\r\n$36\r\n");
  message_add_hole(&recipe->woken, MESSAGE_PIECE_KEY, 0);
  message_add_text(&recipe->woken, "\r\n$1\r\n1\r\n");
  step_add_command(&recipe->fetch.request, 2, "GET");
  step_add_body(&recipe->fetch.reply, wish->sizes.body_bytes);
}

static void shape_redis_push(struct recipe *recipe, const struct wish *wish) {
  add_subscription(recipe);
  add_redis_set(&recipe->wake.request, wish);
  step_add_command(&recipe->wake.request, 3, "PUBLISH");
  step_add_body(&recipe->wake.request, wish->sizes.body_bytes);
  message_add_text(&recipe->wake.reply, "+OK\r\n:%" PRIu64 "\r\n", wish->waiters);
  message_add_text(&recipe->woken, ">3\r\n$7\r\nmessage\r\n$36\r\n");
  message_add_hole(&recipe->woken, MESSAGE_PIECE_KEY, 0);
  message_add_text(&recipe->woken, "\r\n");
  step_add_body(&recipe->woken, wish->sizes.body_bytes);
}

/* "$15", a time in ms, "-0": the entry's name. */
static void add_entry_id(struct message *message) {
  message_add_text(message, "$");
  message_add_hole(message, MESSAGE_PIECE_NUMBER, 2);
  message_add_text(message, "\r\n");
  message_add_hole(message, MESSAGE_PIECE_NUMBER, ID_DIGITS);
  message_add_text(message, "-");
  message_add_hole(message, MESSAGE_PIECE_NUMBER, 1);
  message_add_text(message, "\r\n");
}

static void shape_redis_stream(struct recipe *recipe, const struct wish *wish) {
  recipe->proof = RECIPE_PROOF_BLOCKED;
  message_add_text(&recipe->join.request, "*6\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n");
  step_add_number(&recipe->join.request, RECIPE_WAIT_MS);
  message_add_text(&recipe->join.request, "$7\r\nSTREAMS\r\n$36\r\n");
  message_add_hole(&recipe->join.request, MESSAGE_PIECE_KEY, 0);
  message_add_text(&recipe->join.request, "\r\n$1\r\n0\r\n");
  step_add_command(&recipe->wake.request, 5, "XADD");
  step_add_word(&recipe->wake.request, "*");
  step_add_word(&recipe->wake.request, "b");
  step_add_body(&recipe->wake.request, wish->sizes.body_bytes);
  step_add_command(&recipe->wake.request, 3, "PEXPIRE");
  step_add_number(&recipe->wake.request, wish->sizes.ttl_ms);
  add_entry_id(&recipe->wake.reply);
  message_add_text(&recipe->wake.reply, ":1\r\n");
  message_add_text(&recipe->woken, "*1\r\n*2\r\n$36\r\n");
  message_add_hole(&recipe->woken, MESSAGE_PIECE_KEY, 0);
  message_add_text(&recipe->woken, "\r\n*1\r\n*2\r\n");
  add_entry_id(&recipe->woken);
  message_add_text(&recipe->woken, "*2\r\n$1\r\nb\r\n");
  step_add_body(&recipe->woken, wish->sizes.body_bytes);
}

/* The floor gets as many bytes as idem and gives as many back: a line that begins with W joins, one
 * that begins with S wakes. */
static void add_line(struct message *message, char first, size_t bytes) {
  message_add_fill(message, first, bytes - 1);
  message_add_text(message, "\n");
}

static void shape_relay(struct recipe *recipe, const struct wish *wish) {
  struct recipe idem;
  memset(&idem, 0, sizeof idem);
  shape_idem(&idem, wish);
  recipe->proof = RECIPE_PROOF_RELAY;
  add_line(&recipe->join.request, 'W', message_usual_bytes(&idem.join.request));
  add_line(&recipe->wake.request, 'S', message_usual_bytes(&idem.wake.request));
  message_add_text(&recipe->wake.reply, ":%" PRIu64 "\r\n", wish->waiters);
  message_add_hole(&recipe->woken, MESSAGE_PIECE_ANY, message_usual_bytes(&idem.woken));
  message_deinit(&idem.prepare.request);
  message_deinit(&idem.prepare.reply);
  message_deinit(&idem.join.request);
  message_deinit(&idem.wake.request);
  message_deinit(&idem.wake.reply);
  message_deinit(&idem.woken);
}

static const struct row {
  const char *name;
  const char *help;
  shape *shape;
  bool one; /* one waiter, whatever --connections says */
} rows[] = {
    {"herd", "--connections CLAIM key WAIT, one STORE: time to the first and last DONE", shape_idem,
     false},
    {"wait", "the same with one waiter", shape_idem, true},
    {"redis-herd", "Redis: SUBSCRIBE; SET + PUBLISH; each that is woken GETs", shape_redis, false},
    {"redis-wait", "the same with one waiter", shape_redis, true},
    {"redis-push-herd", "Redis: the message carries the body", shape_redis_push, false},
    {"redis-push-wait", "the same with one waiter", shape_redis_push, true},
    {"redis-stream-herd", "Redis: XREAD BLOCK; XADD + PEXPIRE", shape_redis_stream, false},
    {"redis-stream-wait", "the same with one waiter", shape_redis_stream, true},
    {"relay-herd", "bench-uv, bench-epoll: as many bytes as herd, nothing kept", shape_relay,
     false},
    {"relay-wait", "the same with one waiter", shape_relay, true},
};

static const struct row *find(const char *name) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (strcmp(rows[i].name, name) == 0) return &rows[i];
  }
  return NULL;
}

bool recipe_knows(const char *name) { return find(name) != NULL; }

bool recipe_has_one_waiter(const char *name) { return find(name)->one; }

void recipe_init(struct recipe *recipe, const char *name, const struct step_sizes *sizes,
                 uint64_t waiters) {
  memset(recipe, 0, sizeof *recipe);
  struct wish wish = {.sizes = *sizes, .waiters = waiters};
  find(name)->shape(recipe, &wish);
}

void recipe_deinit(struct recipe *recipe) {
  struct recipe_exchange *all[] = {&recipe->hello, &recipe->prepare, &recipe->join,
                                   &recipe->wake,  &recipe->fetch,   &recipe->leave};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    message_deinit(&all[i]->request);
    message_deinit(&all[i]->reply);
  }
  message_deinit(&recipe->woken);
}

void recipe_print_list(void) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    printf("  %-18s %s\n", rows[i].name, rows[i].help);
}
