/* glob.h - Redis' patterns for keys: * ? [abc] [^a-c] \x. */
#ifndef IDEM_SERVER_BASE_GLOB_H
#define IDEM_SERVER_BASE_GLOB_H

#include <stdbool.h>

#include "proto/span.h"

/* Whether the whole text matches. The cost is bounded by pattern length x text length. ignore_case
 * covers the letters of ASCII only. */
bool glob_match(struct span pattern, struct span text, bool ignore_case);

#endif
