/* http_sockets.h - the listening sockets of the HTTP port. */
#ifndef IDEM_SERVER_NET_HTTP_SOCKETS_H
#define IDEM_SERVER_NET_HTTP_SOCKETS_H

#include <sys/socket.h>

#include "server/ops/options.h"

#define HTTP_SOCKETS_MAX OPTIONS_BIND_MAX

struct http_sockets {
  int fds[HTTP_SOCKETS_MAX];
  unsigned count;
};

/* Listens where http-bind and http-port say. False with the reason; then none is open. */
bool http_sockets_open(struct http_sockets *sockets, const struct options *options,
                       char error[REFUSAL_BYTES]);
void http_sockets_close(struct http_sockets *sockets);

/* Whether it is an address of the machine itself. */
bool http_sockets_is_loopback(const struct sockaddr_storage *address);

#endif
