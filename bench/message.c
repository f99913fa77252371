/* Templates of requests and replies; see the header for what a match promises. */
#include "bench/message.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_PIECE_MAX = 256 };

void message_deinit(struct message *message) {
  free(message->text);
  *message = (struct message){.count = 0};
}

static void add_piece(struct message *message, enum message_piece_kind kind, size_t offset,
                      size_t bytes) {
  assert(message->count < MESSAGE_PIECES_MAX);
  message->pieces[message->count++] =
      (struct message_piece){.kind = kind, .offset = offset, .bytes = bytes};
}

static char *add_text_space(struct message *message, size_t bytes) {
  char *text = realloc(message->text, message->text_bytes + bytes + 1);
  if (text == NULL) {
    fprintf(stderr, "idem-bench: out of memory\n");
    exit(EXIT_FAILURE);
  }
  message->text = text;

  /* Neighbouring texts become one piece: fewer comparisons per reply. */
  struct message_piece *last = message->count > 0 ? &message->pieces[message->count - 1] : NULL;
  if (last != NULL && last->kind == MESSAGE_PIECE_TEXT) {
    last->bytes += bytes;
  } else {
    add_piece(message, MESSAGE_PIECE_TEXT, message->text_bytes, bytes);
  }
  char *space = message->text + message->text_bytes;
  message->text_bytes += bytes;
  return space;
}

void message_add_text(struct message *message, const char *format, ...) {
  char text[TEXT_PIECE_MAX];
  va_list arguments;
  va_start(arguments, format);
  int bytes = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  assert(bytes > 0 && (size_t)bytes < sizeof text);
  memcpy(add_text_space(message, (size_t)bytes), text, (size_t)bytes);
}

void message_add_fill(struct message *message, char byte, size_t bytes) {
  if (bytes > 0) memset(add_text_space(message, bytes), byte, bytes);
}

/* "$NN" CR LF digits CR LF */
static size_t bulk_bytes(size_t digits) { return digits + sizeof "$15\r\n\r\n" - 1; }

void message_add_hole(struct message *message, enum message_piece_kind kind,
                      size_t bytes_or_digits) {
  assert(kind != MESSAGE_PIECE_TEXT);
  size_t bytes = bytes_or_digits;
  if (kind == MESSAGE_PIECE_KEY) bytes = MESSAGE_KEY_BYTES;
  if (kind == MESSAGE_PIECE_TOKEN_BULK || kind == MESSAGE_PIECE_TTL_BULK)
    bytes = bulk_bytes(bytes_or_digits);
  add_piece(message, kind, 0, bytes);
}

size_t message_usual_bytes(const struct message *message) {
  size_t bytes = 0;
  for (size_t i = 0; i < message->count; i++) bytes += message->pieces[i].bytes;
  return bytes;
}

static size_t piece_most_bytes(const struct message_piece *piece) {
  switch (piece->kind) {
    case MESSAGE_PIECE_TOKEN_BULK:
    case MESSAGE_PIECE_TTL_BULK: return bulk_bytes(MESSAGE_NUMBER_DIGITS_MAX);
    case MESSAGE_PIECE_TOKEN:
    case MESSAGE_PIECE_NUMBER: return MESSAGE_NUMBER_DIGITS_MAX;
    default: return piece->bytes;
  }
}

size_t message_most_bytes(const struct message *message) {
  size_t bytes = 0;
  for (size_t i = 0; i < message->count; i++) bytes += piece_most_bytes(&message->pieces[i]);
  return bytes;
}

static size_t write_number(uint64_t number, char *out) {
  char digits[MESSAGE_NUMBER_DIGITS_MAX + 1], bulk[MESSAGE_NUMBER_DIGITS_MAX + 16];
  int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
  int bytes = snprintf(bulk, sizeof bulk, "$%d\r\n%s\r\n", count, digits);
  assert(bytes > 0 && (size_t)bytes <= bulk_bytes(MESSAGE_NUMBER_DIGITS_MAX));
  memcpy(out, bulk, (size_t)bytes);
  return (size_t)bytes;
}

size_t message_write(const struct message *message, const struct message_subject *subject,
                     char *out) {
  char *at = out;
  for (size_t i = 0; i < message->count; i++) {
    const struct message_piece *piece = &message->pieces[i];
    switch (piece->kind) {
      case MESSAGE_PIECE_TEXT:
        memcpy(at, message->text + piece->offset, piece->bytes);
        at += piece->bytes;
        break;
      case MESSAGE_PIECE_KEY:
        memcpy(at, subject->key, MESSAGE_KEY_BYTES);
        at += MESSAGE_KEY_BYTES;
        break;
      case MESSAGE_PIECE_TOKEN_BULK: at += write_number(subject->token, at); break;
      case MESSAGE_PIECE_TTL_BULK: at += write_number(subject->ttl_ms, at); break;
      default: assert(false && "a request has no such hole");
    }
  }
  return (size_t)(at - out);
}

static enum message_result match_bytes(const char *expected, size_t expected_bytes, const char *at,
                                       size_t left) {
  size_t bytes = left < expected_bytes ? left : expected_bytes;
  if (memcmp(at, expected, bytes) != 0) return MESSAGE_WRONG;
  return bytes == expected_bytes ? MESSAGE_WHOLE : MESSAGE_MORE;
}

static enum message_result match_number(const char *at, size_t left, uint64_t *value,
                                        size_t *digits) {
  size_t count = 0;
  uint64_t number = 0;
  while (count < left && at[count] >= '0' && at[count] <= '9') {
    if (count == MESSAGE_NUMBER_DIGITS_MAX) return MESSAGE_WRONG;
    number = number * 10 + (uint64_t)(at[count] - '0');
    count++;
  }
  if (count == left) return MESSAGE_MORE;
  if (count == 0) return MESSAGE_WRONG;
  *value = number;
  *digits = count;
  return MESSAGE_WHOLE;
}

enum message_result message_match(const struct message *message, const char *input, size_t bytes,
                                  struct message_subject *subject, size_t *consumed) {
  size_t used = 0;
  for (size_t i = 0; i < message->count; i++) {
    const struct message_piece *piece = &message->pieces[i];
    size_t left = bytes - used, length = piece->bytes;
    uint64_t number = 0;
    enum message_result match = MESSAGE_WRONG;
    switch (piece->kind) {
      case MESSAGE_PIECE_TEXT:
        match = match_bytes(message->text + piece->offset, length, input + used, left);
        break;
      case MESSAGE_PIECE_KEY: match = match_bytes(subject->key, length, input + used, left); break;
      case MESSAGE_PIECE_NUMBER: match = match_number(input + used, left, &number, &length); break;
      case MESSAGE_PIECE_TOKEN:
        match = match_number(input + used, left, &number, &length);
        if (match == MESSAGE_WHOLE) subject->token = number;
        break;
      case MESSAGE_PIECE_ANY: match = left < length ? MESSAGE_MORE : MESSAGE_WHOLE; break;
      case MESSAGE_PIECE_TOKEN_BULK:
      case MESSAGE_PIECE_TTL_BULK: assert(false && "a reply has no such hole");
    }
    if (match != MESSAGE_WHOLE) return match;
    used += length;
  }
  *consumed = used;
  return MESSAGE_WHOLE;
}
