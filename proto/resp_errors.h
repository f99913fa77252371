/*
 * resp_errors.h - how many errors were written, by their code: "STALE" of "STALE ABSENT ...".
 *
 * Which codes there are follows from the errors that are written: a text begins with a literal of
 * the program, never with bytes of a client, so that no client can make up a code. Text that begins
 * with anything but capitals, digits and '_' counts as ERR. Invariants: the codes are sorted, and
 * no two are equal; total is the sum of all, and of those for whose codes there was no place.
 * Zero-filled it is empty. Not thread-safe.
 */
#ifndef IDEM_PROTO_RESP_ERRORS_H
#define IDEM_PROTO_RESP_ERRORS_H

#include <stddef.h>
#include <stdint.h>

#define RESP_ERRORS_CODES 128u    /* as in Redis; further ones are in total only */
#define RESP_ERRORS_CODE_BYTES 32 /* of a code, with its end */

struct resp_errors {
  uint64_t total;
  size_t count; /* of codes */
  struct resp_errors_code {
    char code[RESP_ERRORS_CODE_BYTES];
    uint64_t errors;
  } codes[RESP_ERRORS_CODES];
};

/* The text is terminated, and begins with the code. */
void resp_errors_note(struct resp_errors *errors, const char *text);
/* Adds up all of them. */
void resp_errors_merge(struct resp_errors *to, const struct resp_errors *from);

#endif
