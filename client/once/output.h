/*
 * output.h - what the command writes: into the record, and on to the reader of idem-once.
 *
 *     command --pipe--> record -----------------> our stdout    written when the reader takes it
 *                         \--(full)--> chunk --------^          read when all before is written
 *
 * It must not know of processes and claims. Invariants: as long as the record has room the command
 * never waits for a reader, so that its end can be stored before anything has been read; what is
 * recorded of a stream is always the first part of it; no write blocks.
 */
#ifndef IDEM_CLIENT_ONCE_OUTPUT_H
#define IDEM_CLIENT_ONCE_OUTPUT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/* Of both streams together. The server's default limit of a body. */
#define OUTPUT_RECORD_BYTES ((size_t)16 * 1024 * 1024)
#define OUTPUT_CHUNK_BYTES ((size_t)64 * 1024)
/* Changes between the streams that are remembered until they are written. */
#define OUTPUT_RUNS 1024

enum output_name { OUTPUT_STDOUT, OUTPUT_STDERR, OUTPUT_STREAMS };

struct output_record {
  char *data; /* malloc'd */
  size_t len;
  size_t size;
};

/* Where a stream goes. */
struct output_sink {
  int fd; /* -1: closed, or its reader has gone */
  enum { OUTPUT_SINK_CAREFUL, OUTPUT_SINK_NONBLOCKING, OUTPUT_SINK_SOCKET, OUTPUT_SINK_FILE } kind;
};

struct output_stream {
  int from; /* -1: its end was read */
  struct output_sink sink;
  struct output_record record;
  size_t written;            /* of the record */
  size_t have, have_written; /* of the chunk: what found no room in the record */
  size_t left;               /* after the end of the command: bytes that are still to be read */
  int error;                 /* why it could not be written; 0: it could */
  char chunk[OUTPUT_CHUNK_BYTES];
};

/* When both streams go to one place, they are written in the order in which they came. */
struct output_order {
  bool kept;
  enum output_name next; /* whose the first run is; they take turns */
  size_t first, count;
  size_t runs[OUTPUT_RUNS]; /* bytes; a ring */
};

struct output {
  struct output_stream streams[OUTPUT_STREAMS];
  struct output_order order;
  size_t missed; /* bytes that are in no record: over the limit, or no memory */
  bool ended, counted;
};

/* Streams that go to descriptors 1 and 2, and come from nowhere yet. */
void output_init(struct output *output);
void output_deinit(struct output *output);
/* Takes over the reading ends of two pipes. */
void output_attach(struct output *output, int out, int err);

#define OUTPUT_POLLED (2 * OUTPUT_STREAMS)
/* What to poll for; afterwards what poll has found. */
void output_want(const struct output *output, struct pollfd polled[OUTPUT_POLLED]);
void output_serve(struct output *output, const struct pollfd polled[OUTPUT_POLLED]);

/* The command has ended: what it left in the pipes is its output; what background processes of it
 * write later is not. */
void output_end(struct output *output);
/* Whether something is left that belongs into the record. */
bool output_recording(const struct output *output);
/* From now on the records and `missed` are final. */
void output_count(struct output *output);
/* Writes the rest, for as long as the readers take. After output_count. */
void output_flush(struct output *output);

/* Writes all of it, however long that takes. 0, or -errno. */
int output_put(int fd, const char *data, size_t len);

#endif
