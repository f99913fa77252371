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

/* Runs what is left in the input, as far as its share goes. It was taken out of group.runnable. */
void serve_resume(struct conn *conn);
/* The rest of its command did not come in time: replies an error, and ends it. */
void serve_late(struct conn *conn);

#endif
