/* http_json.c - see http_json.h. */
#include "server/net/http_json.h"

#include <inttypes.h>

#include "server/net/http_key.h"
#include "server/ops/version.h"

static void put_number(struct http_text *text, const char *name, int64_t number) {
  if (number == INSPECTION_NONE) {
    http_text_print(text, ",\"%s\":null", name);
  } else {
    http_text_print(text, ",\"%s\":%" PRId64, name, number);
  }
}

static void put_flag(struct http_text *text, const char *name, bool flag) {
  http_text_print(text, ",\"%s\":%s", name, flag ? "true" : "false");
}

/* The bytes themselves where the text cannot say them. */
static void put_hex(struct http_text *text, struct span bytes) {
  if (http_text_is_utf8(bytes)) {
    http_text_put(text, "null");
    return;
  }
  http_text_put(text, "\"");
  for (size_t i = 0; i < bytes.len; i++)
    http_text_print(text, "%02x", (unsigned char)bytes.data[i]);
  http_text_put(text, "\"");
}

static void put_claim(struct http_text *text, const struct http_shown *shown,
                      const struct overview_claim *claim) {
  struct span key = http_key_part(claim->key, shown->whole);
  http_text_put(text, "{\"state\":");
  http_text_json(text, overview_state_name(claim->state));
  http_text_put(text, ",\"key\":");
  http_text_json(text, key);
  http_text_put(text, ",\"key_hex\":");
  put_hex(text, key);
  put_flag(text, "key_whole", shown->whole && !claim->key_cut);
  put_number(text, "age_ms", claim->age_ms);
  put_number(text, "lease_left_ms", claim->lease_left_ms);
  put_number(text, "ttl_left_ms", claim->ttl_left_ms);
  put_number(text, "attempt", claim->attempt);
  put_number(text, "waiters", claim->waiters);
  http_text_put(text, ",\"stage\":");
  if (shown->whole && span_present(claim->stage)) {
    http_text_json(text, claim->stage);
  } else {
    http_text_put(text, "null");
  }
  put_flag(text, "bind", claim->bind);
  put_flag(text, "hold", claim->hold);
  http_text_put(text, "}");
}

/* False: there was no room for all of them. */
static bool put_list(struct http_text *text, const struct http_shown *shown,
                     const struct overview_list *list, bool *any) {
  unsigned count = list->count < shown->limit ? list->count : shown->limit;
  for (unsigned i = 0; i < count; i++) {
    if (text->failed || text->len > HTTP_TEXT_ROWS_MAX) return false;
    http_text_put(text, *any ? ",\n" : "\n");
    put_claim(text, shown, list->claims[i]);
    *any = true;
  }
  return count == list->total;
}

static void put_claims(struct http_text *text, const struct http_shown *shown) {
  bool any = false, complete = !shown->overview->failed;
  http_text_put(text, ",\"claims\":[");
  for (unsigned state = 0; state < OVERVIEW_STATES; state++) {
    if (shown->only >= 0 && (unsigned)shown->only != state) continue;
    if (!put_list(text, shown, &shown->overview->of[state], &any)) complete = false;
  }
  http_text_print(text, "],\"complete\":%s}\n", complete ? "true" : "false");
}

static void put_server(struct http_text *text, const struct http_shown *shown) {
  const struct figures *figures = &shown->overview->figures;
  http_text_print(text,
                  "{\"server\":{\"state\":\"%s\",\"version\":\"%s\",\"unix_ms\":%" PRId64
                  ",\"uptime_s\":%" PRId64 "}",
                  shown->state, IDEM_VERSION, shown->unix_ms, figures->instance.uptime_s);
}

static void put_totals(struct http_text *text, const struct http_shown *shown) {
  const struct stats *stats = &shown->overview->figures.engine;
  http_text_print(text,
                  ",\"totals\":{\"unknown\":%" PRIu64 ",\"held\":%" PRIu64 ",\"lapsed\":%" PRIu64
                  ",\"done\":%" PRIu64 ",\"values\":%" PRIu64 ",\"waiters\":%" PRIu64 "}",
                  stats->phases[RULES_UNKNOWN], stats->phases[RULES_HELD],
                  stats->phases[RULES_LAPSED], stats->phases[RULES_DONE], stats->values,
                  stats->waiters);
}

static void put_rates(struct http_text *text, const struct rates *rates) {
  static const char *const names[RATES_KINDS] = {
      [RATES_GRANTED] = "granted",
      [RATES_REPLAYED] = "replayed",
      [RATES_MISMATCHED] = "mismatches",
      [RATES_STALE] = "stale",
  };
  http_text_print(text, ",\"rates\":{\"interval_ms\":%d", RATES_EVERY_MS);
  for (unsigned kind = 0; kind < RATES_KINDS; kind++) {
    http_text_print(text, ",\"%s\":[", names[kind]);
    for (unsigned i = 0; i < rates->count; i++)
      http_text_print(text, "%s%.3f", i > 0 ? "," : "",
                      rates_per_second(rates, (enum rates_kind)kind, i));
    http_text_put(text, "]");
  }
  http_text_put(text, "}");
}

void http_json_write(struct http_text *text, const struct http_shown *shown) {
  put_server(text, shown);
  put_totals(text, shown);
  put_rates(text, shown->rates);
  put_claims(text, shown);
}
