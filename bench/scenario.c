/* The table of scenarios, and the steps of other servers.
 *
 * The recipes for Redis are the cheapest that do the job: a lock is SET NX PX with a value of 20
 * random bytes (the length that Redis' page on distributed locks proposes), a replay is a bare GET.
 * README.md says for each why it is fair.
 */
#include "bench/scenario.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LOCK_VALUE_BYTES = 20, LUA_TOKEN_DIGITS = 6 };

typedef void shape(struct step *step, const struct step_sizes *sizes);

struct row {
  const char *name;
  const char *help; /* NULL: not offered, only a setup */
  enum scenario_keys key_source;
  const char *preload;
  const char *setup;
  bool prefixed;
  shape *steps[SCENARIO_STEPS_MAX];
};

static void shape_replay(struct step *step, const struct step_sizes *sizes) {
  step_add_claim(&step->request, sizes);
  step_add_done_reply(&step->reply, sizes->body_bytes);
}

static void shape_fetch(struct step *step, const struct step_sizes *sizes) {
  step_add_command(&step->request, 2, "FETCH");
  step_add_done_reply(&step->reply, sizes->body_bytes);
}

static void shape_redis_claim(struct step *step, const struct step_sizes *sizes) {
  step_add_command(&step->request, 6, "SET");
  message_add_text(&step->request, "$%d\r\n", LOCK_VALUE_BYTES);
  message_add_fill(&step->request, 'v', LOCK_VALUE_BYTES);
  message_add_text(&step->request, "\r\n");
  step_add_word(&step->request, "NX");
  step_add_word(&step->request, "PX");
  step_add_number(&step->request, sizes->lease_ms);
  message_add_text(&step->reply, "+OK\r\n");
}

static void shape_redis_store(struct step *step, const struct step_sizes *sizes) {
  step_add_command(&step->request, 5, "SET");
  step_add_body(&step->request, sizes->body_bytes);
  step_add_word(&step->request, "PX");
  step_add_ttl(&step->request, sizes);
  message_add_text(&step->reply, "+OK\r\n");
}

static void shape_redis_replay(struct step *step, const struct step_sizes *sizes) {
  step_add_command(&step->request, 2, "GET");
  step_add_body(&step->reply, sizes->body_bytes);
}

/* SET NX GET (Redis 7): one round trip takes the lock or returns what is there. */
static void add_redis_take(struct message *message, const struct step_sizes *sizes) {
  step_add_command(message, 7, "SET");
  message_add_text(message, "$%d\r\n", LOCK_VALUE_BYTES);
  message_add_fill(message, 'v', LOCK_VALUE_BYTES);
  message_add_text(message, "\r\n");
  step_add_word(message, "NX");
  step_add_word(message, "GET");
  step_add_word(message, "PX");
  step_add_number(message, sizes->lease_ms);
}

static void shape_redis_take(struct step *step, const struct step_sizes *sizes) {
  add_redis_take(&step->request, sizes);
  message_add_text(&step->reply, "$-1\r\n");
}

/* SET and PUBLISH in one round trip: the owner does not need the answer of the first. */
static void shape_redis_finish(struct step *step, const struct step_sizes *sizes) {
  shape_redis_store(step, sizes);
  step_add_command(&step->request, 3, "PUBLISH");
  message_add_text(&step->request, "$1\r\n1\r\n");
  message_add_text(&step->reply, ":0\r\n");
}

static void shape_redis_duplicate(struct step *step, const struct step_sizes *sizes) {
  add_redis_take(&step->request, sizes);
  step_add_body(&step->reply, sizes->body_bytes);
}

/* The fenced recipe: a counter gives tokens, and only the holder of the token may store. The
 * digests are those of the texts: SCRIPT LOAD answers with them, so that a changed text is seen. */
static const char lua_claim[] =
    "local v = redis.call('GET', KEYS[1]) if v then return v end "
    "local t = redis.call('INCR', 'token') "
    "redis.call('SET', KEYS[1], 'h'..t, 'PX', ARGV[1]) return t";
static const char lua_claim_digest[] = "7e5777b788f1822549810345d0aa47a061a98b1b";
static const char lua_store[] =
    "if redis.call('GET', KEYS[1]) ~= 'h'..ARGV[1] then return -1 end "
    "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return redis.call('PUBLISH', KEYS[1], '')";
static const char lua_store_digest[] = "f01b8219fe62b2b2644020e250ac9bdab2a7b799";

static void add_script_load(struct step *step, const char *text, const char *digest) {
  message_add_text(&step->request, "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%zu\r\n", strlen(text));
  message_add_text(&step->request, "%s", text);
  message_add_text(&step->request, "\r\n");
  message_add_text(&step->reply, "$%zu\r\n%s\r\n", strlen(digest), digest);
}

static void shape_lua_setup(struct step *step, const struct step_sizes *sizes) {
  (void)sizes;
  add_script_load(step, lua_claim, lua_claim_digest);
  add_script_load(step, lua_store, lua_store_digest);
}

