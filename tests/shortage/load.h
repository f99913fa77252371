/*
 * load.h - a little of everything that clients do, each step on new connections; and a list of what
 * the server has acknowledged, which must stay true.
 *
 * Every step accepts three outcomes: what the protocol says, an error for lack of memory, a closed
 * connection. Any other outcome is a failure, and so is silence.
 */
#ifndef IDEM_TESTS_SHORTAGE_LOAD_H
#define IDEM_TESTS_SHORTAGE_LOAD_H

struct load {
  int port, tls_port, http_port; /* set before use */
  const char *path;
  long round;          /* part of all names */
  unsigned info_lines; /* lines of INFO when nothing fails */
};

/* path: of the unix socket, borrowed. One load per process. */
void load_init(struct load *load, const char *path);
/* All steps once. */
void load_round(struct load *load);
/* What is done over TLS: handshakes, commands, large replies, and an end. */
void load_tls_round(struct load *load);
/* To be called when nothing fails any more. Checks that every loop serves new connections, and that
 * all that was acknowledged since the last call still holds. Then empties the server. */
void load_verify(struct load *load);

#endif
