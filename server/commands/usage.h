/*
 * usage.h - the arguments of a command, parsed from its row's syntax text, so that COMMAND DOCS
 * and HELP cannot disagree.
 *
 * Lower-case words are arguments, upper-case words are tokens, [ ] is optional, | separates
 * alternatives, "..." after an argument means that it may be repeated. The text is parsed on every
 * call into a small tree on the stack: calls are rare, and a row stays one row.
 */
#ifndef IDEM_SERVER_COMMANDS_USAGE_H
#define IDEM_SERVER_COMMANDS_USAGE_H

#include <stdbool.h>

#include "proto/span.h"

#define USAGE_MAX_NODES 48

enum usage_kind { USAGE_VALUE, USAGE_TOKEN, USAGE_BLOCK, USAGE_ONEOF };

/* Children and siblings are indexes into the same array; -1 is none. */
struct usage_node {
  enum usage_kind kind;
  struct span name, token;
  bool optional, multiple;
  int child, next;
};

struct syntax {
  const char *at;
  struct usage_node nodes[USAGE_MAX_NODES];
  int count;
};

/* Fills it from the text, which it borrows and which has to be right. Returns the index of the
 * first node, -1 for an empty text. */
int usage_parse(struct syntax *syntax, const char *text);

#endif
