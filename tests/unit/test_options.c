/*
 * test_options.c - the options: defaults, every way to set one, every way to be refused, --help.
 * What changes while the server runs is in test_options_live.c.
 */
#include "tests/unit/options_rig.h"

/* --- the table --- */

/* These are promised to users: a change here changes the contract. */
static const char *const defaults[][2] = {
    {"port", "4336"},
    {"bind", "127.0.0.1 -::1"},
    {"unixsocket", ""},
    {"unixsocketperm", "700"},
    {"tcp-backlog", "511"},
    {"tcp-keepalive", "60"},
    {"threads", "1"},
    {"maxclients", "100000"},
    {"timeout", "0"},
    {"insecure", "no"},
    {"requirepass", ""},
    {"requirepass-file", ""},
    {"aclfile", ""},
    {"acl-pubsub-default", "resetchannels"},
    {"acllog-max-len", "128"},
    {"requirepass-file-mode", "private"},
    {"proxy-protocol", ""},
    {"tls-port", "0"},
    {"tls-cert-file", ""},
    {"tls-key-file", ""},
    {"tls-key-file-pass", ""},
    {"tls-ca-cert-file", ""},
    {"tls-ca-cert-dir", ""},
    {"tls-auth-clients", "yes"},
    {"tls-protocols", "TLSv1.2 TLSv1.3"},
    {"tls-ciphers", ""},
    {"tls-ciphersuites", ""},
    {"tls-prefer-server-ciphers", "no"},
    {"tls-session-caching", "yes"},
    {"tls-session-cache-timeout", "300"},
    {"http-port", "0"},
    {"http-bind", "127.0.0.1 -::1"},
    {"http-hosts", ""},
    {"http-keys", "no"},
    {"client-output-limit", "67108864"},
    {"client-output-total", "1073741824"},
    {"client-output-timeout", "60000"},
    {"client-input-total", "1073741824"},
    {"lease", "60000"},
    {"lease-max", "3600000"},
    {"ttl", "86400000"},
    {"ttl-max", "2678400000"},
    {"retention", "86400000"},
    {"unknown-retention", "0"},
    {"born-skew", "5000"},
    {"horizon-slots", "65536"},
    {"wait-max", "60000"},
    {"key-limit", "1024"},
    {"fingerprint-limit", "64"},
    {"owner-limit", "128"},
    {"stage-limit", "1024"},
    {"meta-limit", "65536"},
    {"body-limit", "16777216"},
    {"waiters-per-key", "10000"},
    {"waiters-total", "100000"},
    {"maxmemory", "0"},
    {"store-reserve", "4096"},
    {"drain-timeout", "60000"},
    {"dir", ""},
    {"appendonly", "no"},
    {"appendfsync", "always"},
    {"segment-size", "67108864"},
    {"loglevel", "notice"},
    {"log-format", "text"},
    {"slowlog-log-slower-than", "10000"},
    {"slowlog-max-len", "128"},
    {"enable-debug-command", "no"},
    {"logfile", ""},
    {"latency-tracking", "yes"},
    {"latency-tracking-info-percentiles", "50 99 99.9"},
};
#define DEFAULT_COUNT (sizeof(defaults) / sizeof(defaults[0]))

static void test_defaults(void **state) {
  (void)state;
  struct run run;
  run_line(&run, "");
  assert_int_equal(run.result, RUN);
  assert_int_equal(options_count(), DEFAULT_COUNT);
  for (size_t i = 0; i < DEFAULT_COUNT; i++) {
    assert_option(&run.options, defaults[i][0], defaults[i][1]);
  }
  assert_string_equal(run.options.config_file, "");
  run_deinit(&run);
}

static void assert_round_trip(const struct options_row *row, const char *text) {
  struct options options;
  struct options_value value;
  char shown[OPTIONS_VALUE_BYTES], again[OPTIONS_VALUE_BYTES], error[REFUSAL_BYTES];
  if (row->kind == OPTIONS_ROW_PASSWORD) return; /* kept as its SHA-256 */
  options_init(&options);
  if (!options_value_parse(row, span_of(text), &value, error)) fail_msg("%s: %s", row->name, error);
  options_value_store(row, &options, &value);
  options_value_text(row, &options, shown);
  if (!options_value_parse(row, span_of(shown), &value, error))
    fail_msg("%s: %s", row->name, error);
  assert_true(options_value_equal(row, &options, &value));
  options_value_store(row, &options, &value);
  options_value_text(row, &options, again);
  assert_string_equal(shown, again);
  options_deinit(&options);
}

