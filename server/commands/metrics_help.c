/* metrics_help.c - see metrics_help.h. */
#include "server/commands/metrics_help.h"

#include "server/commands/sections.h"
#include "server/ops/prometheus.h"

static void print_in_info(FILE *out, const struct section *section, const struct metric *row) {
  const char *name = row->type == METRIC_TYPE_TABLE ? row->fixed : row->name;
  if (name == NULL) {
    fputs(" | |", out);
  } else {
    fprintf(out, " | %s: `%s`%s |", section->is.title, name,
            row->type == METRIC_TYPE_TABLE ? " ..." : "");
  }
}

static void print_row(FILE *out, const struct section *section, const struct metric *row) {
  static const char *const kinds[] = {
      [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
  char name[PROMETHEUS_NAME_BYTES];
  if (row->kind == METRIC_TEXT) return;
  prometheus_name(row, name);
  bool table = row->type == METRIC_TYPE_TABLE;
  fprintf(out, "| `%s", name);
  if (row->labels != NULL) fprintf(out, table ? "{%s=...}" : "{%s}", row->labels);
  fputs("`", out);
  print_in_info(out, section, row);
  fprintf(out, " %s | %s |\n", kinds[row->kind], row->help);
}

void metrics_help_print(FILE *out) {
  fputs("| /metrics | INFO | kind | meaning |\n| --- | --- | --- | --- |\n", out);
  for (const struct section *section = sections_all; section->is.title != NULL; section++) {
    for (const struct section_part *part = section->parts; part->rows != NULL; part++) {
      for (const struct metric *row = part->rows; row->name != NULL; row++)
        print_row(out, section, row);
    }
    for (const struct metric *row = section->heads; row != NULL && row->name != NULL; row++)
      print_row(out, section, row);
  }
}
