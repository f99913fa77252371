/* instance_metrics.c - see instance_metrics.h. */
#include "server/commands/instance_metrics.h"

#include "server/commands/strangers.h"

static uint64_t count_waiting(const struct instance *instance) {
  uint64_t waiting = 0;
  for (unsigned i = 0; i < instance->worker_count; i++)
    waiting += instance->workers[i]->waiting_count;
  return waiting;
}

void instance_metrics_read(const struct worker *worker, struct instance_metrics *figures) {
  struct instance *instance = worker->instance;
  int64_t uptime_s = (worker->monotonic_ms - instance->started_ms) / 1000;
  *figures = (struct instance_metrics){
      .run_id = instance->run_id,
      .config_file = instance->options->config_file,
      .port = instance->port,
      .wall_us = worker_unix_ms(worker) * 1000,
      .uptime_s = uptime_s,
      .uptime_days = uptime_s / 86400,
      .horizon_start_unix_ms = eras_unix_ms(&instance->eras, worker_largest_offset_ms(worker),
                                            instance->horizon_start_ms),
      .maxclients = instance->options->maxclients,
      .several_loops = instance->worker_count > 1,
      .loops = instance->worker_count,
      .shards = keyspace_shards(instance->keyspace),
      .draining = atomic_load(&instance->draining),
      .sessions = atomic_load(&instance->session_count),
      .peak_sessions = atomic_load(&instance->peak_sessions),
      .waiting = count_waiting(instance),
      .strangers = strangers_count(instance),
      .monitors = atomic_load(&instance->monitor_count),
      .input_bytes = atomic_load(&instance->input_bytes),
      .output_bytes = atomic_load(&instance->sending_bytes),
  };
}

#define FIELD(field) METRIC_FIELD(struct instance_metrics, field)
#define OF_FAMILY(field, family) METRIC_FIELD_AS(struct instance_metrics, field, family, NULL)
#define GAUGE METRIC_GAUGE, METRIC_NO_UNIT
#define TEXT METRIC_TEXT, METRIC_NO_UNIT

const struct metric instance_metrics_server[] = {
    {"run_id", TEXT, "Another one at each start.", FIELD(run_id)},
    {"tcp_port", TEXT, "TCP port that it listens on; 0 means none.", FIELD(port)},
    {"server_time_usec", TEXT, "Unix time in microseconds.", FIELD(wall_us)},
    {"uptime_in_seconds", METRIC_GAUGE, METRIC_SECONDS, "Time since the start.",
     OF_FAMILY(uptime_s, "uptime")},
    {"uptime_in_days", TEXT, "The same in days.", FIELD(uptime_days)},
    {"draining", GAUGE, "1 when it is about to leave: nobody is granted a claim.", FIELD(draining)},
    {"io_threads_active", TEXT, "1 with several event loops.", FIELD(several_loops)},
    {"config_file", TEXT, "Path of the configuration file; empty without one.", FIELD(config_file)},
    METRIC_END,
};

const struct metric instance_metrics_clients[] = {
    {"connected_clients", GAUGE, "Connections of clients.", FIELD(sessions)},
    {"maxclients", GAUGE, "The option maxclients.", FIELD(maxclients)},
    {"blocked_clients", GAUGE, "Clients whose command waits.", FIELD(waiting)},
    {"cluster_connections", TEXT, "It is no cluster.", METRIC_FIXED("0")},
    {"tracking_clients", TEXT, "There is no tracking.", METRIC_FIXED("0")},
    {"clients_in_timeout_table", TEXT, "There is no such table.", METRIC_FIXED("0")},
    {"client_input_bytes", METRIC_GAUGE, METRIC_BYTES,
     "Half-received and queued commands and names of subscriptions: client-input-total limits "
     "them.",
     FIELD(input_bytes)},
    {"client_output_bytes", METRIC_GAUGE, METRIC_BYTES,
     "Replies that wait for clients: client-output-total limits them.", FIELD(output_bytes)},
    {"clients_before_auth", GAUGE, "Clients over TCP that have not authenticated.",
     FIELD(strangers)},
    {"monitor_clients", GAUGE, "Clients that run MONITOR.", FIELD(monitors)},
    {"peak_clients", GAUGE, "Highest connected_clients.", FIELD(peak_sessions)},
    METRIC_END,
};

const struct metric instance_metrics_memory_of_requests[] = {
    {"horizon_start_unix_ms", METRIC_GAUGE, METRIC_MILLISECONDS,
     "When the memory of requests begins, unix time: those born earlier may have "
     "been forgotten.",
     OF_FAMILY(horizon_start_unix_ms, "horizon_start_timestamp")},
    METRIC_END,
};

const struct metric instance_metrics_replication[] = {
    {"role", TEXT, "It has no replicas, and is none.", METRIC_FIXED("master")},
    {"connected_slaves", TEXT, "It has no replicas.", METRIC_FIXED("0")},
    {"master_replid", TEXT, "As run_id.", FIELD(run_id)},
    {"master_repl_offset", TEXT, "Nothing is replicated.", METRIC_FIXED("0")},
    METRIC_END,
};

const struct metric instance_metrics_threads[] = {
    {"threads", GAUGE, "Event loops.", FIELD(loops)},
    {"shards", GAUGE, "Shards of the keyspace.", FIELD(shards)},
    METRIC_END,
};
