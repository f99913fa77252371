/* redis_metrics.c - see redis_metrics.h. */
#include "server/commands/redis_metrics.h"

#define TEXT METRIC_TEXT, METRIC_NO_UNIT

const struct metric redis_metrics_persistence[] = {
    {"loading", TEXT, "There is nothing to load.", METRIC_FIXED("0")},
    {"async_loading", TEXT, "There is nothing to load.", METRIC_FIXED("0")},
    {"rdb_changes_since_last_save", TEXT, "Nothing is saved.", METRIC_FIXED("0")},
    {"rdb_bgsave_in_progress", TEXT, "Nothing is saved.", METRIC_FIXED("0")},
    {"rdb_last_bgsave_status", TEXT, "Nothing is saved.", METRIC_FIXED("ok")},
    {"aof_rewrite_in_progress", TEXT, "Nothing is saved.", METRIC_FIXED("0")},
    {"aof_last_bgrewrite_status", TEXT, "Nothing is saved.", METRIC_FIXED("ok")},
    METRIC_END,
};

const struct metric redis_metrics_cluster[] = {
    {"cluster_enabled", TEXT, "It is no cluster.", METRIC_FIXED("0")},
    METRIC_END,
};
