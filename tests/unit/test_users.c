/* test_users.c - the language of users, their table and their files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/commands/accounts.h"
#include "server/commands/command_table.h"
#include "server/ops/acl_categories.h"
#include "server/ops/acl_file.h"
#include "server/ops/acl_rules.h"
#include "server/ops/acl_text.h"

#define ROWS ((struct accounts_rows){command_table_commands, command_table_command_count})

#define WORDS_MAX 64

/* ---- the rig ---- */

static struct users *make_users(void) {
  struct options options;
  options_init(&options);
  struct users *users = accounts_create(ROWS, &options);
  options_deinit(&options);
  assert_non_null(users);
  return users;
}

static int setup(void **state) {
  *state = make_users();
  return 0;
}

static int teardown(void **state) {
  users_destroy(*state);
  return 0;
}

/* Cut at blanks. */
static size_t words_of(const char *text, struct span words[WORDS_MAX]) {
  size_t count = 0;
  while (*text != '\0') {
    size_t len = strcspn(text, " ");
    assert_true(count < WORDS_MAX);
    words[count++] = (struct span){text, len};
    text += len + (text[len] == ' ');
  }
  return count;
}

static bool apply(const struct users *users, struct user *user, const char *text,
                  char error[REFUSAL_BYTES]) {
  struct span words[WORDS_MAX];
  size_t bad, count = words_of(text, words);
  return acl_rules_apply(users, user, words, count, &bad, error);
}

static struct user *made_by(const struct users *users, const char *text) {
  char error[REFUSAL_BYTES] = "";
  struct user *user = user_create(SPAN_LITERAL("u"));
  assert_non_null(user);
  if (!apply(users, user, text, error)) fail_msg("'%s' is refused: %s", text, error);
  return user;
}

static char *text_of(const struct user *user) {
  size_t len;
  char *text = acl_text_of(acl_text_write, user, &len);
  assert_non_null(text);
  return text;
}

static void assert_text(const struct users *users, const char *rules, const char *expected) {
  struct user *user = made_by(users, rules);
  char *text = text_of(user);
  if (strcmp(text, expected) != 0)
    fail_msg("'%s' makes '%s', expected '%s'", rules, text, expected);
  free(text);
  user_destroy(user);
}

static void assert_refused(const struct users *users, const char *rules, const char *why) {
  char error[REFUSAL_BYTES] = "";
  struct user *user = user_create(SPAN_LITERAL("u"));
  if (apply(users, user, rules, error)) fail_msg("'%s' is taken", rules);
  if (strstr(error, why) == NULL)
    fail_msg("'%s' is refused with '%s', not '%s'", rules, error, why);
  user_destroy(user);
}

static bool allows(const struct user *user, const char *name) {
  for (size_t i = 0; i < command_table_command_count; i++) {
    if (strcasecmp(command_table_commands[i].name, name) == 0) return user_allows_command(user, i);
  }
  fail_msg("no command %s", name);
  return false;
}

/* ---- words ---- */

#define A "#ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define B "#3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"

