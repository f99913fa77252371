/*
 * terminator.h - TLS in front of a port: takes it off, passes the rest on, and does wrong what it
 * is told to do wrong. Runs on a thread of its own, on loopback, on a port of the kernel's choice.
 */
#ifndef IDEM_TESTS_CLIENT_TERMINATOR_H
#define IDEM_TESTS_CLIENT_TERMINATOR_H

#include <stddef.h>

enum terminator_manner {
  TERMINATOR_SERVES,
  TERMINATOR_STALLS,   /* takes connections and says nothing */
  TERMINATOR_HANGS_UP, /* hears the first bytes, and closes */
  TERMINATOR_PLAIN     /* answers in plain text */
};

struct terminator_options {
  enum terminator_manner manner;
  const char *cert;      /* of the server, with its key */
  const char *client_ca; /* clients need a certificate of it; NULL: none */
  int version_max;       /* of TLS, OpenSSL's number; 0: any */
  size_t record_bytes;   /* that are put into one record of TLS; 0: as many as fit */
};

struct terminator;

struct terminator *terminator_open(int server_port, const struct terminator_options *options);
int terminator_port(const struct terminator *terminator);
/* For the connections from now on. Replaced as a whole. */
void terminator_set(struct terminator *terminator, const struct terminator_options *options);
/* Ends all connections that are open: with TLS's own end, or without. */
enum terminator_end { TERMINATOR_CLOSES, TERMINATOR_CUTS };
void terminator_end_all(struct terminator *terminator, enum terminator_end how);
/* Says something unasked on each. */
void terminator_say(struct terminator *terminator, const char *text);
/* Accepted so far. */
int terminator_connections(struct terminator *terminator);
/* Handshakes that resumed a session. Those of former options cannot be. */
int terminator_resumed(struct terminator *terminator);
/* Whether a client ended one with TLS's own end. */
int terminator_closed(struct terminator *terminator);
void terminator_close(struct terminator *terminator);

#endif
