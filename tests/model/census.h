/*
 * census.h - what the users of an engine hold and wait for, counted anew and compared with what was
 * counted on the way (engine/quotas.h).
 */
#ifndef IDEM_TESTS_MODEL_CENSUS_H
#define IDEM_TESTS_MODEL_CENSUS_H

#include <stdint.h>

struct engine;

#define CENSUS_USERS 4 /* 0 is nobody */

/* NULL: they are the same; otherwise what differs, in a buffer of the caller. */
const char *census_differs(const struct engine *engine, char text[128]);

#endif
