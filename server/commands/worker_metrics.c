/* worker_metrics.c - see worker_metrics.h. */
#include "server/commands/worker_metrics.h"

_Static_assert(sizeof(struct worker_counters) % sizeof(uint64_t) == 0, "added up as numbers");

static void add(struct worker_counters *sum, const struct worker_counters *counters) {
  uint64_t *to = (void *)sum;
  const uint64_t *from = (const void *)counters;
  for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) to[i] += from[i];
}

void worker_metrics_read(const struct instance *instance, struct worker_counters *sum) {
  *sum = (struct worker_counters){0};
  for (unsigned i = 0; i < instance->worker_count; i++) add(sum, &instance->workers[i]->counters);
}

#define FIELD(field) METRIC_FIELD(struct worker_counters, field)
#define COUNTER METRIC_COUNTER, METRIC_NO_UNIT

const struct metric worker_metrics_traffic[] = {
    {"total_connections_received", COUNTER, "Connections accepted.", FIELD(connections)},
    {"total_commands_processed", COUNTER, "Commands run.", FIELD(commands)},
    {"instantaneous_ops_per_sec", METRIC_TEXT, METRIC_NO_UNIT,
     "Not measured: take the difference of total_commands_processed.", METRIC_FIXED("0")},
    {"total_net_input_bytes", METRIC_COUNTER, METRIC_BYTES, "Bytes received.", FIELD(bytes_in)},
    {"total_net_output_bytes", METRIC_COUNTER, METRIC_BYTES, "Bytes sent.", FIELD(bytes_out)},
    {"rejected_connections", COUNTER,
     "Connections refused, above maxclients or for want of memory.", FIELD(connections_refused)},
    METRIC_END,
};

const struct metric worker_metrics_refusals[] = {
    {"acl_access_denied_auth", COUNTER, "Failed AUTHs.", FIELD(auth_failures)},
    {"acl_access_denied_cmd", COUNTER, "Commands that their user may not run.",
     FIELD(denied_commands)},
    {"acl_access_denied_key", COUNTER, "Commands on keys that their user may not access.",
     FIELD(denied_keys)},
    {"acl_access_denied_channel", COUNTER, "Commands on channels that their user may not access.",
     FIELD(denied_channels)},
    {"protocol_errors", COUNTER, "Connections closed for bytes that are no command.",
     FIELD(protocol_errors)},
    {"client_query_buffer_limit_disconnections", COUNTER,
     "Connections closed at client-input-total.", FIELD(closed_by_input_limit)},
    {"client_output_buffer_limit_disconnections", COUNTER,
     "Connections closed that did not take their replies.", FIELD(closed_for_unread_replies)},
    {"before_auth_disconnections", COUNTER, "Connections closed that had not authenticated.",
     FIELD(closed_before_auth)},
    {"request_timeout_disconnections", COUNTER,
     "Connections closed whose command did not arrive in time.", FIELD(closed_by_request_timeout)},
    METRIC_END,
};
