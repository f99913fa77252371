/* cluster.c - see cluster.h. */
#include "client/cluster.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/slot.h"

_Static_assert(CLUSTER_NODES_MAX < UINT16_MAX, "an owner is a uint16_t");

/* ---- nodes ---- */

static struct node *find_node(const struct cluster *cluster, const char *host, const char *port) {
  for (unsigned i = 0; i < cluster->count; i++) {
    const struct target *target = &cluster->nodes[i]->target;
    if (target->path == NULL && strcmp(target->host, host) == 0 && strcmp(target->port, port) == 0)
      return cluster->nodes[i];
  }
  return NULL;
}

/* Takes over the target. NULL: no memory, or no place. */
static struct node *add_node(struct cluster *cluster, struct target *target) {
  struct node *node = cluster->count < CLUSTER_NODES_MAX ? calloc(1, sizeof *node) : NULL;
  if (node == NULL) {
    target_deinit(target);
    return NULL;
  }
  node->target = *target;
  cluster->nodes[cluster->count++] = node;
  return node;
}

/* The one that listens there, which may be new. NULL: no memory, or no place. */
static struct node *node_at(struct cluster *cluster, const char *host, const char *port) {
  struct target target;
  struct node *node = find_node(cluster, host, port);
  if (node != NULL) return node;
  return target_of_node(&target, cluster->target, host, port) ? add_node(cluster, &target) : NULL;
}

static uint16_t owner_number(const struct cluster *cluster, const struct node *node) {
  unsigned i = 0;
  while (cluster->nodes[i] != node) i++;
  return (uint16_t)(i + 1);
}

/* From now on slots have owners. False: no memory. */
static bool have_owners(struct cluster *cluster) {
  if (cluster->owners == NULL) cluster->owners = calloc(SLOT_COUNT, sizeof *cluster->owners);
  if (cluster->owners == NULL) return false;
  cluster->known = true;
  atomic_store(&cluster->on, true);
  return true;
}

/* Another one is asked for the table. */
static void turn_source(struct cluster *cluster) {
  cluster->source = (cluster->source + 1) % cluster->count;
}

/* ---- life ---- */

bool cluster_init(struct cluster *cluster, const struct target *target) {
  *cluster = (struct cluster){.target = target, .on = target->seed_count > 1};
  cluster->stale = target->seed_count > 1;
  cluster->nodes = calloc(CLUSTER_NODES_MAX, sizeof(struct node *));
  if (cluster->nodes == NULL || pthread_mutex_init(&cluster->lock, NULL) != 0) {
    free(cluster->nodes);
    return false;
  }
  bool good = true;
  for (unsigned i = 0; good && i < target->seed_count; i++) {
    struct target seed;
    good = target_of_seed(&seed, target, i) && add_node(cluster, &seed) != NULL;
  }
  if (!good) cluster_deinit(cluster);
  return good;
}

void cluster_deinit(struct cluster *cluster) {
  for (unsigned i = 0; i < cluster->count; i++) {
    target_deinit(&cluster->nodes[i]->target);
    free(cluster->nodes[i]);
  }
  free(cluster->nodes);
  free(cluster->owners);
  pthread_mutex_destroy(&cluster->lock);
}

/* ---- routes ---- */

static struct node *owner_of(const struct cluster *cluster, struct idem_bytes key) {
  uint16_t owner = 0;
  if (key.data != NULL && cluster->owners != NULL) owner = cluster->owners[slot_of(key)];
  /* Of a slot without one any node tells who has it. */
  return cluster->nodes[owner > 0 ? owner - 1u : cluster->source];
}

enum idem_status cluster_route(struct cluster *cluster, struct idem_bytes key, struct node **node,
                               struct idem_error *why) {
  enum idem_status status = IDEM_OK;
  if (!atomic_load_explicit(&cluster->on, memory_order_relaxed)) {
    *node = cluster->nodes[0]; /* written before anybody could ask */
    return IDEM_OK;
  }
  pthread_mutex_lock(&cluster->lock);
  if (cluster->known) {
    *node = owner_of(cluster, key);
  } else if (cluster->refused[0] != '\0') {
    snprintf(why->text, sizeof why->text, "%s", cluster->refused);
    status = IDEM_REFUSED;
  } else {
    snprintf(why->text, sizeof why->text, "no node of the cluster has answered yet");
    status = IDEM_UNAVAILABLE;
  }
  pthread_mutex_unlock(&cluster->lock);
  return status;
}

