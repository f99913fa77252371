/*
 * syntax.h - the arguments of a command, parsed from its row's syntax text, so that COMMAND DOCS
 * and HELP cannot disagree.
 *
 * Lower-case words are arguments, upper-case words are tokens, [ ] is optional, | separates
 * alternatives, "..." after an argument means that it may be repeated. The text is parsed on every
 * call into a small tree on the stack: calls are rare, and a row stays one row.
 */
#ifndef IDEM_SERVER_COMMANDS_SYNTAX_H
#define IDEM_SERVER_COMMANDS_SYNTAX_H

#include <stdbool.h>

#include "proto/span.h"

#define SYNTAX_MAX_NODES 48

enum syntax_kind { SYNTAX_VALUE, SYNTAX_TOKEN, SYNTAX_BLOCK, SYNTAX_ONEOF };

/* Children and siblings are indexes into the same array; -1 is none. */
struct syntax_node {
  enum syntax_kind kind;
  struct span name, token;
  bool optional, multiple;
  int child, next;
};

struct syntax {
  const char *at;
  struct syntax_node nodes[SYNTAX_MAX_NODES];
  int count;
};

/* Fills it from the text, which it borrows and which has to be right. Returns the index of the
 * first node, -1 for an empty text. */
int syntax_parse(struct syntax *syntax, const char *text);

#endif
