/*
 * acl_categories.h - the names of the categories of commands: Redis' own, so that its files can be
 * used, and idem's. A command's categories are bits; which ones it has is the caller's to say.
 */
#ifndef IDEM_SERVER_OPS_ACL_CATEGORIES_H
#define IDEM_SERVER_OPS_ACL_CATEGORIES_H

#include <stdint.h>

#include "proto/span.h"

#define ACL_KEYSPACE (UINT64_C(1) << 0)
#define ACL_READ (UINT64_C(1) << 1)
#define ACL_WRITE (UINT64_C(1) << 2)
#define ACL_STRING (UINT64_C(1) << 7)
#define ACL_PUBSUB (UINT64_C(1) << 12)
#define ACL_ADMIN (UINT64_C(1) << 13)
#define ACL_FAST (UINT64_C(1) << 14)
#define ACL_SLOW (UINT64_C(1) << 15)
#define ACL_BLOCKING (UINT64_C(1) << 16)
#define ACL_DANGEROUS (UINT64_C(1) << 17)
#define ACL_CONNECTION (UINT64_C(1) << 18)
#define ACL_TRANSACTION (UINT64_C(1) << 19)
#define ACL_SCRIPTING (UINT64_C(1) << 20)
#define ACL_CLAIM (UINT64_C(1) << 21)
#define ACL_INSPECT (UINT64_C(1) << 22)

#define ACL_CATEGORY_COUNT 23u

/* The name of bit `index`, in lower case. */
const char *acl_categories_name(unsigned index);
/* The bit of a name, in any case; 0: there is no such category. `all` is none. */
uint64_t acl_categories_find(struct span name);

#endif
