/* options_file.c - see options_file.h. */
#include "server/ops/options_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ops/digest.h"
#include "server/ops/options_nearest.h"
#include "server/ops/options_users.h"
#include "server/ops/options_words.h"
#include "server/ops/secret_file.h"

/* The loop reads files again (SIGHUP, ACL LOAD), and what was a file may be a pipe by then. */
#define PIPE_WAIT_MS 5000

/* A name, all its values, and one to see that there are too many. */
#define MAX_WORDS (OPTIONS_BIND_MAX + 2)

static const char *show_path(const char *path, char shown[REFUSAL_SHOWN_BYTES]) {
  return refusal_show(span_of(path), shown);
}

/* --- reading --- */

void options_file_deinit(struct options_file *file) { options_value_wipe(file->bytes, file->len); }

/* Of a pipe: until something comes, or its writers are gone. */
static bool wait_for_more(int fd) {
  struct pollfd readable = {.fd = fd, .events = POLLIN};
  int ready;
  do ready = poll(&readable, 1, PIPE_WAIT_MS);
  while (ready < 0 && errno == EINTR);
  if (ready == 0) errno = ETIMEDOUT;
  return ready > 0;
}

static bool read_all(int fd, struct options_file *file, size_t most, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  file->bytes = malloc(most + 1);
  if (file->bytes == NULL)
    return refusal_write(error, "no memory to read %s", show_path(file->path, shown));
  while (file->len <= most) {
    ssize_t got = read(fd, file->bytes + file->len, most + 1 - file->len);
    if (got == 0 && file->len == 0 && S_ISFIFO(file->stat.st_mode))
      return refusal_write(error, "nothing comes out of the pipe %s", show_path(file->path, shown));
    if (got == 0) return true;
    if (got < 0 && (errno == EINTR || (errno == EAGAIN && wait_for_more(fd)))) continue;
    if (got < 0) return refusal_write_errno("read", file->path, error);
    file->len += (size_t)got;
  }
  return refusal_write(error, "%s has more than %zu bytes", show_path(file->path, shown), most);
}

/* Checks the mode of the open file, not of the path, so that the checked file is the one that is
 * read. */
bool options_file_read_at_most(const char *path, size_t most, struct options_file *file,
                               char error[REFUSAL_BYTES]) {
  *file = (struct options_file){.path = path};
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return refusal_write_errno("open", path, error);
  bool done = fstat(fd, &file->stat) == 0 || refusal_write_errno("read", path, error);
  done = done && read_all(fd, file, most, error);
  close(fd);
  if (!done) options_file_deinit(file);
  return done;
}

