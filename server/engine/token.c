/* token.c - see token.h. */
#include "server/engine/token.h"

#include <assert.h>

#include "server/engine/state.h"

uint64_t token_peek(struct engine *engine) {
  struct engine_common *common = engine->options.common;
  uint64_t token = common == NULL
                       ? engine->next_token
                       : atomic_fetch_add_explicit(&common->next_token, 1, memory_order_relaxed);
  assert(token < RULES_TOKEN_LIMIT);
  return token;
}

void token_take(struct engine *engine) {
  if (engine->options.common == NULL) engine->next_token++;
}

uint64_t token_end(const struct engine *engine) {
  struct engine_common *common = engine->options.common;
  return common == NULL ? engine->next_token : atomic_load(&common->next_token);
}