static void add_script_call(struct message *message, int arguments, const char *digest) {
  message_add_text(message, "*%d\r\n$7\r\nEVALSHA\r\n", arguments + 4);
  step_add_word(message, digest);
  message_add_text(message, "$1\r\n1\r\n$%d\r\n", MESSAGE_KEY_BYTES);
  message_add_hole(message, MESSAGE_PIECE_KEY, 0);
  message_add_text(message, "\r\n");
}

static void shape_lua_claim(struct step *step, const struct step_sizes *sizes) {
  add_script_call(&step->request, 1, lua_claim_digest);
  step_add_number(&step->request, sizes->lease_ms);
  message_add_text(&step->reply, ":");
  message_add_hole(&step->reply, MESSAGE_PIECE_TOKEN, LUA_TOKEN_DIGITS);
  message_add_text(&step->reply, "\r\n");
}

static void shape_lua_store(struct step *step, const struct step_sizes *sizes) {
  add_script_call(&step->request, 3, lua_store_digest);
  message_add_hole(&step->request, MESSAGE_PIECE_TOKEN_BULK, LUA_TOKEN_DIGITS);
  step_add_body(&step->request, sizes->body_bytes);
  step_add_ttl(&step->request, sizes);
  message_add_text(&step->reply, ":0\r\n");
}

static void shape_lua_duplicate(struct step *step, const struct step_sizes *sizes) {
  add_script_call(&step->request, 1, lua_claim_digest);
  step_add_number(&step->request, sizes->lease_ms);
  step_add_body(&step->reply, sizes->body_bytes);
}

/* memcached's text protocol; its times are seconds, rounded up so that none ends early. */
static uint64_t whole_seconds(uint64_t ms) { return (ms + 999) / 1000; }

static void shape_memcached_claim(struct step *step, const struct step_sizes *sizes) {
  message_add_text(&step->request, "add ");
  message_add_hole(&step->request, MESSAGE_PIECE_KEY, 0);
  message_add_text(&step->request, " 0 %" PRIu64 " %d\r\n", whole_seconds(sizes->lease_ms),
                   LOCK_VALUE_BYTES);
  message_add_fill(&step->request, 'v', LOCK_VALUE_BYTES);
  message_add_text(&step->request, "\r\n");
  message_add_text(&step->reply, "STORED\r\n");
}

static void add_memcached_body(struct message *message, size_t bytes) {
  message_add_hole(message, MESSAGE_PIECE_KEY, 0);
  message_add_fill(message, 'b', bytes - MESSAGE_KEY_BYTES);
  message_add_text(message, "\r\n");
}

static void shape_memcached_store(struct step *step, const struct step_sizes *sizes) {
  /* A TTL per subject is in milliseconds, which memcached does not have: a day then. */
  uint64_t ttl_ms = sizes->ttl_ms > 0 ? sizes->ttl_ms : 86400000;
  message_add_text(&step->request, "set ");
  message_add_hole(&step->request, MESSAGE_PIECE_KEY, 0);
  message_add_text(&step->request, " 0 %" PRIu64 " %zu\r\n", whole_seconds(ttl_ms),
                   sizes->body_bytes);
  add_memcached_body(&step->request, sizes->body_bytes);
  message_add_text(&step->reply, "STORED\r\n");
}

static void shape_memcached_replay(struct step *step, const struct step_sizes *sizes) {
  message_add_text(&step->request, "get ");
  message_add_hole(&step->request, MESSAGE_PIECE_KEY, 0);
  message_add_text(&step->request, "\r\n");
  message_add_text(&step->reply, "VALUE ");
  message_add_hole(&step->reply, MESSAGE_PIECE_KEY, 0);
  message_add_text(&step->reply, " 0 %zu\r\n", sizes->body_bytes);
  add_memcached_body(&step->reply, sizes->body_bytes);
  message_add_text(&step->reply, "END\r\n");
}

