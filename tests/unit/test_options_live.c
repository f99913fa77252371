/* test_options_live.c - CONFIG SET and CONFIG REWRITE, as options_live.h and options_rewrite.h do
 * it. */
#include "tests/unit/options_rig.h"

/* --- CONFIG SET --- */

static const char *const live[] = {
    "http-hosts",
    "http-keys",
    "latency-tracking",
    "latency-tracking-info-percentiles",
    "tls-cert-file",
    "tls-key-file",
    "tls-ca-cert-file",
    "tls-ca-cert-dir",
    "tls-auth-clients",
    "tls-protocols",
    "tls-ciphers",
    "tls-ciphersuites",
    "tls-prefer-server-ciphers",
    "tls-session-caching",
    "tls-session-cache-timeout",
    "maxclients",
    "timeout",
    "maxmemory",
    "store-reserve",
    "lease",
    "ttl",
    "retention",
    "unknown-retention",
    "born-skew",
    "wait-max",
    "waiters-per-key",
    "waiters-total",
    "loglevel",
    "log-format",
    "drain-timeout",
    "requirepass",
    "requirepass-file",
    "acllog-max-len",
    "client-output-limit",
    "client-output-timeout",
    "tcp-keepalive",
    "client-input-total",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "client-output-total",
};

static bool is_live(const char *name) {
  for (size_t i = 0; i < sizeof(live) / sizeof(live[0]); i++) {
    if (strcmp(live[i], name) == 0) return true;
  }
  return false;
}

static enum result set(struct run *run, const char *name, const char *value) {
  run->error[0] = '\0';
  return options_live_set(&run->options, span_of(name), span_of(value), run->error) ? RUN : REFUSED;
}

static void assert_set_refused(struct run *run, const char *name, const char *value,
                               const char *reason) {
  char before[OPTIONS_VALUE_BYTES];
  const struct options_row *row = options_find(span_of(name));
  if (row != NULL) options_value_text(row, &run->options, before);
  assert_int_equal(set(run, name, value), REFUSED);
  assert_says(run->error, reason);
  if (row == NULL) return;
  char after[OPTIONS_VALUE_BYTES];
  options_value_text(row, &run->options, after);
  assert_string_equal(before, after);
}

static void test_set_changes_what_can_change(void **state) {
  (void)state;
  struct run run;
  char text[OPTIONS_VALUE_BYTES];
  run_line(&run, "");
  for (size_t i = 0; i < options_count(); i++) {
    options_text(&run.options, options_row(i), text);
    if (is_live(options_row(i)->name)) {
      if (set(&run, options_row(i)->name, text) != RUN) fail_msg("%s", run.error);
    } else {
      assert_set_refused(&run, options_row(i)->name, text, "cannot change while the server runs");
    }
  }
  assert_int_equal(set(&run, "LEASE", "5s"), RUN);
  assert_option(&run.options, "lease", "5000");
  assert_int_equal(set(&run, "loglevel", "debug"), RUN);
  assert_int_equal(run.options.loglevel, LOG_LEVEL_DEBUG);
  assert_int_equal(set(&run, "maxmemory", "1mb"), RUN);
  assert_int_equal(run.options.maxmemory.bytes, 1024 * 1024);
  run_deinit(&run);
}

static void test_a_refused_set_changes_nothing(void **state) {
  (void)state;
  struct run run;
  run_line(&run, "--lease-max 10m");
  assert_set_refused(&run, "leese", "5s", "unknown option 'leese', did you mean lease?");
  assert_set_refused(&run, "save", "5s", "unknown option 'save'");
  assert_set_refused(&run, "lease", "x", "bad value 'x' for lease");
  assert_set_refused(&run, "lease", "", "bad value '' for lease");
  assert_set_refused(&run, "lease", "11m", "lease (660000) is more than lease-max (600000)");
  assert_set_refused(&run, "waiters-total", "1",
                     "waiters-per-key (10000) is more than waiters-total (1)");
  assert_set_refused(&run, "port", "1", "port cannot change while the server runs");
  assert_false(
      options_live_set(&run.options, SPAN_LITERAL("lease\0x"), SPAN_LITERAL("5"), run.error));
  assert_false(
      options_live_set(&run.options, SPAN_LITERAL("lease"), SPAN_LITERAL("5\0"), run.error));
  assert_false(
      options_live_set(&run.options, SPAN_LITERAL("requirepass"), SPAN_LITERAL("a\0b"), run.error));
  assert_string_equal(run.options.requirepass, "");
  run_deinit(&run);
}

