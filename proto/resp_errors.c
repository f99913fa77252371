/*
 * resp_errors.c - errors counted by their code.
 */
#include "proto/resp_errors.h"

#include <stdbool.h>
#include <string.h>

static bool in_code(char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

/* Fills in the code of a text. */
static void read_code(const char *text, char code[RESP_ERRORS_CODE_BYTES]) {
  size_t len = 0;
  while (len < RESP_ERRORS_CODE_BYTES && in_code(text[len])) len++;
  bool good = len > 0 && len < RESP_ERRORS_CODE_BYTES && (text[len] == ' ' || text[len] == '\0');
  memset(code, 0, RESP_ERRORS_CODE_BYTES);
  memcpy(code, good ? text : "ERR", good ? len : sizeof "ERR" - 1);
}

static int compare(const struct resp_errors *errors, size_t i, const char *code) {
  return memcmp(errors->codes[i].code, code, RESP_ERRORS_CODE_BYTES);
}

static void add(struct resp_errors *errors, const char code[RESP_ERRORS_CODE_BYTES],
                uint64_t count) {
  struct resp_errors_code *codes = errors->codes;
  size_t i = 0;
  while (i < errors->count && compare(errors, i, code) < 0) i++;
  if (i == errors->count || compare(errors, i, code) != 0) {
    if (errors->count == RESP_ERRORS_CODES) return;
    memmove(codes + i + 1, codes + i, (errors->count++ - i) * sizeof *codes);
    codes[i].errors = 0;
    memcpy(codes[i].code, code, RESP_ERRORS_CODE_BYTES);
  }
  codes[i].errors += count;
}

void resp_errors_note(struct resp_errors *errors, const char *text) {
  char code[RESP_ERRORS_CODE_BYTES];
  read_code(text, code);
  errors->total++;
  add(errors, code, 1);
}

void resp_errors_merge(struct resp_errors *to, const struct resp_errors *from) {
  to->total += from->total;
  for (size_t i = 0; i < from->count; i++) add(to, from->codes[i].code, from->codes[i].errors);
}
