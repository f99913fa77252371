/* tokens.c - see tokens.h. */
#include "client/tokens.h"

#include <stdlib.h>

void tokens_init(struct tokens *tokens) {
  *tokens = (struct tokens){.bucket_count = TOKENS_BUCKETS_FIRST};
  tokens->buckets = tokens->first;
}

void tokens_deinit(struct tokens *tokens) {
  if (tokens->buckets != tokens->first) free(tokens->buckets);
}

static struct lease **bucket_of(const struct tokens *tokens, uint64_t token) {
  return &tokens->buckets[token & (tokens->bucket_count - 1)];
}

static void push(struct tokens *tokens, struct lease *lease) {
  struct lease **bucket = bucket_of(tokens, lease->token);
  lease->same_bucket = *bucket;
  *bucket = lease;
}

/* Twice as many buckets, where there is memory. */
static void grow(struct tokens *tokens) {
  struct lease **former = tokens->buckets;
  size_t former_count = tokens->bucket_count;
  struct lease **larger = calloc(2 * former_count, sizeof *larger);
  if (larger == NULL) return;
  tokens->buckets = larger;
  tokens->bucket_count = 2 * former_count;
  for (size_t i = 0; i < former_count; i++) {
    for (struct lease *lease = former[i], *next = NULL; lease != NULL; lease = next) {
      next = lease->same_bucket;
      push(tokens, lease);
    }
  }
  if (former != tokens->first) free(former);
}

bool tokens_has(const struct tokens *tokens, const struct node *node, uint64_t token) {
  const struct lease *lease = *bucket_of(tokens, token);
  while (lease != NULL && (lease->token != token || lease->granted_by != node))
    lease = lease->same_bucket;
  return lease != NULL;
}

void tokens_add(struct tokens *tokens, struct lease *lease) {
  if (tokens->count >= 2 * tokens->bucket_count) grow(tokens);
  push(tokens, lease);
  tokens->count++;
}

void tokens_remove(struct tokens *tokens, struct lease *lease) {
  struct lease **at = bucket_of(tokens, lease->token);
  while (*at != NULL && *at != lease) at = &(*at)->same_bucket;
  if (*at == NULL) return;
  *at = lease->same_bucket;
  tokens->count--;
}
