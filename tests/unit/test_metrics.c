/* test_metrics.c - metrics: how a row is shown as INFO, and that INFO shows rows and nothing else.
 */
#include "server/ops/metrics.h"

#include "server/commands/error_metrics.h"
#include "server/commands/instance_metrics.h"
#include "server/commands/journal_metrics.h"
#include "server/commands/memory_metrics.h"
#include "server/commands/process_metrics.h"
#include "server/commands/pubsub_metrics.h"
#include "server/commands/redis_metrics.h"
#include "server/commands/tls_metrics.h"
#include "server/commands/worker_metrics.h"
#include "server/engine/engine_metrics.h"
#include "tests/unit/peers.h"

/* ---- rows ---- */

struct sample {
  uint64_t bytes, most;
  int64_t least;
  double ratio, seconds;
  const char *word;
};

#define FIELD(field) METRIC_FIELD(struct sample, field)
static const struct metric ROWS[] = {
    {"most", METRIC_COUNTER, METRIC_NO_UNIT, "Help.", FIELD(most)},
    {"least", METRIC_GAUGE, METRIC_NO_UNIT, "Help.", FIELD(least)},
    {"ratio", METRIC_GAUGE, METRIC_RATIO, "Help.", FIELD(ratio)},
    {"seconds", METRIC_GAUGE, METRIC_SECONDS, "Help.", FIELD(seconds)},
    {"word", METRIC_TEXT, METRIC_NO_UNIT, "Help.", FIELD(word)},
    {"fixed", METRIC_TEXT, METRIC_NO_UNIT, "Help.", METRIC_FIXED("always: so")},
    {"bytes_human", METRIC_TEXT, METRIC_NO_UNIT, "Help.", METRIC_HUMAN(struct sample, bytes)},
    METRIC_END,
};

static void assert_text(struct metrics_text *text, const char *expected) {
  assert_false(text->failed);
  metrics_put(text, "%c", '\0');
  assert_string_equal(text->bytes, expected);
  metrics_text_deinit(text);
}

static void each_type_has_its_form(void **state) {
  (void)state;
  struct metrics_text text = {0};
  struct sample sample = {.bytes = 1536,
                          .most = UINT64_MAX,
                          .least = INT64_MIN,
                          .ratio = 1.006,
                          .seconds = 12.000345,
                          .word = ""};
  metrics_put_rows(&text, ROWS, &sample);
  assert_text(&text,
              "most:18446744073709551615\r\nleast:-9223372036854775808\r\nratio:1.01\r\n"
              "seconds:12.000345\r\nword:\r\nfixed:always: so\r\nbytes_human:1.50K\r\n");
}

