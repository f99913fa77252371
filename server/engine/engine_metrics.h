/* engine_metrics.h - the rows of what engines count: tables over struct stats, of one engine
 * or of all together. */
#ifndef IDEM_SERVER_ENGINE_ENGINE_METRICS_H
#define IDEM_SERVER_ENGINE_ENGINE_METRICS_H

#include "server/base/metric.h"

/* Under the names that monitoring of Redis reads. */
extern const struct metric engine_metrics_keyspace[];
/* Claims and their answers. */
extern const struct metric engine_metrics_idem[];

#endif
