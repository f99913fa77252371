/*
 * events.h - what the host tells the module: keys that others changed or time removed, connections
 * that were closed, its role, loading.
 */
#ifndef IDEM_SERVER_MODULE_EVENTS_H
#define IDEM_SERVER_MODULE_EVENTS_H

#include "server/module/api.h"

/* False: the host takes no subscription. */
bool events_subscribe(RedisModuleCtx *ctx);

#endif
