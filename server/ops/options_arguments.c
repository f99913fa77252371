/*
 * options_arguments.c - the command line: `idem-server [FILE] [--name value | --name=value] ...`.
 *
 * Knows the rows and options_file, prints nothing but help and version. Keeps: a secret never comes
 * from a flag, and its value is not repeated in the refusal.
 */
#include "server/ops/options.h"

#include <strings.h>

#include "server/ops/options_row.h"
#include "server/ops/version.h"

struct arguments {
  int argc;
  char **argv;
  int at;
};

static bool is_flag(const char *text) { return strncmp(text, "--", 2) == 0; }

/* Help and version win over everything else, also over an error in front of them. */
static bool print_and_exit(int argc, char **argv, FILE *out) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--version") == 0 || strcasecmp(argv[i], "-v") == 0) {
      fprintf(out, "idem-server %s\n", IDEM_VERSION);
      return true;
    }
    if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0) continue;
    if (i + 1 < argc && strcmp(argv[i + 1], "markdown") == 0) {
      options_print_markdown(out);
    } else {
      options_print_help(out);
    }
    return true;
  }
  return false;
}

static bool refuse_flag(struct span name, char error[OPTIONS_ERROR_BYTES]) {
  char shown[OPTIONS_SHOWN_BYTES];
  const char *near = options_nearest(name);
  options_show(name, shown);
  if (near != NULL)
    return options_refuse(error, "unknown option --%s, did you mean --%s?", shown, near);
  return options_refuse(error, "unknown option --%s (idem-server --help lists them)", shown);
}

/* `--bind A B C`: the values up to the next flag, joined with blanks. */
static bool join_values(struct arguments *arguments, char joined[OPTIONS_TEXT_BYTES],
                        struct span *value) {
  size_t len = 0;
  while (arguments->at < arguments->argc && !is_flag(arguments->argv[arguments->at])) {
    struct span word = span_of(arguments->argv[arguments->at++]);
    if (len + 1 + word.len >= OPTIONS_TEXT_BYTES) return false;
    if (len > 0) joined[len++] = ' ';
    memcpy(joined + len, word.data, word.len);
    len += word.len;
  }
  *value = (struct span){joined, len};
  return true;
}

/* The value of the flag at arguments->at, which moves behind it. `inline_value` is absent, or what
 * stood behind '='. */
static bool take_value(struct arguments *arguments, const struct row *row, struct span inline_value,
                       struct options *options, char error[OPTIONS_ERROR_BYTES]) {
  char joined[OPTIONS_TEXT_BYTES];
  struct span text = inline_value;
  if (!span_present(text)) {
    if (arguments->at == arguments->argc || is_flag(arguments->argv[arguments->at])) {
      return options_refuse(error, "--%s needs a value (%s)", row->name, row_hint(row));
    }
    if (row->kind != ROW_BIND) {
      text = span_of(arguments->argv[arguments->at++]);
    } else if (!join_values(arguments, joined, &text)) {
      return options_refuse(error, "--%s: more than %d bytes of addresses", row->name,
                            OPTIONS_TEXT_BYTES - 1);
    }
  }
  struct row_value value;
  if (!row_parse(row, text, &value, error)) return false;
  row_store(row, options, &value);
  return true;
}

static bool take_flag(struct arguments *arguments, struct options *options,
                      char error[OPTIONS_ERROR_BYTES]) {
  char shown[OPTIONS_SHOWN_BYTES];
  const char *text = arguments->argv[arguments->at++];
  if (!is_flag(text)) {
    return options_refuse(
        error, "unexpected argument '%s': options begin with --, a configuration file comes first",
        options_show(span_of(text), shown));
  }
  struct span name = {text + 2, strcspn(text + 2, "=")};
  struct span value = name.data[name.len] == '=' ? span_of(name.data + name.len + 1) : SPAN_ABSENT;
  const struct row *row = options_find(name);
  if (row == NULL) return refuse_flag(name, error);
  if ((row->flags & ROW_FILE_ONLY) != 0) {
    return options_refuse(
        error,
        "--%s: refused, every user of this machine can read a command line: put %s into a "
        "configuration file (chmod 600) or use --requirepass-file FILE",
        row->name, row->name);
  }
  return take_value(arguments, row, value, options, error);
}

enum options_result options_from_arguments(struct options *options, int argc, char **argv,
                                           FILE *out, char error[OPTIONS_ERROR_BYTES]) {
  if (print_and_exit(argc, argv, out)) return OPTIONS_EXIT;
  struct arguments arguments = {argc, argv, 1};
  if (argc > 1 && argv[1][0] != '-') {
    if (!options_load_file(options, argv[1], error)) return OPTIONS_REFUSED;
    arguments.at++;
  }
  while (arguments.at < argc) {
    if (!take_flag(&arguments, options, error)) return OPTIONS_REFUSED;
  }
  if (!options_load_password(options, error)) return OPTIONS_REFUSED;
  options_follow_maxima(options);
  return options_check(options, error) ? OPTIONS_RUN : OPTIONS_REFUSED;
}
