/*
 * output.h - a session's replies onto a stream: the bytes and references of an output as parts of
 * one write; what the kernel does not take at once is left to the stream.
 *
 * Invariant: session.sending_bytes, and instance.sending_bytes for all, are what was left to
 * streams and not yet taken by the kernel.
 */
#ifndef IDEM_SERVER_NET_OUTPUT_H
#define IDEM_SERVER_NET_OUTPUT_H

#include "server/commands/session.h"
#include "server/net/stream.h"

enum output_result {
  OUTPUT_SENT, /* all, or there was nothing */
  OUTPUT_LEFT, /* the stream has the rest, and calls `written` with the output as `later` */
  OUTPUT_LOST, /* the replies cannot be sent: the connection has to close */
};

/* Sends the session's replies. `queued`: earlier outputs are left to the stream. */
enum output_result output_send(struct stream *stream, struct session *session,
                               struct worker *worker, bool queued);
/* Counts what the kernel has taken of what is left to the stream; `sent`: it was sent, not dropped.
 * Returns whether it took any. */
bool output_note_taken(const struct stream *stream, struct session *session, struct worker *worker,
                       bool sent);
/* The stream has done with an output that was left to it. */
void output_done(struct resp_output *out, struct worker *worker);

#endif
