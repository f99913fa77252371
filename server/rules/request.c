/* request.c - see request.h: one table of options for all commands, one form for each command. */
#include "server/rules/request.h"

#include <stdio.h>

#include "proto/rare.h"

/* ---- the options ---- */

/* Those that take bytes come first, then those that take a number, then those without a value. */
enum option {
  OPTION_FP,
  OPTION_OWNER,
  OPTION_META,
  OPTION_STAGE,
  OPTION_LEASE,
  OPTION_WAIT,
  OPTION_TTL,
  OPTION_BORN,
  OPTION_TAKEOVER,
  OPTION_BIND,
  OPTION_HOLD,
  OPTION_UNSURE,
  OPTION_CLEAR,
  OPTION_COUNT
};
#define FIRST_NUMBER OPTION_LEASE
#define FIRST_FLAG OPTION_BIND

#define NAME(text) \
  { text, sizeof(text) - 1 }
static const struct span OPTIONS[OPTION_COUNT] = {
    [OPTION_FP] = NAME("FP"),       [OPTION_OWNER] = NAME("OWNER"),
    [OPTION_META] = NAME("META"),   [OPTION_STAGE] = NAME("STAGE"),
    [OPTION_LEASE] = NAME("LEASE"), [OPTION_WAIT] = NAME("WAIT"),
    [OPTION_TTL] = NAME("TTL"),     [OPTION_BORN] = NAME("BORN"),
    [OPTION_BIND] = NAME("BIND"),   [OPTION_TAKEOVER] = NAME("TAKEOVER"),
    [OPTION_HOLD] = NAME("HOLD"),   [OPTION_UNSURE] = NAME("UNSURE"),
    [OPTION_CLEAR] = NAME("CLEAR"),
};

/* Where the options of a command begin, and which it has. */
#define BIT(option) (1u << (option))
struct form {
  size_t first;
  unsigned allowed;
};
static const struct form CLAIM = {2, BIT(OPTION_FP) | BIT(OPTION_OWNER) | BIT(OPTION_LEASE) |
                                         BIT(OPTION_WAIT) | BIT(OPTION_BIND) | BIT(OPTION_HOLD) |
                                         BIT(OPTION_BORN) | BIT(OPTION_TAKEOVER)};
static const struct form STORE = {
    4, BIT(OPTION_TTL) | BIT(OPTION_META) | BIT(OPTION_UNSURE) | BIT(OPTION_CLEAR)};
static const struct form RELEASE = {3, BIT(OPTION_UNSURE) | BIT(OPTION_CLEAR)};
static const struct form RENEW = {3, BIT(OPTION_LEASE) | BIT(OPTION_STAGE)};
static const struct form FETCH = {2, BIT(OPTION_FP)};
static const struct form WAIT = {3, BIT(OPTION_FP)};

/* The only option that may begin so. */
static inline enum option option_like(struct span text) {
  switch (text.data[0] & ~0x20) {
    case 'F': return OPTION_FP;
    case 'O': return OPTION_OWNER;
    case 'M': return OPTION_META;
    case 'S': return OPTION_STAGE;
    case 'L': return OPTION_LEASE;
    case 'W': return OPTION_WAIT;
    case 'B': return text.len > 1 && (text.data[1] & ~0x20) == 'O' ? OPTION_BORN : OPTION_BIND;
    case 'C': return OPTION_CLEAR;
    case 'U': return OPTION_UNSURE;
    case 'H': return OPTION_HOLD;
    case 'T': return text.len == OPTIONS[OPTION_TTL].len ? OPTION_TTL : OPTION_TAKEOVER;
    default: return OPTION_COUNT;
  }
}

/* OPTION_COUNT: none. */
static inline enum option find_option(struct span text) {
  if (text.len == 0) return OPTION_COUNT;
  enum option option = option_like(text);
  if (option == OPTION_COUNT || OPTIONS[option].len != text.len) return OPTION_COUNT;
  bool same = span_letters(text.data, text.len) == span_letters(OPTIONS[option].data, text.len);
  return same ? option : OPTION_COUNT;
}

/* ---- limits ---- */

#define FIRST_OPTION 2       /* where options begin at the earliest */
#define FIRST_STORE_OPTION 4 /* those of STORE: its body may be called like an option */
/* More words in a row that are options with a value repeat one: a syntax error in any case. */
#define RUN_MAX (2 * (size_t)FIRST_FLAG)

static bool has_value(struct span text) { return find_option(text) < FIRST_FLAG; }

