/* The table of options and its reader. */
#include "bench/options.h"

#include "bench/scenario.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_SECONDS, OPTION_FLAG };

struct option_row {
  const char *name;
  enum option_kind kind;
  size_t offset;
  uint64_t least;
  uint64_t most;
  const char *initial;
  const char *value;
  const char *help;
};

#define ROW(field) offsetof(struct options, field)
#define HOUR_MS UINT64_C(3600000)

static const struct option_row rows[] = {
    {"--host", OPTION_TEXT, ROW(host), 0, 0, "127.0.0.1", "ADDRESS", "where the server listens"},
    {"--port", OPTION_NUMBER, ROW(port), 1, 65535, NULL, "N", "its TCP port (required, or --unix)"},
    {"--unix", OPTION_TEXT, ROW(unix_path), 0, 0, NULL, "PATH",
     "its unix socket, instead of --port"},
    {"--tls", OPTION_FLAG, ROW(tls), 0, 1, NULL, "",
     "over TLS, 1.2 or 1.3; for a steady load, handshakes are not measured"},
    {"--cacert", OPTION_TEXT, ROW(ca_file), 0, 0, NULL, "FILE",
     "PEM of the authorities to trust (default: the system's)"},
    {"--cert", OPTION_TEXT, ROW(cert_file), 0, 0, NULL, "FILE", "own certificate, PEM"},
    {"--key", OPTION_TEXT, ROW(key_file), 0, 0, NULL, "FILE",
     "its key, PEM (default: in the file of the certificate)"},
    {"--insecure", OPTION_FLAG, ROW(insecure), 0, 1, NULL, "", "take any certificate"},
    {"--scenario", OPTION_TEXT, ROW(scenario), 0, 0, NULL, "NAME",
     "what to send, see below (required)"},
    {"--like", OPTION_TEXT, ROW(like), 0, 0, NULL, "NAME",
     "echo: the scenario whose bytes are moved; fill: whose keys are made; expire: whose keys "
     "stand by; flood: what is sent"},
    {"--step", OPTION_NUMBER, ROW(step), 1, SCENARIO_STEPS_MAX, "1", "N",
     "echo and --sizes: which step of the scenario"},
    {"--connections", OPTION_NUMBER, ROW(connections), 1, 100000, "50", "N",
     "connections; herd: those that wait"},
    {"--rate", OPTION_NUMBER, ROW(rate), 1, 100000000, NULL, "N",
     "open loop: so many operations per second, latency from the intended time of sending"},
    {"--pipeline", OPTION_NUMBER, ROW(pipeline), 1, 1024, "1", "N",
     "requests sent at once; the next ones go out when all are answered"},
    {"--seconds", OPTION_SECONDS, ROW(seconds_ms), 10, HOUR_MS, "2", "S", "how long to measure"},
    {"--requests", OPTION_NUMBER, ROW(requests), 1, UINT64_C(1) << 40, NULL, "N",
     "how many operations to measure, instead of --seconds"},
    {"--warmup", OPTION_NUMBER, ROW(warmup_percent), 0, 1000, "10", "PERCENT",
     "run first and not counted, as a share of --seconds or --requests"},
    {"--keys", OPTION_NUMBER, ROW(keys), 1, UINT64_C(1000000000), "100000", "N",
     "keys preloaded for the replay scenarios, drawn evenly"},
    {"--loaded", OPTION_FLAG, ROW(loaded), 0, 1, NULL, "",
     "they are there from a run with the same --seed: load none"},
    {"--lease-ms", OPTION_NUMBER, ROW(lease_ms), 1, HOUR_MS, "60000", "MS",
     "LEASE of a claim; PX of a Redis lock"},
    {"--ttl-ms", OPTION_NUMBER, ROW(ttl_ms), 1, 31 * 24 * HOUR_MS, "86400000", "MS",
     "TTL of a stored body; PX of a Redis value"},
    {"--body-bytes", OPTION_NUMBER, ROW(body_bytes), 36, 1 << 20, "100", "N",
     "size of a stored body; it begins with its key, so that a mixed-up reply is seen"},
    {"--fingerprint-bytes", OPTION_NUMBER, ROW(fingerprint_bytes), 0, 64, "0", "N",
     "FP of each CLAIM; 0: none is sent"},
    {"--server-pid", OPTION_NUMBER, ROW(server_pid), 1, INT32_MAX, NULL, "PID",
     "measure the CPU time of this process"},
    {"--seed", OPTION_NUMBER, ROW(seed), 1, UINT64_C(1) << 53, NULL, "N",
     "makes the keys repeatable (default: random)"},
    {"--expiring", OPTION_NUMBER, ROW(expiring), 1, UINT64_C(1000000000), "1000000", "N",
     "expire: keys that end in the window"},
    {"--lead-seconds", OPTION_SECONDS, ROW(lead_ms), 10, HOUR_MS, "3", "S",
     "expire: at least so long from the start of filling to the first deadline; fill: TTL of a "
     "generation"},
    {"--generations", OPTION_NUMBER, ROW(generations), 1, 100, NULL, "N",
     "fill: before, so many times --keys keys with bodies of 1, 4 and 16 times the size, that end"},
    {"--window-seconds", OPTION_SECONDS, ROW(window_ms), 10, HOUR_MS, "1", "S",
     "expire: from the first deadline to the last"},
    {"--windows", OPTION_NUMBER, ROW(windows), 1, 100, "6", "N",
     "expire: how often; each third time without readers; figures are medians"},
    {"--histogram", OPTION_TEXT, ROW(histogram), 0, 0, NULL, "FILE",
     "write the distribution of latencies in HdrHistogram's text format, microseconds"},
    {"--stall-seconds", OPTION_SECONDS, ROW(stall_ms), 10, HOUR_MS, "10", "S",
     "fail when no reply comes for so long"},
    {"--json", OPTION_FLAG, ROW(json), 0, 1, NULL, "", "print one JSON object instead of a table"},
    {"--csv", OPTION_FLAG, ROW(csv), 0, 1, NULL, "", "print CSV, names and values, instead"},
    {"--sizes", OPTION_FLAG, ROW(sizes), 0, 1, NULL, "",
     "only print the usual bytes of a request and of its reply, as JSON; needs no server"},
    {"--help", OPTION_FLAG, ROW(help), 0, 1, NULL, "", "print this"},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static int complain(const char *name, const char *value, const char *reason) {
  fprintf(stderr, "idem-bench: %s%s%s: %s (see --help)\n", name, value == NULL ? "" : " ",
          value == NULL ? "" : value, reason);
  return -1;
}

static int parse_number(const struct option_row *row, const char *text, uint64_t *number) {
  char *end = NULL;
  errno = 0;
  /* strtoull takes a sign and blanks; a count has neither. */
  uint64_t value = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
  if (end == NULL || *end != '\0') return complain(row->name, text, "not a whole number");
  if (errno == ERANGE || value < row->least || value > row->most) {
    char reason[96];
    snprintf(reason, sizeof reason, "must be from %" PRIu64 " to %" PRIu64, row->least, row->most);
    return complain(row->name, text, reason);
  }
  *number = value;
  return 0;
}

static int parse_seconds(const struct option_row *row, const char *text, uint64_t *number) {
  char *end = NULL;
  double seconds = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : 0;
  if (end == NULL || *end != '\0') return complain(row->name, text, "not a number of seconds");
  if (!(seconds * 1000 >= (double)row->least && seconds * 1000 <= (double)row->most)) {
    return complain(row->name, text, "must be from 0.01 to 3600 seconds");
  }
  *number = (uint64_t)(seconds * 1000 + 0.5);
  return 0;
}

static int set(struct options *options, const struct option_row *row, const char *text) {
  char *field = (char *)options + row->offset;
  uint64_t number = 1;
  int error = 0;
  switch (row->kind) {
    case OPTION_TEXT: memcpy(field, &text, sizeof text); return 0;
    case OPTION_NUMBER: error = parse_number(row, text, &number); break;
    case OPTION_SECONDS: error = parse_seconds(row, text, &number); break;
    case OPTION_FLAG: break;
  }
  if (error == 0) memcpy(field, &number, sizeof number);
  return error;
}

static const struct option_row *find(const char *name, size_t bytes) {
  for (size_t i = 0; i < ROWS; i++) {
    if (strlen(rows[i].name) == bytes && memcmp(rows[i].name, name, bytes) == 0) return &rows[i];
  }
  return NULL;
}

static int check_tls(const struct options *options) {
  bool any = options->ca_file != NULL || options->cert_file != NULL || options->key_file != NULL ||
             options->insecure;
  if (any && !options->tls) return complain("--tls", NULL, "is missing beside its options");
  if (options->key_file != NULL && options->cert_file == NULL)
    return complain("--key", NULL, "needs --cert");
  return 0;
}

static int check_together(const struct options *options, uint64_t given) {
  if (options->help) return 0;
  if (check_tls(options) != 0) return -1;
  const struct option_row *seconds = find("--seconds", strlen("--seconds"));
  if (options->requests > 0 && (given >> (seconds - rows) & 1)) {
    return complain("--seconds", NULL, "cannot be given together with --requests");
  }
  if (options->json && options->csv) return complain("--json", NULL, "cannot go with --csv");
  if (options->scenario == NULL) return complain("--scenario", NULL, "is required");
  if (options->unix_path != NULL && (options->port > 0 || options->tls))
    return complain("--unix", NULL, "cannot go with --port or --tls");
  if (options->port == 0 && options->unix_path == NULL && !options->sizes)
    return complain("--port", NULL, "or --unix is required");
  return 0;
}

int options_parse(struct options *options, int argc, char **argv) {
  uint64_t given = 0;
  memset(options, 0, sizeof *options);
  for (size_t i = 0; i < ROWS; i++) {
    if (rows[i].initial != NULL && set(options, &rows[i], rows[i].initial) != 0) return -1;
  }
  for (int i = 1; i < argc; i++) {
    /* Both --name value and --name=value. */
    const char *equals = strchr(argv[i], '=');
    size_t name_bytes = equals == NULL ? strlen(argv[i]) : (size_t)(equals - argv[i]);
    const struct option_row *row = find(argv[i], name_bytes);
    if (row == NULL) return complain(argv[i], NULL, "unknown option");
    if (given >> (row - rows) & 1) return complain(row->name, NULL, "given twice");
    given |= UINT64_C(1) << (row - rows);

    const char *value = equals == NULL ? NULL : equals + 1;
    if (row->kind == OPTION_FLAG && value != NULL)
      return complain(row->name, NULL, "takes no value");
    if (row->kind != OPTION_FLAG && value == NULL) {
      if (i + 1 == argc) return complain(row->name, NULL, "needs a value");
      value = argv[++i];
    }
    if (set(options, row, value) != 0) return -1;
  }
  return check_together(options, given);
}

void options_print_help(void) {
  printf(
      "usage: idem-bench --port N | --unix PATH --scenario NAME [options]\n\n"
      "Load on one server from one thread: closed loop, or open loop with --rate. A wrong reply "
      "ends\n"
      "the run.\n"
      "Exit status: 0 measured, 1 the run failed, 2 wrong options.\n\noptions:\n");
  for (size_t i = 0; i < ROWS; i++) {
    char left[40];
    snprintf(left, sizeof left, "%s %s", rows[i].name, rows[i].value);
    printf("  %-24s %s", left, rows[i].help);
    if (rows[i].initial != NULL) printf(" [%s]", rows[i].initial);
    printf("\n");
  }
}
