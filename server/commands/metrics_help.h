/* metrics_help.h - the metrics for people: --help metrics, which makes the table of
 * server/METRICS.md. Knows the rows of all sections and no figure. */
#ifndef IDEM_SERVER_COMMANDS_METRICS_HELP_H
#define IDEM_SERVER_COMMANDS_METRICS_HELP_H

#include <stdio.h>

/* A line of Markdown for each metric, in the order of /metrics. Errors of `out` are the caller's to
 * look for. */
void metrics_help_print(FILE *out);

#endif
