/* tokens.c - see tokens.h. */
#include "server/module/tokens.h"

#include "server/rules/rules.h"

/* 0: the clock gives none. */
static uint64_t at_ms(int64_t unix_ms) {
  uint64_t token = 0;
  uint32_t nanoseconds = (uint32_t)(unix_ms % 1000) * 1000000u;
  enum rules_clock clock = rules_first_token(unix_ms / 1000, nanoseconds, 0, &token);
  return clock == RULES_CLOCK_RIGHT ? token : 0;
}

enum tokens_clock tokens_init(struct tokens *tokens, int64_t wall_ms, uint64_t random) {
  *tokens = (struct tokens){.now_ms = wall_ms};
  switch (rules_first_token(wall_ms / 1000, 0, random, &tokens->high)) {
    case RULES_CLOCK_LATE: return TOKENS_CLOCK_LATE;
    case RULES_CLOCK_EARLY: return TOKENS_CLOCK_EARLY;
    default: return TOKENS_CLOCK_RIGHT;
  }
}

uint64_t tokens_peek(const struct tokens *tokens, uint64_t former) {
  uint64_t token = at_ms(tokens->now_ms);
  if (token <= tokens->high) token = tokens->high + 1;
  return token > former ? token : former + 1;
}

void tokens_note(struct tokens *tokens, uint64_t token) {
  if (token > tokens->high && token < RULES_TOKEN_LIMIT - TOKENS_RESERVE) tokens->high = token;
}

void tokens_lead(struct tokens *tokens) {
  tokens_note(tokens, at_ms(tokens->now_ms + TOKENS_LEAD_MS));
}

void tokens_take_over(struct tokens *tokens) {
  const uint64_t lead = (uint64_t)TOKENS_LEAD_MS / 1000 << RULES_TOKEN_SHIFT;
  const uint64_t seen = tokens->high;
  tokens_lead(tokens);
  if (tokens->high == seen) tokens_note(tokens, seen + lead);
}
