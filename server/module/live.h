/*
 * live.h - the settings that CONFIG SET may change, as `idem.NAME`: those that may be changed in
 * the server too (OPTIONS_ROW_LIVE).
 *
 * CONFIG GET idem.* shows them, in milliseconds and counts. What the module was loaded with is
 * where they begin; a line `idem.retention 3600000` in the configuration file wins over it.
 */
#ifndef IDEM_SERVER_MODULE_LIVE_H
#define IDEM_SERVER_MODULE_LIVE_H

#include "server/module/settings.h"
#include "server/module/api.h"

/* While the module is being loaded. settings has to stay where it is. */
bool live_register(RedisModuleCtx *ctx, struct settings *settings);

#endif
