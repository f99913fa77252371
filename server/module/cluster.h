/*
 * cluster.h - asks the host each second which slots this node has (slots.h). When one came,
 * tokens lead (tokens.h).
 */
#ifndef IDEM_SERVER_MODULE_CLUSTER_H
#define IDEM_SERVER_MODULE_CLUSTER_H

#include "server/module/host.h"

/* From now on. Does nothing outside a cluster. */
void cluster_watch(struct host *of);

#endif
