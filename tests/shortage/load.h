/*
 * load.h - a bit of all that clients do, each bit on connections of its own, whatever becomes of
 * them; and what the server has acknowledged meanwhile, which must stay true.
 *
 * Every step takes three outcomes: what the protocol says, an error for want of memory, a closed
 * connection. Nothing else, and never silence.
 */
#ifndef IDEM_TESTS_SHORTAGE_LOAD_H
#define IDEM_TESTS_SHORTAGE_LOAD_H

struct load {
  int port; /* set before use */
  const char *path;
  long round;          /* names differ by it */
  unsigned info_lines; /* of INFO when nothing fails */
};

/* path: of the unix socket, borrowed. One load in a process. */
void load_init(struct load *load, const char *path);
/* All steps once. */
void load_round(struct load *load);
/* There is enough of everything again: new connections are served, on every loop, and what was
 * acknowledged in all rounds since the last time still holds. Then the server is emptied. */
void load_verify(struct load *load);

#endif
