/* options_rewrite.h - CONFIG REWRITE: the settings that are not the defaults, into the
 * configuration file. */
#ifndef IDEM_SERVER_OPS_OPTIONS_REWRITE_H
#define IDEM_SERVER_OPS_OPTIONS_REWRITE_H

#include "server/ops/options.h"

/*
 * Writes the settings that differ from the defaults into options->config_file, and keeps its
 * comments, the order of its lines and the spelling of values that still hold. Atomic: a new file,
 * fsync, rename; owner and mode stay. False with the reason: there is no file, it has a bad line,
 * it is not private and there is a password to write, or the system refuses; the file is unchanged
 * then, unless only the sync of its directory failed.
 */
bool options_rewrite_file(const struct options *options, char error[REFUSAL_BYTES]);

#endif
