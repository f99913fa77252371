/*
 * utf8.h - characters of UTF-8 (RFC 3629).
 *
 * Text ends with NUL. Any thread.
 */
#ifndef IDEM_SERVER_BASE_UTF8_H
#define IDEM_SERVER_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* How many bytes the character at `text` has, and its code. 0: there is none, but a byte that is
 * not UTF-8, or the end: no surrogates, none longer than needed, none above 10FFFF. */
size_t utf8_read(const char *text, uint32_t *code);

#endif
