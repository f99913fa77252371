/* options_rewrite.h - CONFIG REWRITE: the settings that are not the defaults, into the
 * configuration file. */
#ifndef IDEM_SERVER_OPS_OPTIONS_REWRITE_H
#define IDEM_SERVER_OPS_OPTIONS_REWRITE_H

#include "server/ops/options.h"
#include "server/ops/users.h"

/*
 * Writes the settings that differ from the defaults, and the users, unless those have a file of
 * their own, into options->config_file; keeps its comments, the order of its lines and the spelling
 * of values that still hold. A password that the file does not have as text becomes the SHA-256 in
 * the line of its user. Atomic: a new file, fsync, rename; owner and mode stay. False with the
 * reason: there is no file, it has a bad line, it is not private and there is a password to write,
 * or the system refuses; the file is unchanged then, unless only the sync of its directory failed.
 */
bool options_rewrite_file(const struct options *options, const struct users *users,
                          char error[REFUSAL_BYTES]);

#endif