static void test_every_row_reads_what_it_prints(void **state) {
  (void)state;
  for (size_t i = 0; i < options_count(); i++)
    assert_round_trip(options_row(i), options_row(i)->initial);
  static const char *const others[][2] = {
      {"bind", "10.0.0.1 -::2"}, {"unixsocket", "/run/a b"}, {"unixsocketperm", "0770"},
      {"insecure", "yes"},       {"loglevel", "WARNING"},    {"aclfile", "/etc/idem/users.acl"},
      {"lease", "61s"},          {"body-limit", "3m"},       {"timeout", "2h"},
      {"logfile", "/tmp/x"},     {"requirepass-file", "pw"}, {"maxmemory", "75%"},
  };
  for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    assert_round_trip(row_of(others[i][0]), others[i][1]);
  }
}

static bool is_number(const struct options_row *row) {
  return row->kind == OPTIONS_ROW_INTEGER || row->kind == OPTIONS_ROW_MS ||
         row->kind == OPTIONS_ROW_SECONDS || row->kind == OPTIONS_ROW_BYTES ||
         row->kind == OPTIONS_ROW_MEMORY;
}

static bool row_takes(const struct options_row *row, int64_t number) {
  char text[32], error[REFUSAL_BYTES];
  struct options_value value;
  snprintf(text, sizeof(text), "%lld", (long long)number);
  return options_value_parse(row, span_of(text), &value, error);
}

static void test_every_number_is_bounded(void **state) {
  (void)state;
  size_t numbers = 0;
  for (size_t i = 0; i < options_count(); i++) {
    const struct options_row *row = options_row(i);
    if (!is_number(row)) continue;
    numbers++;
    assert_true(row->min >= -1 && row->min < row->max && row->max < INT64_MAX / 2);
    assert_true(row_takes(row, row->min));
    assert_true(row_takes(row, row->max));
    assert_false(row_takes(row, row->min - 1));
    assert_false(row_takes(row, row->max + 1));
    assert_false(row_takes(row, INT64_MAX));
  }
  assert_int_equal(numbers, 37);
}

static void test_caps_of_the_contract(void **state) {
  (void)state;
  static const char *const caps[][3] = {
      {"lease", "1h", "3600001"},
      {"lease-max", "1h", "2h"},
      {"ttl", "31d", "32d"},
      {"ttl-max", "31d", "2678400001"},
      {"retention", "31d", "32d"},
      {"wait-max", "300s", "300001"},
      {"key-limit", "64kb", "65537"},
      {"body-limit", "512mb", "1gb"},
      {"born-skew", "1h", "3600001"},
      {"unknown-retention", "3650d", "3651d"},
      {"horizon-slots", "16777216", "16777217"},
  };
  char line[64];
  for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
    struct run run;
    snprintf(line, sizeof(line), "--%s %s", caps[i][0], caps[i][1]);
    run_line(&run, line);
    assert_int_equal(run.result, RUN);
    run_deinit(&run);
    snprintf(line, sizeof(line), "--%s %s", caps[i][0], caps[i][2]);
    assert_line_refused(line, caps[i][0], caps[i][2]);
  }
}

/* --- values --- */

static void test_units(void **state) {
  (void)state;
  static const char *const good[][3] = {
      {"--lease 1", "lease", "1"},
      {"--lease 500ms", "lease", "500"},
      {"--lease 2s", "lease", "2000"},
      {"--lease 5M", "lease", "300000"},
      {"--lease 1h", "lease", "3600000"},
      {"--ttl 31d", "ttl", "2678400000"},
      {"--timeout 90", "timeout", "90"},
      {"--timeout 2m", "timeout", "120"},
      {"--timeout 365d", "timeout", "31536000"},
      {"--maxmemory 100", "maxmemory", "100"},
      {"--maxmemory 100b", "maxmemory", "100"},
      {"--maxmemory 1k", "maxmemory", "1000"},
      {"--maxmemory 1kb", "maxmemory", "1024"},
      {"--maxmemory 1m", "maxmemory", "1000000"},
      {"--maxmemory 100MB", "maxmemory", "104857600"},
      {"--maxmemory 1g", "maxmemory", "1000000000"},
      {"--maxmemory 2Gb", "maxmemory", "2147483648"},
      {"--unixsocketperm 0660", "unixsocketperm", "660"},
      {"--unixsocketperm 0", "unixsocketperm", "0"},
      {"--insecure YES", "insecure", "yes"},
      {"--loglevel Debug", "loglevel", "debug"},
      {"--loglevel verbose", "loglevel", "verbose"},
      {"--loglevel warning", "loglevel", "warning"},
      {"--log-format json", "log-format", "json"},
  };
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
    assert_line_gives(good[i][0], good[i][1], good[i][2]);
}

