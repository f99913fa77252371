/* Keys of a run: texts of random UUIDs, the same for the same base and index, so that a run can be
 * repeated and a key be written again without keeping a list. Pure.
 */
#ifndef IDEM_BENCH_KEY_H
#define IDEM_BENCH_KEY_H

#include <stdint.h>

/* One-to-one, so that different inputs never meet. */
uint64_t key_mix(uint64_t value);

/* Writes MESSAGE_KEY_BYTES bytes. Bases of different seeds, by key_mix, are far apart. */
void key_write(uint64_t base, uint64_t index, char *key);

#endif
