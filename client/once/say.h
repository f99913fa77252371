/*
 * say.h - what idem-once itself has to say, on stderr.
 *
 * Invariant: nothing that others chose (a key, a server's error, an owner's name) reaches
 * the terminal as more than visible text.
 */
#ifndef IDEM_CLIENT_ONCE_SAY_H
#define IDEM_CLIENT_ONCE_SAY_H

/* Room for a key at its limit, a message of the library, and a sentence around them. */
#define SAY_BYTES 2048

/* One line, "idem-once: key K: ..." (key NULL: without it), cut at SAY_BYTES. Bytes that are not
 * printable ASCII come out as \xNN. */
void say(const char *key, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
