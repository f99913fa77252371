/* http_count.c - see http_count.h. */
#include "server/net/http_count.h"

#include <inttypes.h>
#include <string.h>

static const char *const PATHS[HTTP_PATHS] = {
    [HTTP_PAGE] = "/",           [HTTP_CLAIMS] = "/claims.json", [HTTP_METRICS] = "/metrics",
    [HTTP_HEALTHZ] = "/healthz", [HTTP_READYZ] = "/readyz",      [HTTP_OTHER] = "other",
};
static const unsigned STATUSES[HTTP_COUNT_STATUSES] = {200, 400, 404, 405, 413, 421, 500, 503};

enum http_path http_count_path(const char *url) {
  unsigned path = 0;
  while (path < HTTP_OTHER && strcmp(PATHS[path], url) != 0) path++;
  return (enum http_path)path;
}

void http_count_answer(struct http_count *count, enum http_path path, unsigned status) {
  for (unsigned i = 0; i < HTTP_COUNT_STATUSES; i++)
    if (STATUSES[i] == status) count->answers[path][i]++;
}

static void put_answers(const struct http_count *count, struct metrics_text *text) {
  metrics_put(text,
              "# HELP idem_http_requests_total Requests that the HTTP port answered.\n"
              "# TYPE idem_http_requests_total counter\n");
  for (unsigned path = 0; path < HTTP_PATHS; path++) {
    for (unsigned i = 0; i < HTTP_COUNT_STATUSES; i++) {
      uint64_t answers = count->answers[path][i];
      if (answers == 0) continue;
      metrics_put(text, "idem_http_requests_total{path=\"%s\",status=\"%u\"} %" PRIu64 "\n",
                  PATHS[path], STATUSES[i], answers);
    }
  }
}

void http_count_write(const struct http_count *count, unsigned open, struct metrics_text *text) {
  put_answers(count, text);
  metrics_put(text,
              "# HELP idem_http_connections Open connections of the HTTP port.\n"
              "# TYPE idem_http_connections gauge\nidem_http_connections %u\n",
              open);
  metrics_put(text,
              "# HELP idem_http_connections_opened_total Connections of the HTTP port.\n"
              "# TYPE idem_http_connections_opened_total counter\n"
              "idem_http_connections_opened_total %" PRIu64 "\n",
              count->connections);
  metrics_put(text,
              "# HELP idem_http_connections_closed_total Connections that the HTTP port closed: to "
              "make room, or since they were late.\n"
              "# TYPE idem_http_connections_closed_total counter\n"
              "idem_http_connections_closed_total{reason=\"room\"} %" PRIu64
              "\n"
              "idem_http_connections_closed_total{reason=\"late\"} %" PRIu64 "\n",
              count->evicted, count->late);
}
