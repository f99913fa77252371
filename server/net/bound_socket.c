/* bound_socket.c - see bound_socket.h. */
#include "server/net/bound_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

static int parse_address(const char *text, int port, struct sockaddr_storage *address) {
  if (strcmp(text, "*") == 0) text = "0.0.0.0";
  if (strcmp(text, "::*") == 0) text = "::";
  if (strchr(text, ':') != NULL)
    return uv_ip6_addr(text, port, (struct sockaddr_in6 *)(void *)address);
  return uv_ip4_addr(text, port, (struct sockaddr_in *)(void *)address);
}

static int bind_tcp(int fd, const struct sockaddr_storage *address) {
  int on = 1;
  bool v6 = address->ss_family == AF_INET6;
  socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return -errno;
  if (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) return -errno;
  return bind(fd, (const struct sockaddr *)address, len) == 0 ? 0 : -errno;
}

int bound_socket_open(const char *address, int port) {
  struct sockaddr_storage parsed = {0};
  int error = parse_address(address, port, &parsed);
  if (error != 0) return error;
  int fd = socket(parsed.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  error = bind_tcp(fd, &parsed);
  if (error == 0) return fd;
  close(fd);
  return error;
}

bool bound_socket_is_missing(int error) {
  return error == UV_EADDRNOTAVAIL || error == UV_EAFNOSUPPORT || error == UV_EINVAL;
}