static void test_bad_values_name_the_right_ones(void **state) {
  (void)state;
  static const char *const bad[][3] = {
      {"--port x", "'x' for port", "an integer from 0 to 65535"},
      {"--port -1", "'-1' for port", "0 to 65535"},
      {"--port +1", "'+1' for port", "0 to 65535"},
      {"--port 080", "'080' for port", "0 to 65535"},
      {"--port 1s", "'1s' for port", "an integer"},
      {"--port 65536", "'65536' for port", "0 to 65535"},
      {"--port 18446744073709551617", "for port", "0 to 65535"},
      {"--port _", "'' for port", "an integer"},
      {"--port 0x10", "'0x10'", "an integer"},
      {"--lease 0", "'0' for lease", "a duration from 1ms to 1h"},
      {"--lease 1w", "'1w' for lease", "ms, s, m, h or d"},
      {"--lease s", "'s' for lease", "a plain number is milliseconds"},
      {"--lease 1.5s", "'1.5s' for lease", "a duration"},
      {"--lease 9223372036854775807d", "for lease", "1ms to 1h"},
      {"--timeout 5ms", "'5ms' for timeout", "a plain number is seconds"},
      {"--maxmemory 1tb", "'1tb' for maxmemory", "b, k, kb, m, mb, g or gb"},
      {"--maxmemory 101%", "'101%' for maxmemory", "1% to 100%"},
      {"--unixsocketperm 800", "'800' for unixsocketperm", "an octal mode from 0 to 777"},
      {"--unixsocketperm 1777", "'1777' for unixsocketperm", "777"},
      {"--unixsocketperm 00700", "'00700' for unixsocketperm", "an octal mode"},
      {"--unixsocketperm _", "'' for unixsocketperm", "an octal mode"},
      {"--insecure 1", "'1' for insecure", "no, plain or yes"},
      {"--insecure true", "'true' for insecure", "no, plain or yes"},
      {"--tls-auth-clients maybe", "'maybe' for tls-auth-clients", "no, yes or optional"},
      {"--loglevel loud", "'loud' for loglevel", "debug, verbose, notice or warning"},
      {"--log-format xml", "'xml' for log-format", "text or json"},
      {"--bind localhost", "'localhost' for bind", "names are not looked up"},
      {"--bind 127.1", "'127.1' for bind", "127.0.0.1"},
      {"--bind 127.0.0.1:80", "'127.0.0.1:80'", "numeric"},
      {"--bind -", "'' for bind", "numeric"},
      {"--bind \x1b[2J", "'\\x1b[2J'", "numeric"},
  };
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    assert_line_refused(bad[i][0], bad[i][1], bad[i][2]);
}

static void test_texts_have_a_limit(void **state) {
  (void)state;
  char line[2000];
  memset(line, 'x', sizeof(line));
  memcpy(line, "--unixsocket=/", strlen("--unixsocket=/"));
  line[strlen("--unixsocket=") + 107] = '\0';
  struct run run;
  run_line(&run, line);
  assert_int_equal(run.result, RUN);
  run_deinit(&run);
  line[strlen("--unixsocket=") + 107] = 'x';
  line[strlen("--unixsocket=") + 108] = '\0';
  assert_line_refused(line, "for unixsocket", "at most 107 bytes");

  memset(line, 'x', sizeof(line));
  memcpy(line, "--logfile=", strlen("--logfile="));
  line[strlen("--logfile=") + OPTIONS_VALUE_BYTES] = '\0';
  assert_line_refused(line, "for logfile", "at most 1023 bytes");
}

static void test_too_many_addresses(void **state) {
  (void)state;
  char line[1100] = "--bind";
  for (int i = 0; i < OPTIONS_BIND_MAX; i++) strcat(line, " 127.0.0.1");
  struct run run;
  run_line(&run, line);
  assert_int_equal(run.result, RUN);
  run_deinit(&run);
  strcat(line, " ::1");
  assert_line_refused(line, "bind", "more than 16 addresses");
  strcpy(line, "--bind ");
  memset(line + strlen("--bind "), '1', 1050);
  line[sizeof(line) - 20] = '\0';
  assert_line_refused(line, "--bind", "more than 1023 bytes");
}

/* --- the command line --- */

static void test_flags(void **state) {
  (void)state;
  assert_line_gives("--port 1", "port", "1");
  assert_line_gives("--port=2", "port", "2");
  assert_line_gives("--PORT 3", "port", "3");
  assert_line_gives("--port 1 --port 4", "port", "4");
  assert_line_gives("--logfile=--odd", "logfile", "--odd");
  assert_line_gives("--logfile=a=b", "logfile", "a=b");
  assert_line_gives("--logfile x --logfile=", "logfile", "");
  assert_line_gives("--bind 127.0.0.2 -::1 --port 5", "bind", "127.0.0.2 -::1");
  assert_line_gives("--bind 127.0.0.2 ::1 --port 5", "port", "5");
  assert_line_gives("--bind=::1", "bind", "::1");
  assert_line_gives("--bind \t127.0.0.2\t\t::1 -::1\t", "bind", "127.0.0.2 ::1 -::1");
  assert_line_gives("--bind _ --unixsocket /tmp/s", "bind", "");
}

