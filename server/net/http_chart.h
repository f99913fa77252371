/*
 * http_chart.h - one kind of event as a small chart of its rates: inline SVG with its words beside
 * it. Pure.
 */
#ifndef IDEM_SERVER_NET_HTTP_CHART_H
#define IDEM_SERVER_NET_HTTP_CHART_H

#include "server/commands/rates.h"
#include "server/net/http_text.h"

struct http_chart {
  const char *title, *meaning; /* words of ours */
  enum rates_kind kind;
  bool bad; /* anything above 0 is worth a look */
};

void http_chart_write(struct http_text *text, const struct http_chart *chart,
                      const struct rates *rates);

#endif
