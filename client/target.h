/*
 * target.h - where the server is: a URL, taken apart. Knows no socket.
 *
 * Invariant: exactly one of host and path is set.
 */
#ifndef IDEM_CLIENT_TARGET_H
#define IDEM_CLIENT_TARGET_H

#include <stdbool.h>

#include "client/idem.h"

#define TARGET_PORT "4336"
#define TARGET_URL_LIMIT 2048

struct target {
  const char *host;
  const char *port;
  const char *path;     /* of a unix socket */
  const char *user;     /* NULL: none */
  const char *password; /* NULL: none */
  const char *name;     /* "host:port" or the path: for messages, without the password */
  bool tls;
  char *memory; /* private: all of the above */
};

/* IDEM_OK, IDEM_INVALID (error says what is wrong, never quoting the password) or IDEM_NO_MEMORY.
 */
enum idem_status target_parse(struct target *target, const char *url, struct idem_error *error);
void target_deinit(struct target *target);

#endif
