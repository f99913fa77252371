/*
 * serve.h - the events of a connection's stream: bytes arrive and are run, or are kept as its input
 * until they can be.
 */
#ifndef IDEM_SERVER_NET_SERVE_H
#define IDEM_SERVER_NET_SERVE_H

#include "server/net/conn.h"

/* Bytes that a connection may have after a command that waits. */
#define SERVE_BYTES_AFTER_WAIT (1024u * 1024)

/* Of the stream in a struct conn. */
extern const struct stream_events SERVE_EVENTS;

/*
 * A read that brings one short command is not run at once: its bytes stay where they are, the next
 * connection is read to the room after them, and the commands of several connections run one after
 * the other, so that what they need is fetched while others are read.
 *
 *     read_buffer  [ conn a: CLAIM x ][ conn b: FETCH y ][ conn c: CLAIM ... is read to here )
 *     batch        [ CLAIM x         ][ FETCH y         ][
 *
 * They run when there are as many as a batch holds, when the turn ends, and before anything else is
 * run: so all run in the order in which they were read. What happens to a connection meanwhile (it
 * is closed, paused, over a limit) is looked at then, as if it had been read then.
 */
#define SERVE_QUEUED_BYTES 1024u /* of a longer command, what is fetched saves little */
void serve_queued(struct conn_group *group);
static inline void serve_run_queued(struct conn_group *group) {
  if (group->queued_count > 0) serve_queued(group);
}

/* Runs what is left in the input, as far as its share goes. It was taken out of group.runnable. */
void serve_resume(struct conn *conn);
/* The rest of its command did not come in time: replies an error, and ends it. */
void serve_late(struct conn *conn);

#endif
