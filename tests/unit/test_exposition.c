/*
 * test_exposition.c - /metrics: every line of the text has the form that Prometheus reads, each
 * family and sample is there once, and what INFO counts is in it under the name that its row says.
 */
#include "server/commands/exposition.h"

#include <ctype.h>
#include <regex.h>

#include "server/commands/measure.h"
#include "server/commands/sections.h"
#include "server/ops/prometheus.h"
#include "server/ops/version.h"
#include "tests/unit/peers.h"

/* ---- what is read ---- */

struct family {
  char name[PROMETHEUS_NAME_BYTES], type[16];
  size_t samples;
};

struct parsed {
  struct family families[256];
  size_t family_count;
  char *samples[4096]; /* name and labels */
  size_t sample_count;
};

static bool matches(const char *pattern, const char *line) {
  regex_t regex;
  assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
  bool fits = regexec(&regex, line, 0, NULL, 0) == 0;
  regfree(&regex);
  return fits;
}

static void parse_help(struct parsed *parsed, const char *line) {
  if (!matches("^# HELP idem_[a-z0-9_]+ [A-Za-z0-9].*\\.$", line)) fail_msg("not a HELP line: %s", line);
  struct family *family = &parsed->families[parsed->family_count++];
  sscanf(line, "# HELP %95s", family->name);
  for (size_t i = 0; i + 1 < parsed->family_count; i++)
    if (strcmp(parsed->families[i].name, family->name) == 0) fail_msg("twice: %s", family->name);
}

static void parse_type(struct parsed *parsed, const char *line) {
  char name[PROMETHEUS_NAME_BYTES];
  struct family *family = &parsed->families[parsed->family_count - 1];
  assert_int_equal(sscanf(line, "# TYPE %95s %15s", name, family->type), 2);
  assert_string_equal(name, family->name);
  bool counter = strcmp(family->type, "counter") == 0;
  size_t len = strlen(name);
  bool total = len > 6 && strcmp(name + len - 6, "_total") == 0;
  if (counter != total) fail_msg("%s is a %s", name, family->type);
}

static void parse_sample(struct parsed *parsed, const char *line) {
  if (!matches("^idem_[a-z0-9_]+(\\{([a-z]+=\"[^\"\\\\]*\",?)+\\})? -?[0-9.e+-]+$", line))
    fail_msg("not a sample: %s", line);
  struct family *family = &parsed->families[parsed->family_count - 1];
  size_t len = strlen(family->name);
  const char *rest = line + len;
  if (strncmp(line, family->name, len) != 0) fail_msg("not of %s: %s", family->name, line);
  if (strcmp(family->type, "histogram") == 0) {
    if (!matches("^_(bucket\\{.*le=|sum|count)", rest)) fail_msg("of no histogram: %s", line);
  } else if (*rest != '{' && *rest != ' ') {
    fail_msg("not of %s: %s", family->name, line);
  }
  family->samples++;
  char *key = strndup(line, (size_t)(strrchr(line, ' ') - line));
  for (size_t i = 0; i < parsed->sample_count; i++)
    if (strcmp(parsed->samples[i], key) == 0) fail_msg("twice: %s", key);
  parsed->samples[parsed->sample_count++] = key;
}

static void parse(struct parsed *parsed, char *text) {
  assert_int_equal(text[strlen(text) - 1], '\n');
  for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    assert_true(parsed->family_count < 255 && parsed->sample_count < 4096);
    if (strncmp(line, "# HELP", 6) == 0) {
      parse_help(parsed, line);
    } else if (*line == '#') {
      parse_type(parsed, line);
    } else {
      parse_sample(parsed, line);
    }
  }
}

static void forget(struct parsed *parsed) {
  for (size_t i = 0; i < parsed->sample_count; i++) free(parsed->samples[i]);
  free(parsed);
}

/* Owned, terminated. */
static char *exposed(struct worker *worker) {
  struct metrics_text text = {0};
  exposition_write(worker, &text);
  assert_false(text.failed);
  char *copy = strndup(text.bytes, text.len);
  metrics_text_deinit(&text);
  return copy;
}

static bool has_family(const struct parsed *parsed, const char *name) {
  for (size_t i = 0; i < parsed->family_count; i++)
    if (strcmp(parsed->families[i].name, name) == 0) return true;
  return false;
}

/* ---- what happens ---- */