/* The option whose value argv[index] is; OPTION_COUNT: none. A value may be called like an option:
 * in OWNER FP HOLD, HOLD is no fingerprint. In a row of such words each second one is a value. */
static enum option option_of_value(const struct span *argv, size_t index, size_t first) {
  if (index <= first || !has_value(argv[index - 1])) return OPTION_COUNT;
  size_t run = 1;
  while (run < RUN_MAX && index - run > first && has_value(argv[index - run - 1])) run++;
  return run % 2 == 1 ? find_option(argv[index - 1]) : OPTION_COUNT;
}

static const char *argument_name(const struct span *argv, size_t index, size_t first) {
  if (index == 1) return "key";
  switch (option_of_value(argv, index, first)) {
    case OPTION_FP: return "fingerprint";
    case OPTION_OWNER: return "owner";
    case OPTION_META: return "meta";
    case OPTION_STAGE: return "stage";
    default: return "argument";
  }
}

static size_t limit_of(const struct request_limits *limits, const struct span *argv, size_t index,
                       size_t first) {
  if (index == 1) return (size_t)limits->key_bytes;
  switch (option_of_value(argv, index, first)) {
    case OPTION_FP: return (size_t)limits->fingerprint_bytes;
    case OPTION_OWNER: return (size_t)limits->owner_bytes;
    case OPTION_META: return (size_t)limits->meta_bytes;
    case OPTION_STAGE: return (size_t)limits->stage_bytes;
    default: return REQUEST_WORD_BYTES;
  }
}

const char *request_argument_name(const struct span *argv, size_t index) {
  return argument_name(argv, index, FIRST_OPTION);
}

const char *request_store_argument_name(const struct span *argv, size_t index) {
  return index == REQUEST_STORE_BODY ? "body" : argument_name(argv, index, FIRST_STORE_OPTION);
}

size_t request_limit(const struct request_limits *limits, const struct span *argv, size_t index) {
  return limit_of(limits, argv, index, FIRST_OPTION);
}

size_t request_store_limit(const struct request_limits *limits, const struct span *argv,
                           size_t index) {
  return index == REQUEST_STORE_BODY ? (size_t)limits->body_bytes
                                     : limit_of(limits, argv, index, FIRST_STORE_OPTION);
}

size_t request_least_limit(const struct request_limits *limits) {
  const int64_t all[] = {limits->key_bytes,   limits->fingerprint_bytes, limits->owner_bytes,
                         limits->stage_bytes, limits->meta_bytes,        limits->body_bytes};
  int64_t least = REQUEST_WORD_BYTES;
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    if (all[i] < least) least = all[i];
  }
  return (size_t)least;
}

/* ---- errors ---- */

static void quote(char text[REQUEST_ERROR_BYTES], const char *before, struct span quoted,
                  const char *after) {
  *span_quote(text, REQUEST_ERROR_BYTES - 1, before, quoted, after) = '\0';
}

void request_error_text(const struct request_error *error, char text[REQUEST_ERROR_BYTES]) {
  const size_t room = REQUEST_ERROR_BYTES;
  const char *name = error->name;
  switch (error->fault) {
    case REQUEST_UNKNOWN_OPTION:
      quote(text, "ERR syntax error: unknown option '", error->quoted, "'");
      return;
    case REQUEST_REPEATED_OPTION:
      quote(text, "ERR syntax error: repeated option '", error->quoted, "'");
      return;
    case REQUEST_NO_VALUE:
      quote(text, "ERR syntax error: option '", error->quoted, "' needs a value");
      return;
    case REQUEST_NO_INTEGER:
      snprintf(text, room, "ERR %s is not an integer or out of range", name);
      return;
    case REQUEST_NEGATIVE: snprintf(text, room, "ERR %s must not be negative", name); return;
    case REQUEST_EMPTY: snprintf(text, room, "ERR %s must not be empty", name); return;
    case REQUEST_OUT_OF_BOUNDS:
      snprintf(text, room, "ERR %s must be between %lld and %lld milliseconds", name,
               (long long)error->least, (long long)error->most);
      return;
    case REQUEST_TWO_WORDS:
      snprintf(text, room, "ERR syntax error: UNSURE and CLEAR exclude each other");
      return;
    case REQUEST_WORD_ALONE: snprintf(text, room, "ERR %s needs TTL 0", name); return;
    case REQUEST_BORN_LATER:
      snprintf(text, room, "ERR BORN is later than now plus born-skew");
      return;
    case REQUEST_TOO_BIG:
    default:
      snprintf(text, room, "TOOBIG %s %lld the %s is over its limit of bytes", name,
               (long long)error->most, name);
      return;
  }
}

