/* options_file.c - see options_file.h. */
#include "server/ops/options_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ops/options_nearest.h"
#include "server/ops/secret_file.h"

/* A name, all its values, and one to see that there are too many. */
#define MAX_WORDS (OPTIONS_BIND_MAX + 2)

struct words {
  struct span argv[MAX_WORDS];
  size_t argc;
  char bytes[OPTIONS_FILE_LINE_MAX + 1]; /* unescaping never makes a line longer */
  size_t len;
};

static const char *show_path(const char *path, char shown[REFUSAL_SHOWN_BYTES]) {
  return refusal_show(span_of(path), shown);
}

/* --- reading --- */

void options_file_deinit(struct options_file *file) { options_value_wipe(file->bytes, file->len); }

static bool read_all(int fd, struct options_file *file, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  file->bytes = malloc(OPTIONS_FILE_MAX + 1);
  if (file->bytes == NULL)
    return refusal_write(error, "no memory to read %s", show_path(file->path, shown));
  while (file->len <= OPTIONS_FILE_MAX) {
    ssize_t got = read(fd, file->bytes + file->len, OPTIONS_FILE_MAX + 1 - file->len);
    if (got == 0) return true;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return refusal_write_errno("read", file->path, error);
    file->len += (size_t)got;
  }
  return refusal_write(error, "%s has more than %u bytes", show_path(file->path, shown),
                       OPTIONS_FILE_MAX);
}

/* Checks the mode of the open file, not of the path, so that the checked file is the one that is
 * read. */
bool options_file_read(const char *path, struct options_file *file, char error[REFUSAL_BYTES]) {
  *file = (struct options_file){.path = path};
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return refusal_write_errno("open", path, error);
  bool done = fstat(fd, &file->stat) == 0 || refusal_write_errno("read", path, error);
  done = done && read_all(fd, file, error);
  close(fd);
  if (!done) options_file_deinit(file);
  return done;
}

static bool check_secret(const struct options_file *file, bool anybody_reads,
                         char error[REFUSAL_BYTES]) {
  const struct secret_file secret = {.path = file->path,
                                     .stat = &file->stat,
                                     .what = "a password",
                                     .anybody_reads = anybody_reads};
  return secret_file_check(&secret, error);
}

bool options_file_check_private(const struct options_file *file, char error[REFUSAL_BYTES]) {
  return check_secret(file, false, error);
}

/* --- a line to words --- */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that is written as the escape at text[0] == '\\'; *used takes its length. */
static char unescape(struct span text, size_t *used) {
  static const char names[] = "nrtab", bytes[] = "\n\r\t\a\b";
  *used = 2;
  if (text.data[1] == 'x' && text.len >= 4) {
    int high = hex_digit(text.data[2]), low = hex_digit(text.data[3]);
    if (high >= 0 && low >= 0) {
      *used = 4;
      return (char)(high * 16 + low);
    }
  }
  const char *name = strchr(names, text.data[1]);
  return name != NULL && *name != '\0' ? bytes[name - names] : text.data[1];
}

/* Reads the quoted run after the quote at text[*at]; false when it does not end, or ends inside a
 * word. */
static bool read_quoted(struct words *words, struct span text, size_t *at) {
  char quote = text.data[(*at)++];
  while (*at < text.len && text.data[*at] != quote) {
    struct span rest = {text.data + *at, text.len - *at};
    size_t used = 1;
    char byte = rest.data[0];
    if (byte == '\\' && rest.len > 1 && quote == '"') {
      byte = unescape(rest, &used);
    } else if (byte == '\\' && rest.len > 1 && rest.data[1] == '\'') {
      byte = '\'';
      used = 2;
    }
    words->bytes[words->len++] = byte;
    *at += used;
  }
  if (*at == text.len) return false;
  (*at)++;
  return *at == text.len || isspace((unsigned char)text.data[*at]);
}

