/* options_help.c - see options_help.h. Keeps: --help fits HELP_COLUMNS. */
#include "server/ops/options_help.h"

#include <string.h>

#include "server/ops/options.h"
#include "server/ops/version.h"

#define HELP_COLUMNS 100
#define HELP_INDENT 34

/* Prints text from column HELP_INDENT on, which is where the cursor stands, and breaks it at
 * blanks. */
static void print_wrapped(FILE *out, const char *text) {
  size_t column = HELP_INDENT;
  while (*text != '\0') {
    size_t len = strcspn(text, " ");
    if (column > HELP_INDENT && column + 1 + len > HELP_COLUMNS) {
      fprintf(out, "\n%*s", HELP_INDENT, "");
      column = HELP_INDENT;
    } else if (column > HELP_INDENT) {
      fputc(' ', out);
      column++;
    }
    fprintf(out, "%.*s", (int)len, text);
    column += len;
    text += len;
    text += strspn(text, " ");
  }
  fputc('\n', out);
}

static const char *initial_of(const struct options_row *row) {
  return row->initial[0] != '\0' ? row->initial : "\"\"";
}

static void print_row(FILE *out, const struct options_row *row) {
  char bounds[OPTIONS_VALUE_BYTES], head[2 * HELP_INDENT], text[2 * OPTIONS_VALUE_BYTES];
  bool flag = (row->flags & OPTIONS_ROW_FILE_ONLY) == 0;
  options_value_bounds(row, bounds);
  snprintf(head, sizeof(head), "  %s%s %s", flag ? "--" : "  ", row->name, options_value_hint(row));
  fprintf(out, "%-*s", HELP_INDENT, head);
  if (strlen(head) >= HELP_INDENT) fprintf(out, "\n%*s", HELP_INDENT, "");
  snprintf(text, sizeof(text), "%s [default %s; %s]%s", row->help, initial_of(row), bounds,
           (row->flags & OPTIONS_ROW_LIVE) != 0 ? " *" : "");
  print_wrapped(out, text);
}

void options_help_print(FILE *out) {
  fputs(
      "idem-server " IDEM_VERSION
      ": makes retries safe, over the Redis protocol\n"
      "\n"
      "Usage: idem-server [FILE] [--NAME VALUE | --NAME=VALUE] ...\n"
      "       idem-server -h | --help [markdown | metrics]\n"
      "       idem-server -v | -V | --version\n"
      "       idem-server [FILE] ... --ping [URL]    (asks a running server; exit status 0 on PONG)\n"
      "       idem-server --check-journal DIR        (looks at a journal; exit status 0, 1, or 78)\n"
      "       idem-server --salvage DIR TO           (what is valid in it, into a new journal)\n"
      "\n"
      "FILE has a line `NAME VALUE` for each setting, and comments that begin with #; a flag wins "
      "over it.\n"
      "TIME is milliseconds, or a number with ms, s, m, h or d. SECONDS is seconds, or a number "
      "with\n"
      "s, m, h or d. SIZE is bytes, or a number with kb, mb, gb (powers of 1024) or k, m, g.\n"
      "CONFIG SET can change the options marked * while the server runs.\n",
      out);
  const char *section = NULL;
  for (size_t i = 0; i < options_count(); i++) {
    const struct options_row *row = options_row(i);
    if (section == NULL || strcmp(section, row->section) != 0) fprintf(out, "\n%s\n", row->section);
    section = row->section;
    print_row(out, row);
  }
}

void options_help_print_markdown(FILE *out) {
  fputs("| option | default | values | CONFIG SET | meaning |\n| --- | --- | --- | --- | --- |\n",
        out);
  for (size_t i = 0; i < options_count(); i++) {
    const struct options_row *row = options_row(i);
    char bounds[OPTIONS_VALUE_BYTES];
    options_value_bounds(row, bounds);
    fprintf(out, "| `%s` | `%s` | %s | %s | %s |\n", row->name, initial_of(row), bounds,
            (row->flags & OPTIONS_ROW_LIVE) != 0 ? "yes" : "no", row->help);
  }
}
