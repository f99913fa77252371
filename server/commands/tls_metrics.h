/* tls_metrics.h - the rows of TLS: its connections, handshakes, and the server's certificate. */
#ifndef IDEM_SERVER_COMMANDS_TLS_METRICS_H
#define IDEM_SERVER_COMMANDS_TLS_METRICS_H

#include "server/base/metric.h"
#include "server/commands/worker.h"

struct tls_metrics {
  int64_t port, days_left, ends_s;
  uint64_t connections, handshakes, failed, late, renewals, failed_renewals;
};

/* The other loops are paused. */
void tls_metrics_read(const struct worker *worker, struct tls_metrics *figures);

extern const struct metric tls_metrics_rows[];

#endif
