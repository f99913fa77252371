/*
 * target.h - where the server is: a URL, taken apart; or the nodes of a cluster: several servers in
 * one URL. Knows no socket.
 *
 * Invariant: exactly one of host and path is set. With several servers host and port are those of
 * the first one.
 */
#ifndef IDEM_CLIENT_TARGET_H
#define IDEM_CLIENT_TARGET_H

#include <stdbool.h>

#include "client/idem.h"

#define TARGET_PORT "4336"
#define TARGET_URL_LIMIT 2048
#define TARGET_SEEDS_MAX 16

struct target_seed {
  const char *host;
  const char *port;
};

struct target {
  const char *host;
  const char *port;
  const char *path;     /* of a unix socket */
  const char *user;     /* NULL: none */
  const char *password; /* NULL: none */
  const char *name;     /* "host:port", several with commas, or the path: for messages */
  bool tls;
  unsigned seed_count;                        /* servers in the URL; a path is one */
  struct target_seed seeds[TARGET_SEEDS_MAX]; /* not of a path */
  char *memory;                               /* private: all of the above */
};

/* IDEM_OK, IDEM_INVALID (error says what is wrong, never quoting the password) or IDEM_NO_MEMORY.
 */
enum idem_status target_parse(struct target *target, const char *url, struct idem_error *error);
void target_deinit(struct target *target);

/* One of the servers in the URL by itself; user, password and path are borrowed from `whole`.
 * False: no memory. */
bool target_of_seed(struct target *target, const struct target *whole, unsigned seed);
/* A server at this address, to be spoken to like those of the URL. False: no memory. */
bool target_of_node(struct target *target, const struct target *whole, const char *host,
                    const char *port);
/* An address, not a name; one with a zone counts as a name. */
bool target_is_numeric(const char *host);
/* A number from 1 to 65535. */
bool target_port_valid(const char *port);

#endif
