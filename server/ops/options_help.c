/*
 * options_help.c - the table of options for people: --help, the Markdown of server/README.md, the
 * nearest name.
 *
 * Knows the rows and nothing else. Keeps: --help fits HELP_COLUMNS.
 */
#include "server/ops/options.h"

#include "server/ops/options_row.h"
#include "server/ops/version.h"

#define HELP_COLUMNS 100
#define HELP_INDENT 34
#define MAX_NAME 32 /* bytes of a name that are compared; ours are shorter */

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

static const char *initial_of(const struct row *row) {
  return row->initial[0] != '\0' ? row->initial : "\"\"";
}

static void print_row(FILE *out, const struct row *row) {
  char bounds[OPTIONS_TEXT_BYTES], head[2 * HELP_INDENT], text[2 * OPTIONS_TEXT_BYTES];
  bool flag = (row->flags & ROW_FILE_ONLY) == 0;
  row_bounds(row, bounds);
  snprintf(head, sizeof(head), "  %s%s %s", flag ? "--" : "  ", row->name, row_hint(row));
  fprintf(out, "%-*s", HELP_INDENT, head);
  if (strlen(head) >= HELP_INDENT) fprintf(out, "\n%*s", HELP_INDENT, "");
  snprintf(text, sizeof(text), "%s [default %s; %s]%s", row->help, initial_of(row), bounds,
           (row->flags & ROW_LIVE) != 0 ? " *" : "");
  print_wrapped(out, text);
}

void options_print_help(FILE *out) {
  fputs("idem-server " IDEM_VERSION
        ": makes retries safe, over the Redis protocol\n"
        "\n"
        "Usage: idem-server [FILE] [--NAME VALUE | --NAME=VALUE] ...\n"
        "       idem-server -h | --help [markdown]\n"
        "       idem-server -v | -V | --version\n"
        "\n"
        "FILE has a line `NAME VALUE` for each setting and comments that begin with #; a flag wins "
        "over it.\n"
        "TIME is milliseconds, or a number with ms, s, m, h or d behind it. SECONDS is seconds, or "
        "the\n"
        "same with s, m, h or d. SIZE is bytes, or a number with kb, mb, gb (powers of 1024) or k, "
        "m, g.\n"
        "CONFIG SET can change what is marked * while the server runs.\n",
        out);
  const char *section = NULL;
  for (size_t i = 0; i < options_count(); i++) {
    const struct row *row = options_row(i);
    if (section == NULL || strcmp(section, row->section) != 0) fprintf(out, "\n%s\n", row->section);
    section = row->section;
    print_row(out, row);
  }
}

void options_print_markdown(FILE *out) {
  fputs("| option | default | values | CONFIG SET | meaning |\n| --- | --- | --- | --- | --- |\n",
        out);
  for (size_t i = 0; i < options_count(); i++) {
    const struct row *row = options_row(i);
    char bounds[OPTIONS_TEXT_BYTES];
    row_bounds(row, bounds);
    fprintf(out, "| `%s` | `%s` | %s | %s | %s |\n", row->name, initial_of(row), bounds,
            (row->flags & ROW_LIVE) != 0 ? "yes" : "no", row->help);
  }
}

static size_t smallest(size_t a, size_t b, size_t c) {
  size_t least = a < b ? a : b;
  return least < c ? least : c;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Levenshtein's distance with one row of the matrix. */
static size_t edit_distance(struct span a, struct span b) {
  size_t row[MAX_NAME + 1];
  for (size_t j = 0; j <= b.len; j++) row[j] = j;
  for (size_t i = 1; i <= a.len; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.len; j++) {
      size_t above = row[j];
      size_t change = lower(a.data[i - 1]) == b.data[j - 1] ? 0 : 1;
      row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + change);
      diagonal = above;
    }
  }
  return row[b.len];
}

const char *options_nearest(struct span name) {
  const char *nearest = NULL;
  /* Two letters (one transposition), or a third of them, may be wrong; more is a different word. */
  size_t best = (name.len < 6 ? 2 : name.len / 3) + 1;
  if (name.len < 3 || name.len > MAX_NAME) return NULL;
  for (size_t i = 0; i < options_count(); i++) {
    struct span candidate = span_of(options_name(i));
    if (candidate.len > MAX_NAME) continue;
    size_t distance = edit_distance(name, candidate);
    if (distance >= best) continue;
    best = distance;
    nearest = candidate.data;
  }
  return nearest;
}
