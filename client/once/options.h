/*
 * options.h - the command line of idem-once, and what the environment adds to it.
 *
 * Invariant: what is wrong is said and ends the process with EX_USAGE before anything was asked of
 * a server; no message quotes a password.
 */
#ifndef IDEM_CLIENT_ONCE_OPTIONS_H
#define IDEM_CLIENT_ONCE_OPTIONS_H

#include <stdint.h>

/* Of a server's URL with its password in it, and of a password: what libidem takes. */
#define OPTIONS_URL_BYTES 2049
#define OPTIONS_PASSWORD_BYTES 513

struct options {
  char url[OPTIONS_URL_BYTES];
  const char *key;
  int64_t lease_ms, wait_ms, ttl_ms;
  int hold, takeover, check_command, retry_failed, kill_on_loss, fail_open, foreground, verbose;
  char **command;
};

void options_parse(struct options *options, int argc, char **argv);
/* Takes the password out of the environment that the command will have. */
void options_hide_password(void);

#endif
