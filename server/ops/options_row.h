/*
 * options_row.h - the form of a row of the options table. The table itself is in options.c.
 *
 * Knows neither the table nor the fields of struct options: a row names its field by the offset.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_ROW_H
#define IDEM_SERVER_OPS_OPTIONS_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a value is written, and its type in struct options. */
enum options_row_kind {
  OPTIONS_ROW_INTEGER,  /* int64_t */
  OPTIONS_ROW_MODE,     /* int64_t, written in octal */
  OPTIONS_ROW_MS,       /* int64_t, a duration; a plain number is milliseconds */
  OPTIONS_ROW_SECONDS,  /* int64_t, a duration; a plain number is seconds */
  OPTIONS_ROW_BYTES,    /* int64_t, a size */
  OPTIONS_ROW_MEMORY,   /* struct options_memory: a size, or a percentage (options_memory.h) */
  OPTIONS_ROW_YES_NO,   /* bool */
  OPTIONS_ROW_LEVEL,    /* int64_t, enum log_level */
  OPTIONS_ROW_KEEP,     /* int64_t, enum options_appendonly */
  OPTIONS_ROW_SYNC,     /* int64_t, enum options_appendfsync */
  OPTIONS_ROW_FORMAT,   /* int64_t, enum log_format */
  OPTIONS_ROW_READERS,  /* int64_t, enum options_file_mode */
  OPTIONS_ROW_WAIVED,   /* int64_t, enum options_insecure */
  OPTIONS_ROW_CERTIFY,  /* int64_t, enum options_tls_auth_clients */
  OPTIONS_ROW_CHANNELS, /* int64_t, enum options_acl_pubsub */
  OPTIONS_ROW_TEXT,     /* char *, owned, never NULL, as are the next five */
  OPTIONS_ROW_PATH,
  OPTIONS_ROW_PASSWORD,    /* kept as its SHA-256 in hexadecimal */
  OPTIONS_ROW_BIND,        /* addresses with blanks between them (options_bind.h) */
  OPTIONS_ROW_NETWORKS,    /* addresses with blanks between them (options_networks.h) */
  OPTIONS_ROW_PERCENTILES, /* numbers with blanks between them (options_percentiles.h) */
};

/* Whether a value is several words, which are joined with blanks. */
static inline bool options_row_is_list(enum options_row_kind kind) {
  return kind == OPTIONS_ROW_BIND || kind == OPTIONS_ROW_NETWORKS ||
         kind == OPTIONS_ROW_PERCENTILES;
}

/* The words of KEEP, SYNC, READERS, WAIVED, CERTIFY and CHANNELS, by number. */
enum options_appendonly {
  OPTIONS_APPENDONLY_NO,
  OPTIONS_APPENDONLY_YES,
  OPTIONS_APPENDONLY_AUTO /* yes when dir is set */
};
enum options_appendfsync {
  OPTIONS_APPENDFSYNC_ALWAYS,
  OPTIONS_APPENDFSYNC_EVERYSEC,
  OPTIONS_APPENDFSYNC_NO
};

/* What an address that other machines can reach may lack. */
enum options_insecure {
  OPTIONS_INSECURE_NO,
  OPTIONS_INSECURE_PLAIN, /* TLS */
  OPTIONS_INSECURE_YES    /* TLS and a password */
};
enum options_tls_auth_clients {
  OPTIONS_TLS_AUTH_CLIENTS_NO,
  OPTIONS_TLS_AUTH_CLIENTS_YES,
  OPTIONS_TLS_AUTH_CLIENTS_OPTIONAL /* a certificate that is sent has to be valid */
};
/* The channels of a new user. */
enum options_acl_pubsub { OPTIONS_ACL_PUBSUB_RESETCHANNELS, OPTIONS_ACL_PUBSUB_ALLCHANNELS };
/* Who may read a file with a secret (secret_file.h). */
enum options_file_mode { OPTIONS_FILE_MODE_PRIVATE, OPTIONS_FILE_MODE_ANY };

struct options_memory {
  int64_t bytes;
  int64_t percent; /* of which the bytes were made; 0: they were named */
};

#define OPTIONS_ROW_LIVE 1u   /* CONFIG SET may change it */
#define OPTIONS_ROW_SECRET 2u /* never shown */
/* Never a flag: every user of the machine can read a command line. */
#define OPTIONS_ROW_FILE_ONLY 4u
#define OPTIONS_ROW_TLS 8u /* a change has the certificates read again: options.tls_changes */

struct options_row {
  const char *name;
  enum options_row_kind kind;
  size_t offset;       /* of the field in struct options */
  int64_t min, max;    /* of a number; of the bytes of a text */
  const char *initial; /* the default, written as a user would */
  unsigned flags;
  const char *section; /* of --help; rows of a section stand together */
  const char *help;    /* one sentence or two: --help, the table in server/README.md, the manual */
};

#endif
