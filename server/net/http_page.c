/*
 * http_page.c - see http_page.h.
 *
 *     header #now      state, version, uptime
 *     main #main       totals | what needs a person | in flight | abandoned | rates | memory,
 * journal
 *
 * The script replaces #now and #main by those of a newer page; the rest stays.
 */
#include "server/net/http_page.h"

#include <time.h>

#include "server/net/http_chart.h"
#include "server/net/http_format.h"
#include "server/net/http_key.h"
#include "server/net/http_style.h"
#include "server/ops/version.h"

/* ---- the frame ---- */

static const struct mark {
  const char *state, *word, *look, *sign;
} MARKS[] = {
    {"serving", "Serving", "good", "●"},
    {"draining", "Draining: no new claims", "warn", "◐"},
    {"recovering", "Recovering: reading the journal", "warn", "◔"},
};

static const struct mark *mark_of(const char *state) {
  const struct mark *mark = MARKS;
  while (strcmp(mark->state, state) != 0) mark++;
  return mark;
}

static void put_head(struct http_text *text, uint64_t unknown) {
  http_text_put(text,
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                "<meta name=\"color-scheme\" content=\"light dark\">"
                "<link rel=\"icon\" href=\"data:,\"><title>");
  if (unknown > 0) {
    http_text_put(text, "(");
    http_format_count(text, unknown);
    http_text_put(text, " UNKNOWN) ");
  }
  http_text_put(text, "idem status</title><style>");
  http_text_put(text, http_style_css);
  http_text_put(text,
                "</style></head><body><a class=\"skip\" href=\"#main\">Skip to the claims</a>\n"
                "<header><div class=\"wide\"><h1>idem <span>status</span></h1>");
}

static void put_state(struct http_text *text, const char *state) {
  const struct mark *mark = mark_of(state);
  http_text_print(text,
                  "<div id=\"now\"><p class=\"state %s\"><span aria-hidden=\"true\">%s</span> "
                  "%s</p>",
                  mark->look, mark->sign, mark->word);
}

static void put_time(struct http_text *text, int64_t unix_ms) {
  time_t seconds = (time_t)(unix_ms / 1000);
  struct tm parts;
  char machine[32], person[32];
  gmtime_r(&seconds, &parts);
  strftime(machine, sizeof machine, "%Y-%m-%dT%H:%M:%SZ", &parts);
  strftime(person, sizeof person, "%H:%M:%S UTC", &parts);
  http_text_print(text, "<time datetime=\"%s\">%s</time>", machine, person);
}

static void put_header(struct http_text *text, const struct http_shown *shown) {
  put_state(text, shown->state);
  http_text_put(text,
                "<p class=\"meta\">Version " IDEM_VERSION " <span class=\"dot\">·</span> up ");
  http_format_duration(text, shown->overview->figures.instance.uptime_s * 1000);
  http_text_put(text, " <span class=\"dot\">·</span> as of ");
  put_time(text, shown->unix_ms);
  http_text_put(text, "</p></div><p id=\"live\"><a href=\"/\">Refresh</a></p></div></header>\n");
}

static void put_foot(struct http_text *text) {
  http_text_put(text,
                "<footer><div class=\"wide\"><p>This page only shows: nothing can be changed here."
                "</p><nav aria-label=\"The same for programs\"><ul><li><a href=\"/claims.json\">"
                "claims.json</a></li><li><a href=\"/metrics\">metrics</a></li><li><a "
                "href=\"/healthz\">healthz</a></li><li><a href=\"/readyz\">readyz</a></li></ul>"
                "</nav></div></footer><script>");
  http_text_put(text, http_style_script);
  http_text_put(text, "</script></body></html>\n");
}

/* ---- totals ---- */

static void put_total(struct http_text *text, const char *name, uint64_t count, const char *look) {
  http_text_print(text, "<div%s%s%s><dt>%s</dt><dd>", *look != '\0' ? " class=\"" : "", look,
                  *look != '\0' ? "\"" : "", name);
  http_format_count(text, count);
  http_text_put(text, "</dd></div>");
}

