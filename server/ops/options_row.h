/*
 * options_row.h - a row of the options table, and what its kind can do. Private to
 * server/ops/options*.c.
 *
 * A value is read from text (parse), put into the struct (store), shown (text) and compared (equal)
 * by its row alone, so that the command line, the configuration file, CONFIG SET and CONFIG REWRITE
 * cannot disagree.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_ROW_H
#define IDEM_SERVER_OPS_OPTIONS_ROW_H

#include "server/ops/options.h"

/* The configuration file may have this many bytes. */
#define OPTIONS_MAX_FILE (256u * 1024)
/* The table may have this many rows. */
#define OPTIONS_MAX_ROWS 64

enum row_kind {
  ROW_INTEGER,
  ROW_MODE,    /* octal */
  ROW_MS,      /* a duration; a plain number is milliseconds */
  ROW_SECONDS, /* a duration; a plain number is seconds */
  ROW_BYTES,
  ROW_YES_NO,
  ROW_LEVEL, /* enum options_loglevel */
  ROW_TEXT,
  ROW_PATH,
  ROW_BIND, /* blank-separated addresses */
};

#define ROW_LIVE 1u   /* CONFIG SET may change it */
#define ROW_SECRET 2u /* never shown */
#define ROW_FILE_ONLY \
  4u /* never a flag: the command line is visible to every user of the machine */

struct row {
  const char *name;
  enum row_kind kind;
  size_t offset;    /* in struct options: int64_t, bool (ROW_YES_NO) or char * (ROW_TEXT, ROW_PATH,
                       ROW_BIND) */
  int64_t min, max; /* of the number; of the length of a text */
  const char *initial;
  unsigned flags;
  const char *section; /* rows of a section stand together */
  const char *help;
};

/* A value that is not stored yet: `text` is owned by the value for texts, NULL for numbers. */
struct row_value {
  int64_t number;
  char *text;
};

/* The table: index 0 .. options_count()-1. find ignores case; NULL when there is none. */
const struct row *options_row(size_t index);
size_t options_index(const struct row *row);
const struct row *options_find(struct span name);
/* The name that an unknown one was perhaps meant to be, or NULL. */
const char *options_nearest(struct span name);

/* False with the reason ("bad value 'x' for port: an integer from 0 to 65535") when text is no
 * value of the row. */
bool row_parse(const struct row *row, struct span text, struct row_value *value,
               char error[OPTIONS_ERROR_BYTES]);
/* Moves the value into the options; the former text is wiped and freed. */
void row_store(const struct row *row, struct options *options, struct row_value *value);
void row_value_deinit(struct row_value *value);
bool row_equal(const struct row *row, const struct options *options, const struct row_value *value);
/* As CONFIG GET shows it, secrets too. */
void row_text(const struct row *row, const struct options *options, char text[OPTIONS_TEXT_BYTES]);
/* Placeholder of the value in --help. */
const char *row_hint(const struct row *row);
/* "1ms to 1h", "yes or no"; "" when the row has no bounds worth showing. */
void row_bounds(const struct row *row, char text[OPTIONS_TEXT_BYTES]);

/* The next address of a bind list, without its '-'; false at the end. */
bool bind_next(const char **cursor, struct span *address);
bool bind_is_loopback(struct span address);

/* Writes one line for people: always false, so that a refusal is one statement. */
bool options_refuse(char error[OPTIONS_ERROR_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* `bytes` for a message: control bytes escaped, cut to what fits `text`. Returns text. */
#define OPTIONS_SHOWN_BYTES 160
const char *options_show(struct span bytes, char text[OPTIONS_SHOWN_BYTES]);
/* Frees after overwriting: the bytes may hold a password. NULL is fine. */
void options_wipe(char *bytes, size_t len);

/* options_file.c */
bool options_load_file(struct options *options, const char *path, char error[OPTIONS_ERROR_BYTES]);
bool options_load_password(struct options *options, char error[OPTIONS_ERROR_BYTES]);

/* options_help.c */
void options_print_help(FILE *out);

#endif