static void test_set_of_the_password(void **state) {
  struct place *place = *state;
  struct run run;
  char line[2 * MAX_PATH];
  write_text(place->secret, "hunter2\n", 0600);
  snprintf(line, sizeof(line), "--bind * --insecure plain --requirepass-file %s", place->secret);
  run_line(&run, line);
  assert_set_refused(&run, "requirepass", "", "there is no password");
  assert_string_equal(run.options.requirepass_file, place->secret);
  assert_int_equal(set(&run, "requirepass", "hunter3"), RUN);
  assert_kept(&run.options, "hunter3", NULL);
  assert_option(&run.options, "requirepass", "");
  assert_option(&run.options, "requirepass-file", "");
  run_deinit(&run);
}

/* Texts are owned: a refused one is freed, the former one stays whole. */
static void test_set_of_texts(void **state) {
  (void)state;
  struct run run;
  run_line(&run, WITH_TLS);
  assert_int_equal(run.options.tls_changes, 0);
  assert_set_refused(&run, "tls-cert-file", "", "needs tls-cert-file");
  assert_set_refused(&run, "tls-protocols", "SSLv3", "'SSLv3' in tls-protocols");
  assert_set_refused(&run, "tls-auth-clients", "yes", "tls-ca-cert-file");
  assert_int_equal(run.options.tls_changes, 0);
  assert_int_equal(set(&run, "tls-cert-file", "other"), RUN);
  assert_option(&run.options, "tls-cert-file", "other");
  assert_int_equal(set(&run, "tls-cert-file", "other"), RUN); /* its content may be another */
  assert_int_equal(run.options.tls_changes, 2);
  assert_set_refused(&run, "tls-key-file-pass", "x", "cannot change while the server runs");
  run_deinit(&run);
}

/* --- CONFIG REWRITE --- */

static void run_config(struct run *run, const struct place *place) {
  run_line(run, place->config);
  if (run->result != RUN) fail_msg("%s", run->error);
}

/* The users are the default one, with the password of the options. */
static bool rewrites(struct run *run) {
  struct users *users = accounts_create(ROWS, &run->options);
  assert_non_null(users);
  bool done = options_rewrite_file(&run->options, users, run->error);
  users_destroy(users);
  return done;
}

static void rewrite(struct run *run) {
  if (!rewrites(run)) fail_msg("%s", run->error);
}

static void assert_same_settings(const struct options *a, const struct options *b) {
  char first[OPTIONS_VALUE_BYTES], second[OPTIONS_VALUE_BYTES];
  for (size_t i = 0; i < options_count(); i++) {
    options_value_text(options_row(i), a, first);
    options_value_text(options_row(i), b, second);
    assert_string_equal(first, second);
  }
}

static void test_rewrite_keeps_comments_order_and_spelling(void **state) {
  struct place *place = *state;
  struct run run;
  write_text(place->config, "# mine\nttl 2h\n\n  lease   5s\r\nport 7000\n# end", 0640);
  run_config(&run, place);
  assert_int_equal(set(&run, "lease", "6s"), RUN);
  assert_int_equal(set(&run, "maxclients", "77"), RUN);
  rewrite(&run);
  assert_file(place->config,
              "# mine\nttl 2h\n\nlease 6000\nport 7000\n# end\n# Written by CONFIG "
              "REWRITE\nmaxclients 77\n");
  struct stat stat_of;
  assert_int_equal(stat(place->config, &stat_of), 0);
  assert_int_equal(stat_of.st_mode & 07777, 0640);
  assert_int_equal(count_files(place), 1);

  assert_int_equal(set(&run, "maxclients", "10000"), RUN);
  assert_int_equal(set(&run, "timeout", "5"), RUN);
  rewrite(&run);
  rewrite(&run);
  assert_file(place->config,
              "# mine\nttl 2h\n\nlease 6000\nport 7000\n# end\n# Written by CONFIG REWRITE\n"
              "maxclients 10000\ntimeout 5\n");
  run_deinit(&run);
}

static void test_rewrite_without_a_change_keeps_the_bytes(void **state) {
  struct place *place = *state;
  static const char text[] = "port 7000\nbind 127.0.0.1  -::1\r\nlogfile \"\"\n\n#x\n";
  struct run run;
  write_text(place->config, text, 0644);
  run_config(&run, place);
  rewrite(&run);
  assert_file(place->config, text);
  run_deinit(&run);
}