static void put_totals(struct http_text *text, const struct overview *overview) {
  const struct stats *stats = &overview->figures.engine;
  uint64_t unknown = overview->of[OVERVIEW_UNKNOWN].total;
  http_text_put(text, "<section class=\"totals\" aria-label=\"Totals\"><dl>");
  put_total(text, unknown > 0 ? "▲ Unknown" : "Unknown", unknown, unknown > 0 ? "alert" : "");
  put_total(text, "In flight", overview->of[OVERVIEW_HELD].total, "");
  put_total(text, "Waiting callers", stats->waiters, "");
  put_total(text, "Abandoned", overview->of[OVERVIEW_LAPSED].total, "");
  put_total(text, "Responses kept", stats->phases[RULES_DONE], "");
  http_text_put(text, "</dl></section>\n");
}

/* ---- what claims have in common ---- */

static bool may_write_more(const struct http_text *text) {
  return !text->failed && text->len < HTTP_TEXT_ROWS_MAX;
}

static void put_stage(struct http_text *text, const struct http_shown *shown,
                      const struct overview_claim *claim) {
  if (!span_present(claim->stage)) {
    http_text_put(text, "<span class=\"none\">none</span>");
  } else if (!shown->whole) {
    http_text_put(text, "<span class=\"none\">not shown here</span>");
  } else {
    http_text_put(text, "<code>");
    http_text_html(text, claim->stage);
    http_text_put(text, claim->stage.len >= OVERVIEW_STAGE_BYTES ? "…</code>" : "</code>");
  }
}

static void put_cell(struct http_text *text, const char *label, const char *look) {
  http_text_print(text, "<td role=\"cell\" data-label=\"%s\"%s>", label, look);
}

static void put_count_cell(struct http_text *text, const char *label, int64_t count) {
  put_cell(text, label, count == 0 ? " class=\"n zero\"" : " class=\"n\"");
  http_format_count(text, (uint64_t)count);
  http_text_put(text, "</td>");
}

static void put_duration_cell(struct http_text *text, const char *label, int64_t ms) {
  put_cell(text, label, " class=\"n\"");
  if (ms == INSPECTION_NONE) {
    http_text_put(text, "never");
  } else {
    http_format_duration(text, ms);
  }
  http_text_put(text, "</td>");
}

static void put_more(struct http_text *text, const struct overview_list *list, unsigned count,
                     const char *state) {
  if (list->total <= count) return;
  http_text_put(text, "<p class=\"more\">These are the oldest ");
  http_format_count(text, count);
  http_text_put(text, " of ");
  http_format_count(text, list->total);
  http_text_print(text,
                  ". <a href=\"/claims.json?state=%s\">claims.json</a> shows up to %u, the command "
                  "<code>CLAIMS STATE %s</code> all of them.</p>",
                  state, OVERVIEW_CLAIMS, state);
}

/* ---- what needs a person ---- */

