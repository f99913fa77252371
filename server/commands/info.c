/* info.c - INFO: figures in the sections and under the names that monitoring of Redis reads, and
 * idem's own. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "server/commands/pubsub.h"
#include "server/commands/server.h"
#include "server/commands/strangers.h"
#include "server/ops/version.h"

/* A text that grows. With a line missing it would be wrong without a sign of it: `failed` says so.
 */
struct text {
  char *bytes;
  size_t len, capacity;
  bool failed;
};

static void put(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define LINE_MAX_BYTES 2048

static void put(struct text *text, const char *format, ...) {
  if (text->capacity - text->len < LINE_MAX_BYTES) {
    size_t capacity = text->capacity * 2 + 2 * LINE_MAX_BYTES;
    char *grown = realloc(text->bytes, capacity);
    text->failed |= grown == NULL;
    if (grown == NULL) return;
    text->bytes = grown;
    text->capacity = capacity;
  }
  va_list arguments;
  va_start(arguments, format);
  int len = vsnprintf(text->bytes + text->len, LINE_MAX_BYTES, format, arguments);
  va_end(arguments);
  if (len > 0) text->len += (size_t)(len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES - 1);
}

static const char *units(uint64_t bytes, char buffer[32]) {
  static const char suffixes[] = "BKMGT";
  double value = (double)bytes;
  size_t i = 0;
  for (; value >= 1024 && i < sizeof suffixes - 2; i++) value /= 1024;
  if (i == 0) {
    snprintf(buffer, 32, "%" PRIu64 "B", bytes);
  } else {
    snprintf(buffer, 32, "%.2f%c", value, suffixes[i]);
  }
  return buffer;
}

static void worker_counters_add(struct worker_counters *sum,
                                const struct worker_counters *counters) {
  sum->connections += counters->connections;
  sum->connections_refused += counters->connections_refused;
  sum->commands += counters->commands;
  sum->protocol_errors += counters->protocol_errors;
  sum->auth_failures += counters->auth_failures;
  sum->bytes_in += counters->bytes_in;
  sum->bytes_out += counters->bytes_out;
  sum->closed_by_output_limit += counters->closed_by_output_limit;
  sum->closed_by_input_limit += counters->closed_by_input_limit;
  sum->closed_before_auth += counters->closed_before_auth;
  sum->closed_by_request_timeout += counters->closed_by_request_timeout;
}

static void command_stats_add(struct command_stats *sum, const struct command_stats *stats) {
  sum->calls += stats->calls;
  sum->nanoseconds += stats->nanoseconds;
  sum->rejected += stats->rejected;
  sum->failed += stats->failed;
}

static void info_server(struct worker *worker, struct text *text) {
  struct utsname system;
  if (uname(&system) != 0) memcpy(system.sysname, "?", 2);
  int64_t uptime_s = (worker->now_ms - worker->instance->started_ms) / 1000;
  put(text,
      "redis_version:%s\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_mode:"
      "standalone\r\n",
      IDEM_REDIS_VERSION);
  put(text, "server_name:idem\r\nidem_version:%s\r\n", IDEM_VERSION);
  put(text, "os:%s %s %s\r\narch_bits:%zu\r\nmultiplexing_api:libuv\r\n", system.sysname,
      system.release, system.machine, sizeof(void *) * 8);
  put(text, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
  put(text, "process_id:%ld\r\nrun_id:%s\r\ntcp_port:%d\r\n", (long)getpid(),
      worker->instance->run_id, worker->instance->port);
  put(text, "server_time_usec:%" PRId64 "\r\n",
      (worker->now_ms + worker_wall_offset_ms(worker)) * 1000);
  put(text, "uptime_in_seconds:%" PRId64 "\r\nuptime_in_days:%" PRId64 "\r\n", uptime_s,
      uptime_s / 86400);
  put(text, "io_threads_active:%d\r\n", worker->instance->worker_count > 1);
  put(text, "config_file:%s\r\n", worker->options->config_file);
}

static void info_clients(struct worker *worker, struct text *text) {
  uint64_t waiting = 0;
  for (unsigned i = 0; i < worker->instance->worker_count; i++)
    waiting += worker->instance->workers[i]->waiting_count;
  put(text,
      "connected_clients:%" PRIu64 "\r\nmaxclients:%" PRId64 "\r\nblocked_clients:%" PRIu64 "\r\n",
      atomic_load(&worker->instance->session_count), worker->options->maxclients, waiting);
  put(text, "cluster_connections:0\r\ntracking_clients:0\r\nclients_in_timeout_table:0\r\n");
  put(text,
      "client_input_bytes:%" PRIu64 "\r\nclient_output_bytes:%" PRIu64
      "\r\nclients_before_auth:%u\r\n",
      atomic_load(&worker->instance->input_bytes), atomic_load(&worker->instance->sending_bytes),
      strangers_count(worker->instance));
  put(text, "monitor_clients:%" PRIu64 "\r\npeak_clients:%" PRIu64 "\r\n",
      atomic_load(&worker->instance->monitor_count), atomic_load(&worker->instance->peak_sessions));
}

static uint64_t resident_bytes(void) {
  FILE *file = fopen("/proc/self/statm", "re");
  if (file == NULL) return 0;
  uint64_t all = 0, resident = 0;
  int fields = fscanf(file, "%" SCNu64 " %" SCNu64, &all, &resident);
  fclose(file);
  return fields == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void info_memory(struct worker *worker, struct text *text) {
  struct engine_stats stats;
  worker_engine_stats(worker, &stats);
  uint64_t resident = resident_bytes(), limit = (uint64_t)worker->options->maxmemory;
  char buffer[32];
  put(text, "used_memory:%" PRIu64 "\r\nused_memory_human:%s\r\n", stats.memory_bytes,
      units(stats.memory_bytes, buffer));
  put(text, "used_memory_rss:%" PRIu64 "\r\nused_memory_rss_human:%s\r\n", resident,
      units(resident, buffer));
  put(text, "used_memory_peak:%" PRIu64 "\r\nused_memory_peak_human:%s\r\n",
      stats.memory_peak_bytes, units(stats.memory_peak_bytes, buffer));
  put(text, "used_memory_dataset:%" PRIu64 "\r\nused_memory_lua:0\r\n", stats.memory_bytes);
  put(text, "maxmemory:%" PRIu64 "\r\nmaxmemory_human:%s\r\nmaxmemory_policy:noeviction\r\n", limit,
      units(limit, buffer));
  double ratio = stats.memory_bytes > 0 ? (double)resident / (double)stats.memory_bytes : 0;
  put(text,
      "mem_fragmentation_ratio:%.2f\r\nmem_allocator:jemalloc\r\nstore_reserve:%" PRId64 "\r\n",
      ratio, worker->options->store_reserve);
}

static void info_persistence(struct worker *worker, struct text *text) {
  (void)worker;
  put(text,
      "loading:0\r\nasync_loading:0\r\nrdb_changes_since_last_save:0\r\nrdb_bgsave_in_progress:"
      "0\r\nrdb_last_bgsave_status:ok\r\n"
      "aof_enabled:0\r\naof_rewrite_in_progress:0\r\naof_last_bgrewrite_status:ok\r\naof_last_"
      "write_status:ok\r\n");
}

static void info_stats(struct worker *worker, struct text *text) {
  struct engine_stats stats;
  worker_engine_stats(worker, &stats);
  struct worker_counters sum = {0}, *c = &sum;
  for (unsigned i = 0; i < worker->instance->worker_count; i++)
    worker_counters_add(c, &worker->instance->workers[i]->counters);
  put(text, "total_connections_received:%" PRIu64 "\r\ntotal_commands_processed:%" PRIu64 "\r\n",
      c->connections, c->commands);
  put(text,
      "instantaneous_ops_per_sec:0\r\ntotal_net_input_bytes:%" PRIu64
      "\r\ntotal_net_output_bytes:%" PRIu64 "\r\n",
      c->bytes_in, c->bytes_out);
  put(text,
      "rejected_connections:%" PRIu64 "\r\nexpired_keys:%" PRIu64
      "\r\nevicted_keys:0\r\nkeyspace_hits:%" PRIu64 "\r\nkeyspace_misses:%" PRIu64 "\r\n",
      c->connections_refused, stats.expired, stats.replayed, stats.granted);
  put(text, "pubsub_channels:%zu\r\npubsub_patterns:%zu\r\n", pubsub_channels(worker->instance),
      pubsub_patterns(worker->instance));
  put(text, "acl_access_denied_auth:%" PRIu64 "\r\nprotocol_errors:%" PRIu64 "\r\n",
      c->auth_failures, c->protocol_errors);
  put(text,
      "client_query_buffer_limit_disconnections:%" PRIu64
      "\r\nclient_output_buffer_limit_disconnections:%" PRIu64
      "\r\nbefore_auth_disconnections:%" PRIu64 "\r\nrequest_timeout_disconnections:%" PRIu64
      "\r\n",
      c->closed_by_input_limit, c->closed_by_output_limit, c->closed_before_auth,
      c->closed_by_request_timeout);
}

static void info_replication(struct worker *worker, struct text *text) {
  put(text, "role:master\r\nconnected_slaves:0\r\nmaster_replid:%s\r\nmaster_repl_offset:0\r\n",
      worker->instance->run_id);
}

static void info_cpu(struct worker *worker, struct text *text) {
  (void)worker;
  struct rusage self;
  if (getrusage(RUSAGE_SELF, &self) != 0) return;
  put(text, "used_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n", (long)self.ru_stime.tv_sec,
      (long)self.ru_stime.tv_usec, (long)self.ru_utime.tv_sec, (long)self.ru_utime.tv_usec);
}

static void info_idem(struct worker *worker, struct text *text) {
  struct engine_stats s;
  worker_engine_stats(worker, &s);
  put(text,
      "records:%" PRIu64 "\r\nheld:%" PRIu64 "\r\nlapsed:%" PRIu64 "\r\nunknown:%" PRIu64
      "\r\ndone:%" PRIu64 "\r\n",
      s.records, s.phases[RULES_HELD], s.phases[RULES_LAPSED], s.phases[RULES_UNKNOWN],
      s.phases[RULES_DONE]);
  put(text, "values:%" PRIu64 "\r\nwaiters:%" PRIu64 "\r\n", s.values, s.waiters);
  put(text,
      "claims_granted:%" PRIu64 "\r\nclaims_granted_again:%" PRIu64
      "\r\nclaims_handed_over:%" PRIu64 "\r\nclaims_taken_back:%" PRIu64 "\r\n",
      s.granted, s.granted_again, s.handed_over, s.taken_back);
  put(text,
      "replayed:%" PRIu64 "\r\nbusy:%" PRIu64 "\r\nunknown_answers:%" PRIu64
      "\r\nmismatches:%" PRIu64 "\r\n",
      s.replayed, s.busy, s.unknown, s.mismatched);
  put(text,
      "stored:%" PRIu64 "\r\nstale:%" PRIu64 "\r\nconflicts:%" PRIu64 "\r\nrenewed:%" PRIu64
      "\r\nreleased:%" PRIu64 "\r\n",
      s.stored, s.stale, s.conflicts, s.renewed, s.released);
  put(text,
      "leases_over:%" PRIu64 "\r\nwaits_timed_out:%" PRIu64 "\r\nrefused_memory:%" PRIu64 "\r\n",
      s.lapsed, s.waits_timed_out, s.refused_memory);
}

static void info_threads(struct worker *worker, struct text *text) {
  const struct instance *instance = worker->instance;
  put(text, "threads:%u\r\nshards:%u\r\n", instance->worker_count,
      keyspace_shards(instance->keyspace));
  for (unsigned i = 0; i < instance->worker_count; i++) {
    const struct worker *each = instance->workers[i];
    put(text, "loop_%u:clients=%" PRIu64 ",waiting=%" PRIu64 ",commands=%" PRIu64 "\r\n", i,
        each->session_count, each->waiting_count, each->counters.commands);
  }
}

static void info_commandstats(struct worker *worker, struct text *text) {
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    struct command_stats sum = {0}, *s = &sum;
    for (unsigned h = 0; h < worker->instance->worker_count; h++)
      command_stats_add(s, &worker->instance->workers[h]->stats[i]);
    if (s->calls + s->rejected == 0) continue;
    char name[COMMAND_NAME_BYTES];
    command_name(&COMMAND_TABLE[i], name);
    double usec = (double)s->nanoseconds / 1000;
    put(text,
        "cmdstat_%s:calls=%" PRIu64 ",usec=%.0f,usec_per_call=%.2f,rejected_calls=%" PRIu64
        ",failed_calls=%" PRIu64 "\r\n",
        name, s->calls, usec, s->calls > 0 ? usec / (double)s->calls : 0, s->rejected, s->failed);
  }
}

static void info_cluster(struct worker *worker, struct text *text) {
  (void)worker;
  put(text, "cluster_enabled:0\r\n");
}

static void info_keyspace(struct worker *worker, struct text *text) {
  struct engine_stats stats;
  worker_engine_stats(worker, &stats);
  uint64_t keys = stats.records + stats.values;
  if (keys > 0)
    put(text, "db0:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0\r\n", keys, stats.expiring);
}

struct section {
  const char *name, *title;
  void (*write)(struct worker *worker, struct text *text);
  bool by_default;
};

static const struct section SECTIONS[] = {
    {"server", "Server", info_server, true},
    {"clients", "Clients", info_clients, true},
    {"memory", "Memory", info_memory, true},
    {"persistence", "Persistence", info_persistence, true},
    {"stats", "Stats", info_stats, true},
    {"replication", "Replication", info_replication, true},
    {"cpu", "CPU", info_cpu, true},
    {"idem", "Idem", info_idem, true},
    {"threads", "Threads", info_threads, true},
    {"commandstats", "Commandstats", info_commandstats, false},
    {"cluster", "Cluster", info_cluster, true},
    {"keyspace", "Keyspace", info_keyspace, true},
};

static bool wanted(const struct call *call, const struct section *section) {
  if (call->argc == 1) return section->by_default;
  for (size_t i = 1; i < call->argc; i++) {
    struct span name = call->argv[i];
    if (span_is(name, "all") || span_is(name, "everything") || span_is(name, section->name))
      return true;
    if (span_is(name, "default") && section->by_default) return true;
  }
  return false;
}

void server_info(struct call *call) {
  struct text text = {0};
  for (size_t i = 0; i < sizeof SECTIONS / sizeof SECTIONS[0]; i++) {
    if (!wanted(call, &SECTIONS[i])) continue;
    put(&text, "%s# %s\r\n", text.len > 0 ? "\r\n" : "", SECTIONS[i].title);
    SECTIONS[i].write(call->worker, &text);
  }
  if (text.failed) {
    resp_write_error(call->reply, "ERR out of memory");
  } else {
    resp_write_verbatim(call->reply, "txt",
                        (struct span){text.bytes != NULL ? text.bytes : "", text.len});
  }
  free(text.bytes);
}