RARE static bool refuse(struct request_error *error, struct request_error why) {
  *error = why;
  return false;
}

RARE static bool refuse_option(struct request_error *error, enum request_fault fault,
                               struct span quoted) {
  return refuse(error, (struct request_error){.fault = fault, .quoted = quoted});
}

RARE static bool refuse_value(struct request_error *error, enum request_fault fault,
                              const char *name) {
  return refuse(error, (struct request_error){.fault = fault, .name = name});
}

/* ---- numbers ---- */

static bool parse_natural(const char *name, struct span text, int64_t *value,
                          struct request_error *error) {
  long long number = 0;
  if (!span_to_i64(text, &number)) return refuse_value(error, REQUEST_NO_INTEGER, name);
  if (number < 0) return refuse_value(error, REQUEST_NEGATIVE, name);
  *value = number;
  return true;
}

static bool parse_token(struct span text, uint64_t *token, struct request_error *error) {
  int64_t number = 0;
  if (!parse_natural("token", text, &number, error)) return false;
  *token = (uint64_t)number;
  return true;
}

/* ---- what options were given ---- */

/* Only the options that were given are written: most calls give few, and clearing the others took
 * longer than testing a bit. */
struct given {
  unsigned options; /* a bit each */
  struct span bytes[FIRST_NUMBER];
  int64_t numbers[FIRST_FLAG - FIRST_NUMBER];
};

static bool is_given(const struct given *given, enum option option) {
  return (given->options & BIT(option)) != 0;
}

static struct span bytes_of(const struct given *given, enum option option) {
  return is_given(given, option) ? given->bytes[option] : SPAN_ABSENT;
}

static int64_t number_of(const struct given *given, enum option option, int64_t otherwise) {
  return is_given(given, option) ? given->numbers[option - FIRST_NUMBER] : otherwise;
}

static enum rules_word word_of(const struct given *given) {
  if (is_given(given, OPTION_CLEAR)) return RULES_CLEAR;
  return is_given(given, OPTION_UNSURE) ? RULES_UNSURE : RULES_DID_NOTHING;
}

static bool parse_given(const struct request_input *input, const struct form *form,
                        struct given *given, struct request_error *error) {
  const struct span *end = input->argv + input->argc;
  for (const struct span *at = input->argv + form->first; at < end; at++) {
    struct span text = *at;
    enum option option = find_option(text);
    if ((form->allowed & BIT(option)) == 0)
      return refuse_option(error, REQUEST_UNKNOWN_OPTION, text);
    if (is_given(given, option)) return refuse_option(error, REQUEST_REPEATED_OPTION, text);
    given->options |= BIT(option);
    if (option >= FIRST_FLAG) continue;
    if (++at == end) return refuse_option(error, REQUEST_NO_VALUE, text);
    if (option < FIRST_NUMBER) {
      given->bytes[option] = *at;
    } else if (!parse_natural(OPTIONS[option].data, *at, &given->numbers[option - FIRST_NUMBER],
                              error)) {
      return false;
    }
  }
  return true;
}

static inline bool parse_options(const struct request_input *input, const struct form *form,
                                 struct given *given, struct request_error *error) {
  given->options = 0;
  return input->argc == form->first || parse_given(input, form, given, error);
}

/* ---- bounds ---- */

/* Checks the duration of an option, if it is given: a default is within the bounds. */
static inline bool is_within(const struct given *given, enum option option, int64_t least,
                             int64_t most, struct request_error *error) {
  if (!is_given(given, option)) return true;
  int64_t ms = given->numbers[option - FIRST_NUMBER];
  if (ms >= least && ms <= most) return true;
  return refuse(error, (struct request_error){.fault = REQUEST_OUT_OF_BOUNDS,
                                              .name = OPTIONS[option].data,
                                              .least = least,
                                              .most = most});
}

static bool owner_fits(const struct given *given, struct request_error *error) {
  if (!is_given(given, OPTION_OWNER) || given->bytes[OPTION_OWNER].len > 0) return true;
  return refuse_value(error, REQUEST_EMPTY, OPTIONS[OPTION_OWNER].data);
}

static bool one_word(const struct given *given, struct request_error *error) {
  const unsigned both = BIT(OPTION_UNSURE) | BIT(OPTION_CLEAR);
  if ((given->options & both) != both) return true;
  return refuse(error, (struct request_error){.fault = REQUEST_TWO_WORDS});
}