static void test_bad_flags(void **state) {
  (void)state;
  assert_line_refused("--prot 1", "--prot", "did you mean --port?");
  assert_line_refused("--body-limits=1", "--body-limits", "did you mean --body-limit?");
  assert_line_refused("--save 60", "unknown option --save", "idem-server --help");
  assert_line_refused("--append-file 60", "unknown option --append-file", "idem-server --help");
  assert_line_refused("--appendonly yes", "appendonly yes needs dir", "");
  assert_line_refused("--appendonly maybe", "bad value 'maybe'", "expected no, yes or auto");
  assert_line_refused("--appendfsync sometimes", "bad value", "expected always, everysec or no");
  assert_line_refused("--", "unknown option --", "idem-server --help");
  assert_line_refused("--=5", "unknown option --", "idem-server --help");
  assert_line_refused("--port", "--port needs a value", "N");
  assert_line_refused("--port --lease 1", "--port needs a value", "N");
  assert_line_refused("--bind --port 1", "--bind needs a value", "ADDRESS");
  assert_line_refused("--insecure", "--insecure needs a value", "no|plain|yes");
  assert_line_refused("--port 1 2", "unexpected argument '2'", "a configuration file comes first");
  assert_line_refused("-p 1", "unexpected argument '-p'", "options begin with --");
  assert_line_refused("--port 1 idem.conf", "unexpected argument 'idem.conf'", "comes first");
}

static void test_a_password_on_the_command_line_is_refused_and_not_repeated(void **state) {
  (void)state;
  static const char *const lines[] = {"--requirepass hunter2", "--requirepass=hunter2",
                                      "--RequirePass hunter2"};
  for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
    struct run run;
    run_line(&run, lines[i]);
    assert_int_equal(run.result, REFUSED);
    assert_says(run.error, "--requirepass-file FILE");
    assert_says(run.error, "chmod 600");
    assert_null(strstr(run.error, "hunter2"));
    assert_string_equal(run.options.requirepass, "");
    run_deinit(&run);
  }
}

static void test_help_shows_each_row_within_100_columns(void **state) {
  (void)state;
  static const char *const lines[] = {"--help", "-h", "--port x --help"};
  for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
    struct run run;
    run_line(&run, lines[i]);
    assert_int_equal(run.result, PRINTED);
    for (size_t j = 0; j < options_count(); j++) {
      const struct options_row *row = options_row(j);
      char flag[64];
      snprintf(flag, sizeof(flag), "\n  %s%s %s",
               (row->flags & OPTIONS_ROW_FILE_ONLY) != 0 ? "  " : "--", row->name,
               options_value_hint(row));
      assert_says(run.printed, flag);
      assert_non_null(strstr(run.printed, row->section));
    }
    for (const char *line = run.printed; *line != '\0'; line += strcspn(line, "\n") + 1) {
      if (strcspn(line, "\n") > 100) fail_msg("over 100 columns: %.120s", line);
    }
    assert_says(run.printed, "[default 4336; 0 to 65535]");
    assert_says(run.printed, "[default 60s; 1ms to 1h] *");
    assert_says(run.printed, "[default 64kb; 1 to 1mb]");
    assert_null(strstr(run.printed, "--requirepass "));
    run_deinit(&run);
  }
}

/* In --help, the table and the manual: a sentence that ends, and fits a cell of the table. */
static void test_every_row_has_help(void **state) {
  (void)state;
  for (size_t i = 0; i < options_count(); i++) {
    const struct options_row *row = options_row(i);
    size_t len = strlen(row->help);
    if (len == 0 || row->help[len - 1] != '.')
      fail_msg("%s: '%s' is no sentence", row->name, row->help);
    if (strpbrk(row->help, "|\n") != NULL) fail_msg("%s: its help breaks the table", row->name);
  }
}

static void test_help_as_markdown(void **state) {
  (void)state;
  struct run run;
  run_line(&run, "--help markdown");
  assert_int_equal(run.result, PRINTED);
  size_t lines = 0;
  for (const char *p = run.printed; *p != '\0'; p++) lines += *p == '\n' ? 1 : 0;
  assert_int_equal(lines, options_count() + 2);
  assert_says(run.printed, "| `lease` | `60s` | 1ms to 1h | yes | ");
  assert_says(run.printed, "| `port` | `4336` | 0 to 65535 | no | ");
  run_deinit(&run);
}

