/*
 * proxy_header.h - the header of the PROXY protocol, version 2, which a load balancer sends before
 * the client's first byte, and before TLS (haproxy, doc/proxy-protocol.txt):
 *
 *     signature 12 | version, command 1 | family 1 | length 2 | addresses | what is skipped (TLVs)
 *
 * A parser: no allocation, no state. Version 1, a line of text, is told apart and not read.
 */
#ifndef IDEM_SERVER_NET_PROXY_HEADER_H
#define IDEM_SERVER_NET_PROXY_HEADER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "proto/span.h"

#define PROXY_HEADER_FIXED 16u
/* The most that is taken. TLVs of balancers have some hundred bytes. */
#define PROXY_HEADER_BYTES 2048u

enum proxy_header_verdict {
  PROXY_HEADER_MORE,      /* header->bytes: so many in all, as far as it is known */
  PROXY_HEADER_WHOLE,     /* header->bytes: its length */
  PROXY_HEADER_ALIEN,     /* no header */
  PROXY_HEADER_TEXT,      /* of version 1 */
  PROXY_HEADER_MALFORMED, /* or of a kind that cannot be a connection */
  PROXY_HEADER_LONG,      /* over PROXY_HEADER_BYTES */
};

struct proxy_header {
  size_t bytes;
  bool addressed; /* false: LOCAL, or of no IP address: the addresses are the socket's own */
  struct sockaddr_storage peer, local;
};

enum proxy_header_verdict proxy_header_read(struct span bytes, struct proxy_header *header);
/* One without addresses: its sender speaks for itself. */
struct span proxy_header_local(void);
/* What the sender is told. */
const char *proxy_header_reason(enum proxy_header_verdict verdict);

#endif
