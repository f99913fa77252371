/*
 * tokens.h - the tokens of the claims that a client has, so that a grant which it has already is
 * not taken for a new one: a reply that came twice answers the next request otherwise.
 *
 *     buckets by the low bits of the token (tokens count up):
 *         [0] -> lease -> lease
 *         [1] -> lease
 *
 * In a cluster two nodes may give the same one, so that a token is known together with the node
 * that gave it. (With its key would not do: the reply that came twice answers another key.)
 *
 * Never fails: without memory for more buckets the chains are longer. Not locked: its owner locks.
 */
#ifndef IDEM_CLIENT_TOKENS_H
#define IDEM_CLIENT_TOKENS_H

#include "client/lease.h"

#define TOKENS_BUCKETS_FIRST 16 /* a power of two */

struct tokens {
  struct lease *first[TOKENS_BUCKETS_FIRST];
  struct lease **buckets; /* `first` until that is too small */
  size_t bucket_count, count;
};

void tokens_init(struct tokens *tokens);
void tokens_deinit(struct tokens *tokens);
/* True when a lease of this token, granted by this node, was added and not removed. */
bool tokens_has(const struct tokens *tokens, const struct node *node, uint64_t token);
/* Its token and granted_by are set. The lease stays where it is until it is removed. */
void tokens_add(struct tokens *tokens, struct lease *lease);
/* Fine for one that was not added. */
void tokens_remove(struct tokens *tokens, struct lease *lease);

#endif
