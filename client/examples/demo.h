/*
 * demo.h - what the examples share that has nothing to do with idem: their options, and work that
 * takes time and leaves a trace (a line in a ledger before and after it), so that one can see how
 * often it really ran.
 */
#ifndef IDEM_EXAMPLES_DEMO_H
#define IDEM_EXAMPLES_DEMO_H

#include <stddef.h>
#include <stdint.h>

struct demo {
  const char *server; /* --server, else $IDEM_SERVER_URL, else redis://127.0.0.1:4336 */
  const char *ledger; /* --ledger: the file; NULL: none */
  int port;           /* --port */
  int work_ms;        /* --work-ms: how long the work takes */
  int lease_ms;       /* --lease-ms */
  int wait_ms;        /* --wait-ms */
  int hold;           /* --hold 0|1: whether work that may have happened waits for a decision */
  int fail;           /* --fail 0|1: whether the answer of what does the work is lost */
  int status;         /* --status: what guard_409 answers; 0: 200 */
  const char *header; /* --header "NAME: VALUE": it answers with this header, too. NULL: none */
};

/* Defaults are what is in *demo. Ends the program with a message when an option makes no sense.
 * Returns the index of the first argument that is no option. */
int demo_options(struct demo *demo, int argc, char **argv);

enum demo_outcome {
  DEMO_DONE,
  DEMO_DID_NOTHING, /* the ledger could not be written when it began: nothing has happened */
  DEMO_UNSURE       /* it failed after that, or --fail 1: it may have happened */
};

/* "begin WHAT token=T attempt=A" in the ledger, the time, "end ...". */
enum demo_outcome demo_work(const struct demo *demo, const char *what, uint64_t token,
                            int64_t attempt);

#define DEMO_ID_BYTES 33
/* 32 random hexadecimal digits and a NUL. */
void demo_id(char id[DEMO_ID_BYTES]);

/* The N of {"amount": N}, and nothing else: it stands where a program has its JSON library. 0, or
 * -1. */
int demo_amount(const char *body, size_t body_len, long *amount);

#endif