/* ---- what replies say ---- */

/* Of an error that names a host, which has 253 at most. */
#define REDIRECT_BYTES 320

/* Cuts "host:port", which may be an IPv6 address without brackets. An empty host, or "?", is that
 * of the node which says so. False: it is no address. */
static bool cut_address(char *text, const struct node *from, const char **host, const char **port) {
  char *colon = strrchr(text, ':');
  if (colon == NULL || !target_port_valid(colon + 1)) return false;
  *colon = '\0';
  *port = colon + 1;
  *host = text[0] == '\0' || strcmp(text, "?") == 0 ? from->target.host : text;
  return *host != NULL; /* a unix socket has none */
}

/* "MOVED 3999 127.0.0.1:6381", "ASK 3999 ...". NULL: it cannot be followed. */
static struct node *redirected_to(struct cluster *cluster, const struct node *from,
                                  const struct wire_reply *reply) {
  char text[REDIRECT_BYTES], *rest = NULL;
  const char *host, *port;
  snprintf(text, sizeof text, "%s", reply->memory->str);
  if (strtok_r(text, " ", &rest) == NULL || strtok_r(NULL, " ", &rest) == NULL) return NULL;
  char *address = strtok_r(NULL, " ", &rest);
  if (address == NULL || !cut_address(address, from, &host, &port)) return NULL;
  return node_at(cluster, host, port);
}

struct node *cluster_follow(struct cluster *cluster, struct node *from, struct idem_bytes key,
                            const struct wire_reply *reply) {
  struct node *asked = NULL;
  if (reply->topology == WIRE_SETTLED) return NULL;
  pthread_mutex_lock(&cluster->lock);
  struct node *to = NULL;
  bool redirect = reply->topology == WIRE_MOVED || reply->topology == WIRE_ASK;
  if (redirect && have_owners(cluster)) to = redirected_to(cluster, from, reply);
  if (reply->topology == WIRE_ASK) {
    asked = to;
  } else {
    cluster->stale = true;
    if (to != NULL && key.data != NULL) {
      cluster->owners[slot_of(key)] = owner_number(cluster, to);
      cluster->source = owner_number(cluster, to) - 1u;
    }
  }
  pthread_mutex_unlock(&cluster->lock);
  return asked;
}

void cluster_failed(struct cluster *cluster, const struct node *node) {
  if (!atomic_load_explicit(&cluster->on, memory_order_relaxed)) return;
  pthread_mutex_lock(&cluster->lock);
  cluster->stale = true;
  if (cluster->nodes[cluster->source] == node) turn_source(cluster);
  pthread_mutex_unlock(&cluster->lock);
}

/* ---- the table ---- */

struct node *cluster_refresh(struct cluster *cluster, int64_t now) {
  struct node *source = NULL;
  if (!atomic_load_explicit(&cluster->on, memory_order_relaxed)) return NULL;
  pthread_mutex_lock(&cluster->lock);
  int64_t since_ms = cluster->asked_ms == 0 ? CLUSTER_REFRESH_LIMIT_MS : now - cluster->asked_ms;
  int64_t pause_ms = cluster->asking ? CLUSTER_REFRESH_LIMIT_MS : CLUSTER_REFRESH_MS;
  if (cluster->stale && since_ms >= pause_ms) {
    source = cluster->nodes[cluster->source];
    cluster->asked_ms = now;
    cluster->asking = true;
  }
  pthread_mutex_unlock(&cluster->lock);
  return source;
}

