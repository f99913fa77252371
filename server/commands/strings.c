/*
 * strings.c - see strings.h. Syntax is checked before the key is looked at, and in Redis' order,
 * because clients depend on which of two errors they get.
 */
#include "server/commands/strings.h"

#include "server/commands/arguments.h"
#include "server/commands/expire.h"
#include "server/commands/generic.h"
#include "server/commands/reply.h"
#include "server/engine/pin.h"

/* ---- options of SET and GETEX ---- */

#define NX 1u
#define XX 2u
#define IFEQ 4u
#define GET 8u
#define KEEPTTL 16u
#define PERSIST 32u
#define EX 64u
#define PX 128u
#define EXAT 256u
#define PXAT 512u

#define TIMES (EX | PX | EXAT | PXAT)
#define OF_SET (NX | XX | IFEQ | GET | KEEPTTL | TIMES)
#define OF_GETEX (PERSIST | TIMES)

struct word {
  const char *name;
  unsigned bit;
  unsigned excludes;
};

/* IFEQ excludes itself: two expected values cannot both count. A time may be repeated, as in Redis:
 * the last one counts. */
static const struct word WORDS[] = {
    {"NX", NX, XX | IFEQ},
    {"XX", XX, NX | IFEQ},
    {"IFEQ", IFEQ, NX | XX | IFEQ},
    {"GET", GET, 0},
    {"KEEPTTL", KEEPTTL, TIMES},
    {"PERSIST", PERSIST, TIMES},
    {"EX", EX, KEEPTTL | PERSIST | (TIMES & ~EX)},
    {"PX", PX, KEEPTTL | PERSIST | (TIMES & ~PX)},
    {"EXAT", EXAT, KEEPTTL | PERSIST | (TIMES & ~EXAT)},
    {"PXAT", PXAT, KEEPTTL | PERSIST | (TIMES & ~PXAT)},
};
#define WORD_COUNT (sizeof WORDS / sizeof WORDS[0])

struct words {
  unsigned given;
  struct span time, expected; /* after a time word; after IFEQ */
};

static const struct word *find_word(struct span text, unsigned allowed, unsigned given) {
  for (size_t i = 0; i < WORD_COUNT; i++) {
    const struct word *word = &WORDS[i];
    if (!span_is(text, word->name)) continue;
    return (word->bit & allowed) != 0 && (word->excludes & given) == 0 ? word : NULL;
  }
  return NULL;
}

static bool parse_words(struct call *call, size_t first, unsigned allowed, struct words *words) {
  for (size_t i = first; i < call->argc; i++) {
    const struct word *word = find_word(call->argv[i], allowed, words->given);
    bool valued = word != NULL && (word->bit & (TIMES | IFEQ)) != 0;
    if (word == NULL || (valued && i + 1 == call->argc)) {
      reply_syntax_error(call);
      return false;
    }
    words->given |= word->bit;
    if (!valued) continue;
    *(word->bit == IFEQ ? &words->expected : &words->time) = call->argv[++i];
  }
  return true;
}

/* The time after a time word, on the engine's clock. Unlike those of EXPIRE it must be above 0. */
static bool parse_deadline(struct call *call, const struct words *words, int64_t *deadline_ms) {
  long long ms = 0;
  if (!arguments_integer(call, words->time, &ms)) return false;
  bool relative = (words->given & (EX | PX)) != 0;
  bool valid = ms > 0;
  if ((words->given & (EX | EXAT)) != 0) valid = valid && !__builtin_mul_overflow(ms, 1000LL, &ms);
  if (relative) valid = valid && !__builtin_add_overflow(ms, (long long)expire_unix_ms(call), &ms);
  if (!valid) {
    expire_reply_invalid(call);
    return false;
  }
  *deadline_ms = expire_deadline(call, ms);
  return true;
}

/* ---- SET and its short forms ---- */

struct set {
  struct span key, value;
  struct words words;
  int64_t deadline_ms;
  bool counts; /* answers 1 or 0 in place of OK or null */
};

static void reply_set(struct call *call, const struct set *set) {
  if (set->counts) {
    resp_write_integer(call->reply, 1);
  } else {
    reply_ok(call);
  }
}

static void reply_not_set(struct call *call, const struct set *set) {
  if (set->counts) {
    resp_write_integer(call->reply, 0);
  } else {
    resp_write_null(call->reply);
  }
}

/* False: refused, and an error was replied. */
static bool store(struct call *call, const struct set *set) {
  struct engine *engine = call->engine;
  switch (keys_set_value(engine, set->key, set->value, set->deadline_ms, call->now_ms)) {
    case ENGINE_STORED: return true;
    case ENGINE_WRONGTYPE: reply_wrongtype(call); return false;
    case ENGINE_OOM: reply_oom(call); return false;
    default: reply_no_memory(call); return false;
  }
}

static bool condition_holds(const struct set *set, const struct keys_entry *entry) {
  bool exists = entry->kind != KEYS_ABSENT;
  unsigned given = set->words.given;
  if ((given & NX) != 0) return !exists;
  if ((given & XX) != 0) return exists;
  if ((given & IFEQ) == 0) return true;
  return exists && span_equal(pin_bytes(entry->body), set->words.expected);
}

