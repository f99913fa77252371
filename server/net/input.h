/*
 * input.h - the bytes of a connection that could not be run yet: an incomplete command, or what has
 * to wait. An idle connection has none.
 *
 *     bytes   start [STORE k 7 $1000000 | CRLF TTL 60000 ...) len      capacity
 *                                       ^ apart.at
 *     apart         [head][ body, as far as it has arrived )  )capacity
 *
 * A long body that a STORE may keep is taken out of the bytes as it arrives, straight into what the
 * engine will keep: it is not copied from one place to another, nor held twice. Where it lies is
 * enlarged as it arrives.
 *
 * Invariants: what is apart belongs to the first command in bytes, whose reader has been told of it
 * since it is whole; instance.input_bytes counts the capacities; neither of them is ever more than
 * twice what has arrived, so that a mere announcement costs nothing.
 */
#ifndef IDEM_SERVER_NET_INPUT_H
#define IDEM_SERVER_NET_INPUT_H

#include "proto/resp_read.h"
#include "server/commands/received_body.h"

/* A body shorter than this, or the part of it that arrived with its command, is copied: that costs
 * less than the piece. */
#define INPUT_APART_BYTES (64u * 1024)
_Static_assert(INPUT_APART_BYTES >= ADOPTED_BODY_LEAST_BYTES, "the engine takes it");

/* How long the bytes of a command may be on their way, from the first to the last; of an argument
 * as long as INPUT_LONG_BYTES, how long none of them may come. */
#define INPUT_REQUEST_MS 10000
#define INPUT_LONG_BYTES 4096u

struct loop;
struct conn;

/* A body on its way; len 0: there is none. */
struct apart {
  struct received_body body;
  size_t len, arrived, capacity; /* without the head; capacity is len at the end */
  size_t at;                     /* behind start, where it would be */
};

/* [start, len) are valid. */
struct input {
  struct resp_reader reader;
  struct conn *conn;
  struct list awaited; /* in loop.awaited while the peer has to send the rest of a command */
  int64_t since_ms;    /* since when; of a long argument, when the last bytes of it came */
  char *bytes;
  size_t start, len, capacity;
  struct apart apart;
};

/* Keeps what the loop's reader has not consumed, with what it knows of it. False here and below:
 * the limit of all connections together, or of memory. */
bool input_keep(struct conn *conn, const char *data, size_t len);
void input_destroy(struct conn *conn);

/* Where the next bytes may be read to, so that they need not be moved; room 0: nowhere. */
char *input_room(struct conn *conn, size_t *room);
/* Bytes that were read, there or anywhere else. *whole: perhaps a command has become complete. */
bool input_take(struct conn *conn, const char *data, size_t len, bool *whole);
/* The body of the first command, for its request; NULL: it has none apart. */
struct received_body *input_adopted(struct input *input);
/* So many bytes have been run. What is left is incomplete, or has to wait. */
bool input_consumed(struct conn *conn, size_t len);
size_t input_size(const struct input *input); /* as taken */
/* Whether the rest of a command is awaited from the peer, or what is there waits for us. */
void input_await(struct conn *conn, bool awaited);
/* The connection whose command has been awaited for INPUT_REQUEST_MS, if there is one. */
struct conn *input_late(struct loop *loop);

#endif
