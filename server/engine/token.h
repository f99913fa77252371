/* token.h - the numbers of grants: they rise, over all engines of a keyspace, and none is given
 * twice. */
#ifndef IDEM_SERVER_ENGINE_TOKEN_H
#define IDEM_SERVER_ENGINE_TOKEN_H

#include <stdint.h>

struct engine;

/* The next number. Another thread may take the same one from a common count, so each call takes one
 * from it; without a grant it is lost. */
uint64_t token_peek(struct engine *engine);
/* The number was used for a grant. */
void token_take(struct engine *engine);

#endif
