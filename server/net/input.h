/*
 * input.h - the bytes of a connection that could not be run yet: an incomplete command, or what has
 * to wait. An idle connection has none. Knows no connection: what it may hold, and how long it may
 * take to arrive, is its budget.
 *
 *     bytes   start [STORE k 7 $1000000 | CRLF TTL 60000 ...) len      capacity
 *                                       ^ body.at
 *     body          [head][ bytes, as far as they have arrived )  )capacity
 *
 * A long body that a STORE may keep is adopted: it is taken out of the bytes as it arrives,
 * straight into what the engine will keep, so that it is neither copied nor held twice. Where it
 * lies is enlarged as it arrives.
 *
 * Invariants: an adopted body belongs to the first command in bytes, whose reader has been told of
 * it once it is whole; budget.held counts the capacities; neither of them is ever more than twice
 * what has arrived, so that a mere announcement costs nothing.
 */
#ifndef IDEM_SERVER_NET_INPUT_H
#define IDEM_SERVER_NET_INPUT_H

#include "proto/resp_read.h"
#include "server/commands/received_body.h"

/* A body shorter than this, or the part of it that arrived with its command, is copied: that costs
 * less than the piece. */
#define INPUT_ADOPTED_BYTES (64u * 1024)
_Static_assert(INPUT_ADOPTED_BYTES >= ADOPTED_BODY_LEAST_BYTES, "the engine takes it");
/* How much is read at once: into the buffer that all connections of a loop share, or at least, into
 * an input. */
#define INPUT_READ_BYTES (64u * 1024)
/* All arguments of a command: the largest body, and room for the largest list of keys. */
#define INPUT_COMMAND_BYTES (64u * 1024 * 1024)

/* How long the bytes of a command may be on their way, from the first to the last; of an argument
 * as long as INPUT_LONG_BYTES, how long none of them may come. */
#define INPUT_REQUEST_MS 10000
#define INPUT_LONG_BYTES 4096u

/* Bytes that all inputs of the server may hold together, and those of one loop that are to become
 * whole in time. */
struct input_budget {
  struct worker *worker;  /* which tells the time, knows bodies, and gives adopted ones back */
  _Atomic uint64_t *held; /* bytes of all inputs */
  const int64_t *limit;   /* of them; may change */
  struct list awaited;    /* struct input.awaited, since longest first */
};

/* The last two: what is left of the input can only be destroyed. */
enum input_result { INPUT_OK, INPUT_OVER_BUDGET, INPUT_NO_MEMORY };

/* A body on its way; len 0: there is none. */
struct input_body {
  struct received_body adopted;
  size_t len, arrived, capacity; /* without the head; capacity is len at the end */
  size_t at;                     /* after start, where it would be */
};

/* [start, len) are valid. */
struct input {
  struct resp_reader reader;
  struct input_budget *budget;
  void *owner;         /* the user's, for input_late */
  struct list awaited; /* in budget.awaited while the peer has to send the rest of a command */
  int64_t since_ms;    /* since when; of a long argument, when the last bytes of it came */
  char *bytes;
  size_t start, len, capacity;
  struct input_body body;
};

/* A reader with the limits of the worker's commands. */
void input_init_reader(struct resp_reader *reader, struct worker *worker);
/* The worker's, with a share of what its instance may hold. */
void input_budget_init(struct input_budget *budget, struct worker *worker);

/*
 * Makes an input of bytes that `reader` has not consumed, and takes over what that knows of them:
 * it is as after input_init_reader, or idle. Sets *input, to NULL when there is no memory for it;
 * it is to be destroyed whatever the result is.
 */
enum input_result input_keep(struct input **input, struct input_budget *budget,
                             struct resp_reader *reader, struct span bytes);
void input_destroy(struct input *input); /* takes NULL */

/* Where the next bytes may be read to, so that they need not be moved; room 0: nowhere. */
char *input_room(struct input *input, size_t *room);
/* Bytes that were read, there or anywhere else. *whole: perhaps a command has become complete. */
enum input_result input_take(struct input *input, struct span bytes, bool *whole);
/* The bytes that were not run yet, for the input's reader. */
static inline struct span input_bytes(const struct input *input) {
  return (struct span){input->bytes + input->start, input->len - input->start};
}
/* The body of the first command, to be told to the worker when it runs; NULL: none was adopted. */
struct received_body *input_adopted(struct input *input);
/* So many bytes have been run. What is left is incomplete, or has to wait. */
enum input_result input_consumed(struct input *input, size_t len);
/* Nothing is left, and nothing is known of what comes. */
bool input_is_empty(const struct input *input);
size_t input_size(const struct input *input); /* bytes held; of NULL 0 */

/* Whether the rest of a command is awaited from the peer, or what is there waits for us. */
void input_await(struct input *input, bool awaited);
/* An input whose command has been awaited for INPUT_REQUEST_MS; NULL: there is none. */
struct input *input_late(const struct input_budget *budget);

#endif
