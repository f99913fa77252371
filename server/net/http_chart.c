/*
 * http_chart.c - see http_chart.h.
 *
 *     WIDTH = RATES_SAMPLES steps, the newest at the right edge; HEIGHT = the peak
 */
#include "server/net/http_chart.h"

#include <stdio.h>

#define STEP 2u
#define WIDTH (RATES_SAMPLES * STEP)
#define HEIGHT 40.0
#define RATE_BYTES 32

static double peak_of(const struct rates *rates, enum rates_kind kind) {
  double peak = 0;
  for (unsigned i = 0; i < rates->count; i++) {
    double rate = rates_per_second(rates, kind, i);
    if (rate > peak) peak = rate;
  }
  return peak;
}

static double newest_of(const struct rates *rates, enum rates_kind kind) {
  return rates->count > 0 ? rates_per_second(rates, kind, rates->count - 1) : 0;
}

static void show_rate(double rate, char shown[RATE_BYTES]) {
  int digits = rate == 0 || rate >= 100 ? 0 : rate >= 10 ? 1 : 2;
  snprintf(shown, RATE_BYTES, "%.*f", digits, rate);
}

/* As steps: a sample is a mean over its time, and one that stands alone is seen. */
static void put_path(struct http_text *text, const struct http_chart *chart,
                     const struct rates *rates, double peak) {
  unsigned x = WIDTH - rates->count * STEP;
  http_text_print(text, "<path class=\"area\" d=\"M%u %gV", x, HEIGHT);
  for (unsigned i = 0; i < rates->count; i++) {
    double rate = rates_per_second(rates, chart->kind, i);
    x += STEP;
    http_text_print(text, "%s%.1fH%u", i > 0 ? "V" : "",
                    peak > 0 ? HEIGHT - rate / peak * (HEIGHT - 1) : HEIGHT, x);
  }
  http_text_print(text, "V%gZ\"/>", HEIGHT);
}

void http_chart_write(struct http_text *text, const struct http_chart *chart,
                      const struct rates *rates) {
  char newest[RATE_BYTES], peak[RATE_BYTES];
  double highest = peak_of(rates, chart->kind);
  bool bad = chart->bad && highest > 0;
  show_rate(newest_of(rates, chart->kind), newest);
  show_rate(highest, peak);
  http_text_print(text, "<li class=\"chart%s\"><h3>%s</h3>", bad ? " bad" : "", chart->title);
  http_text_print(text, "<p class=\"rate\"><b>%s</b> a second%s</p>", newest,
                  bad ? " <span class=\"note\">▲ look</span>" : "");
  http_text_print(text,
                  "<svg viewBox=\"0 0 %u %g\" preserveAspectRatio=\"none\" role=\"img\" "
                  "aria-label=\"%s over ten minutes: %s a second now, at most %s\">",
                  WIDTH, HEIGHT, chart->title, newest, peak);
  http_text_print(text, "<path class=\"base\" d=\"M0 %gH%u\"/>", HEIGHT, WIDTH);
  if (rates->count > 0) put_path(text, chart, rates, highest);
  http_text_print(text, "</svg><p class=\"scale\"><span>10 min ago</span> <span>at most %s</span>",
                  peak);
  http_text_print(text, " <span>now</span></p><p class=\"hint\">%s</p></li>", chart->meaning);
}
