/* proxied.c - see proxied.h. */
#include "server/net/proxied.h"

#include <stdlib.h>
#include <sys/resource.h>

/* fs.nr_open, Linux' default limit; a table of 8 MiB, of which only used pages are resident. */
#define MOST_DESCRIPTORS (1024u * 1024)

static unsigned most_descriptors(void) {
  struct rlimit limit;
  bool known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < MOST_DESCRIPTORS;
  return known ? (unsigned)limit.rlim_max : MOST_DESCRIPTORS;
}

struct proxied *proxied_create(void) {
  unsigned count = most_descriptors();
  struct proxied *proxied = calloc(1, sizeof *proxied + count * sizeof proxied->places[0]);
  if (proxied != NULL) proxied->count = count;
  return proxied;
}

void proxied_destroy(struct proxied *proxied) {
  if (proxied == NULL) return;
  for (unsigned i = 0; i < proxied->count; i++) free(atomic_load(&proxied->places[i]));
  free(proxied);
}

bool proxied_put(struct proxied *proxied, int fd, struct session_proxied *addresses) {
  if ((unsigned)fd >= proxied->count) return false;
  free(atomic_exchange(&proxied->places[fd], addresses));
  return true;
}

struct session_proxied *proxied_take(struct proxied *proxied, int fd) {
  if (proxied == NULL || (unsigned)fd >= proxied->count) return NULL;
  return atomic_exchange(&proxied->places[fd], NULL);
}
