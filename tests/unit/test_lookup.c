/* test_lookup.c - from names to rows, and what follows from a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "server/commands/lookup.h"
#include "server/commands/command_table.h"

static int setup(void **state) {
  *state = lookup_create(command_table_commands, command_table_command_count);
  return *state == NULL;
}

static int teardown(void **state) {
  lookup_destroy(*state);
  return 0;
}

static void each_row_is_found_by_its_name_in_any_case(void **state) {
  for (size_t i = 0; i < command_table_command_count; i++) {
    const struct command *row = &command_table_commands[i];
    const char *bar = strchr(row->name, '|');
    char name[COMMAND_NAME_BYTES];
    command_name(row, name);
    if (bar == NULL) {
      assert_ptr_equal(lookup_find(*state, span_of(row->name)), row);
      assert_ptr_equal(lookup_find(*state, span_of(name)), row);
    } else {
      const struct span container = {name, (size_t)(bar - row->name)};
      const struct span sub = span_of(name + (bar - row->name) + 1);
      assert_ptr_equal(lookup_find_sub(*state, container, sub), row);
    }
  }
}

static void other_names_are_not_found(void **state) {
  static const char *const names[] = {"",
                                      "CLAI",
                                      "CLAIMED",
                                      "CL4IM",
                                      "CLAIM ",
                                      "IDEM.",
                                      "CLIENT|LIST",
                                      "CONFIG|SET",
                                      "A-NAME-OF-MORE-THAN-16-LETTERS"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    assert_null(lookup_find(*state, span_of(names[i])));
  assert_null(lookup_find_sub(*state, SPAN_LITERAL("CLIENT"), SPAN_LITERAL("NOPE")));
  assert_null(lookup_find_sub(*state, SPAN_LITERAL("CLIENT"), SPAN_LITERAL("")));
}

static void only_idems_own_have_the_prefix(void **state) {
  assert_ptr_equal(lookup_find(*state, SPAN_LITERAL("idem.claim")),
                   lookup_find(*state, SPAN_LITERAL("CLAIM")));
  assert_null(lookup_find(*state, SPAN_LITERAL("IDEM.GET")));
}

static enum command_reach reach(void *lookup, const char *name, size_t argc) {
  return command_reach(lookup_find(lookup, span_of(name)), argc);
}

static void a_row_says_what_it_needs_locked(void **state) {
  assert_int_equal(reach(*state, "PING", 1), COMMAND_REACHES_NOTHING);
  assert_int_equal(reach(*state, "CLAIM", 2), COMMAND_REACHES_A_KEY);
  assert_int_equal(reach(*state, "DEL", 2), COMMAND_REACHES_A_KEY);
  assert_int_equal(reach(*state, "DEL", 3), COMMAND_REACHES_ALL);
  assert_int_equal(reach(*state, "FLUSHALL", 1), COMMAND_REACHES_ALL);
  assert_int_equal(reach(*state, "INFO", 1), COMMAND_REACHES_OTHERS);
}

static void a_row_says_how_many_arguments_it_takes(void **state) {
  const struct command *set = lookup_find(*state, SPAN_LITERAL("SET"));
  const struct command *get = lookup_find(*state, SPAN_LITERAL("GET"));
  assert_false(command_takes(set, 2));
  assert_true(command_takes(set, 3) && command_takes(set, 9));
  assert_true(command_takes(get, 2));
  assert_false(command_takes(get, 1) || command_takes(get, 3));
}

/* One sets the session's transaction apart from the handler, the other what the network may do. */
static void two_flags_belong_to_one_row_each(void **state) {
  (void)state;
  for (size_t i = 0; i < command_table_command_count; i++) {
    const struct command *row = &command_table_commands[i];
    assert_int_equal((row->flags & COMMAND_RUNS_QUEUE) != 0, strcmp(row->name, "EXEC") == 0);
    assert_int_equal((row->flags & COMMAND_ADOPTS_BODY) != 0, strcmp(row->name, "STORE") == 0);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(each_row_is_found_by_its_name_in_any_case),
      TEST(other_names_are_not_found),
      TEST(only_idems_own_have_the_prefix),
      TEST(a_row_says_what_it_needs_locked),
      TEST(a_row_says_how_many_arguments_it_takes),
      TEST(two_flags_belong_to_one_row_each),
  };
  return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
