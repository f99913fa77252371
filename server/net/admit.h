/* admit.h - a socket becomes a connection, or is refused. */
#ifndef IDEM_SERVER_NET_ADMIT_H
#define IDEM_SERVER_NET_ADMIT_H

#include <uv.h>

#include "server/net/conn.h"
#include "server/net/descriptors.h"
#include "server/net/handed.h"
#include "server/net/tls_turn.h"

/* Where connections of one loop go. All is borrowed. */
struct admit_place {
  struct conn_group *group;
  uv_loop_t *uv;
  struct descriptors *descriptors;
  struct tls_turn *tls; /* NULL: there is no socket for TLS */
};

/* Serves it, or refuses it when memory is short. It is counted in the group already. */
void admit_socket(const struct admit_place *place, struct handed_socket socket);
/* Gives the kernel tcp-keepalive and client-output-timeout anew, of all connections: CONFIG SET has
 * changed them. The loop is the caller's, or paused. */
void admit_set_up_all(struct conn_group *group);
/* Sends the error that there are too many clients, and closes the socket. */
void admit_refuse(struct conn_group *group, struct handed_socket socket);
/* Logs the reason, unless one was logged lately. */
void admit_log_refusal(struct conn_group *group, const char *why);

#endif
