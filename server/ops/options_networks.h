/*
 * options_networks.h - the value of `proxy-protocol`: numeric addresses and networks with blanks
 * between them, "10.0.0.7 192.168.0.0/16 fd00::/8". Names are not looked up. Pure.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_NETWORKS_H
#define IDEM_SERVER_OPS_OPTIONS_NETWORKS_H

#include <netinet/in.h>

#include "server/ops/refusal.h"

#define OPTIONS_NETWORKS_MAX 16

/* False with the reason. */
bool options_networks_check(const char *list, char error[REFUSAL_BYTES]);
/* Whether the address is in one of them; one of IPv4 is mapped (::ffff:10.0.0.7). */
bool options_networks_have(const char *list, const struct in6_addr *address);

#endif
