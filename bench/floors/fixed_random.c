/* A getrandom that always gives the same bytes, preloaded by instructions.py so that a server
 * hashes the same keys to the same places in every run. Only for measuring: such a server can be
 * attacked.
 */
#include <stddef.h>
#include <string.h>
#include <sys/types.h>

ssize_t getrandom(void *buffer, size_t bytes, unsigned flags);

ssize_t getrandom(void *buffer, size_t bytes, unsigned flags) {
  (void)flags;
  memset(buffer, 0x5a, bytes);
  return (ssize_t)bytes;
}