/* "5461-10922" or "93"; what begins with '[' is a slot on its way. */
static void take_slots(uint16_t *owners, const char *text, uint16_t owner) {
  char *end = NULL;
  if (*text < '0' || *text > '9') return;
  unsigned long first = strtoul(text, &end, 10), last = first;
  if (*end == '-') last = strtoul(end + 1, &end, 10);
  if (*end != '\0' || last >= SLOT_COUNT) return;
  for (unsigned long slot = first; slot <= last; slot++) owners[slot] = owner;
}

/* "10.0.0.1:6379@16379,host.name,more=...". Under TLS the name counts when there is one: it is what
 * certificates bear. */
static bool take_address(const struct cluster *cluster, const struct node *from, char *text,
                         const char **host, const char **port) {
  char *bus = strchr(text, '@'), *comma = strchr(text, ',');
  char *name = comma != NULL ? comma + 1 : NULL;
  if (comma != NULL) *comma = '\0';
  if (bus != NULL) *bus = '\0';
  if (name != NULL) name[strcspn(name, ",")] = '\0';
  if (!cut_address(text, from, host, port)) return false;
  if (cluster->target->tls && name != NULL && *name != '\0') *host = name;
  return true;
}

static bool is_flagged(const char *flags, const char *flag) {
  size_t len = strlen(flag);
  for (const char *at = flags; at != NULL; at = strchr(at, ',')) {
    if (*at == ',') at++;
    if (strncmp(at, flag, len) == 0 && (at[len] == ',' || at[len] == '\0')) return true;
  }
  return false;
}

/* One line of CLUSTER NODES: id, address, flags, master, ping, pong, epoch, link, slots ... */
static void take_line(struct cluster *cluster, const struct node *from, char *line,
                      uint16_t *owners) {
  enum { ADDRESS = 1, FLAGS = 2, LINK = 7, FIELDS = 8 };
  char *fields[FIELDS], *rest = NULL;
  const char *host, *port;
  for (int i = 0; i < FIELDS; i++) {
    fields[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
    if (fields[i] == NULL) return;
  }
  if (!is_flagged(fields[FLAGS], "master")) return;
  if (!take_address(cluster, from, fields[ADDRESS], &host, &port)) return;
  struct node *node = NULL;
  for (char *slots; (slots = strtok_r(NULL, " ", &rest)) != NULL;) {
    if (node == NULL) node = node_at(cluster, host, port);
    if (node != NULL) take_slots(owners, slots, owner_number(cluster, node));
  }
}

/* False: no memory. What was learned from replies and is not in the table stays. */
static bool take_table(struct cluster *cluster, const struct node *from, struct idem_bytes table) {
  char *text = malloc(table.len + 1), *rest = NULL;
  bool good = text != NULL && have_owners(cluster);
  if (good) {
    memcpy(text, table.data, table.len);
    text[table.len] = '\0';
    for (char *line = strtok_r(text, "\r\n", &rest); line != NULL;
         line = strtok_r(NULL, "\r\n", &rest))
      take_line(cluster, from, line, cluster->owners);
  }
  free(text);
  return good;
}

/* It has answered, but not with a table. */
static void take_refusal(struct cluster *cluster, const struct node *from,
                         const struct wire_reply *reply) {
  if (strncmp(reply->message, "NOPERM", strlen("NOPERM")) == 0) {
    /* A user that may not ask: then each slot is learned from its first MOVED. */
    if (have_owners(cluster)) cluster->stale = false;
  } else if (!cluster->known) {
    snprintf(cluster->refused, sizeof cluster->refused,
             "several servers in the URL, and %.40s is no cluster: %.60s", from->target.name,
             reply->message);
  }
}

void cluster_learn(struct cluster *cluster, struct node *from, const struct wire_reply *reply) {
  pthread_mutex_lock(&cluster->lock);
  cluster->asking = false;
  if (reply->status == IDEM_OK && take_table(cluster, from, reply->body)) {
    cluster->stale = false;
  } else if (reply->status == IDEM_REFUSED && reply->memory != NULL) {
    take_refusal(cluster, from, reply);
  } else if (cluster->nodes[cluster->source] == from) {
    turn_source(cluster);
  }
  pthread_mutex_unlock(&cluster->lock);
}
