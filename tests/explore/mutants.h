/*
 * mutants.h - wrong contracts, each with the promise that it breaks. The search has to find every
 * one of them: a promise that no mutant breaks is not looked at.
 *
 * A mutant is the real rules with one function wrapped, so that it follows them when they change.
 */
#ifndef IDEM_TESTS_EXPLORE_MUTANTS_H
#define IDEM_TESTS_EXPLORE_MUTANTS_H

#include "tests/explore/world.h"

struct mutants_one {
  const char *name; /* a word, for the command line */
  const char *does;
  enum world_promise breaks;
  struct world_rules rules;
};

/* Ends with a name that is NULL. */
extern const struct mutants_one MUTANTS[];

/* NULL: there is none of that name. */
const struct mutants_one *mutants_find(const char *name);

#endif