static bool no_word(const struct given *given, struct request_error *error) {
  if (word_of(given) == RULES_DID_NOTHING) return true;
  enum option option = is_given(given, OPTION_CLEAR) ? OPTION_CLEAR : OPTION_UNSURE;
  return refuse_value(error, REQUEST_WORD_ALONE, OPTIONS[option].data);
}

static int64_t cut_wait(const struct request_limits *limits, int64_t asked_ms) {
  int64_t most_ms = limits->wait_max_ms;
  return asked_ms == 0 || asked_ms > most_ms ? most_ms : asked_ms;
}

/* ---- the commands ---- */

bool request_parse_claim(const struct request_input *input, struct request_claim *claim,
                         struct request_error *error) {
  const struct request_limits *limits = input->limits;
  struct given given;
  if (!parse_options(input, &CLAIM, &given, error) ||
      !is_within(&given, OPTION_LEASE, 1, limits->lease_max_ms, error) ||
      !owner_fits(&given, error))
    return false;
  bool waits = is_given(&given, OPTION_WAIT);
  *claim = (struct request_claim){
      .key = input->argv[1],
      .fingerprint = bytes_of(&given, OPTION_FP),
      .owner = bytes_of(&given, OPTION_OWNER),
      .lease_ms = number_of(&given, OPTION_LEASE, limits->lease_ms),
      .wait_ms = waits ? cut_wait(limits, number_of(&given, OPTION_WAIT, 0)) : 0,
      .bind = is_given(&given, OPTION_BIND),
      .hold = is_given(&given, OPTION_HOLD),
      .born = is_given(&given, OPTION_BORN),
      .born_ms = number_of(&given, OPTION_BORN, 0),
      .takeover = (uint64_t)number_of(&given, OPTION_TAKEOVER, 0),
  };
  return true;
}

bool request_parse_store(const struct request_input *input, struct request_store *store,
                         struct request_error *error) {
  const struct request_limits *limits = input->limits;
  uint64_t token = 0;
  struct given given;
  if (!parse_token(input->argv[2], &token, error) || !parse_options(input, &STORE, &given, error) ||
      !is_within(&given, OPTION_TTL, 0, limits->ttl_max_ms, error) || !one_word(&given, error))
    return false;
  int64_t ttl_ms = number_of(&given, OPTION_TTL, limits->ttl_ms);
  if (ttl_ms != 0 && !no_word(&given, error)) return false;
  *store = (struct request_store){
      .key = input->argv[1],
      .body = input->argv[REQUEST_STORE_BODY],
      .meta = bytes_of(&given, OPTION_META),
      .token = token,
      .ttl_ms = ttl_ms,
      .word = word_of(&given),
  };
  return true;
}

bool request_parse_renew(const struct request_input *input, struct request_renew *renew,
                         struct request_error *error) {
  uint64_t token = 0;
  struct given given;
  if (!parse_token(input->argv[2], &token, error) || !parse_options(input, &RENEW, &given, error) ||
      !is_within(&given, OPTION_LEASE, 1, input->limits->lease_max_ms, error))
    return false;
  *renew = (struct request_renew){
      .key = input->argv[1],
      .stage = bytes_of(&given, OPTION_STAGE),
      .token = token,
      .lease_ms = number_of(&given, OPTION_LEASE, 0),
  };
  return true;
}

bool request_parse_release(const struct request_input *input, struct request_release *release,
                           struct request_error *error) {
  uint64_t token = 0;
  struct given given;
  if (!parse_token(input->argv[2], &token, error) ||
      !parse_options(input, &RELEASE, &given, error) || !one_word(&given, error))
    return false;
  *release = (struct request_release){input->argv[1], token, word_of(&given)};
  return true;
}

bool request_parse_fetch(const struct request_input *input, struct request_read *read,
                         struct request_error *error) {
  struct given given;
  if (!parse_options(input, &FETCH, &given, error)) return false;
  *read = (struct request_read){
      .key = input->argv[1],
      .fingerprint = bytes_of(&given, OPTION_FP),
  };
  return true;
}

bool request_parse_wait(const struct request_input *input, struct request_read *read,
                        struct request_error *error) {
  int64_t asked_ms = 0;
  struct given given;
  if (!parse_natural(OPTIONS[OPTION_WAIT].data, input->argv[2], &asked_ms, error) ||
      !parse_options(input, &WAIT, &given, error))
    return false;
  *read = (struct request_read){
      .key = input->argv[1],
      .fingerprint = bytes_of(&given, OPTION_FP),
      .wait_ms = cut_wait(input->limits, asked_ms),
  };
  return true;
}
