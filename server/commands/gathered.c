/* gathered.c - see gathered.h. */
#include "server/commands/gathered.h"

#include "server/rules/answer.h"

#include <stdlib.h>
#include <string.h>

#include "server/commands/counted.h"
#include "server/commands/outputs.h"
#include "server/engine/pin.h"

/* Large enough that a reply of gigabytes has few pieces, small enough for a short reply. */
#define PIECE_LEAST (16u * 1024)
#define PIECE_MOST (1024u * 1024)
/* Up to this, copying costs less than referring to it. */
#define COPIED_BYTES (64u * 1024)

struct gathered_piece {
  struct counted head;
  struct gathered_piece *next;
  size_t len, capacity;
  struct resp_output_ref pinned; /* of a pinned blob, without bytes here; pin NULL: it is none */
  char bytes[];
};

static struct gathered_piece *add_piece(struct gathered *gathered, size_t room, size_t counts) {
  struct gathered_piece *piece = malloc(sizeof *piece + room);
  gathered->failed = piece == NULL;
  if (piece == NULL) return NULL;
  *piece = (struct gathered_piece){.head.references = 1, .capacity = counts};
  atomic_fetch_add(&gathered->worker->instance->gathered_bytes, counts);
  if (gathered->last != NULL) gathered->last->next = piece;
  if (gathered->first == NULL) gathered->first = piece;
  gathered->last = piece;
  return piece;
}

static size_t capacity_for(const struct gathered *gathered, size_t least) {
  size_t capacity = gathered->bytes < PIECE_LEAST  ? PIECE_LEAST
                    : gathered->bytes < PIECE_MOST ? gathered->bytes
                                                   : PIECE_MOST;
  return capacity < least ? least : capacity;
}

void gathered_append(struct gathered *gathered, const char *bytes, size_t len) {
  struct gathered_piece *piece = gathered->last;
  if (gathered->failed) return;
  if (piece == NULL || piece->capacity - piece->len < len) {
    size_t capacity = capacity_for(gathered, len);
    piece = add_piece(gathered, capacity, capacity);
  }
  if (piece == NULL) return;
  memcpy(piece->bytes + piece->len, bytes, len);
  piece->len += len;
  gathered->bytes += len;
}

void gathered_pin(struct gathered *gathered, struct shard *shard, struct blob *blob,
                  struct span bytes) {
  if (gathered->failed) return;
  struct gathered_piece *piece = add_piece(gathered, 0, bytes.len);
  if (piece == NULL) return;
  piece->len = bytes.len;
  piece->pinned = (struct resp_output_ref){
      .data = bytes.data, .len = bytes.len, .pin = pin_take(blob), .keeper = shard};
  gathered->bytes += bytes.len;
}

bool gathered_whole(const struct gathered *gathered, struct resp_writer *reply) {
  if (gathered->failed) resp_write_error(reply, answer_error(ANSWER_NO_MEMORY));
  return !gathered->failed;
}

/* The oldest piece. From here on the session's output counts it. */
static struct gathered_piece *take_piece(struct gathered *gathered) {
  struct gathered_piece *piece = gathered->first;
  if (piece == NULL) return NULL;
  gathered->first = piece->next;
  atomic_fetch_sub(&gathered->worker->instance->gathered_bytes, piece->capacity);
  return piece;
}

/* What no output refers to. */
static void drop_piece(struct gathered *gathered, struct gathered_piece *piece) {
  if (piece->pinned.pin != NULL) outputs_unpin_one(gathered->worker, &piece->pinned);
  free(piece);
}

static void send_pinned(struct gathered *gathered, struct gathered_piece *piece,
                        struct resp_output *out) {
  struct resp_output_ref *ref = &piece->pinned;
  struct span bytes = {ref->data, ref->len};
  if (resp_output_refer(out, bytes, ref->pin, ref->keeper)) ref->pin = NULL;
  drop_piece(gathered, piece);
}

void gathered_send(struct gathered *gathered, struct resp_writer *reply) {
  bool copied = gathered->bytes <= COPIED_BYTES;
  for (struct gathered_piece *piece; (piece = take_piece(gathered)) != NULL;) {
    struct span bytes = {piece->bytes, piece->len};
    if (piece->pinned.pin != NULL) {
      send_pinned(gathered, piece, reply->out);
      continue;
    }
    if (copied) resp_output_append(reply->out, bytes.data, bytes.len);
    if (copied || !resp_output_refer(reply->out, bytes, piece, NULL)) free(piece);
  }
}

void gathered_deinit(struct gathered *gathered) {
  for (struct gathered_piece *piece; (piece = take_piece(gathered)) != NULL;)
    drop_piece(gathered, piece);
}
