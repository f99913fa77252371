/* The requests as RESP arrays of bulk strings, the replies as idem writes them. */
#include "bench/step.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
  TOKEN_DIGITS = 15, /* (seconds since 2024) << 22 has 15 digits from October 2024 to July 2031 */
  AGE_DIGITS = 4,    /* a replay is measured seconds after its STORE */
  TTL_LEFT_DIGITS = 8
};

void step_add_number(struct message *message, uint64_t number) {
  char digits[MESSAGE_NUMBER_DIGITS_MAX + 1];
  int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
  message_add_text(message, "$%d\r\n%s\r\n", count, digits);
}

void step_add_command(struct message *message, int arguments, const char *name) {
  message_add_text(message, "*%d\r\n$%zu\r\n%s\r\n$%d\r\n", arguments, strlen(name), name,
                   MESSAGE_KEY_BYTES);
  message_add_hole(message, MESSAGE_PIECE_KEY, 0);
  message_add_text(message, "\r\n");
}

void step_add_word(struct message *message, const char *word) {
  message_add_text(message, "$%zu\r\n%s\r\n", strlen(word), word);
}

void step_add_body(struct message *message, size_t bytes) {
  message_add_text(message, "$%zu\r\n", bytes);
  message_add_hole(message, MESSAGE_PIECE_KEY, 0);
  message_add_fill(message, 'b', bytes - MESSAGE_KEY_BYTES);
  message_add_text(message, "\r\n");
}

void step_add_ttl(struct message *message, const struct step_sizes *sizes) {
  if (sizes->ttl_ms > 0) {
    step_add_number(message, sizes->ttl_ms);
  } else {
    message_add_hole(message, MESSAGE_PIECE_TTL_BULK, TTL_LEFT_DIGITS);
  }
}

void step_add_claim(struct message *message, const struct step_sizes *sizes) {
  bool fingerprint = sizes->fingerprint_bytes > 0;
  step_add_command(message, fingerprint ? 6 : 4, sizes->prefixed ? "IDEM.CLAIM" : "CLAIM");
  if (fingerprint) {
    step_add_word(message, "FP");
    message_add_text(message, "$%zu\r\n", sizes->fingerprint_bytes);
    message_add_fill(message, 'f', sizes->fingerprint_bytes);
    message_add_text(message, "\r\n");
  }
  step_add_word(message, "LEASE");
  step_add_number(message, sizes->lease_ms);
}

void step_add_done_reply(struct message *message, size_t body_bytes) {
  message_add_text(message, "*5\r\n$4\r\nDONE\r\n");
  step_add_body(message, body_bytes);
  message_add_text(message, "$-1\r\n:");
  message_add_hole(message, MESSAGE_PIECE_NUMBER, AGE_DIGITS);
  message_add_text(message, "\r\n:");
  message_add_hole(message, MESSAGE_PIECE_NUMBER, TTL_LEFT_DIGITS);
  message_add_text(message, "\r\n");
}

void step_claim(struct step *step, const struct step_sizes *sizes) {
  step_add_claim(&step->request, sizes);
  message_add_text(&step->reply, "*5\r\n$7\r\nCLAIMED\r\n:");
  message_add_hole(&step->reply, MESSAGE_PIECE_TOKEN, TOKEN_DIGITS);
  message_add_text(&step->reply, "\r\n:%" PRIu64 "\r\n:1\r\n$-1\r\n", sizes->lease_ms);
}

void step_store(struct step *step, const struct step_sizes *sizes) {
  step_add_command(&step->request, 6, sizes->prefixed ? "IDEM.STORE" : "STORE");
  message_add_hole(&step->request, MESSAGE_PIECE_TOKEN_BULK, TOKEN_DIGITS);
  step_add_body(&step->request, sizes->body_bytes);
  step_add_word(&step->request, "TTL");
  step_add_ttl(&step->request, sizes);
  message_add_text(&step->reply, ":0\r\n");
}
