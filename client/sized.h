/*
 * sized.h - the structs that programs fill in may grow: a library and a program of different
 * versions still understand each other. Knows no struct beyond its first member, its size.
 *
 *     program older:  [ size | what both know ]              the rest counts as zeros
 *     program newer:  [ size | what both know | 0 0 0 ... ]  refused when the rest is not zeros
 *
 * A size of 0 is that of version 0.1, so that `{.key = ...}` needs no size.
 *
 * A struct ends with a member, never with padding: padding is not filled with zeros, and a member
 * of a later version would lie in it, inside the size that older programs give.
 */
#ifndef IDEM_CLIENT_SIZED_H
#define IDEM_CLIENT_SIZED_H

#include <stdbool.h>
#include <stddef.h>

/* The bytes of a struct up to and with a member. */
#define SIZED_UP_TO(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

/* Where each struct ended in 0.1, whatever has been appended since. */
#define SIZED_OPTIONS_0_1 SIZED_UP_TO(struct idem_options, tls_flags)
#define SIZED_REQUEST_0_1 SIZED_UP_TO(struct idem_request, reserved)
#define SIZED_RESULT_0_1 SIZED_UP_TO(struct idem_result, memory)
#define SIZED_HTTP_REQUEST_0_1 SIZED_UP_TO(struct idem_http_request, reserved)
#define SIZED_LOOP_0_1 SIZED_UP_TO(struct idem_loop, timer_free)

/* Next to the use of each: the struct has no padding at its end. (On machines of 32 bits it may,
 * and there a later version has to begin its members after it.) */
#define SIZED_ASSERT_FULL(type, size_0_1)                          \
  _Static_assert(sizeof(type) == (size_0_1) || sizeof(void *) < 8, \
                 "padding at the end of a "                        \
                 "struct")

/* Copies `from`, whose first member is its size, to `to` of so many bytes. False: it is smaller
 * than that of 0.1, or sets something that this library does not know. */
bool sized_copy(void *to, size_t to_size, const void *from, size_t size_0_1);

#endif
