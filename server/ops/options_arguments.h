/* options_arguments.h - the command line: `idem-server [FILE] [--name value | --name=value] ...`.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_ARGUMENTS_H
#define IDEM_SERVER_OPS_OPTIONS_ARGUMENTS_H

#include <stdio.h>

#include "server/ops/options.h"

/* True: the arguments ask for help or the version, which was printed, and for nothing else: they
 * win over all other arguments, also over bad ones. Errors of `out` are the caller's to look for.
 */
bool options_arguments_print(int argc, char **argv, FILE *out);

/*
 * Reads FILE first, then the flags, which win, then the password's file; lets defaults follow their
 * maxima, and checks the whole. False with the reason, which names the file and line or the flag.
 * `options` comes from options_init, and stays valid for options_deinit either way.
 */
bool options_arguments_parse(struct options *options, int argc, char **argv,
                             char error[REFUSAL_BYTES]);

#endif
