/*
 * options.h - every setting of the server: struct options, and one table of rows that all ways to
 * read, show and change a setting go through.
 *
 * The way of an option. Its row in the table (options.c) says how it is written, its bounds,
 * default, help, and whether it is live; its value lies in the field of struct options that the row
 * names. At start options_arguments_parse takes the values from the file and the flags
 * (options_value.h), options_follow_maxima fits defaults to lower maxima, and options_check looks
 * at the whole. From then on code that obeys a live option reads its field when it needs it, in
 * worker.options, so that a change needs nothing else. Some have copies where this struct cannot be
 * seen: main.c gives the log its level and its form, net/server.c gives the engines their
 * engine_options, and net/admit.c gives the kernel two time-outs of each connection. CONFIG SET
 * (commands/config.c) goes through options_live_set, which checks the whole again, and then through
 * instance.reconfigured, which makes those copies again, or refuses; then CONFIG SET puts the
 * former values back. An option that is not live may be copied anywhere. Flags, lines of the file,
 * --help, CONFIG GET, CONFIG REWRITE, the table in server/README.md and the manual follow from the
 * row.
 *
 * To add one: a field below, a row in options.c, and the code that obeys it.
 *
 * Not thread-safe: written at start, and by CONFIG SET while the other loops are paused.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_H
#define IDEM_SERVER_OPS_OPTIONS_H

#include "server/ops/options_bind.h"
#include "server/ops/options_value.h"
#include "server/rules/request.h"

#define OPTIONS_PASSWORD_MAX 512 /* bytes */
#define OPTIONS_PASSWORDS 2      /* of requirepass-file */
#define OPTIONS_ROWS_MAX 128

struct options_user;

/* Whether the default user needs a password: who says so. */
enum options_default_user {
  OPTIONS_DEFAULT_USER_BY_PASSWORD, /* requirepass, as long as no user was read */
  OPTIONS_DEFAULT_USER_OPEN,
  OPTIONS_DEFAULT_USER_CLOSED
};

/* Values in base units: milliseconds, bytes, counts. Strings are owned, never NULL; "" is none. */
struct options {
  /* network */
  int64_t port;           /* TCP port; 0: the kernel picks one, or none with tls_port */
  char *bind;             /* addresses (options_bind.h); "" is no TCP */
  char *unixsocket;       /* path, "" none */
  int64_t unixsocketperm; /* mode, octal in text */
  int64_t tcp_backlog;
  char *proxy_protocol;    /* networks of load balancers (options_networks.h); "" none */
  int64_t tcp_keepalive_s; /* seconds, 0 off; `tcp-keepalive 300` */
  int64_t threads;         /* event loops, each in its own thread */
  int64_t maxclients;
  int64_t timeout_s; /* closes a connection after so long without a command; 0 never */
  int64_t insecure;  /* enum options_insecure */
  /* The default user's passwords: SHA-256 in hexadecimal, with blanks between them. Secret: never
   * on the command line, never shown. */
  char *requirepass;
  /* For who signs in elsewhere (--ping): before the options are read, true; then the first password
   * as it was given, NULL without one. */
  bool keeps_password;
  char *password;
  char *requirepass_file;        /* path of a file that holds up to two passwords */
  int64_t requirepass_file_mode; /* enum options_file_mode */
  char *aclfile;                 /* path, "" none */
  int64_t acl_pubsub_default;    /* enum options_acl_pubsub */
  int64_t acllog_max_len;        /* entries */
  /* HTTP port */
  int64_t http_port; /* 0: none */
  char *http_bind;   /* addresses (options_bind.h) */
  char *http_hosts;  /* names in Host, with blanks between them */
  bool http_keys;    /* shows whole keys to other machines */
  /* TLS (options_check.h) */
  int64_t tls_port; /* 0: none */
  char *tls_cert_file, *tls_key_file;
  char *tls_key_file_pass; /* secret, as requirepass */
  char *tls_ca_cert_file, *tls_ca_cert_dir;
  int64_t tls_auth_clients; /* enum options_tls_auth_clients */
  char *tls_protocols;      /* words */
  char *tls_ciphers, *tls_ciphersuites;
  bool tls_prefer_server_ciphers;
  bool tls_session_caching;
  int64_t tls_session_cache_timeout_s;
  uint64_t tls_changes; /* it has no row: counts what CONFIG SET did to these */
  /* limits of a connection */
  /* Bytes of replies that may wait for one client; above it no more of its commands are read, and
   * a subscriber is closed. */
  int64_t client_output_limit;
  int64_t client_output_total;      /* the same of all clients together (session.h) */
  int64_t client_output_timeout_ms; /* closes a client that takes none of its replies for so long */
  int64_t client_input_total;       /* bytes of half-received and queued commands, of all clients */
  /* contract */
  struct request_limits limits; /* of what a request may ask */
  int64_t retention_ms;         /* of LAPSED */
  int64_t unknown_retention_ms; /* of UNKNOWN; 0: for ever */
  int64_t born_skew_ms;         /* by how much clocks may differ */
  int64_t horizon_slots;        /* a power of two */
  int64_t waiters_per_key, waiters_total;
  /* memory */
  struct options_memory maxmemory; /* 0 bytes: none */
  int64_t store_reserve;           /* bytes kept free for the response of each running claim */
  /* journal */
  char *dir;           /* path, "" none */
  int64_t appendonly;  /* enum options_appendonly */
  int64_t appendfsync; /* enum options_appendfsync */
  int64_t segment_bytes;
  /* running */
  int64_t drain_timeout_ms;
  int64_t loglevel;          /* enum log_level */
  int64_t log_format;        /* enum log_format */
  int64_t slowlog_slower_us; /* microseconds from which on SLOWLOG keeps a command; -1 off */
  int64_t slowlog_max_len;   /* entries */
  bool latency_tracking;
  char *latency_percentiles; /* of INFO latencystats (options_percentiles.h) */
  bool enable_debug_command;
  char *logfile;     /* "" is standard output */
  char *config_file; /* absolute path of the loaded file, "" none; it has no row, nor have these */
  struct options_user *users; /* lines of the file, until they are read (options_users.h) */
  enum options_default_user default_user;
};

/* Fills in the defaults. deinit frees, and wipes the password. */
void options_init(struct options *options);
void options_deinit(struct options *options);

/* Lowers lease, ttl and waiters-per-key, where they have their defaults, to lease-max, ttl-max and
 * waiters-total. */
void options_follow_maxima(struct options *options);

/* Whether no client may do anything before it has authenticated. While the users are not read yet,
 * they are taken to say so. */
bool options_need_password(const struct options *options);

/* Whether to listen on `port`: with tls-port, 0 means no. */
bool options_listen_plain(const struct options *options);

/* Whether a journal is to be kept. */
bool options_keep_journal(const struct options *options);

/* The table: rows by index, 0 .. options_count()-1. find ignores case; NULL: there is none. */
size_t options_count(void);
const struct options_row *options_row(size_t index);
size_t options_index(const struct options_row *row);
const struct options_row *options_find(struct span name);

/* CONFIG GET: the value of a row in base units; a secret reads as "". */
void options_text(const struct options *options, const struct options_row *row,
                  char text[OPTIONS_VALUE_BYTES]);

#endif