static void bytes_for_people(void **state) {
  (void)state;
  static const struct metric row[] = {
      {"b", METRIC_TEXT, METRIC_NO_UNIT, "Help.", METRIC_HUMAN(struct sample, bytes)}, METRIC_END};
  static const struct {
    uint64_t bytes;
    const char *line;
  } cases[] = {
      {0, "b:0B\r\n"},
      {1023, "b:1023B\r\n"},
      {1024, "b:1.00K\r\n"},
      {UINT64_C(1) << 20, "b:1.00M\r\n"},
      {(UINT64_C(1) << 30) * 3 / 2, "b:1.50G\r\n"},
      {UINT64_C(1) << 50, "b:1024.00T\r\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct metrics_text text = {0};
    struct sample sample = {.bytes = cases[i].bytes};
    metrics_put_rows(&text, row, &sample);
    assert_text(&text, cases[i].line);
  }
}

static void sections_have_headings_and_lie_apart(void **state) {
  (void)state;
  struct metrics_text text = {0};
  metrics_put_heading(&text, "One");
  metrics_put(&text, "a:%d\r\n", 1);
  metrics_put_heading(&text, "Two");
  assert_text(&text, "# One\r\na:1\r\n\r\n# Two\r\n");
}

static void a_long_text_grows_and_a_long_line_is_cut(void **state) {
  (void)state;
  struct metrics_text text = {0};
  char word[2 * METRICS_LINE_MAX];
  memset(word, 'x', sizeof word - 1);
  word[sizeof word - 1] = '\0';
  for (size_t i = 0; i < 10; i++) metrics_put(&text, "%s", word);
  assert_int_equal(text.len, 10 * (METRICS_LINE_MAX - 1));
  for (size_t i = 0; i < text.len; i++) assert_int_equal(text.bytes[i], 'x');
  metrics_text_deinit(&text);
  assert_null(text.bytes);
}

static void sections_are_wanted_by_name(void **state) {
  (void)state;
  static const struct metrics_section usual = {"CPU", true}, rare = {"Rare", false};
  static const struct {
    const char *name;
    bool usual, rare;
  } cases[] = {
      {"cpu", true, false},     {"CPU", true, false}, {"RARE", false, true},
      {"default", true, false}, {"All", true, true},  {"everything", true, true},
      {"nosuch", false, false}, {"", false, false},   {"cp", false, false},
  };
  assert_true(metrics_section_wanted(&usual, NULL, 0));
  assert_false(metrics_section_wanted(&rare, NULL, 0));
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct span names[] = {SPAN_LITERAL("other"), span_of(cases[i].name)};
    if (metrics_section_wanted(&usual, names, 2) != cases[i].usual ||
        metrics_section_wanted(&rare, names, 2) != cases[i].rare)
      fail_msg("INFO other %s", cases[i].name);
  }
}

/* ---- the rows of all rooms, and INFO ---- */

static const struct metric *const TABLES[] = {
    process_metrics_program,   process_metrics_cpu,          instance_metrics_server,
    instance_metrics_clients,  instance_metrics_replication, instance_metrics_threads,
    memory_metrics_rows,       worker_metrics_traffic,       worker_metrics_refusals,
    pubsub_metrics_rows,       engine_metrics_keyspace,      engine_metrics_idem,
    redis_metrics_persistence, redis_metrics_cluster,        instance_metrics_memory_of_requests,
    journal_metrics_rows,      worker_metrics_idem,          error_metrics_rows,
    tls_metrics_rows,
};
#define TABLE_COUNT (sizeof TABLES / sizeof TABLES[0])

