/*
 * options_scale.h - numbers with a unit, as configuration files write them: "30s", "16mb".
 *
 * Knows no options: the server's table and the module's arguments read their numbers here. Keeps:
 * options_scale_parse reads back what options_scale_print prints. Any thread may call.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_SCALE_H
#define IDEM_SERVER_OPS_OPTIONS_SCALE_H

#include "proto/span.h"

struct options_scale_unit {
  const char *suffix; /* NULL: the end of the list */
  int64_t factor;
};

/* Lists of units, smallest first. */
extern const struct options_scale_unit options_scale_none[];
extern const struct options_scale_unit options_scale_ms[];
extern const struct options_scale_unit options_scale_seconds[];
extern const struct options_scale_unit options_scale_bytes[];

/* A number, then one of the units (in any case) or nothing. False: it is none, or overflows. */
bool options_scale_parse(struct span text, const struct options_scale_unit *units, int64_t *number);
/* In the largest unit that divides it, terminated; cut to size. */
void options_scale_print(const struct options_scale_unit *units, int64_t number, char *text,
                         size_t size);

#endif