static const struct row rows[] = {
    {.name = "claim", .help = "CLAIM key LEASE ms, ever-new keys", .steps = {step_claim}},
    {.name = "store",
     .help = "CLAIM, then STORE with its token; one operation is both",
     .steps = {step_claim, step_store}},
    {.name = "job",
     .help = "CLAIM, STORE, and one duplicate's CLAIM, which is replayed; one operation is all",
     .steps = {step_claim, step_store, shape_replay}},
    {.name = "replay",
     .help = "CLAIM key LEASE ms on DONE keys",
     .key_source = SCENARIO_KEYS_LOADED,
     .preload = "store",
     .steps = {shape_replay}},
    {.name = "fetch",
     .help = "FETCH on DONE keys",
     .key_source = SCENARIO_KEYS_LOADED,
     .preload = "store",
     .steps = {shape_fetch}},
    {.name = "module-claim",
     .help = "the module: IDEM.CLAIM key LEASE ms, ever-new keys",
     .prefixed = true,
     .steps = {step_claim}},
    {.name = "module-store",
     .help = "the module: IDEM.CLAIM, then IDEM.STORE with its token; one operation is both",
     .prefixed = true,
     .steps = {step_claim, step_store}},
    {.name = "module-replay",
     .help = "the module: IDEM.CLAIM key LEASE ms on DONE keys",
     .key_source = SCENARIO_KEYS_LOADED,
     .preload = "module-store",
     .prefixed = true,
     .steps = {shape_replay}},
    {.name = "redis-claim",
     .help = "Redis: SET key 20-bytes NX PX ms, ever-new keys",
     .steps = {shape_redis_claim}},
    {.name = "redis-store",
     .help = "Redis: SET key body PX ms, ever-new keys",
     .steps = {shape_redis_store}},
    {.name = "redis-claim-store",
     .help = "Redis: SET key 20-bytes NX PX ms, then SET key body PX ms; not fenced",
     .steps = {shape_redis_claim, shape_redis_store}},
    {.name = "redis-job",
     .help = "Redis: SET NX GET, then SET + PUBLISH, then a duplicate's SET NX GET; not fenced",
     .steps = {shape_redis_take, shape_redis_finish, shape_redis_duplicate}},
    {.name = "redis-lua-setup", .help = NULL, .steps = {shape_lua_setup}},
    {.name = "redis-lua-job",
     .help = "Redis: the same job by two Lua scripts, with a fencing token",
     .setup = "redis-lua-setup",
     .steps = {shape_lua_claim, shape_lua_store, shape_lua_duplicate}},
    {.name = "redis-replay",
     .help = "Redis: GET of existing values",
     .key_source = SCENARIO_KEYS_LOADED,
     .preload = "redis-store",
     .steps = {shape_redis_replay}},
    {.name = "memcached-claim",
     .help = "memcached: add key, 20 bytes, ever-new keys",
     .steps = {shape_memcached_claim}},
    {.name = "memcached-store",
     .help = "memcached: set key body, ever-new keys",
     .steps = {shape_memcached_store}},
    {.name = "memcached-replay",
     .help = "memcached: get of existing values",
     .key_source = SCENARIO_KEYS_LOADED,
     .preload = "memcached-store",
     .steps = {shape_memcached_replay}},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static const struct row *find(const char *name) {
  for (size_t i = 0; i < ROWS; i++) {
    if (strcmp(rows[i].name, name) == 0) return &rows[i];
  }
  return NULL;
}

static void build(struct scenario *scenario, const struct row *row,
                  const struct step_sizes *usual) {
  struct step_sizes own = *usual;
  const struct step_sizes *sizes = &own;
  own.prefixed = row->prefixed;
  scenario->key_source = row->key_source;
  scenario->preload = row->preload;
  scenario->setup = row->setup;
  while (scenario->step_count < SCENARIO_STEPS_MAX && row->steps[scenario->step_count] != NULL) {
    row->steps[scenario->step_count](&scenario->steps[scenario->step_count], sizes);
    scenario->step_count++;
  }
}

/* The floor: the requests of one step, so many bytes back, no key to preload. */
static void make_echo(struct scenario *scenario, size_t step) {
  struct step chosen = scenario->steps[step];
  memset(&scenario->steps[step], 0, sizeof chosen);
  scenario_deinit(scenario);
  scenario->steps[0] = chosen;
  scenario->step_count = 1;
  struct message *reply = &scenario->steps[0].reply;
  size_t bytes = message_usual_bytes(reply);
  message_deinit(reply);
  message_add_hole(reply, MESSAGE_PIECE_ANY, bytes);
  scenario->preload = NULL;
}

const char *scenario_init(struct scenario *scenario, const char *name, const char *like,
                          const struct step_sizes *sizes) {
  memset(scenario, 0, sizeof *scenario);
  bool echo = strcmp(name, "echo") == 0;
  if (echo && like == NULL) return "scenario echo needs --like";
  if (!echo && like != NULL) return "--like is for the scenarios echo, fill, expire and flood";

  const struct row *row = find(echo ? like : name);
  if (row == NULL) return echo ? "--like names no scenario" : "--scenario names no scenario";
  build(scenario, row, sizes);
  if (!echo) return NULL;
  /* A floor has one size of requests. */
  if (sizes->echo_step >= scenario->step_count) return "--like has no such --step";
  make_echo(scenario, sizes->echo_step);
  return NULL;
}

void scenario_widen(const struct scenario *scenario, size_t *request_bytes, size_t *reply_bytes) {
  for (size_t i = 0; i < scenario->step_count; i++) {
    size_t request = message_most_bytes(&scenario->steps[i].request);
    size_t reply = message_most_bytes(&scenario->steps[i].reply);
    if (request > *request_bytes) *request_bytes = request;
    if (reply > *reply_bytes) *reply_bytes = reply;
  }
}

void scenario_deinit(struct scenario *scenario) {
  for (size_t i = 0; i < SCENARIO_STEPS_MAX; i++) {
    message_deinit(&scenario->steps[i].request);
    message_deinit(&scenario->steps[i].reply);
  }
}

void scenario_print_list(void) {
  printf("\nscenarios:\n");
  for (size_t i = 0; i < ROWS; i++) {
    if (rows[i].help != NULL) printf("  %-18s %s\n", rows[i].name, rows[i].help);
  }
  printf("  %-18s %s\n", "echo",
         "bench-uv, bench-epoll: the bytes of the scenario named by --like, content unchecked");
}