bool options_file_read(const char *path, struct options_file *file, char error[REFUSAL_BYTES]) {
  return options_file_read_at_most(path, OPTIONS_FILE_MAX, file, error);
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
static bool parse_values(const struct options_row *row, const struct options_words *words,
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

static bool parse_user(struct options_file_line *line, char reason[REFUSAL_BYTES]) {
  if (memchr(line->raw.data, '\0', line->raw.len) != NULL)
    return refusal_write(reason, "the line has a NUL byte");
  line->user = options_users_parse(line->raw, line->number, reason);
  return line->user != NULL;
}

static bool parse_line(struct options_file_line *line, char reason[REFUSAL_BYTES]) {
  struct span argv[MAX_WORDS];
  char bytes[OPTIONS_FILE_LINE_MAX + 1];
  struct options_words words = {.argv = argv, .most = MAX_WORDS, .bytes = bytes};
  line->row = NULL;
  line->value = (struct options_value){0};
  line->user = NULL;
  if (options_users_is_line(line->raw)) return parse_user(line, reason);
  if (line->raw.len > OPTIONS_FILE_LINE_MAX)
    return refusal_write(reason, "the line has more than %d bytes", OPTIONS_FILE_LINE_MAX);
  if (line->raw.len > 0 && memchr(line->raw.data, '\0', line->raw.len) != NULL) {
    return refusal_write(reason, "the line has a NUL byte");
  }
  size_t blanks = 0;
  while (blanks < line->raw.len && isspace((unsigned char)line->raw.data[blanks])) blanks++;
  if (blanks == line->raw.len || line->raw.data[blanks] == '#') return true;

  const char *wrong = options_words_split(line->raw, &words);
  bool done = wrong == NULL || refusal_write(reason, "%s", wrong);
  if (done) {
    line->row = options_find(words.argv[0]);
    done = line->row != NULL ? parse_values(line->row, &words, &line->value, reason)
                             : refuse_unknown(words.argv[0], reason);
  }
  explicit_bzero(bytes, sizeof(bytes));
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

/* Takes the plain text from a value that is to be stored, if these options keep it. */
static void keep_password(struct options *options, struct options_value *value) {
  if (!options->keeps_password || value->plain == NULL) return;
  options_value_wipe(options->password, options->password != NULL ? strlen(options->password) : 0);
  options->password = value->plain;
  value->plain = NULL;
}

static bool has_password(const struct options_file_line *line) {
  if (line->user != NULL) return options_users_has_password(line->user);
  if (line->row == NULL || (line->row->flags & OPTIONS_ROW_SECRET) == 0) return false;
  return line->value.text[0] != '\0';
}

static bool load_lines(struct options *options, const struct options_file *file,
                       char error[REFUSAL_BYTES]) {
  struct options_file_seen seen = {{0}};
  struct options_file_line line = {.number = 0};
  size_t offset = 0;
  while (options_file_next_line(file, &offset, &line)) {
    char reason[REFUSAL_BYTES];
    if (!options_file_parse_line(file, &seen, &line, error)) return false;
    if (has_password(&line) && !options_file_check_private(file, reason)) {
      options_value_deinit(&line.value);
      options_users_destroy(line.user);
      return refuse_line(file, &line, reason, error);
    }
    keep_password(options, &line.value);
    if (line.row != NULL) options_value_store(line.row, options, &line.value);
    if (line.user != NULL) options_users_add(&options->users, line.user);
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

/* Appends the digest of a line's password to those in `all`, which has room for it; the first one
 * is its plain text. */
static bool take_password(const struct options_file *file, struct span line,
                          struct options_value *all, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  struct options_value value = {0};
  const struct options_row *row = options_find(SPAN_LITERAL("requirepass"));
  if (line.len == 0 || line.len > OPTIONS_PASSWORD_MAX)
    return refusal_write(error,
                         "requirepass-file: a line of %s has %zu bytes, a password has 1 to %d",
                         show_path(file->path, shown), line.len, OPTIONS_PASSWORD_MAX);
  if (!options_value_parse(row, line, &value, error)) return false;
  if (all->text[0] != '\0') strcat(all->text, " ");
  strcat(all->text, value.text);
  if (all->plain == NULL) {
    all->plain = value.plain;
    value.plain = NULL;
  }
  options_value_deinit(&value);
  return true;
}

/* The first line is a password, a second one that is not empty too. */
static bool take_passwords(const struct options_file *file, struct options_value *all,
                           char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  struct options_file_line line = {.number = 0};
  size_t offset = 0;
  while (options_file_next_line(file, &offset, &line)) {
    struct span text = line.raw;
    if (text.len > 0 && text.data[text.len - 1] == '\r') text.len--;
    if (text.len == 0 && line.number > 1) continue;
    if (line.number > OPTIONS_PASSWORDS)
      return refusal_write(error, "requirepass-file: %s has more than %d lines",
                           show_path(file->path, shown), OPTIONS_PASSWORDS);
    if (!take_password(file, text, all, error)) return false;
  }
  return line.number > 0 || take_password(file, SPAN_LITERAL(""), all, error);
}

bool options_file_read_passwords(const struct options *options, struct options_value *all,
                                 char error[REFUSAL_BYTES]) {
  struct options_file file;
  *all = (struct options_value){0};
  if (!options_file_read(options->requirepass_file, &file, error)) return false;
  all->text = calloc(OPTIONS_PASSWORDS, DIGEST_HEX + 1);
  bool done = all->text != NULL || refusal_write(error, "no memory for the passwords");
  bool anybody_reads = options->requirepass_file_mode == OPTIONS_FILE_MODE_ANY;
  done = done && check_secret(&file, anybody_reads, error) && take_passwords(&file, all, error);
  options_file_deinit(&file);
  if (!done) options_value_deinit(all);
  return done;
}

bool options_file_reload_password(struct options *options, char error[REFUSAL_BYTES]) {
  if (options->requirepass_file[0] == '\0') return true;
  struct options_value value;
  if (!options_file_read_passwords(options, &value, error)) return false;
  keep_password(options, &value);
  options_value_store(options_find(SPAN_LITERAL("requirepass")), options, &value);
  return true;
}

bool options_file_load_password(struct options *options, char error[REFUSAL_BYTES]) {
  if (options->requirepass_file[0] != '\0' && options->requirepass[0] != '\0') {
    return refusal_write(error,
                         "requirepass and requirepass-file both give a password: keep one of them");
  }
  return options_file_reload_password(options, error);
}