static void test_version(void **state) {
  (void)state;
  static const char *const lines[] = {"--version", "-v", "-V", "/nonexistent --version"};
  for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
    struct run run;
    run_line(&run, lines[i]);
    assert_int_equal(run.result, PRINTED);
    assert_string_equal(run.printed, "idem-server " IDEM_VERSION "\n");
    run_deinit(&run);
  }
}

/* --- the configuration file --- */

static void test_file_is_read_as_redis_conf(void **state) {
  struct place *place = *state;
  struct run run;
  write_text(
      place->config,
      "# a comment\n\n   \t\n  # another\nPort 7000\r\n\tlease\t5s  \nbind 127.0.0.1   -::1\t::1\n"
      "logfile \"/tmp/a b\\x41\\n\\t\\\"\\\\\\q\"\nunixsocket '/tmp/it\\'s \\n'\nrequirepass "
      "\"\"\nloglevel de\"bug\"",
      0644);
  run_line(&run, place->config);
  if (run.result != RUN) fail_msg("%s", run.error);
  assert_option(&run.options, "port", "7000");
  assert_option(&run.options, "lease", "5000");
  assert_string_equal(run.options.logfile, "/tmp/a bA\n\t\"\\q");
  assert_string_equal(run.options.unixsocket, "/tmp/it's \\n");
  assert_option(&run.options, "loglevel", "debug");
  assert_option(&run.options, "bind", "127.0.0.1 -::1 ::1");
  assert_string_equal(run.options.config_file, place->config);
  run_deinit(&run);
}

static void test_flags_win_over_the_file(void **state) {
  struct place *place = *state;
  char line[MAX_PATH + 32];
  write_text(place->config, "port 7000\nlease 5s\n", 0644);
  snprintf(line, sizeof(line), "%s --port 7001", place->config);
  assert_line_gives(line, "port", "7001");
  assert_line_gives(line, "lease", "5000");
}

static void test_an_empty_file_is_fine(void **state) {
  struct place *place = *state;
  write_text(place->config, "", 0644);
  assert_line_gives(place->config, "port", "4336");
}

static void test_bad_lines_are_refused_with_their_number(void **state) {
  struct place *place = *state;
  assert_file_refused(place, "port 1\nprot 2\n", 2, "unknown option 'prot', did you mean port?");
  assert_file_refused(place, "auto-aof-rewrite always", 1,
                      "unknown option 'auto-aof-rewrite' (idem-server --help");
  assert_file_refused(place, "\n\n\"\" 1\n", 3, "unknown option ''");
  assert_file_refused(place, "# x\nport\n", 2, "port needs a value");
  assert_file_refused(place, "bind\n", 1, "bind needs a value");
  assert_file_refused(place, "port 1 2\n", 1, "port takes one value");
  assert_file_refused(place, "port 1 # mine\n", 1, "a comment needs a line of its own");
  assert_file_refused(place, "port one\n", 1, "bad value 'one' for port: expected an integer");
  assert_file_refused(place, "lease 1s\nttl 1s\nLEASE 1s\n", 3,
                      "lease is set twice, first on line 1");
  assert_file_refused(place, "bind 127.0.0.1\nbind ::1\n", 2, "bind is set twice, first on line 1");
  assert_file_refused(place, "logfile \"/tmp/x\n", 1, "a quote is not closed");
  assert_file_refused(place, "logfile '/tmp/x\n", 1, "a quote is not closed");
  assert_file_refused(place, "logfile \"/tmp/x\\\"\n", 1, "a quote is not closed");
  assert_file_refused(place, "logfile \"/tmp\"/x\n", 1, "no blank follows it");
  assert_file_refused(place, "logfile \"a\\x00b\"\n", 1, "bad value 'a\\x00b' for logfile");
  assert_file_refused(place, "port \x1b[0m\n", 1, "'\\x1b[0m'");
  assert_file_refused(place, "bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n", 1,
                      "bad address '1'");
  assert_file_refused(place, "bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\n", 1,
                      "too many values");
}

static void test_long_lines_and_nul_bytes(void **state) {
  struct place *place = *state;
  char text[OPTIONS_FILE_LINE_MAX + 16];
  memset(text, '#', sizeof(text));
  strcpy(text + OPTIONS_FILE_LINE_MAX, "\nx\n");
  assert_file_refused(place, text, 2, "unknown option 'x'");
  memset(text, '#', sizeof(text));
  strcpy(text + OPTIONS_FILE_LINE_MAX + 1, "\nx\n");
  assert_file_refused(place, text, 1, "more than 1024 bytes");

  static const char nul[] = "lease 1s\nport 1\0002\n";
  write_bytes(place->config, nul, sizeof(nul) - 1, 0644);
  assert_line_refused(place->config, ":2: ", "NUL byte");
}

