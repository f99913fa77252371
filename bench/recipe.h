/* Recipes of wake-ups, for each server one: what the owner sends before, how a waiter joins and
 * what proves that it did, what the owner sends at t0, what wakes a waiter, and what a woken one
 * still has to fetch. It knows the bytes and nothing of sockets, time or counting.
 */
#ifndef IDEM_BENCH_RECIPE_H
#define IDEM_BENCH_RECIPE_H

#include "bench/step.h"

#include <stdbool.h>
#include <stdint.h>

enum { RECIPE_WAIT_MS = 60000 }; /* how long a waiter would wait */

/* How the load knows that all waiters are known to the server. */
enum recipe_proof {
  RECIPE_PROOF_REPLY,   /* each gets `joined` */
  RECIPE_PROOF_BLOCKED, /* INFO's blocked_clients */
  RECIPE_PROOF_RELAY    /* bench-uv, bench-epoll: "P" is answered with the number of waiters */
};

struct recipe_exchange {
  struct message request; /* no pieces: nothing is sent */
  struct message reply;   /* no pieces: nothing is awaited */
};

struct recipe {
  enum recipe_proof proof;
  struct recipe_exchange hello;   /* each waiter, once */
  struct recipe_exchange prepare; /* owner, each round */
  struct recipe_exchange join;    /* each waiter, each round */
  struct recipe_exchange wake;    /* owner, at t0 */
  struct message woken;           /* what wakes a waiter */
  struct recipe_exchange fetch;   /* what it does then, timed */
  struct recipe_exchange leave;   /* and then, not timed */
};

/* Whether there is a recipe `name`. */
bool recipe_knows(const char *name);
/* Whether it has one waiter, whatever --connections says. `name` is known. */
bool recipe_has_one_waiter(const char *name);

/* Fills `recipe` for so many waiters; recipe_deinit undoes it. `name` is known. */
void recipe_init(struct recipe *recipe, const char *name, const struct step_sizes *sizes,
                 uint64_t waiters);
void recipe_deinit(struct recipe *recipe);

/* The list for --help, on stdout. */
void recipe_print_list(void);

#endif
