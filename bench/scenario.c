/* The table of scenarios and the bytes of their steps.
 *
 * The recipes for Redis are the cheapest that do the job: a lock is SET NX PX with a value of 20
 * random bytes (the length that Redis' page on distributed locks proposes), a replay is a bare GET.
 */
#include "bench/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
  LOCK_VALUE_BYTES = 20,
  TOKEN_DIGITS = 15, /* (seconds since 2024) << 22 has 15 digits from October 2024 to July 2031 */
  AGE_DIGITS = 4,    /* a replay is measured seconds after its STORE */
  TTL_LEFT_DIGITS = 8
};

typedef void shape(struct step *step, const struct scenario_sizes *sizes);

struct row {
  const char *name;
  const char *help;
  enum key_source key_source;
  const char *preload;
  shape *steps[SCENARIO_STEPS_MAX];
};

static void add_bulk_number(struct message *message, uint64_t number) {
  char digits[MESSAGE_NUMBER_DIGITS_MAX + 1];
  int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
  message_add_text(message, "$%d\r\n%s\r\n", count, digits);
}

/* "*N", the command's name and the key. */
static void add_command(struct message *message, int arguments, const char *name) {
  message_add_text(message, "*%d\r\n$%zu\r\n%s\r\n$%d\r\n", arguments, strlen(name), name,
                   MESSAGE_KEY_BYTES);
  message_add_hole(message, PIECE_KEY, 0);
  message_add_text(message, "\r\n");
}

static void add_word(struct message *message, const char *word) {
  message_add_text(message, "$%zu\r\n%s\r\n", strlen(word), word);
}

/* The body begins with its key, so that a reply with another key's body is a wrong reply. */
static void add_body(struct message *message, size_t bytes) {
  message_add_text(message, "$%zu\r\n", bytes);
  message_add_hole(message, PIECE_KEY, 0);
  message_add_fill(message, 'b', bytes - MESSAGE_KEY_BYTES);
  message_add_text(message, "\r\n");
}

static void add_claim_request(struct message *message, uint64_t lease_ms) {
  add_command(message, 4, "CLAIM");
  add_word(message, "LEASE");
  add_bulk_number(message, lease_ms);
}

static void add_done_reply(struct message *message, size_t body_bytes) {
  message_add_text(message, "*5\r\n$4\r\nDONE\r\n");
  add_body(message, body_bytes);
  message_add_text(message, "$-1\r\n:");
  message_add_hole(message, PIECE_NUMBER, AGE_DIGITS);
  message_add_text(message, "\r\n:");
  message_add_hole(message, PIECE_NUMBER, TTL_LEFT_DIGITS);
  message_add_text(message, "\r\n");
}

static void shape_claim(struct step *step, const struct scenario_sizes *sizes) {
  add_claim_request(&step->request, sizes->lease_ms);
  message_add_text(&step->reply, "*5\r\n$7\r\nCLAIMED\r\n:");
  message_add_hole(&step->reply, PIECE_TOKEN, TOKEN_DIGITS);
  message_add_text(&step->reply, "\r\n:%" PRIu64 "\r\n:1\r\n$-1\r\n", sizes->lease_ms);
}

static void shape_store(struct step *step, const struct scenario_sizes *sizes) {
  add_command(&step->request, 6, "STORE");
  message_add_hole(&step->request, PIECE_TOKEN_BULK, TOKEN_DIGITS);
  add_body(&step->request, sizes->body_bytes);
  add_word(&step->request, "TTL");
  add_bulk_number(&step->request, sizes->ttl_ms);
  message_add_text(&step->reply, ":0\r\n");
}

static void shape_replay(struct step *step, const struct scenario_sizes *sizes) {
  add_claim_request(&step->request, sizes->lease_ms);
  add_done_reply(&step->reply, sizes->body_bytes);
}

static void shape_fetch(struct step *step, const struct scenario_sizes *sizes) {
  add_command(&step->request, 2, "FETCH");
  add_done_reply(&step->reply, sizes->body_bytes);
}