/* NULL, or what is wrong with the line. */
static const char *split_words(struct span text, struct words *words) {
  size_t at = 0;
  words->argc = words->len = 0;
  for (;;) {
    while (at < text.len && isspace((unsigned char)text.data[at])) at++;
    if (at == text.len) return NULL;
    if (words->argc == MAX_WORDS) return "too many values";
    size_t start = words->len;
    while (at < text.len && !isspace((unsigned char)text.data[at])) {
      if (text.data[at] == '"' || text.data[at] == '\'') {
        if (!read_quoted(words, text, &at)) return "a quote is not closed, or no blank follows it";
      } else {
        words->bytes[words->len++] = text.data[at++];
      }
    }
    words->argv[words->argc++] = (struct span){words->bytes + start, words->len - start};
  }
}

/* --- words to a value --- */

static bool refuse_unknown(struct span name, char reason[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  const char *near = options_nearest_name(name);
  refusal_show(name, shown);
  if (near != NULL)
    return refusal_write(reason, "unknown option '%s', did you mean %s?", shown, near);
  return refusal_write(reason, "unknown option '%s' (idem-server --help lists them)", shown);
}

/* Several values of a list are joined with blanks. */
static bool parse_values(const struct options_row *row, const struct words *words,
                         struct options_value *value, char reason[REFUSAL_BYTES]) {
  if (words->argc == 1)
    return refusal_write(reason, "%s needs a value (%s)", row->name, options_value_hint(row));
  if (!options_row_is_list(row->kind)) {
    if (words->argc == 2) return options_value_parse(row, words->argv[1], value, reason);
    bool comment = words->argv[2].len > 0 && words->argv[2].data[0] == '#';
    return refusal_write(reason, "%s takes one value%s", row->name,
                         comment ? "; a comment needs a line of its own" : "");
  }
  char joined[2 * OPTIONS_FILE_LINE_MAX];
  size_t len = 0;
  for (size_t i = 1; i < words->argc; i++) {
    if (i > 1) joined[len++] = ' ';
    memcpy(joined + len, words->argv[i].data, words->argv[i].len);
    len += words->argv[i].len;
  }
  return options_value_parse(row, (struct span){joined, len}, value, reason);
}

static bool parse_line(struct options_file_line *line, char reason[REFUSAL_BYTES]) {
  struct words words;
  line->row = NULL;
  line->value = (struct options_value){0};
  if (line->raw.len > OPTIONS_FILE_LINE_MAX)
    return refusal_write(reason, "the line has more than %d bytes", OPTIONS_FILE_LINE_MAX);
  if (line->raw.len > 0 && memchr(line->raw.data, '\0', line->raw.len) != NULL) {
    return refusal_write(reason, "the line has a NUL byte");
  }
  size_t blanks = 0;
  while (blanks < line->raw.len && isspace((unsigned char)line->raw.data[blanks])) blanks++;
  if (blanks == line->raw.len || line->raw.data[blanks] == '#') return true;

  const char *wrong = split_words(line->raw, &words);
  bool done = wrong == NULL || refusal_write(reason, "%s", wrong);
  if (done) {
    line->row = options_find(words.argv[0]);
    done = line->row != NULL ? parse_values(line->row, &words, &line->value, reason)
                             : refuse_unknown(words.argv[0], reason);
  }
  explicit_bzero(&words, sizeof(words));
  return done;
}

bool options_file_next_line(const struct options_file *file, size_t *offset,
                            struct options_file_line *line) {
  if (*offset == file->len) return false;
  const char *start = file->bytes + *offset;
  const char *newline = memchr(start, '\n', file->len - *offset);
  line->raw =
      (struct span){start, newline != NULL ? (size_t)(newline - start) : file->len - *offset};
  line->number++;
  *offset += line->raw.len + (newline != NULL ? 1 : 0);
  return true;
}

/* Puts "FILE:LINE: " in front of the reason. */
static bool refuse_line(const struct options_file *file, const struct options_file_line *line,
                        const char *reason, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  return refusal_write(error, "%s:%zu: %s", show_path(file->path, shown), line->number, reason);
}

/* --- loading --- */

bool options_file_parse_line(const struct options_file *file, struct options_file_seen *seen,
                             struct options_file_line *line, char error[REFUSAL_BYTES]) {
  char reason[REFUSAL_BYTES];
  if (!parse_line(line, reason)) return refuse_line(file, line, reason, error);
  if (line->row == NULL) return true;
  size_t *first = &seen->line[options_index(line->row)];
  if (*first != 0) {
    options_value_deinit(&line->value);
    refusal_write(reason, "%s is set twice, first on line %zu", line->row->name, *first);
    return refuse_line(file, line, reason, error);
  }
  *first = line->number;
  return true;
}

static bool load_lines(struct options *options, const struct options_file *file,
                       char error[REFUSAL_BYTES]) {
  struct options_file_seen seen = {{0}};
  struct options_file_line line = {.number = 0};
  size_t offset = 0;
  while (options_file_next_line(file, &offset, &line)) {
    if (!options_file_parse_line(file, &seen, &line, error)) return false;
    if (line.row == NULL) continue;
    if ((line.row->flags & OPTIONS_ROW_SECRET) != 0 && line.value.text[0] != '\0') {
      char reason[REFUSAL_BYTES];
      if (!options_file_check_private(file, reason)) {
        options_value_deinit(&line.value);
        return refuse_line(file, &line, reason, error);
      }
    }
    options_value_store(line.row, options, &line.value);
  }
  return true;
}

bool options_file_load(struct options *options, const char *path, char error[REFUSAL_BYTES]) {
  struct options_file file;
  if (!options_file_read(path, &file, error)) return false;
  bool done = load_lines(options, &file, error);
  bool rewritable = S_ISREG(file.stat.st_mode);
  options_file_deinit(&file);
  if (!done) return false;
  if (!rewritable) return true; /* a pipe: `idem-server <(generate)` */
  /* Absolute and without links: the server may change its directory, and a rewrite must not replace
   * a link. */
  char *absolute = realpath(path, NULL);
  if (absolute == NULL) return refusal_write_errno("find", path, error);
  free(options->config_file);
  options->config_file = absolute;
  return true;
}

/* The first line of requirepass-file. */
static bool parse_password(const struct options *options, const struct options_file *file,
                           struct options_value *value, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  const char *newline = file->len > 0 ? memchr(file->bytes, '\n', file->len) : NULL;
  struct span password = {file->bytes,
                          newline != NULL ? (size_t)(newline - file->bytes) : file->len};
  if (password.len > 0 && password.data[password.len - 1] == '\r') password.len--;
  bool anybody_reads = options->requirepass_file_mode == OPTIONS_FILE_MODE_ANY;
  if (!check_secret(file, anybody_reads, error)) return false;
  if (password.len == 0 || password.len > OPTIONS_PASSWORD_MAX) {
    return refusal_write(
        error, "requirepass-file: the first line of %s has %zu bytes, a password has 1 to %d",
        show_path(file->path, shown), password.len, OPTIONS_PASSWORD_MAX);
  }
  const struct options_row *row = options_find(SPAN_LITERAL("requirepass"));
  return options_value_parse(row, password, value, error);
}

bool options_file_reload_password(struct options *options, char error[REFUSAL_BYTES]) {
  struct options_file file;
  struct options_value value = {0};
  if (options->requirepass_file[0] == '\0') return true;
  if (!options_file_read(options->requirepass_file, &file, error)) return false;
  bool done = parse_password(options, &file, &value, error);
  if (done) options_value_store(options_find(SPAN_LITERAL("requirepass")), options, &value);
  options_file_deinit(&file);
  return done;
}

bool options_file_load_password(struct options *options, char error[REFUSAL_BYTES]) {
  if (options->requirepass_file[0] != '\0' && options->requirepass[0] != '\0') {
    return refusal_write(error,
                         "requirepass and requirepass-file both give a password: keep one of them");
  }
  return options_file_reload_password(options, error);
}