static void set_after_look(struct call *call, struct set *set) {
  struct engine *engine = call->engine;
  unsigned given = set->words.given;
  struct keys_entry entry;
  keys_look(engine, set->key, call->now_ms, &entry);
  bool only_asks = (given & NX) != 0 && (given & GET) == 0;
  if (entry.kind == KEYS_RECORD && !only_asks) {
    reply_wrongtype(call);
    return;
  }
  if (!condition_holds(set, &entry)) {
    if ((given & GET) != 0) {
      reply_body(call, entry.body);
    } else {
      reply_not_set(call, set);
    }
    return;
  }
  if ((given & KEEPTTL) != 0 && entry.left_ms >= 0) set->deadline_ms = call->now_ms + entry.left_ms;
  struct blob *former = pin_take(entry.body); /* replied only if the new one is stored */
  if (store(call, set)) {
    if ((given & GET) != 0) {
      reply_body(call, former);
    } else {
      reply_set(call, set);
    }
  }
  pin_release(engine, former);
}

static void run_set(struct call *call, struct set *set) {
  set->key = call->argv[1];
  set->deadline_ms = RULES_NEVER;
  if ((set->words.given & TIMES) != 0 && !parse_deadline(call, &set->words, &set->deadline_ms))
    return;
  if ((set->words.given & (NX | XX | IFEQ | GET | KEEPTTL)) != 0) {
    set_after_look(call, set);
  } else if (store(call, set)) {
    reply_set(call, set);
  }
}

void strings_set(struct call *call) {
  struct set set = {.value = call->argv[2]};
  if (parse_words(call, 3, OF_SET, &set.words)) run_set(call, &set);
}

void strings_setnx(struct call *call) {
  struct set set = {.value = call->argv[2], .words.given = NX, .counts = true};
  run_set(call, &set);
}

void strings_setex(struct call *call) {
  struct set set = {.value = call->argv[3], .words = {.given = EX, .time = call->argv[2]}};
  run_set(call, &set);
}

void strings_psetex(struct call *call) {
  struct set set = {.value = call->argv[3], .words = {.given = PX, .time = call->argv[2]}};
  run_set(call, &set);
}

void strings_getset(struct call *call) {
  struct set set = {.value = call->argv[2], .words.given = GET};
  run_set(call, &set);
}

/* ---- reading ---- */

void strings_get(struct call *call) {
  struct keys_entry entry;
  keys_look(call->engine, call->argv[1], call->now_ms, &entry);
  reply_body(call, entry.body);
}

void strings_strlen(struct call *call) {
  struct keys_entry entry;
  keys_look(call->engine, call->argv[1], call->now_ms, &entry);
  resp_write_integer(call->reply, (int64_t)pin_bytes(entry.body).len);
}

/* A value that the command is about to change. False: replied null, as there is none, or the error
 * for a record. */
static bool find_value(struct call *call, struct keys_entry *entry) {
  keys_look(call->engine, call->argv[1], call->now_ms, entry);
  if (entry->kind == KEYS_VALUE) return true;
  if (entry->kind == KEYS_RECORD) {
    reply_wrongtype(call);
  } else {
    resp_write_null(call->reply);
  }
  return false;
}

void strings_getex(struct call *call) {
  struct words words = {0};
  if (!parse_words(call, 2, OF_GETEX, &words)) return;
  if (words.given == 0) {
    strings_get(call);
    return;
  }
  struct keys_entry entry;
  int64_t deadline_ms = RULES_NEVER;
  if (!find_value(call, &entry)) return;
  if ((words.given & TIMES) != 0 && !parse_deadline(call, &words, &deadline_ms)) return;
  reply_body(call, entry.body);
  keys_set_deadline(call->engine, call->argv[1], deadline_ms, call->now_ms);
}

void strings_getdel(struct call *call) {
  struct keys_entry entry;
  if (!find_value(call, &entry)) return;
  reply_body(call, entry.body);
  keys_delete(call->engine, call->argv[1], call->now_ms);
}

/* ---- conditional deletes ---- */

static void delete_if_equal(struct call *call, struct span expected) {
  struct keys_entry entry;
  keys_look(call->engine, call->argv[1], call->now_ms, &entry);
  if (entry.kind == KEYS_RECORD) {
    reply_wrongtype(call);
    return;
  }
  bool equal = entry.kind == KEYS_VALUE && span_equal(pin_bytes(entry.body), expected);
  if (equal) keys_delete(call->engine, call->argv[1], call->now_ms);
  resp_write_integer(call->reply, equal);
}

void strings_delifeq(struct call *call) { delete_if_equal(call, call->argv[2]); }

void strings_delex(struct call *call) {
  if (call->argc == 2) {
    generic_del(call);
  } else if (call->argc != 4) {
    resp_write_error(call->reply, "ERR wrong number of arguments for 'delex' command");
  } else if (!span_is(call->argv[2], "IFEQ")) {
    reply_syntax_error(call);
  } else {
    delete_if_equal(call, call->argv[3]);
  }
}
