/* town.c - see town.h. */
#include "tests/client/town.h"

#include <stdio.h>

#include "tests/client/harness.h"

int town_port(const struct town *town, int node) { return town->ports[node]; }

void town_url(const struct town *town, int first, int last, char *out, size_t size) {
  int len = snprintf(out, size, "redis://");
  for (int i = first; i <= last; i++)
    len += snprintf(out + len, size - (size_t)len, "%s127.0.0.1:%d", i > first ? "," : "",
                    town_port(town, i));
}

const char *town_redirect(struct town *town, int node, const char *word, int to) {
  char *text = town->places[node].text;
  snprintf(text, sizeof town->places[node].text, "-%s %d 127.0.0.1:%d\r\n", word, TOWN_SLOT_OF_X,
           town_port(town, to));
  return text;
}

const char *town_own(const struct command *command) {
  if (command_is(command, "IDEM.CLAIM"))
    return "*5\r\n$7\r\nCLAIMED\r\n:5\r\n:300\r\n:1\r\n$-1\r\n";
  if (command_is(command, "IDEM.RENEW")) return ":300\r\n";
  if (command_is(command, "IDEM.STORE")) return ":0\r\n";
  if (command_is(command, "PING")) return "+PONG\r\n";
  return "*-1\r\n";
}

const char *town_usual(struct town *town, int node, const struct command *command, bool asked) {
  if (town->owner != node && !asked) return town_redirect(town, node, "MOVED", town->owner);
  return town_own(command);
}

/* As CLUSTER NODES writes it: the owner has all slots, a replica and a slot on its way are shown,
 * too; the node that is asked does not know its own address. */
static const char *show_table(struct town *town, int node) {
  char nodes[1024], name[16];
  int len = 0;
  town->tables++;
  if (town->no_table != NULL) return town->no_table;
  for (int i = 0; i < TOWN_NODES; i++) {
    if (town->host_name != NULL) {
      snprintf(name, sizeof name, "%s", town->host_name);
    } else {
      snprintf(name, sizeof name, "name%d", i);
    }
    if (town->tables <= town->nameless) name[0] = '\0';
    len += snprintf(nodes + len, sizeof nodes - (size_t)len,
                    "%040d %s:%d@%d,%s,shard-id=%d %smaster - 0 0 %d connected%s\n", i,
                    i == node ? "" : "127.0.0.1", town_port(town, i), 10000 + i, name, i,
                    i == node ? "myself," : "", i,
                    town->owner == i ? " 0-100 101 102-16383 [93->-x]" : "");
  }
  len += snprintf(nodes + len, sizeof nodes - (size_t)len,
                  "%040d 127.0.0.1:1@2 slave %040d 0 0 1 connected\n", 9, 0);
  snprintf(town->places[node].text, sizeof town->places[node].text, "$%d\r\n%s\r\n", len, nodes);
  return town->places[node].text;
}

static const char *answer(const struct command *command, void *context) {
  struct town_place *place = context;
  struct town *town = place->town;
  if (town->silent & 1u << place->node) {
    town->unanswered++;
    return NULL;
  }
  if (command_is(command, "CLUSTER")) return show_table(town, place->node);
  if (command_is(command, "ASKING")) {
    place->asking = true;
    return town->to_asking != NULL ? town->to_asking(town, place->node) : "+OK\r\n";
  }
  bool asked = place->asking;
  place->asking = false;
  town->heard[place->node]++;
  if (asked) town->asked[place->node]++;
  return town->answer(town, place->node, command, asked);
}

void town_open(struct town *town, town_fn *say) {
  memset(town, 0, sizeof *town);
  town->answer = say != NULL ? say : town_usual;
  for (int i = 0; i < TOWN_NODES; i++) {
    town->places[i] = (struct town_place){.town = town, .node = i};
    town->nodes[i] = stranger_open(answer, &town->places[i]);
    town->ports[i] = stranger_port(town->nodes[i]);
  }
}

void town_lose(struct town *town, int node) {
  if (town->nodes[node] != NULL) stranger_close(town->nodes[node]);
  town->nodes[node] = NULL;
}

void town_close(struct town *town) {
  for (int i = 0; i < TOWN_NODES; i++) town_lose(town, i);
}