/* CONFIG GET shows bytes, the file keeps what was meant. */
static void test_a_percentage_of_the_memory(void **state) {
  struct place *place = *state;
  struct run run;
  write_text(place->config, "maxmemory  50%\n", 0600);
  run_config(&run, place);
  assert_int_equal(run.options.maxmemory.bytes, machine_memory_bytes("") / 2);
  rewrite(&run);
  assert_file(place->config, "maxmemory  50%\n");
  assert_int_equal(set(&run, "maxmemory", "64mb"), RUN);
  rewrite(&run);
  assert_file(place->config, "maxmemory 67108864\n");
  run_deinit(&run);
}

static void test_a_rewritten_file_reads_back(void **state) {
  struct place *place = *state;
  struct run first, second;
  char line[2 * MAX_PATH];
  write_text(place->config, "logfile 'a b\"c\\\\ \\'d'\nbind ::1\nunixsocket \"x\\n\\x7fy\\\\\"\n",
             0600);
  snprintf(line, sizeof(line),
           "%s --bind 127.0.0.2 -::1 --unixsocketperm 770 --ttl 3d --insecure yes --loglevel debug",
           place->config);
  run_line(&first, line);
  assert_int_equal(first.result, RUN);
  rewrite(&first);
  run_config(&second, place);
  assert_same_settings(&first.options, &second.options);
  assert_option(&second.options, "bind", "127.0.0.2 -::1");

  /* And again, when the lines exist already and change once more. */
  free(second.options.unixsocket);
  second.options.unixsocket = strdup("quote\"\\\1");
  rewrite(&second);
  run_deinit(&first);
  run_config(&first, place);
  assert_same_settings(&first.options, &second.options);
  run_deinit(&first);
  run_deinit(&second);
}

static void test_rewrite_writes_addresses_as_users_do(void **state) {
  struct place *place = *state;
  struct run run;
  char line[2 * MAX_PATH];
  write_text(place->config, "bind ::1\n", 0600);
  snprintf(line, sizeof(line), "%s --bind 127.0.0.2 -::1", place->config);
  run_line(&run, line);
  rewrite(&run);
  assert_file(place->config, "bind 127.0.0.2 -::1\n");
  run_deinit(&run);
  snprintf(line, sizeof(line), "%s --bind _ --unixsocket /tmp/s", place->config);
  run_line(&run, line);
  rewrite(&run);
  assert_file(place->config, "bind \"\"\n# Written by CONFIG REWRITE\nunixsocket /tmp/s\n");
  run_deinit(&run);
  assert_line_gives(place->config, "bind", "");
}

static void test_rewrite_follows_a_link(void **state) {
  struct place *place = *state;
  struct run run;
  char link[2 * MAX_PATH];
  struct stat stat_of;
  snprintf(link, sizeof(link), "%s/link.conf", place->directory);
  write_text(place->config, "port 7000\n", 0644);
  assert_int_equal(symlink(place->config, link), 0);
  run_line(&run, link);
  assert_string_equal(run.options.config_file, place->config);
  assert_int_equal(set(&run, "lease", "1s"), RUN);
  rewrite(&run);
  assert_int_equal(lstat(link, &stat_of), 0);
  assert_true(S_ISLNK(stat_of.st_mode));
  assert_file(link, "port 7000\n# Written by CONFIG REWRITE\nlease 1000\n");
  run_deinit(&run);
}

static void assert_rewrite_refused(struct run *run, const char *reason) {
  assert_false(rewrites(run));
  assert_says(run->error, reason);
}

static void test_rewrite_writes_a_password_only_into_a_private_file(void **state) {
  struct place *place = *state;
  struct run run;
  write_text(place->config, "port 7000\n", 0644);
  run_config(&run, place);
  assert_int_equal(set(&run, "requirepass", "hunter2"), RUN);
  assert_rewrite_refused(&run, "chmod 600");
  assert_file(place->config, "port 7000\n");
  assert_int_equal(count_files(place), 1);
  assert_int_equal(chmod(place->config, 0600), 0);
  rewrite(&run);
  assert_file(place->config,
              "port 7000\n# Written by CONFIG REWRITE\nuser default on "
              "#f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7 ~* &* "
              "+@all\n");
  run_deinit(&run);
}

