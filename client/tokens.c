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

static struct keeper_item **bucket_of(const struct tokens *tokens, uint64_t token) {
  return &tokens->buckets[token & (tokens->bucket_count - 1)];
}

static void push(struct tokens *tokens, struct keeper_item *item) {
  struct keeper_item **bucket = bucket_of(tokens, item->token);
  item->same_bucket = *bucket;
  *bucket = item;
}

/* Twice as many buckets, where there is memory. */
static void grow(struct tokens *tokens) {
  struct keeper_item **former = tokens->buckets;
  size_t former_count = tokens->bucket_count;
  struct keeper_item **larger = calloc(2 * former_count, sizeof *larger);
  if (larger == NULL) return;
  tokens->buckets = larger;
  tokens->bucket_count = 2 * former_count;
  for (size_t i = 0; i < former_count; i++) {
    for (struct keeper_item *item = former[i], *next = NULL; item != NULL; item = next) {
      next = item->same_bucket;
      push(tokens, item);
    }
  }
  if (former != tokens->first) free(former);
}

bool tokens_has(const struct tokens *tokens, uint64_t token) {
  const struct keeper_item *item = *bucket_of(tokens, token);
  while (item != NULL && item->token != token) item = item->same_bucket;
  return item != NULL;
}

void tokens_add(struct tokens *tokens, struct keeper_item *item) {
  if (tokens->count >= 2 * tokens->bucket_count) grow(tokens);
  push(tokens, item);
  tokens->count++;
}

void tokens_remove(struct tokens *tokens, struct keeper_item *item) {
  struct keeper_item **at = bucket_of(tokens, item->token);
  while (*at != NULL && *at != item) at = &(*at)->same_bucket;
  if (*at == NULL) return;
  *at = item->same_bucket;
  tokens->count--;
}
