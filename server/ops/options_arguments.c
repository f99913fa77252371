/* options_arguments.c - see options_arguments.h. Keeps: a secret never comes from a flag, and its
 * value is not repeated in the refusal. */
#include "server/ops/options_arguments.h"

#include <string.h>
#include <strings.h>

#include "server/ops/options_check.h"
#include "server/ops/options_file.h"
#include "server/ops/options_help.h"
#include "server/ops/options_nearest.h"
#include "server/ops/version.h"

struct arguments {
  int argc;
  char **argv;
  int at; /* of the next argument */
  struct options *options;
  char *error; /* REFUSAL_BYTES */
  char joined[OPTIONS_VALUE_BYTES];
};

static bool is_flag(const char *text) { return strncmp(text, "--", 2) == 0; }

static bool at_value(const struct arguments *arguments) {
  return arguments->at < arguments->argc && !is_flag(arguments->argv[arguments->at]);
}

bool options_arguments_print(int argc, char **argv, FILE *out) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--version") == 0 || strcasecmp(argv[i], "-v") == 0) {
      fprintf(out, "idem-server %s\n", IDEM_VERSION);
      return true;
    }
    if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0) continue;
    if (i + 1 < argc && strcmp(argv[i + 1], "markdown") == 0) {
      options_help_print_markdown(out);
    } else {
      options_help_print(out);
    }
    return true;
  }
  return false;
}

static bool refuse_flag(struct span name, char error[REFUSAL_BYTES]) {
  char shown[REFUSAL_SHOWN_BYTES];
  const char *near = options_nearest_name(name);
  refusal_show(name, shown);
  if (near != NULL)
    return refusal_write(error, "unknown option --%s, did you mean --%s?", shown, near);
  return refusal_write(error, "unknown option --%s (idem-server --help lists them)", shown);
}

/* `--bind A B C`: the values up to the next flag, joined with blanks. False: too many bytes. */
static bool join_values(struct arguments *arguments, struct span *value) {
  size_t len = 0;
  while (at_value(arguments)) {
    struct span word = span_of(arguments->argv[arguments->at++]);
    if (len + 1 + word.len >= sizeof(arguments->joined)) return false;
    if (len > 0) arguments->joined[len++] = ' ';
    memcpy(arguments->joined + len, word.data, word.len);
    len += word.len;
  }
  *value = (struct span){arguments->joined, len};
  return true;
}

/* The value in the arguments after the flag of the row. */
static bool take_value(struct arguments *arguments, const struct options_row *row,
                       struct span *value) {
  if (!at_value(arguments)) {
    return refusal_write(arguments->error, "--%s needs a value (%s)", row->name,
                         options_value_hint(row));
  }
  if (!options_row_is_list(row->kind)) {
    *value = span_of(arguments->argv[arguments->at++]);
    return true;
  }
  return join_values(arguments, value) ||
         refusal_write(arguments->error, "--%s has a value of more than %d bytes", row->name,
                       OPTIONS_VALUE_BYTES - 1);
}

/* `value` is absent, or what stands after '='. */
static bool set_flag(struct arguments *arguments, const struct options_row *row,
                     struct span value) {
  struct options_value parsed;
  if (!span_present(value) && !take_value(arguments, row, &value)) return false;
  if (!options_value_parse(row, value, &parsed, arguments->error)) return false;
  options_value_store(row, arguments->options, &parsed);
  return true;
}

static bool take_flag(struct arguments *arguments) {
  char shown[REFUSAL_SHOWN_BYTES];
  const char *text = arguments->argv[arguments->at++];
  if (!is_flag(text)) {
    return refusal_write(
        arguments->error,
        "unexpected argument '%s': options begin with --, a configuration file comes first",
        refusal_show(span_of(text), shown));
  }
  struct span name = {text + 2, strcspn(text + 2, "=")};
  struct span value = name.data[name.len] == '=' ? span_of(name.data + name.len + 1) : SPAN_ABSENT;
  const struct options_row *row = options_find(name);
  if (row == NULL) return refuse_flag(name, arguments->error);
  if ((row->flags & OPTIONS_ROW_FILE_ONLY) != 0) {
    return refusal_write(arguments->error,
                         "--%s is refused, since every user of this machine can read a command "
                         "line: put %s into a configuration file (chmod 600)%s",
                         row->name, row->name,
                         row->offset == offsetof(struct options, requirepass)
                             ? ", or use --requirepass-file FILE"
                             : "");
  }
  return set_flag(arguments, row, value);
}

bool options_arguments_parse(struct options *options, int argc, char **argv,
                             char error[REFUSAL_BYTES]) {
  struct arguments arguments = {
      .argc = argc, .argv = argv, .at = 1, .options = options, .error = error};
  if (argc > 1 && argv[1][0] != '-') {
    if (!options_file_load(options, argv[1], error)) return false;
    arguments.at++;
  }
  while (arguments.at < argc) {
    if (!take_flag(&arguments)) return false;
  }
  if (!options_file_load_password(options, error)) return false;
  options_follow_maxima(options);
  return options_check(options, error);
}
