/*
 * options_file.h - the configuration file as lines, for the two that read it: loading and
 * rewriting. Private to server/ops/options*.c.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_FILE_H
#define IDEM_SERVER_OPS_OPTIONS_FILE_H

#include <sys/stat.h>

#include "server/ops/options_row.h"

/* A whole file in memory, at most OPTIONS_MAX_FILE bytes. */
struct file {
  const char *path; /* borrowed, as the user wrote it */
  char *bytes;
  size_t len;
  struct stat stat; /* of what was read */
};

/* Zero-filled before the first next_line; `raw` points into the file. */
struct file_line {
  struct span raw;        /* without its newline */
  size_t number;          /* from 1 */
  const struct row *row;  /* NULL: a blank line or a comment */
  struct row_value value; /* owned by who took the line */
};

/* The line on which each row stands, by index; 0 is none. */
struct file_seen {
  size_t line[OPTIONS_MAX_ROWS];
};

bool file_read(const char *path, struct file *file, char error[OPTIONS_ERROR_BYTES]);
/* Wipes and frees. */
void file_deinit(struct file *file);
/* False with the reason, which tells the way out, when others could read or write the file. */
bool file_check_private(const struct file *file, char error[OPTIONS_ERROR_BYTES]);

/* Sets line->raw to the line at *offset, which moves behind it; false at the end. */
bool file_next_line(const struct file *file, size_t *offset, struct file_line *line);
/* Parses line->raw; false with "FILE:LINE: reason" for a bad line or the second one of its row. */
bool file_parse_line(const struct file *file, struct file_seen *seen, struct file_line *line,
                     char error[OPTIONS_ERROR_BYTES]);

/* "cannot open FILE: No such file or directory", with the reason from errno. Always false. */
bool file_refuse_errno(const char *verb, const char *path, char error[OPTIONS_ERROR_BYTES]);

#endif
