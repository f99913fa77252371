/*
 * options.h - every setting of the server, in one table.
 *
 * A row of the table (options.c) gives a setting its name, kind, bounds, default, one line of help
 * and whether it can change while the server runs. From the row follow the flag (`--port 4336`),
 * the line of the configuration file (`port 4336`), `--help`, CONFIG GET, CONFIG SET, CONFIG
 * REWRITE and the table in server/README.md (a test compares).
 *
 * Lower floors never see this struct: main.c copies what each of them needs into its own small
 * option struct. Not thread-safe: written at start, and by CONFIG SET while the loops stand still.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_H
#define IDEM_SERVER_OPS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/span.h"
#include "server/rules/request.h"

#define OPTIONS_ERROR_BYTES 512
#define OPTIONS_MAX_BIND 16      /* addresses */
#define OPTIONS_MAX_PASSWORD 512 /* bytes */
#define OPTIONS_MAX_LINE 1024    /* bytes of a line of the configuration file */

enum options_loglevel { LOGLEVEL_DEBUG, LOGLEVEL_VERBOSE, LOGLEVEL_NOTICE, LOGLEVEL_WARNING };

/* Values in base units: milliseconds, bytes, counts. Strings are owned, never NULL; "" is none. */
struct options {
  /* network */
  int64_t port; /* TCP port; 0: the kernel picks one */
  /* Numeric addresses, blank-separated; a leading '-' means "skip when not available"; "*" is all
   * v4, "::*" or "::" all v6; "" is no TCP. */
  char *bind;
  char *unixsocket;       /* path, "" none */
  int64_t unixsocketperm; /* mode, octal in text */
  int64_t tcp_backlog;
  int64_t tcp_keepalive_s; /* seconds, 0 off; `tcp-keepalive 300` */
  int64_t threads;         /* event loops */
  int64_t maxclients;
  int64_t timeout_s;      /* closes connections idle for so long, never one that waits; 0 never */
  bool insecure;          /* a non-loopback address without a password is allowed */
  char *requirepass;      /* secret: never on the command line, never shown */
  char *requirepass_file; /* path of a file that holds the password */
  /* limits of a connection */
  /* Bytes that may wait for a reader; more stops reading its commands (pushes: closes it). */
  int64_t client_output_total; /* bytes that may wait for all readers together; over it each may
                                  have little */
  int64_t client_output_limit;
  int64_t client_output_timeout_ms; /* a reader that takes nothing for so long is closed */
  int64_t client_input_total; /* bytes of half-received and queued commands of all connections */
  /* contract */
  struct request_limits limits; /* of what a request may ask */
  int64_t retention_ms;
  int64_t waiters_per_key, waiters_total;
  /* memory */
  int64_t maxmemory;     /* bytes, 0 none */
  int64_t store_reserve; /* kept for the response of each running claim when maxmemory is set */
  /* running */
  int64_t drain_timeout_ms;
  int64_t loglevel;          /* enum options_loglevel */
  int64_t slowlog_slower_us; /* microseconds, -1 off */
  int64_t slowlog_max_len;   /* entries */
  bool enable_debug_command;
  char *logfile;     /* "" is standard output */
  char *config_file; /* absolute path of the loaded file, "" none; no row of its own */
};

/* Fills in the defaults. deinit frees (and wipes the password). */
void options_init(struct options *options);
void options_deinit(struct options *options);

/*
 * `idem-server [FILE] [--name value ...]`. The file is read first, then the flags, which win.
 * Returns OPTIONS_RUN, or OPTIONS_EXIT after --help or --version were printed to `out`, or
 * OPTIONS_REFUSED with one line in error, which names the file and line or the flag, what was wrong
 * and what would be right. options_check is part of it. The options stay valid for deinit either
 * way.
 */
enum options_result { OPTIONS_RUN, OPTIONS_EXIT, OPTIONS_REFUSED };
enum options_result options_from_arguments(struct options *options, int argc, char **argv,
                                           FILE *out, char error[OPTIONS_ERROR_BYTES]);

/* Lowers lease, ttl and waiters-per-key, where they have their defaults, to lease-max, ttl-max and
 * waiters-total. */
void options_follow_maxima(struct options *options);

/* Whether the settings make sense together: defaults within their maxima, something to listen on, a
 * password for an address that other machines reach. */
bool options_check(const struct options *options, char error[OPTIONS_ERROR_BYTES]);

/* CONFIG GET: rows by index, 0 .. options_count()-1, in base units; secrets read as "". */
#define OPTIONS_TEXT_BYTES 1024
size_t options_count(void);
const char *options_name(size_t index);
void options_text(const struct options *options, size_t index, char text[OPTIONS_TEXT_BYTES]);

/*
 * CONFIG SET of one row. OPTIONS_REFUSED: unknown, not changeable while running, or a bad value,
 * with the reason in error; the options are unchanged then. options_check is part of it. A new
 * requirepass takes the place of requirepass-file.
 */
enum options_result options_set_live(struct options *options, struct span name, struct span value,
                                     char error[OPTIONS_ERROR_BYTES]);

/* CONFIG REWRITE: writes the settings that differ from the defaults into config_file, keeping its
 * comments and the order of its lines, atomically (new file, fsync, rename, same mode). False with
 * the reason when there is no file or it fails. */
bool options_rewrite(const struct options *options, char error[OPTIONS_ERROR_BYTES]);

/* The rows as a Markdown table, for server/README.md (`idem-server --help markdown` prints it). */
void options_print_markdown(FILE *out);

#endif
