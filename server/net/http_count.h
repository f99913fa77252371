/*
 * http_count.h - how many requests of the HTTP port were answered, by path and status.
 *
 * A path that is none of ours counts as "other", so a stranger makes no new lines.
 */
#ifndef IDEM_SERVER_NET_HTTP_COUNT_H
#define IDEM_SERVER_NET_HTTP_COUNT_H

#include <stdint.h>

#include "server/ops/metrics.h"

enum http_path {
  HTTP_PAGE,
  HTTP_CLAIMS,
  HTTP_METRICS,
  HTTP_HEALTHZ,
  HTTP_READYZ,
  HTTP_OTHER,
  HTTP_PATHS
};

#define HTTP_COUNT_STATUSES 8u
struct http_count {
  uint64_t answers[HTTP_PATHS][HTTP_COUNT_STATUSES];
  uint64_t connections, evicted, late; /* evicted and late: closed by the server */
};

/* HTTP_OTHER: none of the others. */
enum http_path http_count_path(const char *url);
void http_count_answer(struct http_count *count, enum http_path path, unsigned status);
/* Appends the metrics of the port, as /metrics shows them. open: its connections now. */
void http_count_write(const struct http_count *count, unsigned open, struct metrics_text *text);

#endif
