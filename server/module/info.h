/* info.h - the section `idem` of INFO: the rows of host_metrics, and what the process is. */
#ifndef IDEM_SERVER_MODULE_INFO_H
#define IDEM_SERVER_MODULE_INFO_H

#include "server/module/api.h"

/* api_info. */
void info_section(RedisModuleInfoCtx *info, int for_crash_report);

#endif
