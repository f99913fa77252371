/*
 * fuzz_proxy.c - the PROXY header on arbitrary bytes: no reading beyond them; a prefix never has
 * another verdict than MORE or the whole's; what is wanted never shrinks and is bounded.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/net/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory of its own, so that the sanitizer sees the end. */
static enum proxy_header_verdict read_copy(const uint8_t *data, size_t size,
                                           struct proxy_header *header) {
  char *copy = malloc(size + 1);
  assert(copy != NULL);
  memcpy(copy + 1, data, size);
  enum proxy_header_verdict verdict = proxy_header_read((struct span){copy + 1, size}, header);
  free(copy);
  return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct proxy_header header;
  enum proxy_header_verdict verdict = read_copy(data, size, &header);
  size_t wanted = 0;
  for (size_t len = 0; len < size && len < 64; len++) {
    struct proxy_header part;
    enum proxy_header_verdict early = read_copy(data, len, &part);
    assert(early == PROXY_HEADER_MORE || early == verdict);
    if (early != PROXY_HEADER_MORE) break;
    assert(part.bytes > len && part.bytes >= wanted && part.bytes <= PROXY_HEADER_BYTES);
    wanted = part.bytes;
  }
  if (verdict == PROXY_HEADER_WHOLE) {
    assert(header.bytes <= size);
    if (header.addressed)
      assert(header.peer.ss_family != 0 && header.peer.ss_family == header.local.ss_family);
  }
  return 0;
}