static void test_values_within_quotes_fill_a_line(void **state) {
  struct place *place = *state;
  char text[OPTIONS_FILE_LINE_MAX + 2];
  struct run run;
  memset(text, 'y', sizeof(text));
  memcpy(text, "logfile \"", strlen("logfile \""));
  strcpy(text + OPTIONS_FILE_LINE_MAX - 1, "\"\n");
  write_text(place->config, text, 0644);
  run_line(&run, place->config);
  assert_int_equal(run.result, RUN);
  assert_int_equal(strlen(run.options.logfile), OPTIONS_FILE_LINE_MAX - strlen("logfile \"\""));
  run_deinit(&run);
}

static void test_files_that_cannot_be_read(void **state) {
  struct place *place = *state;
  char missing[2 * MAX_PATH], *big = malloc(OPTIONS_FILE_MAX + 1);
  assert_non_null(big);
  snprintf(missing, sizeof(missing), "%s/missing", place->directory);
  assert_line_refused(missing, missing, "No such file");
  assert_line_refused("_", "cannot open", "No such file");
  assert_line_refused(place->directory, place->directory, "Is a directory");
  assert_line_refused("/dev/zero", "/dev/zero", "more than 262144 bytes");
  memset(big, '\n', OPTIONS_FILE_MAX + 1);
  write_bytes(place->config, big, OPTIONS_FILE_MAX, 0644);
  assert_line_gives(place->config, "port", "4336");
  write_bytes(place->config, big, OPTIONS_FILE_MAX + 1, 0644);
  assert_line_refused(place->config, place->config, "more than 262144 bytes");
  free(big);
}

/* --- the password --- */

static void assert_passwords(const char *line, const char *first, const char *second) {
  struct run run;
  run_line(&run, line);
  if (run.result != RUN) fail_msg("%s: %s", line, run.error);
  assert_kept(&run.options, first, second);
  assert_option(&run.options, "requirepass", "");
  run_deinit(&run);
}

static void assert_password(const char *line, const char *expected) {
  assert_passwords(line, expected, NULL);
}

static void test_password_needs_a_private_file(void **state) {
  struct place *place = *state;
  static const mode_t open_modes[] = {0644, 0640, 0604, 0620, 0610, 0601, 0666};
  char advice[MAX_PATH + 32], line[MAX_PATH + 32];
  snprintf(advice, sizeof(advice), "chmod 600 %s", place->config);
  for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
    write_text(place->config, "port 1\nrequirepass hunter2\n", open_modes[i]);
    assert_line_refused(place->config, ":2: a password needs a file", advice);
  }
  write_text(place->config, "requirepass \"a b\\xff\"\n", 0600);
  assert_password(place->config, "a b\xff");
  write_text(place->config, "requirepass x\n", 0400);
  assert_password(place->config, "x");

  snprintf(line, sizeof(line), "--requirepass-file %s", place->secret);
  snprintf(advice, sizeof(advice), "chmod 600 %s", place->secret);
  for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
    write_text(place->secret, "hunter2\n", open_modes[i]);
    assert_line_refused(line, "a password needs a file", advice);
  }
}

static void test_password_file_of_another_user(void **state) {
  struct place *place = *state;
  if (geteuid() != 0) skip();
  write_text(place->config, "requirepass hunter2\n", 0600);
  assert_int_equal(chown(place->config, 12345, 12345), 0);
  assert_line_refused(place->config, ":1: ", "belongs to the user of the server or to root");
}

static void test_password_from_its_own_file(void **state) {
  struct place *place = *state;
  char line[MAX_PATH + 32], bytes[OPTIONS_PASSWORD_MAX + 2];
  snprintf(line, sizeof(line), "--requirepass-file %s", place->secret);
  write_text(place->secret, "hunter2\n", 0600);
  assert_password(line, "hunter2");
  write_text(place->secret, "hunter2\nhunter3", 0600);
  assert_passwords(line, "hunter2", "hunter3");
  write_text(place->secret, "hunter2\r\nhunter3\r\n\n", 0600);
  assert_passwords(line, "hunter2", "hunter3");
  write_text(place->secret, "hunter2\nhunter3\nhunter4\n", 0600);
  assert_line_refused(line, place->secret, "more than 2 lines");
  write_text(place->secret, " with blanks \r\n", 0600);
  assert_password(line, " with blanks ");
  write_text(place->secret, "unended", 0400);
  assert_password(line, "unended");

  memset(bytes, 'p', sizeof(bytes));
  bytes[OPTIONS_PASSWORD_MAX] = '\0';
  write_text(place->secret, bytes, 0600);
  assert_password(line, bytes);
  write_bytes(place->secret, "pppp", 0, 0600);
  assert_line_refused(line, place->secret, "has 0 bytes");
  write_text(place->secret, "\nsecond\n", 0600);
  assert_line_refused(line, place->secret, "has 0 bytes");
  bytes[OPTIONS_PASSWORD_MAX] = 'p';
  write_bytes(place->secret, bytes, OPTIONS_PASSWORD_MAX + 1, 0600);
  assert_line_refused(line, place->secret, "has 513 bytes");
  write_bytes(place->secret, "a\0b\n", 4, 0600);
  assert_line_refused(line, "requirepass", "without NUL bytes");
  unlink(place->secret);
  assert_line_refused(line, place->secret, "No such file");
}

