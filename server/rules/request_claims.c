/* request_claims.c - see request_claims.h. */
#include "server/rules/request_claims.h"

#include <stdio.h>

#include "server/rules/inspection.h"

enum option { OPTION_STATE, OPTION_PREFIX, OPTION_OLDER, OPTION_AFTER, OPTION_COUNT, OPTIONS };

static const char *const NAMES[OPTIONS] = {
    [OPTION_STATE] = "STATE", [OPTION_PREFIX] = "PREFIX", [OPTION_OLDER] = "OLDER",
    [OPTION_AFTER] = "AFTER", [OPTION_COUNT] = "COUNT",
};

/* OPTIONS: none. */
static enum option find_option(struct span text) {
  enum option option = 0;
  while (option < OPTIONS && !span_is(text, NAMES[option])) option++;
  return option;
}

/* ---- errors ---- */

static bool refuse(char error[REQUEST_ERROR_BYTES], struct request_error why) {
  request_error_text(&why, error);
  return false;
}

static bool refuse_option(char error[REQUEST_ERROR_BYTES], enum request_fault fault,
                          struct span quoted) {
  return refuse(error, (struct request_error){.fault = fault, .quoted = quoted});
}

static bool refuse_value(char error[REQUEST_ERROR_BYTES], enum request_fault fault,
                         enum option option) {
  return refuse(error, (struct request_error){.fault = fault, .name = NAMES[option]});
}

/* ---- values ---- */

static bool parse_state(struct span text, struct request_claims *claims,
                        char error[REQUEST_ERROR_BYTES]) {
  for (claims->phase = RULES_HELD; claims->phase <= RULES_UNKNOWN; claims->phase++) {
    if (span_is(text, inspection_state(claims->phase).data)) return true;
  }
  snprintf(error, REQUEST_ERROR_BYTES, "ERR STATE must be held, lapsed or unknown");
  return false;
}

static bool parse_natural(enum option option, struct span text, int64_t *value,
                          char error[REQUEST_ERROR_BYTES]) {
  long long number = 0;
  if (!span_to_i64(text, &number)) return refuse_value(error, REQUEST_NO_INTEGER, option);
  if (number < 0) return refuse_value(error, REQUEST_NEGATIVE, option);
  *value = number;
  return true;
}

static bool parse_count(struct span text, struct request_claims *claims,
                        char error[REQUEST_ERROR_BYTES]) {
  int64_t count = 0;
  if (!parse_natural(OPTION_COUNT, text, &count, error)) return false;
  claims->count = (unsigned)count;
  if (count >= 1 && count <= REQUEST_CLAIMS_COUNT_MAX) return true;
  snprintf(error, REQUEST_ERROR_BYTES, "ERR COUNT must be between 1 and %d",
           REQUEST_CLAIMS_COUNT_MAX);
  return false;
}

static bool parse_value(enum option option, struct span text, struct request_claims *claims,
                        char error[REQUEST_ERROR_BYTES]) {
  int64_t token = 0;
  switch (option) {
    case OPTION_STATE: return parse_state(text, claims, error);
    case OPTION_PREFIX: claims->prefix = text; return true;
    case OPTION_OLDER: return parse_natural(option, text, &claims->older_ms, error);
    case OPTION_AFTER:
      if (!parse_natural(option, text, &token, error)) return false;
      claims->after = (uint64_t)token;
      return true;
    case OPTION_COUNT:
    default: return parse_count(text, claims, error);
  }
}

/* ---- the command ---- */

bool request_claims_parse(const struct request_input *input, struct request_claims *claims,
                          char error[REQUEST_ERROR_BYTES]) {
  bool given[OPTIONS] = {false};
  *claims = (struct request_claims){.count = REQUEST_CLAIMS_COUNT};
  for (size_t i = 1; i < input->argc; i += 2) {
    struct span text = input->argv[i];
    enum option option = find_option(text);
    if (option == OPTIONS) return refuse_option(error, REQUEST_UNKNOWN_OPTION, text);
    if (given[option]) return refuse_option(error, REQUEST_REPEATED_OPTION, text);
    given[option] = true;
    if (i + 1 == input->argc) return refuse_option(error, REQUEST_NO_VALUE, text);
    if (!parse_value(option, input->argv[i + 1], claims, error)) return false;
  }
  return true;
}

size_t request_claims_limit(const struct request_limits *limits, const struct span *argv,
                            size_t index) {
  bool is_prefix = index > 1 && index % 2 == 0 && find_option(argv[index - 1]) == OPTION_PREFIX;
  return is_prefix ? (size_t)limits->key_bytes : REQUEST_WORD_BYTES;
}
