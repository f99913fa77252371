/*
 * refusal.h - the reason why something is refused, as one line for people: a bad option, CONFIG
 * SET, a server that cannot start.
 *
 * Knows nothing of options. The line says what was wrong and what would be right; bytes that a user
 * gave appear in it only through refusal_show, so that they can neither break the line nor fill it.
 */
#ifndef IDEM_SERVER_OPS_REFUSAL_H
#define IDEM_SERVER_OPS_REFUSAL_H

#include <stdbool.h>

#include "proto/span.h"

/* Room for a reason, with its final NUL; a longer one is cut. */
#define REFUSAL_BYTES 512

/* Writes the reason. Always false, so that a refusal is one statement:
 * `return refusal_write(error, ...)`. */
bool refusal_write(char error[REFUSAL_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "cannot VERB PATH: REASON" with the reason of errno. Always false. */
bool refusal_write_errno(const char *verb, const char *path, char error[REFUSAL_BYTES]);

/* `bytes` for a reason: control bytes escaped as \xHH, cut with "..." where text is full. Returns
 * text. */
#define REFUSAL_SHOWN_BYTES 160
const char *refusal_show(struct span bytes, char text[REFUSAL_SHOWN_BYTES]);

#endif