static void let_things_happen(struct peers *p) {
  ask(p, 0, "CLAIM k FP f");
  ask(p, 1, "CLAIM k FP g");
  ask(p, 1, "STORE other 77 body");
  ask(p, 2, "CLAIM k FP f WAIT 1000");
  peers_pass_ms(p, 5);
  ask(p, 0, "DEL k");
  for (size_t i = 0; i < p->instance.worker_count; i++) end_turn(p, i);
  deliver_written(&p->session[2], worker_of(p, 2)); /* the hand-over counts */
  ask(p, 3, "SET v 1");
  ask(p, 3, "CONFIG GET port");
  for (size_t i = 0; i < p->instance.worker_count; i++) measure_end(worker_number(p, i));
}

static void each_line_is_what_prometheus_reads(void **state) {
  struct peers *p = *state;
  let_things_happen(p);
  struct parsed *parsed = calloc(1, sizeof *parsed);
  char *text = exposed(&p->worker);
  parse(parsed, text);
  assert_true(parsed->family_count > 80);
  free(text);
  forget(parsed);
}

static void assert_sample(const char *text, const char *sample) {
  char line[256];
  snprintf(line, sizeof line, "\n%s\n", sample);
  if (strstr(text, line) == NULL) fail_msg("not in /metrics: %s", sample);
}

static void it_says_what_happened(void **state) {
  struct peers *p = *state;
  let_things_happen(p);
  p->worker.counters.bytes_in = 1234;
  char *text = exposed(&p->worker);
  static const char *const samples[] = {
      "idem_build_info{version=\"" IDEM_VERSION "\"} 1",
      "idem_records{state=\"held\"} 1",
      "idem_values 1",
      "idem_claims_granted_total 1",
      "idem_claims_handed_over_total 1",
      "idem_mismatches_total 1",
      "idem_stale_total{kind=\"absent\"} 1",
      "idem_stale_total{kind=\"stored\"} 0",
      "idem_errors_total{error=\"MISMATCH\"} 1",
      "idem_errors_total{error=\"STALE\"} 1",
      "idem_error_replies_total 2",
      "idem_commands_total{command=\"claim\"} 3",
      "idem_commands_failed_total{command=\"claim\"} 1",
      "idem_commands_total{command=\"config|get\"} 1",
      "idem_command_duration_seconds_count{command=\"claim\"} 3",
      "idem_command_duration_seconds_bucket{command=\"claim\",le=\"+Inf\"} 3",
      "idem_wait_seconds_bucket{outcome=\"claimed\",le=\"0.004\"} 0",
      "idem_wait_seconds_bucket{outcome=\"claimed\",le=\"0.016\"} 1",
      "idem_wait_seconds_sum{outcome=\"claimed\"} 0.005",
      "idem_wait_seconds_count{outcome=\"busy\"} 0",
      "idem_connected_clients 8",
      "idem_horizon_start_timestamp_seconds 1700000000.123",
      "idem_journal_sync_duration_seconds_count 0",
      "idem_loop_clients{loop=\"0\"} 8",
      "idem_maxclients 100000",
      "idem_uptime_seconds 0",
  };
  for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) assert_sample(text, samples[i]);
  free(text);
}

/* All but text, and those that say the same as others under the names of Redis. */
static void every_figure_of_info_idem_is_in_it(void **state) {
  struct peers *p = *state;
  struct parsed *parsed = calloc(1, sizeof *parsed);
  char *text = exposed(&p->worker);
  parse(parsed, text);
  for (const struct section *section = sections_all; section->is.title != NULL; section++) {
    bool idem = strcmp(section->is.title, "Idem") == 0;
    for (const struct section_part *part = section->parts; part->rows != NULL; part++) {
      for (const struct metric *row = part->rows; row->name != NULL; row++) {
        char name[PROMETHEUS_NAME_BYTES];
        prometheus_name(row, name);
        bool sum = strcmp(row->name, "records") == 0 || strcmp(row->name, "stale") == 0;
        if (sum) continue; /* of rows that are in it */
        if (idem && row->kind == METRIC_TEXT) fail_msg("%s is only text", row->name);
        if (has_family(parsed, name) != (row->kind != METRIC_TEXT)) fail_msg("%s", name);
      }
    }
  }
  free(text);
  forget(parsed);
}

