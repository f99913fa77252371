/* options_nearest.h - the option that an unknown name was probably meant to be. Pure. */
#ifndef IDEM_SERVER_OPS_OPTIONS_NEAREST_H
#define IDEM_SERVER_OPS_OPTIONS_NEAREST_H

#include "proto/span.h"

/* NULL when no name is near: more than two letters differ, or more than a third of them. */
const char *options_nearest_name(struct span name);

#endif
