/*
 * options.h - the command line of idem-once, and what the environment adds to it.
 *
 * Invariant: a mistake is reported and ends the process with EX_USAGE before a server is asked; no
 * message quotes a password.
 */
#ifndef IDEM_CLIENT_ONCE_OPTIONS_H
#define IDEM_CLIENT_ONCE_OPTIONS_H

#include <stdint.h>

/* Room for a server's URL with its password in it, and for a password: what libidem takes. */
#define OPTIONS_URL_BYTES 2049
#define OPTIONS_PASSWORD_BYTES 513

struct options {
  char url[OPTIONS_URL_BYTES];
  const char *ca_file, *ca_dir, *cert_file, *key_file, *server_name; /* TLS; NULL: not given */
  int insecure_any_certificate;
  const char *key;
  int64_t lease_ms, wait_ms, ttl_ms;
  int64_t born_unix_ms; /* 0: not given */
  uint64_t takeover;    /* a token; 0: not given */
  int hold, check_command, kill_on_loss, fail_open, foreground, verbose;
  int retry_failed, failed_did_nothing;
  char **command;
};

/* Fills *options, which borrows from argv and the environment; ends the process with EX_USAGE when
 * something is wrong, with 0 after --help and --version. */
void options_parse(struct options *options, int argc, char **argv);
/* Takes the password out of the environment that the command will have. */
void options_hide_password(void);

#endif
