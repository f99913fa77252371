/*
 * options_value.h - a value of an option, by its row: text -> value -> field of struct options ->
 * text.
 *
 * The command line, the configuration file, CONFIG SET and CONFIG REWRITE all read and show values
 * here, so they cannot disagree. Knows no table, no file and no command line. Keeps:
 * options_value_parse reads back what options_value_text prints, as the same value.
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_VALUE_H
#define IDEM_SERVER_OPS_OPTIONS_VALUE_H

#include "server/ops/options_row.h"
#include "server/ops/refusal.h"

struct options;

/* Room for any value as text, with its final NUL. */
#define OPTIONS_VALUE_BYTES 1024

/* A value that is not stored yet. text: of rows that are texts, owned; NULL for numbers. plain: of a
 * password, of which text is the digest; owned. */
struct options_value {
  int64_t number;
  int64_t percent; /* of OPTIONS_ROW_MEMORY; 0: none */
  char *text;
  char *plain;
};

/* False with the reason ("bad value 'x' for port: expected an integer from 0 to 65535") when text
 * is no value of the row; a secret is not repeated in it. True: the caller has to store or deinit
 * the value. */
bool options_value_parse(const struct options_row *row, struct span text,
                         struct options_value *value, char error[REFUSAL_BYTES]);
/* Wipes and frees. */
void options_value_deinit(struct options_value *value);
/* Sets *value to a copy of the field. False: memory is short. */
bool options_value_copy(const struct options_row *row, const struct options *options,
                        struct options_value *value);
/* Moves the value into the field; the former text is wiped and freed, and so is what a password is
 * the digest of. Cannot fail. */
void options_value_store(const struct options_row *row, struct options *options,
                         struct options_value *value);
/* The same for a flat copy of the options, which owns no texts: frees nothing, and the text stays
 * the value's. */
void options_value_show(const struct options_row *row, struct options *options,
                        const struct options_value *value);
bool options_value_equal(const struct options_row *row, const struct options *options,
                         const struct options_value *value);
/* The field in base units, secrets too; a percentage as one. */
void options_value_text(const struct options_row *row, const struct options *options,
                        char text[OPTIONS_VALUE_BYTES]);

/* Placeholder of the value in --help: "N", "TIME". */
const char *options_value_hint(const struct options_row *row);
/* "1ms to 1h", "yes or no", "at most 107 bytes". */
void options_value_bounds(const struct options_row *row, char text[OPTIONS_VALUE_BYTES]);

/* Frees after overwriting: the bytes may hold a password. NULL is fine. */
void options_value_wipe(char *bytes, size_t len);

#endif
