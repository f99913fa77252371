/*
 * input.h - the bytes of a connection that could not be run yet: an incomplete command, or commands
 * that have to wait. An idle connection has none. Knows no connection: its budget says how much it
 * may hold, and how long that may take to arrive.
 *
 *     bytes   start [STORE k 7 $1000000 | CRLF TTL 60000 ...) len      capacity
 *                                       ^ body.at
 *     body          [head][ bytes, as far as they have arrived )  )capacity
 *
 * A long body that a STORE may keep is adopted: it is taken out of the bytes as it arrives,
 * straight into what the engine will keep, so that it is neither copied nor held twice. Its
 * allocation grows as it arrives.
 *
 * Invariants: an adopted body belongs to the first command in bytes, whose reader gets it once it
 * is whole; budget.held counts the capacities; neither of them is ever more than twice what has
 * arrived, so that a mere announcement costs nothing.
 */
#ifndef IDEM_SERVER_NET_INPUT_H
#define IDEM_SERVER_NET_INPUT_H

#include "proto/resp_read.h"
#include "server/commands/received_body.h"

/* A body shorter than this, or the part of it that arrived with its command, is copied: that costs
 * less than an allocation of its own. */
#define INPUT_ADOPTED_BYTES (64u * 1024)
_Static_assert(INPUT_ADOPTED_BYTES >= ADOPTED_BODY_LEAST_BYTES, "the engine takes it");
/* Size of the buffer that all connections of a loop read into, and the least that is read into an
 * input directly. */
#define INPUT_READ_BYTES (64u * 1024)
/* All arguments of a command: the largest body, and room for the largest list of keys. */
#define INPUT_COMMAND_BYTES (64u * 1024 * 1024)

/* How long a command may take to arrive, from its first byte to its last; within an argument of at
 * least INPUT_LONG_BYTES, the longest pause between two reads. */
#define INPUT_REQUEST_MS 10000
#define INPUT_LONG_BYTES 4096u

/* The bytes that all inputs of the server may hold together, and the inputs of one loop whose
 * command has to arrive in time. */
struct input_budget {
  struct worker *worker;  /* has the time and the limits, and releases adopted bodies */
  _Atomic uint64_t *held; /* bytes of all inputs */
  const int64_t *limit;   /* of them; may change */
  struct list awaited;    /* struct input.awaited, since longest first */
};

/* The last two: what is left of the input can only be destroyed. */
enum input_result { INPUT_OK, INPUT_OVER_BUDGET, INPUT_NO_MEMORY };

/* A body on its way; len 0: there is none. */
struct input_body {
  struct received_body received;
  size_t len, arrived, capacity; /* without the head; capacity is len at the end */
  size_t at;                     /* after start, where it would be */
};

/* [start, len) are valid. */
struct input {
  struct resp_reader reader;
  struct input_budget *budget;
  void *owner;         /* the user's, for input_late */
  struct list awaited; /* in budget.awaited while the client has to send the rest of a command */
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
 * Makes an input of bytes that `reader` has not consumed, and takes over the reader's state, which
 * is afterwards as after input_init_reader, or idle. Sets *input, to NULL when there is no memory
 * for it; it is to be destroyed whatever the result is.
 */
enum input_result input_keep(struct input **input, struct input_budget *budget,
                             struct resp_reader *reader, struct span bytes);
void input_destroy(struct input *input); /* takes NULL */

/* Where the next bytes may be read to, so that they need not be copied; room 0: nowhere. */
char *input_room(struct input *input, size_t *room);
/* Bytes that were read, there or anywhere else. *whole: perhaps a command has become complete. */
enum input_result input_take(struct input *input, struct span bytes, bool *whole);
/* The bytes that were not run yet, for the input's reader. */
static inline struct span input_bytes(const struct input *input) {
  return (struct span){input->bytes + input->start, input->len - input->start};
}
/* The body of the first command, for the request that runs it; NULL: none was adopted. */
struct received_body *input_adopted(struct input *input);
/* So many bytes have been run. What is left is incomplete, or has to wait. */
enum input_result input_consumed(struct input *input, size_t len);
/* Nothing is left, and the reader is idle. */
bool input_is_empty(const struct input *input);
size_t input_size(const struct input *input); /* bytes held; of NULL 0 */

/* Whether the client has to send the rest of a command, or the server has to run what is there. */
void input_await(struct input *input, bool awaited);
/* An input whose command has been awaited for INPUT_REQUEST_MS; NULL: there is none. */
struct input *input_late(const struct input_budget *budget);

#endif