static void test_two_passwords_are_refused(void **state) {
  struct place *place = *state;
  char line[3 * MAX_PATH], text[2 * MAX_PATH];
  write_text(place->secret, "hunter2\n", 0600);
  write_text(place->config, "requirepass hunter3\n", 0600);
  snprintf(line, sizeof(line), "%s --requirepass-file %s", place->config, place->secret);
  assert_line_refused(line, "requirepass and requirepass-file", "keep one");
  snprintf(text, sizeof(text), "requirepass hunter3\nrequirepass-file %s\n", place->secret);
  write_text(place->config, text, 0600);
  assert_line_refused(place->config, "requirepass and requirepass-file", "keep one");
  snprintf(text, sizeof(text), "requirepass-file %s\n", place->secret);
  write_text(place->config, text, 0644);
  assert_password(place->config, "hunter2");
}

/* A refusal of a password must not show it. */
static void test_a_bad_password_is_not_repeated(void **state) {
  struct place *place = *state;
  char text[OPTIONS_PASSWORD_MAX + 32] = "requirepass ";
  struct run run;
  memset(text + strlen(text), 'Q', OPTIONS_PASSWORD_MAX + 1);
  write_text(place->config, text, 0600);
  run_line(&run, place->config);
  assert_int_equal(run.result, REFUSED);
  assert_says(run.error, "at most 512 bytes");
  assert_null(strstr(run.error, "QQ"));
  run_deinit(&run);
}

/* --- together --- */

static void test_settings_that_contradict_each_other(void **state) {
  (void)state;
  assert_line_refused("--lease 31s --lease-max 30s", "lease (31000)", "lease-max (30000)");
  /* A default follows a lower maximum. */
  assert_line_gives("--lease-max 30s", "lease", "30000");
  assert_line_gives("--ttl-max 1h", "ttl", "3600000");
  assert_line_gives("--waiters-total 50", "waiters-per-key", "50");
  assert_line_refused("--ttl 2h --ttl-max 1h", "ttl (7200000)", "ttl-max (3600000)");
  assert_line_refused("--waiters-per-key 9998 --waiters-total 9", "waiters-per-key (9998)",
                      "waiters-total (9)");
  assert_line_gives("--waiters-total 10000", "waiters-total", "10000");
  assert_line_refused("--horizon-slots 65535", "horizon-slots (65535)", "is not a power of two");
  assert_line_gives("--horizon-slots 1", "horizon-slots", "1");
  assert_line_gives("--lease-max 60s", "lease-max", "60000");
  assert_line_refused("--bind _", "nothing to listen on", "unixsocket");
  assert_line_refused("--bind=", "nothing to listen on", "unixsocket");
}

static void test_public_addresses_need_a_password(void **state) {
  struct place *place = *state;
  static const char *const public[] = {
      "0.0.0.0",         "*",        "::",        "::*", "10.0.0.1", "-192.168.1.1", "fe80::1",
      "::ffff:10.0.0.1", "::7f00:1", "128.0.0.1", "-*"};
  static const char *const local[] = {"127.0.0.1", "127.255.0.9", "::1", "-::1",
                                      "::ffff:127.0.0.1"};
  char line[2 * MAX_PATH];
  write_text(place->secret, "hunter2\n", 0600);
  for (size_t i = 0; i < sizeof(public) / sizeof(public[0]); i++) {
    struct run run;
    char named[64];
    snprintf(line, sizeof(line), "--bind 127.0.0.1 %s", public[i]);
    snprintf(named, sizeof(named), "can reach bind %s and there is no password",
             public[i] + (public[i][0] == '-' ? 1 : 0));
    assert_line_refused(line, named, "requirepass-file");
    assert_line_refused(line, "insecure yes", "bind 127.0.0.1 only");
    strcat(line, " --insecure yes");
    run_line(&run, line);
    assert_int_equal(run.result, RUN);
    run_deinit(&run);
    snprintf(line, sizeof(line), "--bind %s --insecure plain", public[i]);
    assert_line_refused(line, "there is no password", "requirepass-file");
    snprintf(line, sizeof(line), "--bind %s --insecure plain --requirepass-file %s", public[i],
             place -> secret);
    assert_password(line, "hunter2");
  }
  for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
    snprintf(line, sizeof(line), "--bind %s", local[i]);
    assert_line_gives(line, "bind", local[i]);
  }
}

