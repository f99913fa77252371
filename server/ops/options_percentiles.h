/*
 * options_percentiles.h - the value of `latency-tracking-info-percentiles`: numbers from 0 to 100,
 * such as 99.9, with blanks between them; none at all is a value too. Pure.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_PERCENTILES_H
#define IDEM_SERVER_OPS_OPTIONS_PERCENTILES_H

#include "server/ops/refusal.h"

#define OPTIONS_PERCENTILES_MAX 16 /* numbers */

/* Sets *percentile to the next number of the list at *cursor, which options_percentiles_check has
 * seen, and moves *cursor after it; false at the end. */
bool options_percentiles_next(const char **cursor, double *percentile);
/* False with the reason when the list has more than OPTIONS_PERCENTILES_MAX numbers, or anything
 * else. */
bool options_percentiles_check(const char *list, char error[REFUSAL_BYTES]);

#endif
