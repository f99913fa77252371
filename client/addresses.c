/* addresses.c - see addresses.h. */
#include "client/addresses.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "client/clock.h"

/* Between two attempts to resolve the name, which block the loop: this, and RESOLVE_SHARE times as
 * long as the former one took. */
#define RESOLVE_PAUSE_MS 1000
#define RESOLVE_SHARE 9

static void keep(struct addresses *addresses, const struct addrinfo *found) {
  addresses->count = addresses->current = 0;
  for (; found != NULL && addresses->count < ADDRESSES_MAX; found = found->ai_next) {
    if (found->ai_addrlen > sizeof addresses->list[0]) continue;
    memcpy(&addresses->list[addresses->count], found->ai_addr, found->ai_addrlen);
    addresses->sizes[addresses->count++] = found->ai_addrlen;
  }
}

enum idem_status addresses_resolve(struct addresses *addresses, const struct target *target,
                                   struct idem_error *why) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
  int64_t start_ms = clock_ms();
  int code = getaddrinfo(target->host, target->port, &hints, &found);
  int64_t now = clock_ms();
  addresses->resolve_ms = now + RESOLVE_PAUSE_MS + RESOLVE_SHARE * (now - start_ms);
  if (code != 0) {
    snprintf(why->text, sizeof why->text, "cannot resolve %.70s: %.60s", target->host,
             gai_strerror(code));
    return code == EAI_MEMORY ? IDEM_NO_MEMORY : IDEM_UNAVAILABLE;
  }
  keep(addresses, found);
  freeaddrinfo(found);
  addresses->failed = false;
  return IDEM_OK;
}

enum idem_status addresses_find(struct addresses *addresses, const struct target *target,
                                int64_t now, struct idem_error *why) {
  bool wanting = addresses->count == 0 || addresses->failed;
  snprintf(why->text, sizeof why->text, "cannot resolve %.70s", target->host);
  if (wanting && now >= addresses->resolve_ms) {
    enum idem_status status = addresses_resolve(addresses, target, why);
    if (status != IDEM_OK && addresses->count == 0) return status;
  }
  return addresses->count > 0 ? IDEM_OK : IDEM_UNAVAILABLE;
}

void addresses_turn(struct addresses *addresses) {
  if (++addresses->current < addresses->count) return;
  addresses->current = 0;
  addresses->failed = true;
}

void addresses_worked(struct addresses *addresses) { addresses->failed = false; }
