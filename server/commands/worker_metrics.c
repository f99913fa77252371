/* worker_metrics.c - see worker_metrics.h. */
#include "server/commands/worker_metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/ops/prometheus.h"

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
#define OF_FAMILY(field, family) METRIC_FIELD_AS(struct worker_counters, field, family, NULL)
#define COUNTER METRIC_COUNTER, METRIC_NO_UNIT

const struct metric worker_metrics_traffic[] = {
    {"total_connections_received", COUNTER, "Connections accepted.",
     OF_FAMILY(connections, "connections_received")},
    {"total_commands_processed", COUNTER, "Commands run.",
     OF_FAMILY(commands, "commands_processed")},
    {"instantaneous_ops_per_sec", METRIC_TEXT, METRIC_NO_UNIT,
     "Not measured: take the difference of total_commands_processed.", METRIC_FIXED("0")},
    {"total_net_input_bytes", METRIC_COUNTER, METRIC_BYTES, "Bytes received.",
     OF_FAMILY(bytes_in, "net_input")},
    {"total_net_output_bytes", METRIC_COUNTER, METRIC_BYTES, "Bytes sent.",
     OF_FAMILY(bytes_out, "net_output")},
    {"rejected_connections", COUNTER,
     "Connections refused, above maxclients or for want of memory.", FIELD(connections_refused)},
    METRIC_END,
};

const struct metric worker_metrics_refusals[] = {
    {"acl_access_denied_auth", COUNTER, "Failed AUTHs.", OF_FAMILY(auth_failures, "auth_failures")},
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
    {"proxy_header_disconnections", COUNTER,
     "Connections of load balancers closed that sent no PROXY header.", FIELD(proxy_errors)},
    METRIC_END,
};

const struct metric worker_metrics_idem[] = {
    {"refused_journal", COUNTER, "MISCONF errors: the journal had no room.",
     FIELD(refused_by_journal)},
    METRIC_END,
};

static void put_loops_of(const struct instance *instance, const struct metric *row,
                         struct metrics_text *text) {
  prometheus_put_head(text, row);
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct worker *worker = instance->workers[i];
    char number[16];
    snprintf(number, sizeof number, "%u", i);
    prometheus_put_sample(text, row, number,
                          *(const uint64_t *)(const void *)((const char *)worker + row->offset));
  }
}

void worker_metrics_put_lines(const struct instance *instance, const void *figures,
                              struct metrics_text *text) {
  (void)figures;
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct worker *each = instance->workers[i];
    metrics_put(text, "loop_%u:clients=%" PRIu64 ",waiting=%" PRIu64 ",commands=%" PRIu64 "\r\n", i,
                each->session_count, each->waiting_count, each->counters.commands);
  }
}

#define OF_LOOP(field) METRIC_TYPE_TABLE, offsetof(struct worker, field), "loop_", NULL, "loop"

const struct metric worker_metrics_tables[] = {
    {"loop_clients", METRIC_GAUGE, METRIC_NO_UNIT, "Connections of each event loop.",
     OF_LOOP(session_count)},
    {"loop_commands", COUNTER, "Commands run by each event loop.", OF_LOOP(counters.commands)},
    METRIC_END,
};

void worker_metrics_put_families(const struct instance *instance, const void *figures,
                                 struct metrics_text *text) {
  (void)figures;
  for (const struct metric *row = worker_metrics_tables; row->name != NULL; row++)
    put_loops_of(instance, row, text);
}
