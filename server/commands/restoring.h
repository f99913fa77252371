/*
 * restoring.h - the start from a journal: what its newest head and header say, before there is a
 * keyspace; then its batches into the engines.
 *
 * The engines' clock goes on from the newest header, so the time that the server was down counts
 * for no lease and no TTL; tokens go on above the newest ones; the hash secret and the horizon are
 * those of the log. The number of shards may be another one than before.
 *
 * Called at the start only, by one thread.
 */
#ifndef IDEM_SERVER_COMMANDS_RESTORING_H
#define IDEM_SERVER_COMMANDS_RESTORING_H

#include "server/base/eras.h"
#include "server/engine/engine_options.h"
#include "server/engine/keyspace.h"
#include "server/journal/journal.h"
#include "server/ops/log.h"
#include "server/ops/options.h"

/* Exit statuses of a start that fails: refused, and the log is not sound. (sysexits.h: EX_CONFIG,
 * which a supervisor does not try again.) */
#define RESTORING_REFUSED 1
#define RESTORING_CORRUPT 78

/* No exit status: the caller's step ended it. Nothing was changed. */
#define RESTORING_STOPPED (-1)

int restoring_status(enum journal_result result);

/* Added to the tokens of a log whose last batches may be lost: more than a server grants in the
 * time that a system takes to write them. */
#define RESTORING_LOST_TOKENS (UINT64_C(1) << 24)

struct restoring {
  struct journal_files *files;
  struct journal *journal; /* NULL: none is kept */
  bool is_new;
  int64_t now_ms, start_ms; /* engines' clock: it goes on from, the memory of requests began */
  struct eras eras;         /* with the one that begins now */
  int64_t largest_ms;       /* (unix time - engines' clock), ever seen */
  uint64_t first_token;     /* at least */
  unsigned char secret[ENGINE_HASH_SECRET_BYTES];
  size_t most_bytes; /* of an image without a body */
  uint64_t records;
  double seconds;
};

/* What the caller sees to: the journal's. The steps come here and in restoring_run. */
struct restoring_calls {
  struct journal_hooks hooks;
  struct journal_steps steps;
};

/* Opens the journal that the options want; if none is, nothing. Returns 0, RESTORING_STOPPED, or
 * the exit status with the reason in error; then nothing is open. */
int restoring_open(struct restoring *restoring, const struct options *options,
                   const struct restoring_calls *calls, char error[REFUSAL_BYTES]);
/* Into the engines of a keyspace that has no keys, and was made at time 0 with this secret. Returns
 * as restoring_open; the caller closes. */
int restoring_run(struct restoring *restoring, struct keyspace *keyspace,
                  char error[REFUSAL_BYTES]);
/* Closes the journal, and its files. Takes one that was not opened. */
void restoring_close(struct restoring *restoring);

#endif