/* The same while the key exists, and tells nothing of it. */
static void put_id(struct http_text *text, const struct http_shown *shown, struct span key) {
  uint64_t hash = shown->seed;
  for (size_t i = 0; i < key.len; i++)
    hash = (hash ^ (unsigned char)key.data[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
  http_text_print(text, "k%016llx", (unsigned long long)hash);
}

static void put_command(struct http_text *text, const char *when, const char *name,
                        const char *rest, struct span key) {
  http_text_print(text, "<li><span>%s</span> <code class=\"run\" tabindex=\"0\">%s ", when, name);
  http_key_argument(text, key);
  http_text_print(text, "%s</code></li>", rest);
}

static void put_commands(struct http_text *text, const struct http_shown *shown,
                         const struct overview_claim *claim) {
  if (!shown->whole || claim->key_cut) {
    http_text_print(
        text,
        "<p class=\"hint\">%s: <code>CLAIMS STATE unknown</code> in redis-cli lists it, "
        "with its token.</p>",
        shown->whole ? "Its key is too long for this page"
                     : "Keys are whole only on the machine itself, unless http-keys "
                       "is yes");
    return;
  }
  http_text_put(text, "<ol>");
  put_command(text, "See it, with its token:", "INSPECT", "", claim->key);
  http_text_put(text,
                "<li><span>Find out whether the work happened. Then, with that token:</span>"
                "<ul>");
  put_command(text, "It happened:", "STORE", " TOKEN RESPONSE", claim->key);
  put_command(text, "Nothing was done, and the next request may run it:", "RELEASE", " TOKEN CLEAR",
              claim->key);
  http_text_put(text, "</ul></li></ol>");
}

static void put_unknown(struct http_text *text, const struct http_shown *shown,
                        const struct overview_claim *claim, bool open) {
  http_text_put(text,
                "<li class=\"card\"><p class=\"key\"><span class=\"badge\">▲ UNKNOWN</span> ");
  http_key_html(text, claim->key, shown->whole, claim->key_cut);
  http_text_put(text, "</p><dl class=\"facts\"><div><dt>Granted</dt><dd>");
  http_format_duration(text, claim->age_ms);
  http_text_print(text, " ago</dd></div><div><dt>Attempt</dt><dd>%lld</dd></div>",
                  (long long)claim->attempt);
  http_text_print(text, "<div><dt>Waiting</dt><dd>%lld</dd></div><div><dt>Stage</dt><dd>",
                  (long long)claim->waiters);
  put_stage(text, shown, claim);
  http_text_put(text, "</dd></div></dl><details id=\"");
  put_id(text, shown, claim->key);
  http_text_print(text, "\"%s><summary>What to do</summary>", open ? " open" : "");
  put_commands(text, shown, claim);
  http_text_put(text, "</details></li>");
}

static void put_needs_a_person(struct http_text *text, const struct http_shown *shown) {
  const struct overview_list *list = &shown->overview->of[OVERVIEW_UNKNOWN];
  http_text_put(text,
                "<section aria-labelledby=\"h-unknown\"><h2 id=\"h-unknown\">Needs a person"
                "</h2>");
  if (list->total == 0) {
    http_text_put(text,
                  "<p class=\"calm\"><span aria-hidden=\"true\">✓</span> Nothing: no claim "
                  "has an unknown outcome.</p></section>\n");
    return;
  }
  http_text_put(text,
                "<p class=\"hint\">Their owners are gone, and whether the work happened is "
                "unknown. They stay until somebody decides.</p><ul class=\"cards\">");
  unsigned shown_count = 0;
  for (; shown_count < list->count && shown_count < HTTP_PAGE_CLAIMS && may_write_more(text);
       shown_count++)
    put_unknown(text, shown, list->claims[shown_count], list->count == 1);
  http_text_put(text, "</ul>");
  put_more(text, list, shown_count, "unknown");
  http_text_put(text, "</section>\n");
}

/* ---- tables ---- */

struct table {
  enum overview_state state;
  const char *id, *title, *caption, *none, *word; /* word: as CLAIMS STATE takes it */
  const char *columns[7];                         /* the first without a name ends them */
  void (*put_row)(struct http_text *text, const struct http_shown *shown,
                  const struct overview_claim *claim);
};

static void put_key_cell(struct http_text *text, const struct http_shown *shown,
                         const struct overview_claim *claim) {
  http_text_put(text, "<th scope=\"row\" role=\"rowheader\">");
  http_key_html(text, claim->key, shown->whole, claim->key_cut);
  if (claim->bind) http_text_put(text, " <span class=\"tag\">BIND</span>");
  if (claim->hold) http_text_put(text, " <span class=\"tag\">HOLD</span>");
  http_text_put(text, "</th>");
}

static void put_stage_cell(struct http_text *text, const struct http_shown *shown,
                           const struct overview_claim *claim) {
  put_cell(text, "Stage", "");
  put_stage(text, shown, claim);
  http_text_put(text, "</td>");
}

static void put_held(struct http_text *text, const struct http_shown *shown,
                     const struct overview_claim *claim) {
  put_key_cell(text, shown, claim);
  put_duration_cell(text, "Age", claim->age_ms);
  put_duration_cell(text, "Lease left", claim->lease_left_ms);
  put_count_cell(text, "Attempt", claim->attempt);
  put_count_cell(text, "Waiting", claim->waiters);
  put_stage_cell(text, shown, claim);
}

static void put_lapsed(struct http_text *text, const struct http_shown *shown,
                       const struct overview_claim *claim) {
  put_key_cell(text, shown, claim);
  put_duration_cell(text, "Age", claim->age_ms);
  put_duration_cell(text, "Forgotten in", claim->ttl_left_ms);
  put_count_cell(text, "Attempt", claim->attempt);
  put_stage_cell(text, shown, claim);
}

static const struct table HELD = {
    .state = OVERVIEW_HELD,
    .id = "held",
    .title = "In flight",
    .caption = "HELD claims: they have an owner. The oldest first.",
    .none = "Nothing runs at the moment.",
    .word = "held",
    .columns = {"Key", "Age", "Lease left", "Attempt", "Waiting", "Stage"},
    .put_row = put_held,
};
static const struct table LAPSED = {
    .state = OVERVIEW_LAPSED,
    .id = "lapsed",
    .title = "Abandoned",
    .caption =
        "LAPSED claims: their owners are gone, and the next caller runs them again. The "
        "oldest first.",
    .none = "None.",
    .word = "lapsed",
    .columns = {"Key", "Age", "Forgotten in", "Attempt", "Stage"},
    .put_row = put_lapsed,
};

/* All but the key and the stage are numbers. */
static void put_columns(struct http_text *text, const struct table *table) {
  http_text_put(text, "<thead role=\"rowgroup\"><tr role=\"row\">");
  for (size_t i = 0; table->columns[i] != NULL; i++) {
    bool number = i > 0 && table->columns[i + 1] != NULL;
    http_text_print(text, "<th scope=\"col\" role=\"columnheader\"%s>%s</th>",
                    number ? " class=\"n\"" : "", table->columns[i]);
  }
  http_text_put(text, "</tr></thead><tbody role=\"rowgroup\">");
}

static unsigned put_rows(struct http_text *text, const struct http_shown *shown,
                         const struct table *table) {
  const struct overview_list *list = &shown->overview->of[table->state];
  unsigned count = 0;
  for (; count < list->count && count < HTTP_PAGE_CLAIMS && may_write_more(text); count++) {
    http_text_put(text, "<tr role=\"row\">");
    table->put_row(text, shown, list->claims[count]);
    http_text_put(text, "</tr>\n");
  }
  return count;
}

static void put_table(struct http_text *text, const struct http_shown *shown,
                      const struct table *table) {
  const struct overview_list *list = &shown->overview->of[table->state];
  http_text_print(text, "<section aria-labelledby=\"h-%s\"><h2 id=\"h-%s\">%s</h2>", table->id,
                  table->id, table->title);
  if (list->count == 0) {
    http_text_print(text, "<p class=\"calm\">%s</p></section>\n", table->none);
    return;
  }
  http_text_print(text, "<table role=\"table\" class=\"%s\"><caption>%s</caption>", table->id,
                  table->caption);
  put_columns(text, table);
  unsigned count = put_rows(text, shown, table);
  http_text_put(text, "</tbody></table>");
  put_more(text, list, count, table->word);
  http_text_put(text, "</section>\n");
}

/* ---- beside the claims ---- */

static const struct http_chart CHARTS[] = {
    {"Granted", "Work that was begun.", RATES_GRANTED, false},
    {"Replayed", "Retries that got the stored response.", RATES_REPLAYED, false},
    {"Mismatches", "A key that was used for another request.", RATES_MISMATCHED, true},
    {"Stale", "Owners that came after they had lost their claim.", RATES_STALE, true},
};

static void put_rates(struct http_text *text, const struct rates *rates) {
  http_text_put(text,
                "<section aria-labelledby=\"h-rates\"><h2 id=\"h-rates\">Rates</h2>"
                "<ul class=\"charts\">");
  for (size_t i = 0; i < sizeof CHARTS / sizeof CHARTS[0]; i++)
    http_chart_write(text, &CHARTS[i], rates);
  http_text_put(text, "</ul></section>\n");
}

static void put_bytes_fact(struct http_text *text, const char *name, uint64_t bytes) {
  http_text_print(text, "<div><dt>%s</dt><dd>", name);
  http_format_bytes(text, bytes);
  http_text_put(text, "</dd></div>");
}

static void put_count_fact(struct http_text *text, const char *name, uint64_t count) {
  http_text_print(text, "<div><dt>%s</dt><dd>", name);
  http_format_count(text, count);
  http_text_put(text, "</dd></div>");
}

static void put_memory(struct http_text *text, const struct memory_metrics *memory) {
  http_text_put(text, "<section aria-labelledby=\"h-memory\"><h2 id=\"h-memory\">Memory</h2>");
  if (memory->limit_bytes > 0) {
    double share = (double)memory->used_bytes / (double)memory->limit_bytes;
    double width = share < 1 ? share * 100 : 100;
    http_text_print(text,
                    "<p class=\"rate\"><b>%.*f %%</b> of maxmemory</p><svg class=\"meter%s\" "
                    "viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><path "
                    "class=\"base\" d=\"M0 2H100\"/><path class=\"area\" d=\"M0 2H%.1f\"/></svg>",
                    share < 0.1 ? 1 : 0, share * 100, share > 0.9 ? " bad" : "", width);
  }
  http_text_put(text, "<dl class=\"list\">");
  put_bytes_fact(text, "Used for keys and responses", memory->used_bytes);
  put_bytes_fact(text, "Most so far", memory->peak_bytes);
  put_bytes_fact(text, "Resident", memory->resident_bytes);
  if (memory->limit_bytes > 0) put_bytes_fact(text, "maxmemory", memory->limit_bytes);
  http_text_put(text, "</dl></section>\n");
}

static void put_journal(struct http_text *text, const struct journal_metrics *journal) {
  const struct journal_figures *figures = &journal->journal;
  http_text_put(text, "<section aria-labelledby=\"h-journal\"><h2 id=\"h-journal\">Journal</h2>");
  if (journal->enabled == 0) {
    http_text_put(text, "<p class=\"hint\">None: a restart forgets everything.</p></section>\n");
    return;
  }
  http_text_print(text, "<p class=\"%s\">%s</p><dl class=\"list\">",
                  figures->failed ? "state warn" : "calm",
                  figures->failed ? "▲ No room: nothing new is taken" : "✓ Has room");
  put_bytes_fact(text, "Written", figures->live_segment_bytes);
  put_bytes_fact(text, "On the disk", figures->disk_bytes);
  put_count_fact(text, "Segments", figures->segments);
  http_text_print(text, "<div><dt>Sync, median</dt><dd>%.1f ms</dd></div>",
                  (double)figures->sync_p50_us / 1000);
  http_text_print(text, "<div><dt>Sync, 99 of 100</dt><dd>%.1f ms</dd></div></dl></section>\n",
                  (double)figures->sync_p99_us / 1000);
}

static void put_clients(struct http_text *text, const struct figures *figures) {
  http_text_put(text,
                "<section aria-labelledby=\"h-clients\"><h2 id=\"h-clients\">Clients</h2>"
                "<dl class=\"list\">");
  put_count_fact(text, "Connected", (uint64_t)figures->instance.sessions);
  put_count_fact(text, "Blocked by a wait", (uint64_t)figures->instance.waiting);
  put_count_fact(text, "Commands so far", figures->workers.commands);
  put_count_fact(text, "Event loops", (uint64_t)figures->instance.loops);
  http_text_put(text, "</dl></section>\n");
}

/* ---- the whole ---- */

void http_page_write(struct http_text *text, const struct http_shown *shown) {
  const struct overview *overview = shown->overview;
  put_head(text, overview->of[OVERVIEW_UNKNOWN].total);
  put_header(text, shown);
  http_text_put(text, "<main id=\"main\" tabindex=\"-1\"><div class=\"wide\">");
  put_totals(text, overview);
  if (overview->failed)
    http_text_put(text, "<p class=\"state warn\">▲ Memory is short: claims are missing here.</p>");
  http_text_put(text, "<div class=\"split\"><div>");
  put_needs_a_person(text, shown);
  put_table(text, shown, &HELD);
  put_table(text, shown, &LAPSED);
  http_text_put(text, "</div><div class=\"side\">");
  put_rates(text, shown->rates);
  put_memory(text, &overview->figures.memory);
  put_journal(text, &overview->figures.journal);
  put_clients(text, &overview->figures);
  http_text_put(text, "</div></div></div></main>\n");
  put_foot(text);
}

void http_page_write_recovering(struct http_text *text, unsigned per_cent) {
  put_head(text, 0);
  put_state(text, "recovering");
  http_text_print(text,
                  "</div><p id=\"live\"><a href=\"/\">Refresh</a></p></div></header>\n"
                  "<main id=\"main\" tabindex=\"-1\"><div class=\"wide\"><h2>Not yet</h2><p>The "
                  "server reads its journal, and has read %u %% of it. Claims are shown when it "
                  "serves.</p></div></main>\n",
                  per_cent);
  put_foot(text);
}
