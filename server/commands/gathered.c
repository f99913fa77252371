/* gathered.c - see gathered.h. */
#include "server/commands/gathered.h"

#include "server/rules/answer.h"

#include <stdlib.h>
#include <string.h>

#include "server/commands/counted.h"

/* Large enough that a reply of gigabytes has few pieces, small enough for a short reply. */
#define PIECE_LEAST (16u * 1024)
#define PIECE_MOST (1024u * 1024)
/* Up to this, copying costs less than referring to it. */
#define COPIED_BYTES (64u * 1024)

struct gathered_piece {
  struct counted head;
  struct gathered_piece *next;
  size_t len, capacity;
  char bytes[];
};

static struct gathered_piece *add_piece(struct gathered *gathered, size_t least) {
  size_t capacity = gathered->bytes < PIECE_LEAST  ? PIECE_LEAST
                    : gathered->bytes < PIECE_MOST ? gathered->bytes
                                                   : PIECE_MOST;
  if (capacity < least) capacity = least;
  struct gathered_piece *piece = malloc(sizeof *piece + capacity);
  gathered->failed = piece == NULL;
  if (piece == NULL) return NULL;
  *piece = (struct gathered_piece){.head.references = 1, .capacity = capacity};
  atomic_fetch_add(&gathered->instance->gathered_bytes, capacity);
  if (gathered->last != NULL) gathered->last->next = piece;
  if (gathered->first == NULL) gathered->first = piece;
  gathered->last = piece;
  return piece;
}

void gathered_append(struct gathered *gathered, const char *bytes, size_t len) {
  struct gathered_piece *piece = gathered->last;
  if (gathered->failed) return;
  if (piece == NULL || piece->capacity - piece->len < len) piece = add_piece(gathered, len);
  if (piece == NULL) return;
  memcpy(piece->bytes + piece->len, bytes, len);
  piece->len += len;
  gathered->bytes += len;
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
  atomic_fetch_sub(&gathered->instance->gathered_bytes, piece->capacity);
  return piece;
}

void gathered_send(struct gathered *gathered, struct resp_writer *reply) {
  bool copied = gathered->bytes <= COPIED_BYTES;
  for (struct gathered_piece *piece; (piece = take_piece(gathered)) != NULL;) {
    struct span bytes = {piece->bytes, piece->len};
    if (copied) resp_output_append(reply->out, bytes.data, bytes.len);
    if (copied || !resp_output_refer(reply->out, bytes, piece, NULL)) free(piece);
  }
}

void gathered_deinit(struct gathered *gathered) {
  for (struct gathered_piece *piece; (piece = take_piece(gathered)) != NULL;) free(piece);
}