static void test_public_addresses_need_tls(void **state) {
  struct place *place = *state;
  char line[2 * MAX_PATH];
  write_text(place->secret, "hunter2\n", 0600);
  static const char *const refused[] = {"", "--port 0", WITH_TLS, WITH_TLS "--port 4336"};
  static const char *const taken[] = {WITH_TLS "--port 0", "--insecure plain", "--insecure yes",
                                      WITH_TLS "--insecure plain"};
  for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
    snprintf(line, sizeof(line), "--bind 10.0.0.1 --requirepass-file %s %s", place->secret,
             refused[i]);
    assert_line_refused(line, "can reach bind 10.0.0.1", "speaks without TLS");
    assert_line_refused(line, "insecure plain", "tls-port");
  }
  for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
    snprintf(line, sizeof(line), "--bind 10.0.0.1 --requirepass-file %s %s", place->secret,
             taken[i]);
    assert_password(line, "hunter2");
  }
}

static void test_tls_needs_its_files(void **state) {
  (void)state;
  static const char *const refused[][2] = {
      {"--tls-port 7000", "needs tls-cert-file"},
      {"--tls-port 7000 --tls-cert-file c", "needs tls-key-file"},
      {"--tls-port 7000 --tls-cert-file c --tls-key-file k", "tls-ca-cert-file"},
      {"--tls-port 7000 --tls-cert-file c --tls-key-file k --tls-auth-clients optional",
       "tls-auth-clients no"},
      {WITH_TLS "--port 7000", "port and tls-port are both 7000"},
      {WITH_TLS "--bind= --unixsocket s", "bind is empty"},
      {"--tls-protocols TLSv1.1", "'TLSv1.1' in tls-protocols"},
      {"--tls-protocols=", "'' in tls-protocols"},
  };
  for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
    assert_line_refused(refused[i][0], refused[i][1], "tls-");
  assert_line_gives(WITH_TLS, "tls-port", "7000");
  assert_line_gives("--tls-protocols TLSv1.3", "tls-protocols", "TLSv1.3");
  assert_line_gives("--tls-port 7000 --tls-cert-file c --tls-key-file k --tls-ca-cert-dir d",
                    "tls-auth-clients", "yes");
}

static void test_port_0_is_no_port_beside_a_tls_port(void **state) {
  (void)state;
  static const struct {
    const char *line;
    bool plain;
  } cases[] = {{"", true}, {"--port 0", true}, {WITH_TLS, true}, {WITH_TLS "--port 0", false}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct run run;
    run_line(&run, cases[i].line);
    assert_int_equal(run.result, RUN);
    assert_int_equal(options_listen_plain(&run.options), cases[i].plain);
    run_deinit(&run);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_every_row_reads_what_it_prints),
      cmocka_unit_test(test_every_number_is_bounded),
      cmocka_unit_test(test_caps_of_the_contract),
      cmocka_unit_test(test_units),
      cmocka_unit_test(test_bad_values_name_the_right_ones),
      cmocka_unit_test(test_texts_have_a_limit),
      cmocka_unit_test(test_too_many_addresses),
      cmocka_unit_test(test_flags),
      cmocka_unit_test(test_bad_flags),
      cmocka_unit_test(test_a_password_on_the_command_line_is_refused_and_not_repeated),
      cmocka_unit_test(test_help_shows_each_row_within_100_columns),
      cmocka_unit_test(test_every_row_has_help),
      cmocka_unit_test(test_help_as_markdown),
      cmocka_unit_test(test_version),
      PLACE_TEST(test_file_is_read_as_redis_conf),
      PLACE_TEST(test_flags_win_over_the_file),
      PLACE_TEST(test_an_empty_file_is_fine),
      PLACE_TEST(test_bad_lines_are_refused_with_their_number),
      PLACE_TEST(test_long_lines_and_nul_bytes),
      PLACE_TEST(test_values_within_quotes_fill_a_line),
      PLACE_TEST(test_files_that_cannot_be_read),
      PLACE_TEST(test_password_needs_a_private_file),
      PLACE_TEST(test_password_file_of_another_user),
      PLACE_TEST(test_password_from_its_own_file),
      PLACE_TEST(test_two_passwords_are_refused),
      PLACE_TEST(test_a_bad_password_is_not_repeated),
      cmocka_unit_test(test_settings_that_contradict_each_other),
      PLACE_TEST(test_public_addresses_need_a_password),
      PLACE_TEST(test_public_addresses_need_tls),
      cmocka_unit_test(test_tls_needs_its_files),
      cmocka_unit_test(test_port_0_is_no_port_beside_a_tls_port),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
