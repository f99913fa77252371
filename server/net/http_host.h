/*
 * http_host.h - whether a request was meant for this server: by its Host, so that a page of a
 * stranger whose name leads to this address (DNS rebinding) reads nothing.
 *
 * A name is needed for that, so every numeric address is allowed, as are localhost and the names
 * that the operator lists. Pure.
 */
#ifndef IDEM_SERVER_NET_HTTP_HOST_H
#define IDEM_SERVER_NET_HTTP_HOST_H

#include "proto/span.h"

/* host: the value of the field, with or without a port. names: of the option, with blanks between
 * them. */
bool http_host_allowed(struct span host, const char *names);

#endif
