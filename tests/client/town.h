/*
 * town.h - a cluster inside the test: nodes that are strangers (stranger.h), a table that each of
 * them shows in the words of CLUSTER NODES, and what a test lets them say to commands.
 *
 * A node that the table does not name for the key "x" answers MOVED unless the test says otherwise.
 */
#ifndef IDEM_TESTS_CLIENT_TOWN_H
#define IDEM_TESTS_CLIENT_TOWN_H

#include <stdatomic.h>

#include "tests/client/stranger.h"

#define TOWN_NODES 3
#define TOWN_SLOT_OF_X 16287

struct town;

/* On the thread of a node: what it says to a command other than CLUSTER and ASKING. `asked`: ASKING
 * came just before. */
typedef const char *town_fn(struct town *town, int node, const struct command *command, bool asked);

struct town {
  town_fn *answer;
  const char *(*to_asking)(struct town *town, int node); /* NULL: +OK */
  const char *host_name;                                 /* in the table; NULL: name0 ... */
  _Atomic int nameless;               /* so many tables, the first, have addresses alone */
  const char *no_table;               /* said instead of the table; NULL: it is shown */
  _Atomic unsigned silent;            /* nodes that hear all and say nothing: 1 << node */
  _Atomic int unanswered;             /* commands that they heard */
  _Atomic int owner;                  /* who has all slots by the table */
  _Atomic int tables;                 /* how often it was shown */
  _Atomic int heard[TOWN_NODES];      /* commands but CLUSTER and ASKING */
  _Atomic int asked[TOWN_NODES];      /* of these, after ASKING */
  struct stranger *nodes[TOWN_NODES]; /* the test's thread alone; NULL: gone */
  int ports[TOWN_NODES];              /* that others are told */
  /* Each node's own. */
  struct town_place {
    struct town *town;
    int node;
    bool asking;
    char text[2048];
  } places[TOWN_NODES];
};

/* answer NULL: town_usual. */
void town_open(struct town *town, town_fn *answer);
void town_close(struct town *town);
/* A node goes away. */
void town_lose(struct town *town, int node);
int town_port(const struct town *town, int node);
/* "redis://127.0.0.1:port" of nodes first to last, with commas. */
void town_url(const struct town *town, int first, int last, char *out, size_t size);

/* There is no record; grants token 5 for 300 ms, renews for as long, stores. */
const char *town_own(const struct command *command);
/* The owner says that; the others MOVED. */
const char *town_usual(struct town *town, int node, const struct command *command, bool asked);
/* "-MOVED slot host:port" or "-ASK ...", to `to`; in the place of the node that says it. */
const char *town_redirect(struct town *town, int node, const char *word, int to);

#endif
