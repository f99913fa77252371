/*
 * options_words.h - a line of the configuration file as words: redis.conf's quotes and escapes.
 *
 * A "..." word may have \n \r \t \a \b \xHH \" \\ in it, a '...' word \'. Knows no options.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_WORDS_H
#define IDEM_SERVER_OPS_OPTIONS_WORDS_H

#include <stdio.h>

#include "proto/span.h"

/* Where the words go: the caller's room. */
struct options_words {
  struct span *argv; /* point into bytes */
  size_t most, argc;
  char *bytes; /* room for as many as the line has: unescaping never makes a line longer */
  size_t len;
};

/* NULL, or what is wrong with the line. */
const char *options_words_split(struct span line, struct options_words *words);
/* Whether it is read back as it is only when it stands in quotes. */
bool options_words_need_quotes(struct span word);
/* Writes a word as it has to stand in a file. Returns how many bytes it takes. */
size_t options_words_write(FILE *out, struct span word, bool quotes);

#endif
