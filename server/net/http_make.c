/* http_make.c - see http_make.h. */
#include "server/net/http_make.h"

#include <microhttpd.h>

#include "server/commands/exposition.h"
#include "server/commands/journaling.h"
#include "server/net/http_conns.h"
#include "server/net/http_json.h"
#include "server/net/http_page.h"
#include "server/net/http_serve.h"
#include "server/net/loop.h"

/* One turn. */
struct turn {
  uint64_t end_ns;
  int64_t now_ms;
  size_t bytes;  /* of what it has resumed */
  bool has_made; /* an answer */
  bool progress;
};

static struct worker *worker_of(const struct http *http) { return &http->loop->group.worker; }

/* ---- writing ---- */

static struct http_shown shown_of(const struct http *http, const struct http_view *view) {
  return (struct http_shown){
      .overview = http->overview,
      .rates = &http->rates,
      .state = http_serve_state(http),
      .unix_ms = worker_unix_ms(worker_of(http)),
      .seed = worker_of(http)->instance->address_seed,
      .whole = view->whole,
      .only = view->only,
      .limit = view->limit,
  };
}

static bool write_metrics(struct http *http, char **bytes, size_t *len) {
  struct metrics_text text = {0};
  exposition_write(worker_of(http), &text);
  http_count_write(&http->count, http->open, &text);
  *bytes = text.bytes;
  *len = text.len;
  bool failed = text.failed;
  if (failed) metrics_text_deinit(&text);
  return !failed;
}

static bool write_view(struct http *http, const struct http_view *view, char **bytes, size_t *len) {
  struct http_text text = {0};
  if (http->loop == NULL) {
    http_page_write_recovering(&text, http->restored_per_cent);
  } else if (view->path == HTTP_PAGE) {
    const struct http_shown shown = shown_of(http, view);
    http_page_write(&text, &shown);
  } else {
    const struct http_shown shown = shown_of(http, view);
    http_json_write(&text, &shown);
  }
  *bytes = text.bytes;
  *len = text.len;
  bool failed = text.failed;
  if (failed) http_text_deinit(&text);
  return !failed;
}

/* NULL: memory is short. */
static const struct http_cached *make(struct http *http, const struct http_view *view,
                                      int64_t now_ms) {
  struct http_cached made = {
      .view = *view, .status = http->loop != NULL ? 200 : 503, .made_ms = now_ms};
  char *bytes;
  bool written = view->path == HTTP_METRICS ? write_metrics(http, &bytes, &made.bytes)
                                            : write_view(http, view, &bytes, &made.bytes);
  const struct http_cached *cached = written ? http_cache_put(&http->cache, &made, bytes) : NULL;
  if (cached == NULL || http_serve_add_headers(cached->response, view->path)) return cached;
  http_cache_forget(&http->cache, INT64_MAX);
  return NULL;
}

/* ---- gathering ---- */

static bool needs_gathering(const struct http *http, const struct turn *turn,
                            const struct http_view *view) {
  if (http->loop == NULL || view->path == HTTP_METRICS) return false;
  return http->gathering != HTTP_GATHERED || turn->now_ms - http->gathered_ms >= HTTP_FRESH_MS;
}

/* What it shows is on the disk by then. */
static void gather(struct http *http, struct turn *turn) {
  struct worker *worker = worker_of(http);
  if (http->gathering != HTTP_GATHERS) overview_begin(http->overview, worker);
  http->gathering = HTTP_GATHERS;
  turn->progress = true;
  if (!overview_step(http->overview, worker, turn->end_ns)) return;
  if (worker->journal != NULL) journaling_commit(worker);
  http->gathering = HTTP_GATHERED;
  http->gathered_ms = turn->now_ms;
}

/* ---- those that wait ---- */

/* False: not now. */
static bool find_or_make(struct http *http, struct turn *turn, const struct http_view *view,
                         const struct http_cached **answer) {
  *answer = http_cache_find(&http->cache, view, turn->now_ms);
  if (*answer != NULL) return true;
  if (needs_gathering(http, turn, view)) {
    if (clock_monotonic_ns() < turn->end_ns) gather(http, turn);
    return false;
  }
  if (turn->has_made || !http_cache_may_make(&http->cache, turn->now_ms)) return false;
  turn->has_made = true;
  *answer = make(http, view, turn->now_ms);
  return true;
}

/* The library sends at once, while the cache has the answer. */
static void go_on(struct http *http, struct turn *turn, struct http_conn *conn) {
  const struct http_cached *answer;
  if (!find_or_make(http, turn, &conn->view, &answer)) return;
  turn->progress = true;
  if (answer != NULL) turn->bytes += answer->bytes;
  http_conns_resume(http, conn, answer, turn->now_ms);
  http_conns_run(http);
}

/* Running the library may add to the list, at its end, and takes out none but the one that goes
 * on. */
void http_make_turn(struct http *http) {
  uint64_t now_ns = clock_monotonic_ns();
  struct turn turn = {.end_ns = now_ns + HTTP_TURN_NS, .now_ms = (int64_t)(now_ns / 1000000)};
  unsigned left = HTTP_CONNECTIONS;
  for (struct list *node = http->waiting.next, *next; node != &http->waiting; node = next) {
    next = node->next;
    go_on(http, &turn, LIST_ENTRY(node, struct http_conn, link));
    if (turn.bytes >= HTTP_TURN_BYTES || --left == 0) break;
  }
  http->stalled = !turn.progress;
}
