/*
 * token.h - the numbers of grants.
 *
 * It must not know records, nor whether a grant comes of it. Invariants: tokens rise over all
 * engines of a keyspace, none is given twice, and all stay below RULES_TOKEN_LIMIT.
 *
 * Only the thread that holds the engine calls; the count that the engines of a keyspace share is
 * atomic.
 */
#ifndef IDEM_SERVER_ENGINE_TOKEN_H
#define IDEM_SERVER_ENGINE_TOKEN_H

#include <stdint.h>

struct engine;

/* The next number. With an engine_common other threads take numbers too, so each call uses one up;
 * without a grant it is lost. A single engine returns the same one until token_take. */
uint64_t token_peek(struct engine *engine);
/* Call when the number that was peeked last was used for a grant. */
void token_take(struct engine *engine);
/* All tokens that have been given are lower. Those that are given later are not. */
uint64_t token_end(const struct engine *engine);

#endif
