/* acl_categories.c - see acl_categories.h. */
#include "server/ops/acl_categories.h"

#include <assert.h>

/* Redis 7.0's, in its order; of some there are no commands here. */
static const char *const names[ACL_CATEGORY_COUNT] = {
    "keyspace",   "read",        "write",     "set",         "sortedset", "list",
    "hash",       "string",      "bitmap",    "hyperloglog", "geo",       "stream",
    "pubsub",     "admin",       "fast",      "slow",        "blocking",  "dangerous",
    "connection", "transaction", "scripting", "claim",       "inspect",
};

const char *acl_categories_name(unsigned index) {
  assert(index < ACL_CATEGORY_COUNT);
  return names[index];
}

uint64_t acl_categories_find(struct span name) {
  for (unsigned i = 0; i < ACL_CATEGORY_COUNT; i++) {
    if (span_is(name, names[i])) return UINT64_C(1) << i;
  }
  return 0;
}
