/*
 * options_rewrite.c - see options_rewrite.h. Keeps: a crash in the middle leaves the old file or
 * the new one, whole; a password is written only into a file that no other user can read.
 */
#include "server/ops/options_rewrite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ops/options_file.h"

#define REWRITE_MARK "# Written by CONFIG REWRITE"

/* A password that came from its own file stays there. */
static bool has_own_file(const struct options_row *row, const struct options *options) {
  return row->offset == offsetof(struct options, requirepass) &&
         options->requirepass_file[0] != '\0';
}

/* The value that the file should have for the row. */
static void text_for_file(const struct options_row *row, const struct options *options,
                          char text[OPTIONS_VALUE_BYTES]) {
  if (has_own_file(row, options)) {
    text[0] = '\0';
    return;
  }
  options_value_text(row, options, text);
}

static bool needs_quotes(const char *text) {
  if (text[0] == '\0' || text[0] == '#') return true;
  for (const char *p = text; *p != '\0'; p++) {
    if (*p <= ' ' || *p == 0x7f || *p == '"' || *p == '\'') return true;
  }
  return false;
}

/* Writes "name value" and a newline; false when the line is too long to be read back, or the write
 * failed. */
static bool write_setting(FILE *out, const struct options_row *row, const char *text) {
  size_t len = strlen(row->name) + 1;
  bool quotes = options_row_is_list(row->kind) ? text[0] == '\0' : needs_quotes(text);
  fprintf(out, "%s %s", row->name, quotes ? "\"" : "");
  for (const char *p = text; *p != '\0'; p++) {
    unsigned char byte = (unsigned char)*p;
    if (byte < ' ' || byte == 0x7f) {
      len += (size_t)fprintf(out, "\\x%02x", byte);
    } else {
      len += (size_t)fprintf(out, quotes && (byte == '"' || byte == '\\') ? "\\%c" : "%c", byte);
    }
  }
  fprintf(out, "%s\n", quotes ? "\"" : "");
  return len + (quotes ? 2 : 0) <= OPTIONS_FILE_LINE_MAX && !ferror(out);
}

static bool write_row(FILE *out, const struct options_row *row, const struct options *options,
                      char error[REFUSAL_BYTES]) {
  char text[OPTIONS_VALUE_BYTES];
  text_for_file(row, options, text);
  bool done = write_setting(out, row, text);
  explicit_bzero(text, sizeof(text));
  return done ||
         refusal_write(
             error,
             "cannot write %s: its line would have more than %d bytes, or the disk refused it",
             row->name, OPTIONS_FILE_LINE_MAX);
}

static bool is_same(const struct options_row *row, const struct options *options,
                    const struct options_value *value) {
  if (has_own_file(row, options)) return value->text[0] == '\0';
  return options_value_equal(row, options, value);
}

/* A line whose value still holds is copied as it stands ("60s" stays "60s"). */
static bool copy_lines(FILE *out, const struct options *options, const struct options_file *file,
                       struct options_file_seen *seen, bool *marked, char error[REFUSAL_BYTES]) {
  struct options_file_line line = {.number = 0};
  size_t offset = 0;
  while (options_file_next_line(file, &offset, &line)) {
    if (!options_file_parse_line(file, seen, &line, error)) return false;
    bool same = line.row == NULL || is_same(line.row, options, &line.value);
    options_value_deinit(&line.value);
    if (span_equal(line.raw, SPAN_LITERAL(REWRITE_MARK))) *marked = true;
    if (!same) {
      if (!write_row(out, line.row, options, error)) return false;
    } else {
      fwrite(line.raw.data, 1, line.raw.len, out);
      fputc('\n', out);
    }
  }
  return true;
}

static bool append_rows(FILE *out, const struct options *options, struct options_file_seen *seen,
                        bool marked, char error[REFUSAL_BYTES]) {
  for (size_t i = 0; i < options_count(); i++) {
    const struct options_row *row = options_row(i);
    struct options_value initial;
    if (seen->line[i] != 0) continue;
    if (!options_value_parse(row, span_of(row->initial), &initial, error)) return false;
    bool same = is_same(row, options, &initial);
    options_value_deinit(&initial);
    if (same) continue;
    if (!marked) fputs(REWRITE_MARK "\n", out);
    marked = true;
    if (!write_row(out, row, options, error)) return false;
  }
  return true;
}

static bool write_new_file(int fd, const struct options *options, const struct options_file *old,
                           char error[REFUSAL_BYTES]) {
  struct options_file_seen seen = {{0}};
  bool marked = false;
  FILE *out = fdopen(fd, "w");
  if (out == NULL) {
    close(fd);
    return refusal_write_errno("write", old->path, error);
  }
  bool done = copy_lines(out, options, old, &seen, &marked, error) &&
              append_rows(out, options, &seen, marked, error);
  if (done && ftell(out) > (long)OPTIONS_FILE_MAX) {
    done = refusal_write(error, "the new file would have more than %u bytes", OPTIONS_FILE_MAX);
  }
  /* Owner before mode: chown clears bits of the mode. */
  if (done &&
      (fflush(out) != 0 || ferror(out) || fchown(fd, old->stat.st_uid, old->stat.st_gid) != 0 ||
       fchmod(fd, old->stat.st_mode & 07777) != 0 || fsync(fd) != 0)) {
    done = refusal_write_errno("write a new", old->path, error);
  }
  if (fclose(out) != 0 && done) done = refusal_write_errno("write a new", old->path, error);
  return done;
}

/* The rename is durable when the directory is. */
static bool sync_directory(const char *path, char error[REFUSAL_BYTES]) {
  char directory[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t len = slash == NULL || slash == path ? 1 : (size_t)(slash - path);
  if (len >= sizeof(directory))
    return refusal_write(error, "the path of the configuration file is too long");
  memcpy(directory, slash == NULL ? "." : path, len);
  directory[len] = '\0';
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool done = fd >= 0 && fsync(fd) == 0;
  if (!done) refusal_write_errno("sync", directory, error);
  if (fd >= 0) close(fd);
  return done;
}

static bool replace_file(const struct options *options, const struct options_file *old,
                         char error[REFUSAL_BYTES]) {
  char path[PATH_MAX];
  int len = snprintf(path, sizeof(path), "%s.XXXXXX", old->path);
  if (len < 0 || (size_t)len >= sizeof(path))
    return refusal_write(error, "the path of the configuration file is too long");
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0) return refusal_write_errno("write a new file beside", old->path, error);
  bool done = write_new_file(fd, options, old, error);
  if (done && rename(path, old->path) != 0) done = refusal_write_errno("replace", old->path, error);
  if (!done) {
    unlink(path);
    return false;
  }
  return sync_directory(old->path, error);
}

bool options_rewrite_file(const struct options *options, char error[REFUSAL_BYTES]) {
  struct options_file file;
  if (options->config_file[0] == '\0') {
    return refusal_write(
        error, "the server was started without a configuration file that could be rewritten");
  }
  if (!options_file_read(options->config_file, &file, error)) return false;
  bool secret = (options->requirepass[0] != '\0' && options->requirepass_file[0] == '\0') ||
                options->tls_key_file_pass[0] != '\0';
  bool done =
      (!secret || options_file_check_private(&file, error)) && replace_file(options, &file, error);
  options_file_deinit(&file);
  return done;
}
