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

static bool listens_on(const struct node *node, const char *port) {
  return node->target.path == NULL && strcmp(node->target.port, port) == 0;
}

static struct node *find_node(const struct cluster *cluster, const char *host, const char *port) {
  for (unsigned i = 0; i < cluster->count; i++) {
    struct node *node = cluster->nodes[i];
    if (listens_on(node, port) && strcmp(node->target.host, host) == 0) return node;
  }
  return NULL;
}

/* The one that has a name for this address in the last table. */
static struct node *find_named(const struct cluster *cluster, const char *address,
                               const char *port) {
  for (unsigned i = 0; i < cluster->count; i++) {
    struct node *node = cluster->nodes[i];
    bool listed = node->listed == cluster->table && listens_on(node, port);
    if (listed && strcmp(node->address, address) == 0) return node;
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
  node->number = (uint16_t)cluster->count;
  return node;
}

/* The one that listens there, which may be new. NULL: no memory, or no place. */
static struct node *node_at(struct cluster *cluster, const char *host, const char *port) {
  struct target target;
  struct node *node = find_node(cluster, host, port);
  if (node != NULL) return node;
  return target_of_node(&target, cluster->target, host, port) ? add_node(cluster, &target) : NULL;
}

/* From now on slots have owners. False: no memory. */
static bool have_owners(struct cluster *cluster) {
  if (cluster->owners == NULL) cluster->owners = calloc(SLOT_COUNT, sizeof *cluster->owners);
  if (cluster->owners == NULL) return false;
  cluster->known = true;
  atomic_store(&cluster->on, true);
  return true;
}

/* Whether it is asked for the table: those of the URL and those that are known now. Of the past
 * there may be many, each of which would take a time-out. */
static bool may_be_source(const struct cluster *cluster, unsigned place) {
  const struct node *node = cluster->nodes[place];
  if (node->unnamed) return false;
  return place < cluster->target->seed_count || node->listed == cluster->table;
}

/* Another one is asked for the table, if it was this one. */
static void turn_source(struct cluster *cluster, const struct node *from) {
  if (cluster->nodes[cluster->source] != from) return;
  do cluster->source = (cluster->source + 1) % cluster->count;
  while (!may_be_source(cluster, cluster->source));
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

/* Any member: there is one, or the cluster is not known. */
static struct node *any_member(const struct cluster *cluster) {
  unsigned place = cluster->source;
  while (!cluster->nodes[place]->member) place = (place + 1) % cluster->count;
  return cluster->nodes[place];
}

/* Of a slot without an owner any member tells who has it. */
static struct node *owner_of(const struct cluster *cluster, struct idem_bytes key) {
  uint16_t owner = 0;
  if (key.data != NULL && cluster->owners != NULL) owner = cluster->owners[slot_of(key)];
  return owner > 0 ? cluster->nodes[owner - 1u] : any_member(cluster);
}

/* Of a cluster that is known. */
static enum idem_status route(const struct cluster *cluster, struct idem_bytes key,
                              struct node **node, struct idem_error *why) {
  struct node *owner = owner_of(cluster, key);
  if (owner->unnamed) {
    snprintf(why->text, sizeof why->text, "no node has told yet the name of %.60s",
             owner->target.name);
    return IDEM_UNAVAILABLE;
  }
  *node = owner;
  return IDEM_OK;
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
    status = route(cluster, key, node, why);
  } else if (cluster->refused[0] != '\0') {
    snprintf(why->text, sizeof why->text, "%s", cluster->refused);
    status = IDEM_REFUSED;
  } else {
    snprintf(why->text, sizeof why->text, "no node of the cluster has shown its table yet");
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

/* The node at this address, which may be new. NULL: no memory, or no place. */
static struct node *redirect_target(struct cluster *cluster, const char *host, const char *port) {
  struct node *named = find_named(cluster, host, port);
  if (named != NULL) return named;
  bool is_new = find_node(cluster, host, port) == NULL;
  struct node *node = node_at(cluster, host, port);
  if (node == NULL) return NULL;
  node->member = true;
  if (node->listed != cluster->table) node->address[0] = '\0';
  node->listed = cluster->table;
  if (is_new) node->unnamed = cluster->target->tls && target_is_numeric(host);
  if (node->unnamed) cluster->asked_ms = 0; /* the table is asked for at once */
  return node;
}

/* "MOVED 3999 127.0.0.1:6381", "ASK 3999 ...". NULL: it cannot be followed. */
static struct node *redirected_to(struct cluster *cluster, const struct node *from,
                                  const struct wire_reply *reply) {
  char text[REDIRECT_BYTES], *rest = NULL;
  const char *host, *port;
  int len = snprintf(text, sizeof text, "%s", reply->memory->str);
  if (len < 0 || len >= REDIRECT_BYTES) return NULL;
  if (strtok_r(text, " ", &rest) == NULL || strtok_r(NULL, " ", &rest) == NULL) return NULL;
  char *address = strtok_r(NULL, " ", &rest);
  if (address == NULL || !cut_address(address, from, &host, &port)) return NULL;
  return redirect_target(cluster, host, port);
}

/* It sends the key there. Who is called by an address alone is not asked for the table. */
static void take_owner(struct cluster *cluster, struct idem_bytes key, const struct node *to) {
  cluster->owners[slot_of(key)] = to->number;
  if (!to->unnamed) cluster->source = to->number - 1u;
}

/* After each reply: as a rule there is nothing to write, and no lock is taken. */
static void note_heard(struct node *from) {
  if (atomic_load_explicit(&from->failing_ms, memory_order_relaxed) != 0)
    atomic_store_explicit(&from->failing_ms, 0, memory_order_relaxed);
}

struct node *cluster_follow(struct cluster *cluster, struct node *from, struct idem_bytes key,
                            const struct wire_reply *reply) {
  struct node *asked = NULL, *to = NULL;
  note_heard(from);
  if (reply->topology == WIRE_SETTLED) return NULL;
  pthread_mutex_lock(&cluster->lock);
  bool redirect = reply->topology == WIRE_MOVED || reply->topology == WIRE_ASK;
  if (redirect && have_owners(cluster)) {
    from->member = true;
    to = redirected_to(cluster, from, reply);
  }
  if (reply->topology == WIRE_ASK) {
    if (to != NULL && to->unnamed) cluster->stale = true;
    asked = to != NULL && !to->unnamed ? to : NULL;
  } else {
    cluster->stale = true;
    if (to != NULL && key.data != NULL) take_owner(cluster, key, to);
    if (reply->topology == WIRE_UNSETTLED) turn_source(cluster, from);
  }
  pthread_mutex_unlock(&cluster->lock);
  return asked;
}

void cluster_failed(struct cluster *cluster, struct node *node, int64_t now) {
  int64_t heard = 0;
  if (!atomic_load_explicit(&cluster->on, memory_order_relaxed)) return;
  atomic_compare_exchange_strong(&node->failing_ms, &heard, now);
  pthread_mutex_lock(&cluster->lock);
  cluster->stale = true;
  turn_source(cluster, node);
  pthread_mutex_unlock(&cluster->lock);
}

bool cluster_may_rename(struct cluster *cluster, const struct node *node, int64_t now) {
  if (node->number <= cluster->target->seed_count) return false;
  int64_t since_ms = atomic_load_explicit(&node->failing_ms, memory_order_relaxed);
  if (since_ms != 0 && now - since_ms >= CLUSTER_NAMING_MS) return false;
  pthread_mutex_lock(&cluster->lock);
  bool hidden = cluster->hidden;
  pthread_mutex_unlock(&cluster->lock);
  return !hidden;
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

/* What is read of one table. The cluster learns of it when it is one: of what is none nothing but
 * its nodes stays, which nobody asks. */
struct reading {
  struct cluster *cluster;
  const struct node *from; /* who shows it */
  long unowned;            /* slots that have no owner in it yet; negative: one has two */
  uint16_t owners[SLOT_COUNT];
  /* Of each node, by its place. */
  struct listing {
    bool listed;
    char address[CLUSTER_ADDRESS_BYTES];
  } listings[CLUSTER_NODES_MAX];
};

/* "5461-10922" or "93"; what begins with '[' is a slot on its way. */
static void take_slots(struct reading *reading, const char *text, uint16_t owner) {
  char *end = NULL;
  if (*text < '0' || *text > '9') return;
  unsigned long first = strtoul(text, &end, 10), last = first;
  if (*end == '-') last = strtoul(end + 1, &end, 10);
  if (*end != '\0' || last < first || last >= SLOT_COUNT) return;
  reading->unowned -= (long)(last - first + 1);
  if (reading->unowned < 0) return;
  for (unsigned long slot = first; slot <= last; slot++) reading->owners[slot] = owner;
}

/* Where a node is. */
struct place {
  const char *host;
  const char *port;
  const char *address; /* that the host is a name for; NULL: none */
};

/* "10.0.0.1:6379@16379,host.name,more=...". Under TLS the name counts when there is one: it is what
 * certificates bear. */
static bool take_place(const struct reading *reading, char *text, struct place *place) {
  char *bus = strchr(text, '@'), *comma = strchr(text, ',');
  char *name = comma != NULL ? comma + 1 : NULL;
  if (comma != NULL) *comma = '\0';
  if (bus != NULL) *bus = '\0';
  if (name != NULL) name[strcspn(name, ",")] = '\0';
  *place = (struct place){NULL, NULL, NULL};
  if (!cut_address(text, reading->from, &place->host, &place->port)) return false;
  bool named = name != NULL && *name != '\0' && strlen(place->host) < CLUSTER_ADDRESS_BYTES;
  if (!reading->cluster->target->tls || !named) return true;
  place->address = place->host;
  place->host = name;
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

/* No redirect leads to it, though the others may remember its name. */
static bool is_dead(const char *flags) {
  return is_flagged(flags, "fail") || is_flagged(flags, "noaddr") || is_flagged(flags, "handshake");
}

/* The one that the table has there. NULL: no memory, or no place. */
static struct node *list_node(struct reading *reading, const struct place *place) {
  struct node *node = node_at(reading->cluster, place->host, place->port);
  if (node == NULL) return NULL;
  struct listing *listing = &reading->listings[node->number - 1];
  listing->listed = true;
  snprintf(listing->address, sizeof listing->address, "%s",
           place->address != NULL ? place->address : "");
  return node;
}

/* One line of CLUSTER NODES: id, address, flags, master, ping, pong, epoch, link, slots ... Of
 * those without slots the name alone counts, while they live: a redirect may lead to them. */
static void take_line(struct reading *reading, char *line) {
  enum { ADDRESS = 1, FLAGS = 2, LINK = 7, FIELDS = 8 };
  char *fields[FIELDS], *rest = NULL;
  struct place place;
  struct node *node = NULL;
  for (int i = 0; i < FIELDS; i++) {
    fields[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
    if (fields[i] == NULL) return;
  }
  if (!take_place(reading, fields[ADDRESS], &place)) return;
  bool master = is_flagged(fields[FLAGS], "master");
  char *slots = master ? strtok_r(NULL, " ", &rest) : NULL;
  bool named = place.address != NULL && !is_dead(fields[FLAGS]);
  if (slots != NULL || named) node = list_node(reading, &place);
  if (node == NULL) return;
  for (; slots != NULL; slots = strtok_r(NULL, " ", &rest))
    take_slots(reading, slots, node->number);
}

/* False: it is no table. */
static bool read_table(struct reading *reading, struct idem_bytes table) {
  char *text = malloc(table.len + 1), *rest = NULL;
  if (text == NULL) return false;
  memcpy(text, table.data, table.len);
  text[table.len] = '\0';
  for (char *line = strtok_r(text, "\r\n", &rest); line != NULL && reading->unowned >= 0;
       line = strtok_r(NULL, "\r\n", &rest))
    take_line(reading, line);
  free(text);
  return reading->unowned >= 0 && reading->unowned < SLOT_COUNT;
}

/* What was learned from replies and is not in the table stays. */
static void take_owners(struct cluster *cluster, const struct reading *reading) {
  for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
    if (reading->owners[slot] != 0) cluster->owners[slot] = reading->owners[slot];
  }
}

/* Nobody will tell more of the names than is known now. */
static void end_naming(struct cluster *cluster) {
  for (unsigned i = 0; i < cluster->count; i++) cluster->nodes[i]->unnamed = false;
}

/* Those that it lists are members, as is the one that shows it. */
static void take_nodes(struct cluster *cluster, const struct reading *reading) {
  cluster->table++;
  for (unsigned i = 0; i < cluster->count; i++) {
    const struct listing *listing = &reading->listings[i];
    struct node *node = cluster->nodes[i];
    if (node == reading->from) node->member = true;
    if (!listing->listed) continue;
    node->member = true;
    node->listed = cluster->table;
    memcpy(node->address, listing->address, sizeof node->address);
  }
}

/* False: no memory, or it has no slots: that of a node which was not taken in, or was thrown out.
 */
static bool take_table(struct cluster *cluster, const struct node *from, struct idem_bytes table) {
  struct reading *reading = calloc(1, sizeof *reading);
  if (reading == NULL) return false;
  reading->cluster = cluster;
  reading->from = from;
  reading->unowned = SLOT_COUNT;
  bool good = read_table(reading, table) && have_owners(cluster);
  if (good) {
    take_owners(cluster, reading);
    take_nodes(cluster, reading);
    end_naming(cluster);
  }
  free(reading);
  return good;
}

static bool says_noperm(const struct wire_reply *reply) {
  return strncmp(reply->message, "NOPERM ", strlen("NOPERM ")) == 0;
}

/* Several servers that may be no cluster. */
static void explain_refusal(struct cluster *cluster, const struct node *from,
                            const struct wire_reply *reply) {
  const char *what = says_noperm(reply) ? "may not be asked for its table" : "is no cluster";
  snprintf(cluster->refused, sizeof cluster->refused,
           "several servers in the URL, and %.40s %s: %.50s", from->target.name, what,
           reply->message);
}

/* It has answered, but not with a table. A cluster that is known does without: then each slot is
 * learned from its first MOVED. */
static void take_refusal(struct cluster *cluster, const struct node *from,
                         const struct wire_reply *reply) {
  if (!cluster->known) {
    explain_refusal(cluster, from, reply);
    return;
  }
  end_naming(cluster);
  if (says_noperm(reply)) {
    cluster->stale = false; /* a user that may not ask one may not ask another */
    cluster->hidden = true;
  } else {
    turn_source(cluster, from);
  }
}

void cluster_learn(struct cluster *cluster, struct node *from, const struct wire_reply *reply) {
  pthread_mutex_lock(&cluster->lock);
  cluster->asking = false;
  if (reply->memory != NULL) note_heard(from);
  if (reply->status == IDEM_OK && take_table(cluster, from, reply->body)) {
    cluster->stale = cluster->hidden = false;
  } else if (reply->status == IDEM_REFUSED && reply->memory != NULL) {
    take_refusal(cluster, from, reply);
  } else {
    turn_source(cluster, from);
  }
  pthread_mutex_unlock(&cluster->lock);
}