static void assert_row(const struct metric *row) {
  size_t len = row->help != NULL ? strlen(row->help) : 0;
  if (len == 0 || row->help[len - 1] != '.') fail_msg("%s has no help", row->name);
  if (row->name[strspn(row->name, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0')
    fail_msg("%s is no name of a metric", row->name);
  bool number = row->type == METRIC_TYPE_UNSIGNED || row->type == METRIC_TYPE_SIGNED ||
                row->type == METRIC_TYPE_REAL;
  if (row->kind != METRIC_TEXT && !number) fail_msg("%s is a number in words", row->name);
  if (row->type == METRIC_TYPE_FIXED && row->fixed == NULL) fail_msg("%s is nothing", row->name);
}

static const struct metric *row_of(struct span name) {
  for (size_t i = 0; i < TABLE_COUNT; i++) {
    for (const struct metric *row = TABLES[i]; row->name != NULL; row++)
      if (span_equal(name, span_of(row->name))) return row;
  }
  return NULL;
}

static void every_row_has_help_and_a_name_of_its_own(void **state) {
  (void)state;
  for (size_t i = 0; i < TABLE_COUNT; i++) {
    for (const struct metric *row = TABLES[i]; row->name != NULL; row++) {
      assert_row(row);
      if (row_of(span_of(row->name)) != row) fail_msg("two rows are called %s", row->name);
    }
  }
}

/* Lines of tables: one for each loop, command, error, database. */
static bool is_of_a_table(struct span line) {
  static const char *const begins[] = {
      "loop_", "cmdstat_", "db0:", "errorstat_", "wait_", "latency_percentiles_usec_"};
  for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
    size_t len = strlen(begins[i]);
    if (line.len > len && memcmp(line.data, begins[i], len) == 0) return true;
  }
  return false;
}

/* The number of lines that rows made; any other line fails. */
static size_t count_rows(const char *info) {
  size_t rows = 0;
  for (const char *line = info; *line != '\0'; line += strcspn(line, "\n") + 1) {
    struct span text = {line, strcspn(line, "\r\n")};
    if (text.len == 0 || *line == '#' || is_of_a_table(text)) continue;
    if (row_of((struct span){line, strcspn(line, ":")}) == NULL)
      fail_msg("no row made '%.*s'", (int)text.len, text.data);
    rows++;
  }
  return rows;
}

static size_t all_rows(void) {
  size_t rows = 0;
  for (size_t i = 0; i < TABLE_COUNT; i++) {
    for (const struct metric *row = TABLES[i]; row->name != NULL; row++) rows++;
  }
  return rows;
}

static void info_shows_every_row_and_nothing_else(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k");
  ask(p, 0, "SET v 1");
  ask(p, 0, "NOSUCH");
  ask(p, 2, "CLAIM k WAIT 1000");
  peers_pass_ms(p, 20);
  ask(p, 0, "DEL k");
  end_turn(p, 0);
  const char *info = strchr(ask(p, 1, "INFO everything"), '\n') + 1; /* after the bulk's length */
  assert_non_null(strstr(info, "\ncmdstat_claim:calls=2,"));
  assert_non_null(strstr(info, "\nlatency_percentiles_usec_claim:p50="));
  assert_non_null(strstr(info, "\nerrorstat_ERR:count=1\r\n"));
  assert_non_null(
      strstr(info, "\nwait_claimed:count=1,sum_ms=20,p50_ms=20,p99_ms=20,max_ms=20\r\n"));
  assert_non_null(strstr(info, "\nloop_0:clients="));
  assert_non_null(strstr(info, "\ndb0:keys=2,expires=0,"));
  assert_int_equal(count_rows(info), all_rows());
}

static void info_shows_what_happened(void **state) {
  struct peers *p = *state;
  ask(p, 0, "CLAIM k");
  ask(p, 1, "CLAIM k");
  ask(p, 2, "SUBSCRIBE c");
  const char *info = ask(p, 1, "INFO");
  static const char *const lines[] = {
      "held:1",
      "busy:1",
      "claims_granted:1",
      "keyspace_misses:1",
      "pubsub_channels:1",
      "threads:1",
      "connected_clients:8",
      "uptime_in_seconds:0",
      "server_time_usec:1700000000123000",
      "role:master",
  };
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    char line[64];
    snprintf(line, sizeof line, "\n%s\r\n", lines[i]);
    if (strstr(info, line) == NULL) fail_msg("not in INFO: %s", lines[i]);
  }
}

static int setup_two(void **state) { return peers_setup_workers(state, 2); }

static void info_sums_over_all_loops(void **state) {
  struct peers *p = *state;
  p->worker.counters.bytes_in = 3;
  p->further[0].counters.bytes_in = 4;
  p->further[0].counters.closed_by_request_timeout = 1;
  const char *info = ask(p, 0, "INFO");
  assert_non_null(strstr(info, "\ntotal_net_input_bytes:7\r\n"));
  assert_non_null(strstr(info, "\nrequest_timeout_disconnections:1\r\n"));
  assert_non_null(strstr(info, "\nio_threads_active:1\r\n"));
  assert_non_null(strstr(info, "\nloop_1:clients=4,"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_type_has_its_form),
      cmocka_unit_test(bytes_for_people),
      cmocka_unit_test(sections_have_headings_and_lie_apart),
      cmocka_unit_test(a_long_text_grows_and_a_long_line_is_cut),
      cmocka_unit_test(sections_are_wanted_by_name),
      cmocka_unit_test(every_row_has_help_and_a_name_of_its_own),
      cmocka_unit_test_setup_teardown(info_shows_every_row_and_nothing_else, peers_setup,
                                      peers_teardown),
      cmocka_unit_test_setup_teardown(info_shows_what_happened, peers_setup, peers_teardown),
      cmocka_unit_test_setup_teardown(info_sums_over_all_loops, setup_two, peers_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
