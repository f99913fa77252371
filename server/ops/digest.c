/* digest.c - see digest.h. */
#include "server/ops/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

bool digest_of(struct span text, struct digest *digest) {
  return EVP_Digest(text.data, text.len, digest->bytes, NULL, EVP_sha256(), NULL) == 1;
}

void digest_text(const struct digest *digest, char text[DIGEST_HEX]) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < DIGEST_BYTES; i++) {
    text[2 * i] = digits[digest->bytes[i] >> 4];
    text[2 * i + 1] = digits[digest->bytes[i] & 15];
  }
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool digest_parse(struct span text, struct digest *digest) {
  if (text.len != DIGEST_HEX) return false;
  for (size_t i = 0; i < DIGEST_BYTES; i++) {
    int high = digit(text.data[2 * i]), low = digit(text.data[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    digest->bytes[i] = (unsigned char)(high << 4 | low);
  }
  return true;
}

bool digest_equal(const struct digest *a, const struct digest *b) {
  return CRYPTO_memcmp(a->bytes, b->bytes, DIGEST_BYTES) == 0;
}
