/* UUID texts from a counter. */
#include "bench/key.h"

#include <stddef.h>

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t key_mix(uint64_t value) {
  value += UINT64_C(0x9e3779b97f4a7c15);
  value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
  return value ^ (value >> 31);
}

void key_write(uint64_t base, uint64_t index, char *key) {
  static const char hex[] = "0123456789abcdef";
  static const unsigned char places[32] = {0,  1,  2,  3,  4,  5,  6,  7,  9,  10, 11,
                                           12, 14, 15, 16, 17, 19, 20, 21, 22, 24, 25,
                                           26, 27, 28, 29, 30, 31, 32, 33, 34, 35};
  uint64_t high = key_mix(base + 2 * index), low = key_mix(base + 2 * index + 1);
  /* Version 4, variant 1: what a UUID library would call random. */
  high = (high & ~UINT64_C(0xf000)) | UINT64_C(0x4000);
  low = (low >> 2) | (UINT64_C(1) << 63);
  for (size_t i = 0; i < 16; i++) {
    key[places[i]] = hex[(high >> (60 - 4 * i)) & 15];
    key[places[16 + i]] = hex[(low >> (60 - 4 * i)) & 15];
  }
  key[8] = key[13] = key[18] = key[23] = '-';
}
