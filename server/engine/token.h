/* token.h - the numbers of grants: they rise, over all engines of a keyspace, and none is given
 * twice. */
#ifndef IDEM_SERVER_ENGINE_TOKEN_H
#define IDEM_SERVER_ENGINE_TOKEN_H

#include <stdint.h>

struct engine;

/* The next number. With a common count, other threads take numbers too, so each call uses one up;
 * without a grant it is lost. */
uint64_t token_peek(struct engine *engine);
/* The number was used for a grant. */
void token_take(struct engine *engine);

#endif
