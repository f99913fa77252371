/* tls_metrics.c - see tls_metrics.h. */
#include "server/commands/tls_metrics.h"

#include "server/commands/worker_metrics.h"

#define DAY_S 86400

void tls_metrics_read(const struct worker *worker, struct tls_metrics *figures) {
  const struct instance_tls *tls = &worker->instance->tls;
  struct worker_counters sum;
  worker_metrics_read(worker->instance, &sum);
  *figures = (struct tls_metrics){
      .port = tls->port,
      .ends_s = tls->ends_s,
      .connections = atomic_load(&tls->connections),
      .handshakes = sum.tls_handshakes,
      .failed = sum.tls_handshakes_failed,
      .late = sum.tls_handshakes_late,
      .renewals = tls->renewals,
      .failed_renewals = tls->failed_renewals,
  };
  if (tls->ends_s != 0) figures->days_left = (tls->ends_s - worker_unix_ms(worker) / 1000) / DAY_S;
}

#define FIELD(field) METRIC_FIELD(struct tls_metrics, field)
#define COUNTER METRIC_COUNTER, METRIC_NO_UNIT

const struct metric tls_metrics_rows[] = {
    {"tls_port", METRIC_TEXT, METRIC_NO_UNIT, "TCP port for TLS; 0 means none.", FIELD(port)},
    {"tls_connections", METRIC_GAUGE, METRIC_NO_UNIT, "Connections over TLS.", FIELD(connections)},
    {"tls_handshakes", COUNTER, "Handshakes that were done.", FIELD(handshakes)},
    {"tls_handshakes_failed", COUNTER, "Handshakes that failed.", FIELD(failed)},
    {"tls_handshakes_timed_out", COUNTER,
     "Connections closed whose handshake took too long, or that made room for others.",
     FIELD(late)},
    {"tls_certificate_end", METRIC_GAUGE, METRIC_SECONDS,
     "When the certificate of the server ends, unix time; 0 without one.", FIELD(ends_s)},
    {"tls_certificate_days_left", METRIC_TEXT, METRIC_NO_UNIT,
     "Whole days until then; 0 without one.", FIELD(days_left)},
    {"tls_reloads", COUNTER, "How often certificates were read again.", FIELD(renewals)},
    {"tls_reloads_failed", COUNTER, "How often they could not be, and the former ones were kept.",
     FIELD(failed_renewals)},
    METRIC_END,
};
