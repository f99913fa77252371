/* options_live.h - CONFIG SET of one option. Not thread-safe: the other loops are paused. */
#ifndef IDEM_SERVER_OPS_OPTIONS_LIVE_H
#define IDEM_SERVER_OPS_OPTIONS_LIVE_H

#include "server/ops/options.h"

/*
 * False with the reason, and the options unchanged: the name is unknown, the option cannot change
 * while the server runs, the value is bad, or options_check refuses what would result. A new
 * requirepass takes the place of requirepass-file; a requirepass-file is read at once, also when it
 * is the same.
 */
bool options_live_set(struct options *options, struct span name, struct span value,
                      char error[REFUSAL_BYTES]);

#endif
