/* http_sockets.c - see http_sockets.h. */
#include "server/net/http_sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define BACKLOG 511

static int parse_address(const char *text, int port, struct sockaddr_storage *address) {
  if (strcmp(text, "*") == 0) text = "0.0.0.0";
  if (strcmp(text, "::*") == 0) text = "::";
  if (strchr(text, ':') != NULL)
    return uv_ip6_addr(text, port, (struct sockaddr_in6 *)(void *)address);
  return uv_ip4_addr(text, port, (struct sockaddr_in *)(void *)address);
}

static int listen_at(int fd, const struct sockaddr_storage *address) {
  int on = 1;
  bool v6 = address->ss_family == AF_INET6;
  socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return -errno;
  if (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) return -errno;
  if (bind(fd, (const struct sockaddr *)address, len) != 0) return -errno;
  return listen(fd, BACKLOG) == 0 ? 0 : -errno;
}

static int open_one(struct http_sockets *sockets, const char *text, int port) {
  struct sockaddr_storage address = {0};
  int error = parse_address(text, port, &address);
  if (error != 0) return error;
  int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  error = listen_at(fd, &address);
  if (error == 0) {
    sockets->fds[sockets->count++] = fd;
  } else {
    close(fd);
  }
  return error;
}

/* One with a leading '-' may be missing on this machine. */
static bool may_be_missing(int error) {
  return error == UV_EADDRNOTAVAIL || error == UV_EAFNOSUPPORT || error == UV_EINVAL;
}

bool http_sockets_open(struct http_sockets *sockets, const struct options *options,
                       char error[REFUSAL_BYTES]) {
  char addresses[OPTIONS_VALUE_BYTES], *rest = addresses;
  sockets->count = 0;
  snprintf(addresses, sizeof addresses, "%s", options->http_bind);
  for (char *text; (text = strsep(&rest, " ")) != NULL;) {
    bool optional = *text == '-';
    if (optional) text++;
    if (*text == '\0') continue;
    int result = open_one(sockets, text, (int)options->http_port);
    if (result == 0 || (optional && may_be_missing(result))) continue;
    snprintf(error, REFUSAL_BYTES, "cannot listen on %s http-port %lld: %s", text,
             (long long)options->http_port, uv_strerror(result));
    http_sockets_close(sockets);
    return false;
  }
  if (sockets->count > 0) return true;
  snprintf(error, REFUSAL_BYTES, "no address of http-bind is available");
  return false;
}

void http_sockets_close(struct http_sockets *sockets) {
  while (sockets->count > 0) close(sockets->fds[--sockets->count]);
}

bool http_sockets_is_loopback(const struct sockaddr_storage *address) {
  if (address->ss_family == AF_INET) {
    const struct sockaddr_in *v4 = (const void *)address;
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
  }
  if (address->ss_family != AF_INET6) return false;
  const struct sockaddr_in6 *v6 = (const void *)address;
  return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
         (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
}
