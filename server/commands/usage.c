/* usage.c - see usage.h. */
#include "server/commands/usage.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

static int parse_alternatives(struct syntax *s);

static int add_node(struct syntax *s, enum usage_kind kind) {
  assert(s->count < USAGE_MAX_NODES);
  s->nodes[s->count] = (struct usage_node){.kind = kind, .child = -1, .next = -1};
  return s->count++;
}

static void skip_blanks(struct syntax *s) {
  while (*s->at == ' ') s->at++;
}

static struct span take_word(struct syntax *s) {
  const char *start = s->at;
  while (*s->at != '\0' && strchr(" []|", *s->at) == NULL && strncmp(s->at, "...", 3) != 0) s->at++;
  return (struct span){start, (size_t)(s->at - start)};
}

static bool at_value(const struct syntax *s) { return islower((unsigned char)*s->at); }

static int parse_value(struct syntax *s) {
  int node = add_node(s, USAGE_VALUE);
  s->nodes[node].name = take_word(s);
  if (strncmp(s->at, "...", 3) == 0) {
    s->at += 3;
    s->nodes[node].multiple = true;
  }
  skip_blanks(s);
  return node;
}

/* TOKEN, TOKEN value, TOKEN value value */
static int parse_token(struct syntax *s) {
  struct span token = take_word(s);
  skip_blanks(s);
  if (!at_value(s)) {
    int node = add_node(s, USAGE_TOKEN);
    s->nodes[node].name = s->nodes[node].token = token;
    return node;
  }
  int first = parse_value(s), last = first;
  while (at_value(s)) last = s->nodes[last].next = parse_value(s);
  if (first == last) {
    s->nodes[first].token = token;
    return first;
  }
  int block = add_node(s, USAGE_BLOCK);
  s->nodes[block].name = s->nodes[block].token = token;
  s->nodes[block].child = first;
  return block;
}

static int parse_item(struct syntax *s) {
  if (*s->at != '[') return at_value(s) ? parse_value(s) : parse_token(s);
  s->at++;
  int node = parse_alternatives(s);
  assert(*s->at == ']' && node >= 0 && s->nodes[node].next < 0);
  s->at++;
  skip_blanks(s);
  s->nodes[node].optional = true;
  return node;
}

/* Items up to a bar, a closing bracket or the end; -1 when there are none. */
static int parse_sequence(struct syntax *s) {
  int first = -1, last = -1;
  skip_blanks(s);
  while (*s->at != '\0' && *s->at != ']' && *s->at != '|') {
    int node = parse_item(s);
    if (first < 0) first = node;
    if (last >= 0) s->nodes[last].next = node;
    last = node;
  }
  return first;
}

static int wrap(struct syntax *s, enum usage_kind kind, const char *name, int child) {
  int node = add_node(s, kind);
  s->nodes[node].name = span_of(name);
  s->nodes[node].child = child;
  return node;
}

/* One sequence stays a list of siblings at the top, several become a oneof. */
static int parse_alternatives(struct syntax *s) {
  int first = parse_sequence(s);
  if (*s->at != '|') {
    return first >= 0 && s->nodes[first].next >= 0 && *s->at == ']'
               ? wrap(s, USAGE_BLOCK, "options", first)
               : first;
  }
  if (s->nodes[first].next >= 0) first = wrap(s, USAGE_BLOCK, "options", first);
  int last = first;
  while (*s->at == '|') {
    s->at++;
    int node = parse_sequence(s);
    if (s->nodes[node].next >= 0) node = wrap(s, USAGE_BLOCK, "options", node);
    last = s->nodes[last].next = node;
  }
  return wrap(s, USAGE_ONEOF, "condition", first);
}

int usage_parse(struct syntax *syntax, const char *text) {
  syntax->at = text;
  syntax->count = 0;
  int first = parse_alternatives(syntax);
  assert(*syntax->at == '\0');
  return first;
}