static void shape_redis_claim(struct step *step, const struct scenario_sizes *sizes) {
  add_command(&step->request, 6, "SET");
  message_add_text(&step->request, "$%d\r\n", LOCK_VALUE_BYTES);
  message_add_fill(&step->request, 'v', LOCK_VALUE_BYTES);
  message_add_text(&step->request, "\r\n");
  add_word(&step->request, "NX");
  add_word(&step->request, "PX");
  add_bulk_number(&step->request, sizes->lease_ms);
  message_add_text(&step->reply, "+OK\r\n");
}

static void shape_redis_store(struct step *step, const struct scenario_sizes *sizes) {
  add_command(&step->request, 5, "SET");
  add_body(&step->request, sizes->body_bytes);
  add_word(&step->request, "PX");
  add_bulk_number(&step->request, sizes->ttl_ms);
  message_add_text(&step->reply, "+OK\r\n");
}

static void shape_redis_replay(struct step *step, const struct scenario_sizes *sizes) {
  add_command(&step->request, 2, "GET");
  add_body(&step->reply, sizes->body_bytes);
}

static const struct row rows[] = {
    {"claim", "CLAIM key LEASE ms, ever-new keys", KEYS_NEW, NULL, {shape_claim}},
    {"job",
     "CLAIM, then STORE with its token; one operation is both",
     KEYS_NEW,
     NULL,
     {shape_claim, shape_store}},
    {"replay", "CLAIM key LEASE ms on DONE keys", KEYS_LOADED, "job", {shape_replay}},
    {"fetch", "FETCH on DONE keys", KEYS_LOADED, "job", {shape_fetch}},
    {"redis-claim",
     "Redis: SET key 20-bytes NX PX ms, ever-new keys",
     KEYS_NEW,
     NULL,
     {shape_redis_claim}},
    {"redis-store",
     "Redis: SET key body PX ms, ever-new keys",
     KEYS_NEW,
     NULL,
     {shape_redis_store}},
    {"redis-replay",
     "Redis: GET of existing values",
     KEYS_LOADED,
     "redis-store",
     {shape_redis_replay}},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static const struct row *find(const char *name) {
  for (size_t i = 0; i < ROWS; i++) {
    if (strcmp(rows[i].name, name) == 0) return &rows[i];
  }
  return NULL;
}

static void build(struct scenario *scenario, const struct row *row,
                  const struct scenario_sizes *sizes) {
  scenario->key_source = row->key_source;
  scenario->preload = row->preload;
  while (scenario->step_count < SCENARIO_STEPS_MAX && row->steps[scenario->step_count] != NULL) {
    row->steps[scenario->step_count](&scenario->steps[scenario->step_count], sizes);
    scenario->step_count++;
  }
}

/* The floor: the same requests, so many bytes back, no key to preload. */
static void make_echo(struct scenario *scenario) {
  struct message *reply = &scenario->steps[0].reply;
  size_t bytes = message_usual_bytes(reply);
  message_deinit(reply);
  message_add_hole(reply, PIECE_ANY, bytes);
  scenario->preload = NULL;
}

const char *scenario_init(struct scenario *scenario, const char *name, const char *like,
                          const struct scenario_sizes *sizes) {
  memset(scenario, 0, sizeof *scenario);
  bool echo = strcmp(name, "echo") == 0;
  if (echo && like == NULL) return "scenario echo needs --like";
  if (!echo && like != NULL) return "--like is for scenario echo only";

  const struct row *row = find(echo ? like : name);
  if (row == NULL) return echo ? "--like names no scenario" : "--scenario names no scenario";
  if (echo && row->steps[1] != NULL)
    return "echo has one request size: --like needs a scenario of one step";
  build(scenario, row, sizes);
  if (echo) make_echo(scenario);
  return NULL;
}

void scenario_deinit(struct scenario *scenario) {
  for (size_t i = 0; i < SCENARIO_STEPS_MAX; i++) {
    message_deinit(&scenario->steps[i].request);
    message_deinit(&scenario->steps[i].reply);
  }
}

void scenario_print_list(void) {
  printf("\nscenarios:\n");
  for (size_t i = 0; i < ROWS; i++) printf("  %-14s %s\n", rows[i].name, rows[i].help);
  printf("  %-14s %s\n", "echo",
         "bench-echo: the bytes of the scenario named by --like, content unchecked");
}