static void test_rewrite_leaves_the_password_in_its_own_file(void **state) {
  struct place *place = *state;
  struct run run;
  char text[2 * MAX_PATH];
  write_text(place->secret, "hunter2\n", 0600);
  snprintf(text, sizeof(text), "requirepass-file %s\n", place->secret);
  write_text(place->config, text, 0600);
  run_config(&run, place);
  rewrite(&run);
  assert_file(place->config, text);

  assert_int_equal(set(&run, "requirepass", "hunter3"), RUN);
  rewrite(&run);
  assert_file(place->config,
              "requirepass-file \"\"\n# Written by CONFIG REWRITE\nuser default on "
              "#fb8c2e2b85ca81eb4350199faddd983cb26af3064614e737ea9f479621cfa57a ~* &* "
              "+@all\n");
  run_deinit(&run);
}

static void test_rewrite_keeps_a_password_that_the_file_has(void **state) {
  struct place *place = *state;
  static const char text[] = "port 7000\nrequirepass  'hunter2'\n";
  struct run run;
  write_text(place->config, text, 0600);
  run_config(&run, place);
  rewrite(&run);
  assert_file(place->config, text);
  assert_int_equal(set(&run, "requirepass", "hunter3"), RUN);
  rewrite(&run);
  assert_file(place->config,
              "port 7000\n# Written by CONFIG REWRITE\nuser default on "
              "#fb8c2e2b85ca81eb4350199faddd983cb26af3064614e737ea9f479621cfa57a ~* &* "
              "+@all\n");
  run_deinit(&run);
}

/* Changes a user, as ACL SETUSER does; makes it, if there is none. */
static void change_user(struct users *users, const char *name, struct span rule) {
  char error[REFUSAL_BYTES];
  size_t bad;
  struct user *user = users_find(users, span_of(name));
  if (user == NULL) {
    user = user_create(span_of(name));
    assert_true(users_add(users, user));
  }
  assert_true(acl_rules_apply(users, user, &rule, 1, &bad, error));
}

static void test_rewrite_of_users(void **state) {
  struct place *place = *state;
  static const char text[] =
      "# tenants\nuser  kept on  >secret ~k:* -@all +@claim\nuser gone on\n"
      "user changed on ~'c\"x' +get\nport 7000\n";
  struct run run;
  struct log log = {.fd = -1, .level = LOG_LEVEL_WARNING};
  write_text(place->config, text, 0600);
  run_config(&run, place);
  struct users *users = accounts_read(ROWS, &run.options, &log, run.error);
  if (users == NULL) fail_msg("%s", run.error);
  assert_true(options_rewrite_file(&run.options, users, run.error));
  assert_file(place->config, text);

  struct user *gone = users_find(users, SPAN_LITERAL("gone"));
  users_remove(users, gone);
  user_destroy(gone);
  change_user(users, "changed", SPAN_LITERAL("~#\xff\\"));
  change_user(users, "new", SPAN_LITERAL("+ping"));
  change_user(users, "default", SPAN_LITERAL("-flushall"));
  for (int twice = 0; twice < 2; twice++) {
    if (!options_rewrite_file(&run.options, users, run.error)) fail_msg("%s", run.error);
    assert_file(place->config,
                "# tenants\nuser  kept on  >secret ~k:* -@all +@claim\n"
                "user changed on \"~c\\\"x\" \"~#\xff\\\\\" resetchannels -@all +get\nport 7000\n"
                "# Written by CONFIG REWRITE\nuser default on nopass ~* &* +@all -flushall\n"
                "user new off resetchannels -@all +ping\n");
  }
  users_destroy(users);
  run_deinit(&run);
}

static void assert_users_refused(const struct place *place, const char *text, const char *where,
                                 const char *why) {
  struct run run;
  struct log log = {.fd = -1, .level = LOG_LEVEL_WARNING};
  write_text(place->config, text, 0600);
  run_config(&run, place);
  assert_null(accounts_read(ROWS, &run.options, &log, run.error));
  assert_says(run.error, where);
  assert_says(run.error, why);
  run_deinit(&run);
}

