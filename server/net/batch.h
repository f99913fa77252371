/*
 * batch.h - commands that are read ahead, so that the memory that they need is fetched in parallel
 * before they run: several of one connection, after one each of several others (serve.h).
 *
 *     read   [ CLAIM a ][ CLAIM b ][ STORE c ][ PING ]  - - ->  the next batch
 *     fetch    bucket a   bucket b   bucket c          of an index that no core's cache keeps
 *              entry a    entry b    entry c           after what is chained
 *     run    in order, each as if it had been read just then
 *
 * Reading ahead may be taken back: a command that waits, closes, or changes how bytes are read is
 * the last that runs, and what was read after it is forgotten; its bytes stay, to be read again. So
 * the rule is simple: a batch continues after a short command that has arrived whole and cannot
 * change how bytes are read; any other command ends the batch and is left to the reader.
 *
 * Invariant: the spans of a batch point into the bytes that it was read from, those of its last
 * command perhaps into the reader, which reads no more before that command has run.
 */
#ifndef IDEM_SERVER_NET_BATCH_H
#define IDEM_SERVER_NET_BATCH_H

#include "proto/resp_read.h"
#include "server/commands/call.h"

/* As many cache misses as one core serves at a time, and no more than its cache keeps. */
#define BATCH_COMMANDS 16u

struct batch_item {
  enum resp_read_result result;
  size_t start, end; /* of its bytes */
  struct request request;
  struct name name;
  struct resp_read_array array; /* of a short command */
};

struct batch {
  unsigned first, count; /* what was read last; those before it are the caller's */
  struct batch_item items[BATCH_COMMANDS];
};

/* Reads at most `most` > 0 commands to items[first], and fetches what they need. There is one item
 * at least; first < BATCH_COMMANDS. */
void batch_read(struct batch *batch, struct resp_reader *reader, const struct worker *worker,
                const char *data, size_t len, unsigned most);

/* The first `count` items were read one by one, for which only buckets are fetched: now the rest.
 */
void batch_fetch_on(const struct batch *batch, unsigned count, const struct worker *worker);

#endif
