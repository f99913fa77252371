/* http_sockets.c - see http_sockets.h. */
#include "server/net/http_sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "server/net/bound_socket.h"

#define BACKLOG 511

static int open_one(struct http_sockets *sockets, const char *text, int port) {
  int fd = bound_socket_open(text, port);
  if (fd < 0) return fd;
  if (listen(fd, BACKLOG) != 0) {
    int error = -errno;
    close(fd);
    return error;
  }
  sockets->fds[sockets->count++] = fd;
  return 0;
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
    if (result == 0 || (optional && bound_socket_is_missing(result))) continue;
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