static void units_are_base_units(void **state) {
  (void)state;
  static const struct {
    struct metric row;
    const char *name;
  } cases[] = {
      {{.name = "a", .kind = METRIC_GAUGE}, "idem_a"},
      {{.name = "a", .kind = METRIC_COUNTER}, "idem_a_total"},
      {{.name = "a_bytes", .kind = METRIC_GAUGE, .unit = METRIC_BYTES}, "idem_a_bytes"},
      {{.name = "a", .kind = METRIC_COUNTER, .unit = METRIC_BYTES}, "idem_a_bytes_total"},
      {{.name = "a_ms", .kind = METRIC_GAUGE, .unit = METRIC_MILLISECONDS}, "idem_a_seconds"},
      {{.name = "a_us", .kind = METRIC_GAUGE, .unit = METRIC_MICROSECONDS}, "idem_a_seconds"},
      {{.name = "ms", .kind = METRIC_GAUGE, .unit = METRIC_MILLISECONDS}, "idem_ms_seconds"},
      {{.name = "a", .kind = METRIC_COUNTER, .family = "b"}, "idem_b_total"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char name[PROMETHEUS_NAME_BYTES];
    prometheus_name(&cases[i].row, name);
    assert_string_equal(name, cases[i].name);
  }
}

/* Whatever a label is, it ends no quotes and no line. */
static void labels_are_escaped(void **state) {
  (void)state;
  static const struct metric row = {"a", METRIC_GAUGE, METRIC_NO_UNIT, "Help.",
                                    METRIC_TABLE("user", NULL)};
  struct metrics_text text = {0};
  prometheus_put_sample(&text, &row, "a\"b\\c\nd", 1);
  assert_memory_equal(text.bytes, "idem_a{user=\"a\\\"b\\\\x5cc\\nd\"} 1\n", text.len);
  metrics_text_deinit(&text);
}

/* One byte that is none of UTF-8 would make Prometheus refuse the whole page. */
static void labels_are_utf8(void **state) {
  (void)state;
  static const struct metric row = {"a", METRIC_GAUGE, METRIC_NO_UNIT, "Help.",
                                    METRIC_TABLE("user", NULL)};
  static const struct {
    const char *value, *shown;
  } cases[] = {
      {"J\xc3\xbcrg \xf0\x9f\x98\x80", "J\xc3\xbcrg \xf0\x9f\x98\x80"},
      {"J\xfcrg", "J\\\\xfcrg"},
      {"J\\xfcrg", "J\\\\x5cxfcrg"}, /* not the same */
      {"\xc3", "\\\\xc3"},
      {"\xed\xa0\x80", "\\\\xed\\\\xa0\\\\x80"},
      {"\xc0\xaf", "\\\\xc0\\\\xaf"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct metrics_text text = {0};
    char line[128];
    int len = snprintf(line, sizeof line, "idem_a{user=\"%s\"} 1\n", cases[i].shown);
    prometheus_put_sample(&text, &row, cases[i].value, 1);
    assert_int_equal(text.len, len);
    assert_memory_equal(text.bytes, line, text.len);
    metrics_text_deinit(&text);
  }
}

static void resetstat_sets_it_to_0(void **state) {
  struct peers *p = *state;
  let_things_happen(p);
  ask(p, 0, "CONFIG RESETSTAT");
  char *text = exposed(&p->worker);
  assert_sample(text, "idem_error_replies_total 0");
  assert_sample(text, "idem_wait_seconds_count{outcome=\"claimed\"} 0");
  assert_sample(text, "idem_mismatches_total 0");
  assert_null(strstr(text, "idem_errors_total{"));
  assert_null(strstr(text, "{command=\"claim\""));
  free(text);
}

static int setup_three(void **state) { return peers_setup_workers(state, 3); }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(each_line_is_what_prometheus_reads, peers_setup,
                                      peers_teardown),
      cmocka_unit_test_setup_teardown(each_line_is_what_prometheus_reads, setup_three,
                                      peers_teardown),
      cmocka_unit_test_setup_teardown(it_says_what_happened, peers_setup, peers_teardown),
      cmocka_unit_test_setup_teardown(every_figure_of_info_idem_is_in_it, peers_setup,
                                      peers_teardown),
      cmocka_unit_test(units_are_base_units),
      cmocka_unit_test(labels_are_escaped),
      cmocka_unit_test(labels_are_utf8),
      cmocka_unit_test_setup_teardown(resetstat_sets_it_to_0, peers_setup, peers_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
