/* address.c - see address.h. */
#include "server/net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

void address_write(const struct sockaddr_storage *address, char text[SESSION_ADDRESS_BYTES]) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (address->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const void *)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    snprintf(text, SESSION_ADDRESS_BYTES, "[%s]:%d", host, ntohs(v6->sin6_port));
  } else {
    const struct sockaddr_in *v4 = (const void *)address;
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    snprintf(text, SESSION_ADDRESS_BYTES, "%s:%d", host, ntohs(v4->sin_port));
  }
}

void address_describe(struct session_address *address, int fd, const char *unix_path) {
  if (unix_path != NULL) {
    snprintf(address->peer, SESSION_ADDRESS_BYTES, "%s:0", unix_path);
    snprintf(address->local, SESSION_ADDRESS_BYTES, "%s:0", unix_path);
    return;
  }
  struct sockaddr_storage storage = {0};
  socklen_t len = sizeof storage;
  if (getpeername(fd, (struct sockaddr *)&storage, &len) == 0)
    address_write(&storage, address->peer);
  len = sizeof storage;
  if (getsockname(fd, (struct sockaddr *)&storage, &len) == 0)
    address_write(&storage, address->local);
}

/* IPv4: mapped. */
static bool to_v6(const struct sockaddr_storage *storage, struct in6_addr *address) {
  if (storage->ss_family == AF_INET6) {
    *address = ((const struct sockaddr_in6 *)(const void *)storage)->sin6_addr;
    return true;
  }
  *address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
  memcpy(address->s6_addr + 12, &((const struct sockaddr_in *)(const void *)storage)->sin_addr, 4);
  return storage->ss_family == AF_INET;
}

bool address_of_peer(int fd, struct in6_addr *address) {
  struct sockaddr_storage storage = {0};
  socklen_t len = sizeof storage;
  return getpeername(fd, (struct sockaddr *)&storage, &len) == 0 && to_v6(&storage, address);
}

bool address_own(int fd, struct in6_addr *address) {
  struct sockaddr_storage storage = {0};
  socklen_t len = sizeof storage;
  return getsockname(fd, (struct sockaddr *)&storage, &len) == 0 && to_v6(&storage, address);
}
