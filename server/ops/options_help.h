/* options_help.h - the table of options for people. Knows the rows and nothing else. */
#ifndef IDEM_SERVER_OPS_OPTIONS_HELP_H
#define IDEM_SERVER_OPS_OPTIONS_HELP_H

#include <stdio.h>

/* --help: at most 100 columns wide. Errors of `out` are the caller's to look for. */
void options_help_print(FILE *out);
/* --help markdown: the table of server/README.md. */
void options_help_print_markdown(FILE *out);

#endif
