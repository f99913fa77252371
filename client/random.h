/* random.h - random bytes and jitter. Straight from the kernel: a buffered generator would repeat
 * itself after fork. */
#ifndef IDEM_CLIENT_RANDOM_H
#define IDEM_CLIENT_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 128 random bits, in hexadecimal. */
#define RANDOM_HEX_BYTES 32

/* Writes RANDOM_HEX_BYTES, not terminated. */
bool random_hex(char *out);
/* A duration in [ms/2, ms], so that callers that failed together do not come back together. */
int64_t random_pause_ms(int64_t ms);

#endif
