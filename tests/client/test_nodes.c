/*
 * test_nodes.c - nodes of a cluster that hang, that say what no node should say, or that are none:
 * what one of them does costs the keys of the others nothing. In both halves of idem.h, against
 * nodes inside the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/client/pair.h"
#include "tests/client/town.h"

#define NO_TABLE "-NOPERM no table for you\r\n"

static void open_at(struct pair *pair, enum half half, const struct town *town, int first, int last,
                    const struct idem_options *options) {
  char url[256];
  town_url(town, first, last, url, sizeof url);
  pair_open_url(pair, half, url, options);
}

/* Of a town in which "x" is at node 1, and all else at node 2. */
static const char *part(struct town *town, int node, const struct command *command, bool asked) {
  int owner = strcmp(command->words[1], "x") == 0 ? 1 : 2;
  if (node != owner) return town_redirect(town, node, "MOVED", owner);
  (void)asked;
  return town_own(command);
}

/* ---- tokens ---- */

static void two_nodes_may_grant_the_same_token(void **state) {
  (void)state;
  const struct idem_options options = {.deadline_ms = 1000};
  for (enum half half = 0; half < HALVES; half++) {
    struct town town;
    struct pair pair;
    town_open(&town, part);
    town.no_table = NO_TABLE;
    open_at(&pair, half, &town, 0, 0, &options);
    struct idem_claim *one = pair_must_begin(&pair, "x"), *other = pair_must_begin(&pair, "y");
    assert_int_equal(idem_claim_token(one), idem_claim_token(other));
    idem_claim_free(one);
    idem_claim_free(other);
    pair_close(&pair);
    town_close(&town);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_nodes_may_grant_the_same_token),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