static void each_word_does_what_it_says(void **state) {
  static const struct {
    const char *rules, *text;
  } cases[] = {
      {"", "u off resetchannels -@all"},
      {"on", "u on resetchannels -@all"},
      {"on off", "u off resetchannels -@all"},
      {"ON", "u on resetchannels -@all"},
      {"nopass", "u off nopass resetchannels -@all"},
      {">a", "u off " A " resetchannels -@all"},
      {">a >b", "u off " A " " B " resetchannels -@all"},
      {">a >a", "u off " A " resetchannels -@all"},
      {A, "u off " A " resetchannels -@all"},
      {">a nopass", "u off nopass resetchannels -@all"},
      {"nopass >a", "u off " A " resetchannels -@all"},
      {">a >b <a", "u off " B " resetchannels -@all"},
      {">a >b !ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
       "u off " B " resetchannels -@all"},
      {">a >b resetpass", "u off resetchannels -@all"},
      {"nopass resetpass", "u off resetchannels -@all"},
      {"~a:* ~b:*", "u off ~a:* ~b:* resetchannels -@all"},
      {"~a ~a", "u off ~a resetchannels -@all"},
      {"~", "u off ~ resetchannels -@all"},
      {"%RW~a", "u off ~a resetchannels -@all"},
      {"%rw~a", "u off ~a resetchannels -@all"},
      {"~a allkeys", "u off ~* resetchannels -@all"},
      {"~a ~*", "u off ~* resetchannels -@all"},
      {"~* resetkeys ~b", "u off ~b resetchannels -@all"},
      {"&a &b", "u off resetchannels &a &b -@all"},
      {"&a allchannels", "u off &* -@all"},
      {"&*", "u off &* -@all"},
      {"&* resetchannels &b", "u off resetchannels &b -@all"},
      {"+get", "u off resetchannels -@all +get"},
      {"+GET -SET", "u off resetchannels -@all +get -set"},
      {"+get -get", "u off resetchannels -@all -get"},
      {"+client", "u off resetchannels -@all +client"},
      {"+client|list", "u off resetchannels -@all +client|list"},
      {"+client|list +client", "u off resetchannels -@all +client"},
      {"+client -client|kill", "u off resetchannels -@all +client -client|kill"},
      {"+@read -get +@read", "u off resetchannels -@all -get +@read"},
      {"+@all", "u off resetchannels +@all"},
      {"allcommands -get", "u off resetchannels +@all -get"},
      {"+get +@all", "u off resetchannels +@all"},
      {"+@all nocommands", "u off resetchannels -@all"},
      {"+@all -@ALL", "u off resetchannels -@all"},
      {"+idem.claim", "u off resetchannels -@all +claim"},
      {"+IDEM.CLAIM -claim", "u off resetchannels -@all -claim"},
      {"+await", "u off resetchannels -@all +wait"},
      {"quota-claims 5", "u off resetchannels -@all quota-claims 5"},
      {"quota-claims 5 quota-waiters 7 on",
       "u on resetchannels -@all quota-claims 5 quota-waiters 7"},
      {"quota-claims 5 quota-claims 0", "u off resetchannels -@all"},
      {"on >a ~a &a +@all quota-claims 1 reset", "u off resetchannels -@all"},
      {"sanitize-payload skip-sanitize-payload clearselectors", "u off resetchannels -@all"},
      {"allkeys allchannels allcommands on nopass", "u on nopass ~* &* +@all"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_text(*state, cases[i].rules, cases[i].text);
}

static void bad_words_are_refused(void **state) {
  static const struct {
    const char *rules, *why;
  } cases[] = {
      {"nosuch", "Syntax error"},
      {"on,", "Syntax error"},
      {"+nosuch", "Unknown command or category"},
      {"-nosuch", "Unknown command or category"},
      {"+", "Unknown command or category"},
      {"+@nosuch", "Unknown command or category"},
      {"+@", "Unknown command or category"},
      {"+client|nosuch", "Unknown command or category"},
      {"-get|x", "Unknown command or category"},
      {"+idem.get", "Unknown command or category"},
      {"+get|x", "first-arg of a command"},
      {"+get|", "Syntax error"},
      {"+get|x|y", "Unknown command or category"},
      {"+client|list|x", "first-arg of a subcommand"},
      {"+client|list|", "first-arg of a subcommand"},
      {"+client|nosuch|x", "Unknown command or category"},
      {"~* ~a", "after the * pattern (or the 'allkeys'"},
      {"&* &a", "after the * pattern (or the 'allchannels'"},
      {"%R~a", "not supported"},
      {"%W~a", "not supported"},
      {"%rr~a", "not supported"},
      {"%", "Syntax error"},
      {"%~", "Syntax error"},
      {"%RW", "Syntax error"},
      {"%RWx~a", "Syntax error"},
      {"(~a", "Selectors are not supported"},
      {"<a", "does not exist"},
      {"!ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", "does not exist"},
      {"#abc", "exactly 64"},
      {"#CA978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", "exactly 64"},
      {"!", "exactly 64"},
      {"quota-claims", "needs a number"},
      {"quota-claims x", "needs a number"},
      {"quota-waiters -1", "needs a number"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_refused(*state, cases[i].rules, cases[i].why);
}

static void blanks_and_long_things_are_refused(void **state) {
  char error[REFUSAL_BYTES], text[2048] = ">";
  size_t bad;
  struct user *user = user_create(SPAN_LITERAL("u"));
  const struct span words[] = {SPAN_LITERAL("on"), SPAN_LITERAL("~a b"), SPAN_LITERAL("&a\nb"),
                               SPAN_LITERAL("~a\0b")};
  for (size_t i = 1; i < 4; i++) {
    const struct span pair[] = {words[0], words[i]};
    assert_false(acl_rules_apply(*state, user, pair, 2, &bad, error));
    assert_int_equal(bad, 1);
    assert_string_equal(error, "Syntax error");
  }
  memset(text + 1, 'x', sizeof text - 1);
  struct span word = {text, 1 + USER_PASSWORD_MAX};
  assert_true(acl_rules_apply(*state, user, &word, 1, &bad, error));
  word.len++;
  assert_false(acl_rules_apply(*state, user, &word, 1, &bad, error));
  text[0] = '~';
  word.len = 1 + USER_PATTERN_MAX;
  assert_true(acl_rules_apply(*state, user, &word, 1, &bad, error));
  word.len++;
  assert_false(acl_rules_apply(*state, user, &word, 1, &bad, error));
  user_destroy(user);
}

static void counts_are_limited(void **state) {
  char error[REFUSAL_BYTES], word[32];
  struct user *user = user_create(SPAN_LITERAL("u"));
  for (unsigned i = 0; i <= USER_PATTERNS_MAX; i++) {
    snprintf(word, sizeof word, "~%u", i);
    assert_int_equal(apply(*state, user, word, error), i < USER_PATTERNS_MAX);
  }
  for (unsigned i = 0; i <= USER_PASSWORDS_MAX; i++) {
    snprintf(word, sizeof word, ">%u", i);
    assert_int_equal(apply(*state, user, word, error), i < USER_PASSWORDS_MAX);
  }
  user_destroy(user);
}

/* ---- commands ---- */

static void a_rule_covers_all_names_of_a_command(void **state) {
  struct user *user = made_by(*state, "+@claim -idem.wait");
  assert_true(allows(user, "CLAIM"));
  assert_false(allows(user, "WAIT"));
  assert_false(allows(user, "AWAIT"));
  assert_false(allows(user, "INSPECT"));
  assert_false(allows(user, "CLAIMS"));
  user_destroy(user);
}

static void a_container_covers_its_subcommands(void **state) {
  struct user *user = made_by(*state, "+client -client|kill +config|get");
  assert_true(allows(user, "CLIENT|LIST"));
  assert_false(allows(user, "CLIENT|KILL"));
  assert_true(allows(user, "CONFIG|GET"));
  assert_false(allows(user, "CONFIG|SET"));
  user_destroy(user);
}

static void only_the_one_who_may_everything_is_unrestricted(void **state) {
  static const struct {
    const char *rules;
    bool unrestricted;
  } cases[] = {
      {"+@all ~* &*", true},         {"+@all ~*", false},
      {"+@all &*", false},           {"~* &* +@read", false},
      {"~* &* +@all -get", false},   {"~* &* +@all -get +get", true},
      {"~* &* +@fast +@slow", true}, {"~* &* +@all resetkeys", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct user *user = made_by(*state, cases[i].rules);
    if (user->unrestricted != cases[i].unrestricted) fail_msg("'%s'", cases[i].rules);
    user_destroy(user);
  }
}

/* Categories as a person would say them, of some commands of each. */
static void commands_have_the_categories_that_they_should(void **state) {
  static const struct {
    const char *category, *in, *out;
  } cases[] = {
      {"claim", "CLAIM STORE RENEW RELEASE FETCH WAIT AWAIT", "INSPECT CLAIMS GET"},
      {"inspect", "INSPECT CLAIMS", "CLAIM FETCH"},
      {"string", "GET SET GETDEL", "CLAIM DEL"},
      {"keyspace", "DEL EXISTS SCAN KEYS DBSIZE FLUSHALL FLUSHDB OBJECT|FREQ", "GET CLAIM INFO"},
      {"read", "GET FETCH EXISTS DBSIZE", "SET CLAIM PING"},
      {"write", "SET CLAIM STORE DEL FLUSHALL", "GET FETCH PING"},
      {"pubsub", "PUBLISH SUBSCRIBE PUBSUB|CHANNELS", "GET"},
      {"admin", "CONFIG|GET SHUTDOWN MONITOR ACL|SETUSER ACL|LIST CLIENT|KILL SLOWLOG|GET ROLE",
       "ACL|WHOAMI ACL|CAT PING INFO CLIENT|INFO"},
      {"dangerous", "CONFIG|GET KEYS FLUSHALL FLUSHDB INFO ROLE MONITOR", "SCAN GET CLAIM"},
      {"fast", "GET CLAIM PING", "KEYS SET"},
      {"slow", "KEYS SET INFO", "GET PING"},
      {"blocking", "CLAIM WAIT AWAIT", "FETCH STORE"},
      {"connection", "PING AUTH HELLO CLIENT|ID COMMAND|DOCS", "GET INFO"},
      {"transaction", "MULTI EXEC DISCARD WATCH UNWATCH", "GET"},
      {"scripting", "SCRIPT|FLUSH FUNCTION|FLUSH", "GET"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char rules[64];
    struct span words[WORDS_MAX];
    snprintf(rules, sizeof rules, "+@%s", cases[i].category);
    struct user *user = made_by(*state, rules);
    for (int in = 0; in < 2; in++) {
      size_t count = words_of(in ? cases[i].in : cases[i].out, words);
      for (size_t w = 0; w < count; w++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)words[w].len, words[w].data);
        if (allows(user, name) != (in == 1)) fail_msg("@%s and %s", cases[i].category, name);
      }
    }
    user_destroy(user);
  }
}

/* ---- keys and channels ---- */

static void patterns_are_globs(void **state) {
  struct user *user = made_by(*state, "~a:* ~[bc]1 &n?ws &*x*");
  assert_true(user_allows_key(user, SPAN_LITERAL("a:")));
  assert_true(user_allows_key(user, SPAN_LITERAL("a:1")));
  assert_true(user_allows_key(user, SPAN_LITERAL("c1")));
  assert_false(user_allows_key(user, SPAN_LITERAL("A:1")));
  assert_false(user_allows_key(user, SPAN_LITERAL("xa:1")));
  assert_false(user_allows_key(user, SPAN_LITERAL("")));
  assert_true(user_allows_channel(user, SPAN_LITERAL("news")));
  assert_true(user_allows_channel(user, SPAN_LITERAL("axb")));
  assert_false(user_allows_channel(user, SPAN_LITERAL("old")));
  assert_true(user_allows_channel_pattern(user, SPAN_LITERAL("n?ws")));
  assert_false(user_allows_channel_pattern(user, SPAN_LITERAL("news")));
  assert_false(user_allows_channel_pattern(user, SPAN_LITERAL("*")));
  assert_false(user_allows_all_keys(user));
  user_destroy(user);
}

/* ---- passwords ---- */

static void each_password_lets_in(void **state) {
  struct user *user = made_by(*state, "on >one >two");
  struct user *empty = user_create(SPAN_LITERAL("u"));
  uint8_t one = 0, two = 0, none = 0;
  user_exchange(empty, user);
  assert_true(user_knows_password(empty, SPAN_LITERAL("one"), &one));
  assert_true(user_knows_password(empty, SPAN_LITERAL("two"), &two));
  assert_false(user_knows_password(empty, SPAN_LITERAL("three"), &none));
  assert_false(user_knows_password(empty, SPAN_LITERAL(""), &none));
  assert_int_not_equal(one, two);
  assert_int_not_equal(one, USER_NO_PASSWORD);
  assert_int_not_equal(two, USER_NO_PASSWORD);
  assert_int_equal(none, 0);
  user_destroy(empty);
  user_destroy(user);
}

/* As SETUSER does: a copy is changed, and then the user. */
static void change(const struct users *users, struct user *user, const char *rules) {
  char error[REFUSAL_BYTES];
  struct user *copy = user_copy(user);
  assert_non_null(copy);
  assert_true(apply(users, copy, rules, error));
  user_change(user, copy);
  user_destroy(copy);
}

static void a_session_stays_as_long_as_its_password(void **state) {
  struct user *user = user_create(SPAN_LITERAL("u"));
  uint8_t one, two, three;
  change(*state, user, "on >one");
  assert_true(user_knows_password(user, SPAN_LITERAL("one"), &one));
  change(*state, user, ">two");
  assert_true(user_keeps(user, one));
  assert_true(user_knows_password(user, SPAN_LITERAL("two"), &two));
  change(*state, user, "<one >three");
  assert_false(user_keeps(user, one));
  assert_true(user_keeps(user, two));
  assert_true(user_knows_password(user, SPAN_LITERAL("three"), &three));
  assert_int_not_equal(three, one);
  change(*state, user, "off");
  assert_false(user_keeps(user, two));
  change(*state, user, "on nopass");
  assert_true(user_keeps(user, two));
  assert_true(user_keeps(user, USER_NO_PASSWORD));
  change(*state, user, ">two");
  assert_false(user_keeps(user, USER_NO_PASSWORD));
  user->deleted = true;
  assert_false(user_keeps(user, two));
  user_destroy(user);
}

/* Of a user that was never exchanged: as a file, or the first SETUSER, makes it. */
static void a_new_users_passwords_have_ids(void **state) {
  struct user *user = made_by(*state, "on >one >two");
  uint8_t one = 0, two = 0;
  assert_true(user_knows_password(user, SPAN_LITERAL("one"), &one));
  assert_true(user_knows_password(user, SPAN_LITERAL("two"), &two));
  assert_int_not_equal(one, USER_NO_PASSWORD);
  assert_int_not_equal(two, USER_NO_PASSWORD);
  assert_int_not_equal(one, two);
  change(*state, user, ">three");
  assert_true(user_keeps(user, one));
  user_destroy(user);
}

static void lost_keys_are_noted(void **state) {
  static const struct {
    const char *before, *change;
    bool lost;
  } cases[] = {
      {"~a ~b", "~c", false},       {"~a ~b", "resetkeys ~b", true},  {"~a", "allkeys", false},
      {"~*", "resetkeys ~a", true}, {"~a", "resetkeys ~b ~a", false}, {"~a", "off", false},
      {"~*", "on", false},          {"~a", "reset ~a", false},        {"~a", "reset", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct user *user = user_create(SPAN_LITERAL("u"));
    change(*state, user, cases[i].before);
    user->lost_keys = false;
    change(*state, user, cases[i].change);
    if (user->lost_keys != cases[i].lost) fail_msg("%s, %s", cases[i].before, cases[i].change);
    user_destroy(user);
  }
  struct user *begun_again = made_by(*state, "~a reset");
  assert_false(begun_again->lost_keys);
  user_destroy(begun_again);
}

/* ---- random rules, beside a naive model ---- */

/* What a user is, as lists of words. */
struct naive {
  bool on, nopass, passwords[4], keys[4], channels[4], all_keys, all_channels;
  bool commands[USER_COMMANDS_MAX];
  unsigned claims;
};

static const char *const patterns[] = {"a*", "b?", "[c]", "d"};
static const char *const passwords[] = {"p", "q", "r", "s"};

static void naive_commands(const struct users *users, struct naive *naive, const char *name,
                           bool allow) {
  size_t len = strlen(name);
  uint64_t bit = name[0] == '@' ? acl_categories_find(span_of(name + 1)) : 0;
  for (size_t i = 0; i < users->command_count; i++) {
    const char *row = users->commands[i].name;
    bool same = strcasecmp(row, name) == 0 || (strncasecmp(row, name, len) == 0 && row[len] == '|');
    if (strcasecmp(name, "wait") == 0 && strcmp(row, "AWAIT") == 0) same = true;
    if (name[0] == '@') same = strcmp(name, "@all") == 0 || (users->commands[i].categories & bit);
    if (same) naive->commands[i] = allow;
  }
}

/* Does one random word to both; returns its text. */
static void random_word(const struct users *users, struct naive *naive, char word[64]) {
  static const char *const names[] = {"get",        "client",     "client|list", "client|kill",
                                      "wait",       "claim",      "@read",       "@claim",
                                      "@admin",     "@all",       "@connection", "config",
                                      "config|get", "@dangerous", "del",         "@fast"};
  size_t i = (size_t)rand() % 4, which = (size_t)rand() % 16;
  bool yes = rand() % 2 == 0;
  switch (rand() % 12) {
    case 0:
      naive->on = yes;
      snprintf(word, 64, "%s", yes ? "on" : "off");
      return;
    case 1:
      naive->nopass = false;
      naive->passwords[i] = true;
      snprintf(word, 64, ">%s", passwords[i]);
      return;
    case 2:
      naive->nopass = rand() % 3 == 0;
      memset(naive->passwords, 0, sizeof naive->passwords);
      snprintf(word, 64, "%s", naive->nopass ? "nopass" : "resetpass");
      return;
    case 3:
      snprintf(word, 64, naive->passwords[i] ? "<%s" : "%.0s", passwords[i]);
      naive->passwords[i] = false;
      return;
    case 4:
      snprintf(word, 64, naive->all_keys ? "%.0s" : "~%s", patterns[i]);
      naive->keys[i] = !naive->all_keys;
      return;
    case 5:
      naive->all_keys = yes;
      memset(naive->keys, 0, sizeof naive->keys);
      snprintf(word, 64, "%s", yes ? "allkeys" : "resetkeys");
      return;
    case 6:
      snprintf(word, 64, naive->all_channels ? "%.0s" : "&%s", patterns[i]);
      naive->channels[i] = !naive->all_channels;
      return;
    case 7:
      naive->all_channels = yes;
      memset(naive->channels, 0, sizeof naive->channels);
      snprintf(word, 64, "%s", yes ? "allchannels" : "resetchannels");
      return;
    default:
      naive_commands(users, naive, names[which], yes);
      snprintf(word, 64, "%c%s", yes ? '+' : '-', names[which]);
      return;
  }
}

static void assert_same(const struct users *users, const struct user *user,
                        const struct naive *naive) {
  static const char *const texts[] = {"axx", "bx", "c", "d"};
  uint8_t id;
  assert_int_equal(user->on, naive->on);
  assert_int_equal(user->nopass, naive->nopass);
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(user_knows_password(user, span_of(passwords[i]), &id), naive->passwords[i]);
    assert_int_equal(user_allows_key(user, span_of(texts[i])), naive->keys[i] || naive->all_keys);
    assert_int_equal(user_allows_channel(user, span_of(texts[i])),
                     naive->channels[i] || naive->all_channels);
  }
  for (size_t i = 0; i < users->command_count; i++) {
    if (user_allows_command(user, i) != naive->commands[i])
      fail_msg("%s of '%s'", users->commands[i].name, user->command_rules);
  }
}

/* What is written makes the same user, which is written in the same way. */
static void assert_round_trip(const struct users *users, const struct user *user,
                              const struct naive *naive) {
  char *text = text_of(user), error[REFUSAL_BYTES];
  struct user *again = user_create(SPAN_LITERAL("u"));
  assert_true(apply(users, again, text + strlen("u "), error));
  assert_same(users, again, naive);
  assert_int_equal(again->unrestricted, user->unrestricted);
  char *text_again = text_of(again);
  assert_string_equal(text_again, text);
  free(text_again);
  free(text);
  user_destroy(again);
}

static void random_rules_do_what_a_model_says(void **state) {
  const struct users *users = *state;
  char word[64], error[REFUSAL_BYTES];
  srand(13);
  for (int run = 0; run < 60; run++) {
    struct user *user = user_create(SPAN_LITERAL("u"));
    struct naive naive = {0};
    for (int i = 0; i < 40; i++) {
      random_word(users, &naive, word);
      if (!apply(users, user, word, error)) fail_msg("'%s': %s", word, error);
      assert_same(users, user, &naive);
    }
    assert_round_trip(users, user, &naive);
    user_destroy(user);
  }
}

/* ---- the table ---- */

static struct user *add(struct users *users, const char *name) {
  struct user *user = user_create(span_of(name));
  assert_non_null(user);
  assert_true(users_add(users, user));
  return user;
}

static void users_are_found_by_name(void **state) {
  static const char *const names[] = {"b", "a", "z", "ab", "B", "default2", "d"};
  struct users *users = *state;
  struct user *made[7];
  for (size_t i = 0; i < 7; i++) made[i] = add(users, names[i]);
  for (size_t i = 0; i < 7; i++) assert_ptr_equal(users_find(users, span_of(names[i])), made[i]);
  assert_null(users_find(users, SPAN_LITERAL("c")));
  assert_null(users_find(users, SPAN_LITERAL("")));
  assert_ptr_equal(users_find(users, SPAN_LITERAL("default")), users->initial);
  for (size_t i = 1; i < users->count; i++)
    assert_true(strcmp(users->all[i - 1]->name, users->all[i]->name) < 0);
  users_remove(users, made[1]);
  assert_null(users_find(users, SPAN_LITERAL("a")));
  assert_true(made[1]->deleted);
  user_destroy(made[1]);
}

static void numbers_follow_from_names_and_differ(void **state) {
  struct users *users = *state, *others = make_users();
  static bool used[USERS_NUMBERS];
  memset(used, 0, sizeof used);
  assert_int_equal(user_number(users->initial), USER_DEFAULT_NUMBER);
  used[USER_DEFAULT_NUMBER] = true;
  for (unsigned i = 0; i < 3000; i++) {
    char name[16];
    snprintf(name, sizeof name, "tenant-%u", i);
    const struct user *user = add(users, name);
    assert_false(used[user_number(user)]);
    used[user_number(user)] = true;
  }
  const struct user *first = users_find(users, SPAN_LITERAL("tenant-0"));
  assert_int_equal(user_number(add(others, "tenant-0")), user_number(first));
  users_destroy(others);
}

static void replacing_changes_in_place(void **state) {
  struct users *users = *state, *staged = users_create_beside(users);
  char error[REFUSAL_BYTES];
  uint8_t id, same;
  struct user *stays = add(users, "stays"), *goes = add(users, "goes");
  change(users, stays, "on >p ~a");
  uint16_t number = user_number(stays);
  assert_true(user_knows_password(stays, SPAN_LITERAL("p"), &id));
  assert_true(apply(users, add(staged, "stays"), "on >q >p ~b", error));
  assert_true(apply(users, add(staged, "new"), "on", error));
  assert_true(apply(users, staged->initial, "off", error));
  assert_true(users_replace(users, staged));
  assert_ptr_equal(users_find(users, SPAN_LITERAL("stays")), stays);
  assert_int_equal(user_number(stays), number);
  assert_true(user_allows_key(stays, SPAN_LITERAL("b")));
  assert_true(stays->lost_keys);
  assert_true(user_knows_password(stays, SPAN_LITERAL("p"), &same));
  assert_int_equal(same, id);
  assert_non_null(users_find(users, SPAN_LITERAL("new")));
  assert_null(users_find(users, SPAN_LITERAL("goes")));
  assert_true(goes->deleted);
  assert_false(users->initial->on);
  assert_int_equal(users->count, 3);
  users_destroy(staged);
}

/* ---- the file ---- */

struct place {
  char folder[64], path[96];
};

static struct place make_place(void) {
  struct place place = {.folder = "/tmp/idem-users-XXXXXX"};
  assert_non_null(mkdtemp(place.folder));
  snprintf(place.path, sizeof place.path, "%s/users.acl", place.folder);
  return place;
}

static void clear_place(const struct place *place) {
  unlink(place->path);
  assert_int_equal(rmdir(place->folder), 0); /* nothing else was left in it */
}

static void write_file(const struct place *place, const char *text) {
  FILE *file = fopen(place->path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
  chmod(place->path, 0600);
}

static void what_is_saved_is_loaded(void **state) {
  struct users *users = *state, *staged = users_create_beside(users);
  struct place place = make_place();
  char error[REFUSAL_BYTES] = "";
  bool has_default;
  struct stat stat_of;
  change(users, add(users, "a"), "on >p ~a:* &x +@claim -wait quota-claims 3");
  change(users, add(users, "b#\"'"), "off ~\"quoted\" ~#x +get");
  change(users, users->initial, ">secret -flushall");
  assert_true(acl_file_save(place.path, users, error));
  assert_int_equal(stat(place.path, &stat_of), 0);
  assert_int_equal(stat_of.st_mode & 07777, 0600);
  if (!acl_file_load(place.path, staged, &has_default, error)) fail_msg("%s", error);
  assert_true(has_default);
  assert_int_equal(staged->count, users->count);
  for (size_t i = 0; i < users->count; i++) {
    char *text = text_of(users->all[i]), *again = text_of(staged->all[i]);
    assert_string_equal(again, text);
    free(text);
    free(again);
  }
  users_destroy(staged);
  clear_place(&place);
}

static void a_bad_line_is_named(void **state) {
  static const struct {
    const char *text, *where, *why;
  } cases[] = {
      {"user a on\nusr b on\n", ":2: ", "user NAME"},
      {"\n# comment\n\nuser a on\nuser a off\n", ":5: ", "Duplicate user 'a' found"},
      {"user default on\nuser default off\n", ":2: ", "Duplicate user 'default' found"},
      {"user a on nosuch\n", ":1: ", "'nosuch': Syntax error"},
      {"user a on +nosuch\n", ":1: ", "'+nosuch': Unknown command"},
      {"user\n", ":1: ", "user NAME"},
      {"user a on (~x +get)\n", ":1: ", "Selectors"},
      {"user a on %R~x\n", ":1: ", "'%R~x': "},
      {"user a quota-claims\n", ":1: ", "needs a number"},
      {"user a #short\n", ":1: ", "exactly 64"},
      {"user a <secretive\n", ":1: ", "'<...': The password"},
  };
  struct place place = make_place();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char error[REFUSAL_BYTES] = "";
    bool has_default;
    struct users *staged = users_create_beside(*state);
    write_file(&place, cases[i].text);
    if (acl_file_load(place.path, staged, &has_default, error)) fail_msg("'%s'", cases[i].text);
    if (strstr(error, cases[i].where) == NULL || strstr(error, cases[i].why) == NULL ||
        strncmp(error, place.path, strlen(place.path)) != 0)
      fail_msg("'%s' is refused with '%s'", cases[i].text, error);
    assert_null(strstr(error, "secretive"));
    users_destroy(staged);
  }
  clear_place(&place);
}

static void a_file_that_others_read_is_refused(void **state) {
  struct place place = make_place();
  char error[REFUSAL_BYTES] = "";
  bool has_default;
  struct users *staged = users_create_beside(*state);
  write_file(&place, "user a on\n");
  chmod(place.path, 0644);
  assert_false(acl_file_load(place.path, staged, &has_default, error));
  assert_non_null(strstr(error, "chmod 600"));
  unlink(place.path);
  assert_false(acl_file_load(place.path, staged, &has_default, error));
  assert_non_null(strstr(error, "No such file"));
  users_destroy(staged);
  clear_place(&place);
}

static void saving_where_it_cannot_leaves_the_old_file(void **state) {
  char error[REFUSAL_BYTES] = "";
  assert_false(acl_file_save("/proc/users.acl", *state, error));
  assert_non_null(strstr(error, "/proc/users.acl"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(each_word_does_what_it_says),
      TEST(bad_words_are_refused),
      TEST(blanks_and_long_things_are_refused),
      TEST(counts_are_limited),
      TEST(a_rule_covers_all_names_of_a_command),
      TEST(a_container_covers_its_subcommands),
      TEST(only_the_one_who_may_everything_is_unrestricted),
      TEST(commands_have_the_categories_that_they_should),
      TEST(patterns_are_globs),
      TEST(each_password_lets_in),
      TEST(a_session_stays_as_long_as_its_password),
      TEST(a_new_users_passwords_have_ids),
      TEST(lost_keys_are_noted),
      TEST(random_rules_do_what_a_model_says),
      TEST(users_are_found_by_name),
      TEST(numbers_follow_from_names_and_differ),
      TEST(replacing_changes_in_place),
      TEST(what_is_saved_is_loaded),
      TEST(a_bad_line_is_named),
      TEST(a_file_that_others_read_is_refused),
      TEST(saving_where_it_cannot_leaves_the_old_file),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
