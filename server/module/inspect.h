/*
 * inspect.h - INSPECT: what stands in a record, for operators; and one record as it is shown.
 */
#ifndef IDEM_SERVER_MODULE_INSPECT_H
#define IDEM_SERVER_MODULE_INSPECT_H

#include "server/module/visit.h"
#include "server/rules/inspection.h"

/* The record of the visit, as of its moment. Borrowed from it. */
void inspect_show(const struct visit *visit, struct inspection *shown);
/* As a map, from this field on. */
void inspect_write(RedisModuleCtx *ctx, const struct inspection *shown, size_t first);

int inspect_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);

#endif
