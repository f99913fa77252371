/*
 * turn_share.h - one connection's share of a turn: runs commands out of its bytes until one blocks
 * it, its share is used, or the next command is not whole. Then the other connections have theirs.
 */
#ifndef IDEM_SERVER_NET_TURN_SHARE_H
#define IDEM_SERVER_NET_TURN_SHARE_H

#include "server/net/conn.h"

/* So many commands, so much time, or so many bytes of replies, whichever is used first. */
#define TURN_SHARE_COMMANDS 512u
#define TURN_SHARE_NS 1000000u
#define TURN_SHARE_BYTES (1024u * 1024)
/* When a part of the turn has lasted so long, each further connection has one batch of short
 * commands and no more. */
#define TURN_SHARE_PART_NS 5000000u

/*
 * Runs what is in the batch already, which `reader` has found in the bytes, and what else it finds
 * there. conn_group.stamp_ns has the time, also afterwards, about. body: of the
 * first command; NULL: it has none of its own. Returns how many were consumed; what is left is
 * incomplete, or (conn.unrun) was not run. The session may be marked to end; the input stays, since
 * the bytes may lie in it.
 */
size_t turn_share_run(struct conn *conn, struct resp_reader *reader, struct span bytes,
                      struct received_body *body);

#endif