static void test_bad_lines_of_users(void **state) {
  struct place *place = *state;
  char long_line[OPTIONS_USERS_LINE_MAX + 2];
  assert_users_refused(place, "user a on\nuser a off\n", "idem.conf:2: ", "Duplicate user 'a' found");
  assert_users_refused(place, "user default on\n\nuser default on\n",
                       "idem.conf:3: ", "Duplicate user 'default' found");
  assert_users_refused(place, "user a on +nosuch\n", "idem.conf:1: ", "'+nosuch'");
  assert_users_refused(place, "user\n", "idem.conf:1: ", "user NAME");
  assert_users_refused(place, "user '' on\n", "idem.conf:1: ", "no name");
  assert_users_refused(place, "user 'a b' on\n", "idem.conf:1: ", "no name");
  assert_users_refused(place, "aclfile /nosuch\nuser a on\n", "aclfile", "`user` lines");
  assert_users_refused(place, "aclfile /nosuch/users.acl\n", "/nosuch/users.acl", "No such file");
  assert_users_refused(place, "bind *\ninsecure plain\nuser default on nopass\n", "bind *",
                       "there is no password");
  assert_file_refused(place, "port 1\nuser a 'on\n", 2, "a quote is not closed");
  memset(long_line, 'x', sizeof(long_line));
  memcpy(long_line, "user ", 5);
  long_line[sizeof(long_line) - 1] = '\0';
  assert_file_refused(place, long_line, 1, "more than 65536 bytes");
  write_text(place->config, "user a on >secret\n", 0644);
  assert_line_refused(place->config, ":1: a password needs a file", "chmod 600");
  write_text(place->config, "user a on\n", 0644);
  assert_line_gives(place->config, "port", "4336");
}

static void test_a_rewrite_that_is_impossible(void **state) {
  struct place *place = *state;
  struct run run;
  run_line(&run, "");
  assert_rewrite_refused(&run, "without a configuration file");
  run_deinit(&run);

  write_text(place->config, "port 7000\n", 0600);
  run_config(&run, place);
  /* Each byte takes four in the file, so the line would be too long to be read back. */
  char path[512];
  memset(path, '\1', sizeof(path) - 1);
  path[sizeof(path) - 1] = '\0';
  free(run.options.logfile);
  run.options.logfile = strdup(path);
  assert_rewrite_refused(&run, "more than 1024 bytes");
  assert_file(place->config, "port 7000\n");
  run.options.logfile[0] = '\0';

  write_text(place->config, "port 7000\nnonsense 1\n", 0600);
  assert_rewrite_refused(&run, ":2: unknown option 'nonsense'");
  assert_file(place->config, "port 7000\nnonsense 1\n");
  write_text(place->config, "port 7000\nport 7000\n", 0600);
  assert_rewrite_refused(&run, ":2: port is set twice, first on line 1");
  assert_int_equal(count_files(place), 1);

  assert_int_equal(unlink(place->config), 0);
  assert_rewrite_refused(&run, "No such file");
  assert_int_equal(count_files(place), 0);
  run_deinit(&run);
}

static void test_rewrite_does_not_outgrow_the_limit(void **state) {
  struct place *place = *state;
  struct run run;
  char *big = malloc(OPTIONS_FILE_MAX);
  assert_non_null(big);
  memset(big, '\n', OPTIONS_FILE_MAX);
  write_bytes(place->config, big, OPTIONS_FILE_MAX, 0600);
  run_config(&run, place);
  rewrite(&run);
  assert_int_equal(set(&run, "lease", "1s"), RUN);
  assert_rewrite_refused(&run, "more than 262144 bytes");
  assert_int_equal(count_files(place), 1);
  run_deinit(&run);
  free(big);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_set_of_texts),
      cmocka_unit_test(test_set_changes_what_can_change),
      cmocka_unit_test(test_a_refused_set_changes_nothing),
      PLACE_TEST(test_set_of_the_password),
      PLACE_TEST(test_rewrite_keeps_comments_order_and_spelling),
      PLACE_TEST(test_rewrite_without_a_change_keeps_the_bytes),
      PLACE_TEST(test_a_percentage_of_the_memory),
      PLACE_TEST(test_a_rewritten_file_reads_back),
      PLACE_TEST(test_rewrite_writes_addresses_as_users_do),
      PLACE_TEST(test_rewrite_follows_a_link),
      PLACE_TEST(test_rewrite_writes_a_password_only_into_a_private_file),
      PLACE_TEST(test_rewrite_leaves_the_password_in_its_own_file),
      PLACE_TEST(test_rewrite_keeps_a_password_that_the_file_has),
      PLACE_TEST(test_rewrite_of_users),
      PLACE_TEST(test_bad_lines_of_users),
      PLACE_TEST(test_a_rewrite_that_is_impossible),
      PLACE_TEST(test_rewrite_does_not_outgrow_the_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
