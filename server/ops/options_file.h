/*
 * options_file.h - the configuration file: as lines, for loading it here and rewriting it
 * (options_rewrite.h); and the file of the password.
 *
 * Lines are redis.conf's: `name value...`, blank lines, lines that begin with '#'. A "..." value
 * may have \n \r \t \a \b \xHH \" \\ in it, a '...' value \'. Knows no command line. Keeps: a
 * refusal names FILE:LINE; a password is taken only from a file that no other user can read; bytes
 * that may have held one are wiped.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_FILE_H
#define IDEM_SERVER_OPS_OPTIONS_FILE_H

#include <sys/stat.h>

#include "server/ops/options.h"

#define OPTIONS_FILE_MAX (256u * 1024) /* bytes of a file */
#define OPTIONS_FILE_LINE_MAX 1024     /* bytes of a line */

/* A whole file in memory. */
struct options_file {
  const char *path; /* borrowed, as the user wrote it */
  char *bytes;
  size_t len;
  struct stat stat; /* of what was read */
};

/* Zero-filled before the first options_file_next_line. */
struct options_file_line {
  struct span raw;               /* without its newline; borrows the file */
  size_t number;                 /* from 1 */
  const struct options_row *row; /* NULL: a blank line, a comment, or a `user` line */
  struct options_user *user;     /* of a `user` line; owned as the value */
  struct options_value value;    /* owned by the caller of options_file_parse_line */
};

/* The line on which each row stands, by index; 0 is none. Zero-filled before the first line. */
struct options_file_seen {
  size_t line[OPTIONS_ROWS_MAX];
};

/* Reads the file `path` into the options, as far as the first bad line, and sets config_file. False
 * with the reason. */
bool options_file_load(struct options *options, const char *path, char error[REFUSAL_BYTES]);
/* Takes the passwords from requirepass-file, when that is set. False with the reason: it cannot be
 * read, its mode is not private, it has no password or more than two, or requirepass gives one
 * too. */
bool options_file_load_password(struct options *options, char error[REFUSAL_BYTES]);
/* Takes them again, while the server runs. False with the reason: the former ones stay. */
bool options_file_reload_password(struct options *options, char error[REFUSAL_BYTES]);
/* What requirepass is to be with the passwords of that file. True: the caller has to store or deinit
 * the value. False with the reason. */
bool options_file_read_passwords(const struct options *options, struct options_value *all,
                                 char error[REFUSAL_BYTES]);

/* True: the caller has to deinit the file. False with the reason. */
bool options_file_read(const char *path, struct options_file *file, char error[REFUSAL_BYTES]);
/* The same for another kind of file, with another limit of its bytes. */
bool options_file_read_at_most(const char *path, size_t most, struct options_file *file,
                               char error[REFUSAL_BYTES]);
/* Wipes and frees. */
void options_file_deinit(struct options_file *file);
/* False with the reason, which says how to mend it, when others could read or write the file. */
bool options_file_check_private(const struct options_file *file, char error[REFUSAL_BYTES]);

/* Sets line->raw to the line at *offset, which moves after it; false at the end. */
bool options_file_next_line(const struct options_file *file, size_t *offset,
                            struct options_file_line *line);
/* Parses line->raw; false with "FILE:LINE: reason" for a bad line or the second one of its row. */
bool options_file_parse_line(const struct options_file *file, struct options_file_seen *seen,
                             struct options_file_line *line, char error[REFUSAL_BYTES]);

#endif
