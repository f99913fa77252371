/* link.c - see link.h. */
#include "client/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/socket.h"

/* Of one read; and of all reads after one event, so that a server which says much leaves the loop
 * to others in between. */
#define INPUT_BYTES (16 * 1024)
#define TURN_BYTES (64 * 1024)

static const char STRAY[] = "more than one reply to one request";

bool link_opening(const struct link *link) { return link->state < LINK_READY; }

void link_explain_silence(const struct link *link, char *why) {
  const char *name = link->node->target.name;
  if (link->state == LINK_HANDSHAKING) {
    snprintf(why, IDEM_MESSAGE_BYTES, "TLS with %.70s: no handshake in time (does it speak TLS?)",
             name);
  } else if (link_opening(link)) {
    snprintf(why, IDEM_MESSAGE_BYTES, "no connection to %.70s in time", name);
  } else {
    snprintf(why, IDEM_MESSAGE_BYTES, "no answer in time");
  }
}

/* ---- what the loop is asked for ---- */

/* While it connects, until it can be written; then always what comes. */
static int wanted_events(const struct link *link) {
  bool writes = link->read_wants == STREAM_WANTS_OUTPUT || link->write_wants == STREAM_WANTS_OUTPUT;
  if (link->state == LINK_CONNECTING) return IDEM_WRITABLE;
  if (link->state == LINK_HANDSHAKING) return writes ? IDEM_WRITABLE : IDEM_READABLE;
  return writes ? IDEM_READABLE | IDEM_WRITABLE : IDEM_READABLE;
}

static void update_events(struct link *link) {
  int events = link->watch != NULL ? wanted_events(link) : 0;
  if (link->watch == NULL || link->events == events) return;
  link->events = events;
  link->set->loop->want(link->watch, events);
}

/* ---- flights ---- */

static void free_flight(struct link_flight *flight) {
  struct link *link = flight->link;
  link->flights--;
  if (link->waiting) link->set->untidy = true;
  free(flight);
}

/* The end of a flight: its reply, or NULL and why it has none (NULL: what ended the link). */
static void arrive(struct link_flight *flight, redisReply *reply, const char *why) {
  struct link *link = flight->link;
  struct idem_call *call = flight->call;
  int64_t now = clock_ms();
  struct outcome_loss loss = {IDEM_UNAVAILABLE, flight->departed, why};
  if (why == NULL) {
    loss.why = link->why;
    if (link->end_status != IDEM_OK) loss.status = link->end_status;
  }
  if (reply != NULL) link->heard_ms = now;
  free_flight(flight);
  if (call == NULL) {
    freeReplyObject(reply);
  } else if (!link->set->user->arrived(call, reply, &loss, now)) {
    link_end(link, NULL);
  }
}

static struct link_flight *take_first(struct link_flights *flights) {
  struct link_flight *flight = STAILQ_FIRST(flights);
  if (flight != NULL) STAILQ_REMOVE_HEAD(flights, entry);
  return flight;
}

static void arrive_all(struct link_flights *flights) {
  for (struct link_flight *flight; (flight = take_first(flights)) != NULL;)
    arrive(flight, NULL, NULL);
}

/* ---- the end ---- */

static void close_link(struct link *link) {
  if (link->watch != NULL) link->set->loop->unwatch(link->watch);
  link->watch = NULL;
  transport_close(&link->transport);
  outbox_deinit(&link->outbox);
}

/* Why it ends, unless that was known before. */
static void note_end(struct link *link, enum idem_status status, const char *why) {
  if (link->end_status != IDEM_OK) return;
  link->end_status = status;
  snprintf(link->why, sizeof link->why, "%s", why);
}

void link_end(struct link *link, const char *why) {
  if (link->state == LINK_ENDED) return;
  if (link->state <= LINK_HANDSHAKING) addresses_turn(&link->node->addresses);
  note_end(link, IDEM_UNAVAILABLE, why != NULL ? why : "the connection was closed");
  link->state = LINK_ENDED;
  link->set->untidy = true;
  close_link(link);
  arrive_all(&link->sent);
  arrive_all(&link->pending);
}

/* After a call of the transport: true when it goes on, maybe later. */
static bool goes_on(struct link *link, enum stream_result result) {
  char why[IDEM_MESSAGE_BYTES];
  if (result != STREAM_ENDED && result != STREAM_FAILED) return true;
  enum idem_status status = transport_explain(&link->transport, result, why);
  note_end(link, status, why);
  link_end(link, NULL);
  return false;
}

/* ---- output ---- */

/* Sends what waits, as far as it goes. */
static void flush(struct link *link) {
  link->write_wants = STREAM_DONE;
  while (outbox_waiting(&link->outbox) > 0) {
    const struct iovec part = {(void *)(uintptr_t)outbox_front(&link->outbox),
                               outbox_waiting(&link->outbox)};
    size_t done;
    enum stream_result result = transport_write(&link->transport, &part, 1, &done);
    if (!goes_on(link, result)) return;
    if (result != STREAM_DONE) {
      link->write_wants = result;
      return;
    }
    outbox_take(&link->outbox, done);
  }
}

/* What other nodes are told before a command that an ASK sent to them. */
static void append_asking(struct link *link) {
  const struct wire_request request = {.verb = WIRE_ASKING};
  struct wire_frame frame;
  wire_frame(&frame, &request);
  (void)outbox_append(&link->outbox, &frame);
}

#define ASKING_BYTES 32 /* room for "*1 $6 ASKING" with its line ends */

/* Commands leave when the loop says that the socket can be written: all that were given meanwhile
 * leave together. False: no memory, and nothing leaves: ASKING without its command would be for the
 * next one. */
static bool submit(struct link *link, const struct wire_request *request) {
  struct wire_frame frame;
  wire_frame(&frame, request);
  if (!outbox_reserve(&link->outbox, frame.size + ASKING_BYTES)) return false;
  if (request->asking) append_asking(link);
  (void)outbox_append(&link->outbox, &frame);
  if (link->write_wants == STREAM_DONE) link->write_wants = STREAM_WANTS_OUTPUT;
  update_events(link);
  return true;
}

/* NULL: no memory. */
static struct link_flight *create_flight(struct link *link, struct idem_call *call) {
  struct link_flight *flight = malloc(sizeof *flight);
  if (flight == NULL) return NULL;
  *flight = (struct link_flight){.link = link, .call = call, .reused = link->state == LINK_READY};
  link->flights++;
  return flight;
}

/* False: no memory; the flight is still the caller's. */
static bool depart(struct link_flight *flight, struct idem_call *call, int64_t now) {
  struct link *link = flight->link;
  const struct wire_request *request = link->set->user->departs(call, now);
  /* Nobody waits for the answer to ASKING. */
  struct link_flight *asking = request->asking ? create_flight(link, NULL) : NULL;
  if (request->asking && asking == NULL) return false;
  if (!submit(link, request)) {
    if (asking != NULL) free_flight(asking);
    return false;
  }
  if (asking != NULL) STAILQ_INSERT_TAIL(&link->sent, asking, entry);
  flight->departed = true;
  STAILQ_INSERT_TAIL(&link->sent, flight, entry);
  return true;
}

/* What is no longer wanted is not sent. */
static bool depart_pending(struct link *link, int64_t now) {
  for (struct link_flight *flight; (flight = STAILQ_FIRST(&link->pending)) != NULL;) {
    STAILQ_REMOVE_HEAD(&link->pending, entry);
    if (flight->call == NULL) {
      free_flight(flight);
    } else if (!depart(flight, flight->call, now)) {
      STAILQ_INSERT_HEAD(&link->pending, flight, entry);
      return false;
    }
  }
  return true;
}

/* ---- from connected to ready ---- */

static void end_without_memory(struct link *link) {
  note_end(link, IDEM_NO_MEMORY, "out of memory");
  link_end(link, NULL);
}

static void become_ready(struct link *link) {
  link->state = LINK_READY;
  link->heard_ms = clock_ms();
  if (!depart_pending(link, link->heard_ms)) end_without_memory(link);
}

static void authenticate(struct link *link) {
  const struct settings *settings = link->set->settings;
  const struct target *target = &link->node->target;
  const struct wire_request request = {
      .verb = WIRE_AUTH, .key = idem_text(target->password), .owner = idem_text(target->user)};
  link->state = LINK_AUTHENTICATING;
  link->until_ms = clock_ms() + settings->command_timeout_ms;
  wakeup_at(link->set->wakeup, link->until_ms);
  if (!submit(link, &request)) end_without_memory(link);
}

static void handshake(struct link *link) {
  enum stream_result result = transport_handshake(&link->transport);
  link->state = LINK_HANDSHAKING;
  if (!goes_on(link, result)) return;
  link->read_wants = link->write_wants = result;
  if (result != STREAM_DONE) return;
  addresses_worked(&link->node->addresses);
  if (link->node->target.password == NULL) {
    become_ready(link);
  } else {
    authenticate(link);
  }
}

/* The socket is writable: it is connected, or never will be. */
static void complete_connect(struct link *link) {
  char text[64];
  int error = socket_connected(link->transport.fd);
  if (error == 0) {
    handshake(link);
  } else {
    link_end(link, strerror_r(error, text, sizeof text));
  }
}

/* ---- input ---- */

static bool is_stray(const struct link *link) {
  return STAILQ_EMPTY(&link->sent) && link->reader->pos < link->reader->len;
}

/* Nothing is sent before the password was taken: a server that does not want it may be another one
 * than was meant. */
static void take_auth(struct link *link, redisReply *reply) {
  struct idem_error error = {""};
  bool stray = is_stray(link);
  enum idem_status status = stray ? IDEM_UNAVAILABLE : wire_parse_auth(reply, &error);
  freeReplyObject(reply);
  if (status == IDEM_OK) {
    become_ready(link);
    return;
  }
  note_end(link, status, stray ? STRAY : error.text);
  link_end(link, NULL);
}

/* One reply too many, and which of them answers what cannot be told: then this one answers nothing.
 */
static void take_reply(struct link *link, redisReply *reply) {
  if (link->state == LINK_AUTHENTICATING) {
    take_auth(link, reply);
    return;
  }
  struct link_flight *flight = take_first(&link->sent);
  bool stray = flight == NULL || is_stray(link);
  if (stray) {
    freeReplyObject(reply);
    reply = NULL;
  }
  if (flight != NULL) arrive(flight, reply, stray ? STRAY : NULL);
  if (stray) link_end(link, STRAY);
}

/* What has come is read as replies, as far as it is complete. */
static void take_replies(struct link *link) {
  void *reply = NULL;
  while (link->state != LINK_ENDED && redisReaderGetReply(link->reader, &reply) == REDIS_OK) {
    if (reply == NULL) break;
    take_reply(link, reply);
  }
  if (link->state == LINK_ENDED) return;
  char why[IDEM_MESSAGE_BYTES] = "out of memory";
  enum idem_status status = reply_limit_explain_end(&link->limit, link->reader, why);
  if (status == IDEM_UNAVAILABLE) return; /* there is nothing wrong with it */
  note_end(link, status, why);
  link_end(link, NULL);
}

/* Reads until there is no more, or enough for now. What the stream wants then is in read_wants. */
static enum stream_result read_turn(struct link *link) {
  char input[INPUT_BYTES];
  enum stream_result result = STREAM_DONE;
  for (size_t turn = 0; turn < TURN_BYTES;) {
    size_t got;
    result = transport_read(&link->transport, input, sizeof input, &got);
    if (result != STREAM_DONE) break;
    redisReaderFeed(link->reader, input, got);
    turn += got;
    /* Without TLS the loop tells whether there is more. */
    if (link->transport.stream == NULL || reply_limit_exceeded(&link->limit, link->reader)) break;
  }
  link->read_wants = result;
  /* What lies in the stream is told by no socket: soon again. */
  if (result == STREAM_DONE && link->transport.stream != NULL)
    link->read_wants = STREAM_WANTS_OUTPUT;
  return result;
}

static void take_input(struct link *link) {
  bool unasked = link->state >= LINK_READY && STAILQ_EMPTY(&link->sent);
  size_t before = link->reader->len;
  enum stream_result result = read_turn(link);
  if (unasked && link->reader->len > before) {
    link_end(link, STRAY);
    return;
  }
  take_replies(link);
  if (link->state != LINK_ENDED) (void)goes_on(link, result);
}

/* ---- events ---- */

static void take_events(struct link *link, int events) {
  bool encrypted = link->transport.stream != NULL; /* there either may need the other */
  if (link->state == LINK_CONNECTING) complete_connect(link);
  if (link->state == LINK_HANDSHAKING) handshake(link);
  if (link->state >= LINK_AUTHENTICATING && link->state < LINK_CLOSING &&
      (encrypted || (events & IDEM_WRITABLE)))
    flush(link);
  if (link->state >= LINK_AUTHENTICATING && link->state < LINK_ENDED &&
      (encrypted || (events & IDEM_READABLE)))
    take_input(link);
  update_events(link);
}

/* The descriptor is ready. */
static void on_ready(void *data, int events) {
  struct link *link = data;
  struct link_set *set = link->set;
  take_events(link, events);
  set->user->settle(set->context);
}

bool link_read(struct link *link) {
  if (link->state == LINK_ENDED) return false;
  if (!socket_readable(link->transport.fd) && !transport_pending(&link->transport)) return false;
  take_events(link, IDEM_READABLE);
  return true;
}

/* ---- open and close ---- */

/* Begins to connect. */
static enum idem_status begin_connect(struct link *link, const struct link_order *order,
                                      int64_t now, struct idem_error *why) {
  struct addresses *addresses = &link->node->addresses;
  const struct target *target = &link->node->target;
  const struct stream_peer peer = {target->host, order->provisional};
  char text[64];
  int error, fd;
  if (target->path != NULL) {
    fd = socket_connect_path(target->path, &error);
  } else {
    enum idem_status status = addresses_find(addresses, target, now, why);
    if (status != IDEM_OK) return status;
    unsigned i = addresses->current;
    fd = socket_connect((const struct sockaddr *)&addresses->list[i], addresses->sizes[i], &error);
  }
  if (fd >= 0) {
    struct tls *tls = link->set->settings->tls;
    return transport_open(&link->transport, fd, tls, &peer) ? IDEM_OK : IDEM_NO_MEMORY;
  }
  snprintf(why->text, sizeof why->text, "%s", strerror_r(error, text, sizeof text));
  return error == ENOMEM ? IDEM_NO_MEMORY : IDEM_UNAVAILABLE;
}

static enum idem_status prepare(struct link *link) {
  const struct idem_loop *loop = link->set->loop;
  link->reader = redisReaderCreate();
  if (link->reader == NULL) return IDEM_NO_MEMORY;
  /* hiredis 0.14 asserts that an allocation succeeds when it gives a large buffer back. */
  link->reader->maxbuf = 0;
  reply_limit_init(&link->limit, link->reader, link->set->settings->reply_limit_bytes);
  link->watch = loop->watch(loop->loop, link->transport.fd, on_ready, link);
  if (link->watch == NULL) return IDEM_NO_MEMORY;
  update_events(link);
  return IDEM_OK;
}

static unsigned *count_of(struct link *link) {
  return link->waiting ? &link->set->waiting_links : &link->node->command_links;
}

static void free_link(struct link *link) {
  if (link->reader != NULL) redisReaderFree(link->reader);
  free(link);
}

static void remove_link(struct link *link) {
  LIST_REMOVE(link, entry);
  --*count_of(link);
  free_link(link);
}

static enum idem_status open_link(struct link_set *set, const struct link_order *order,
                                  struct link **out, struct idem_error *why) {
  struct link *link = calloc(1, sizeof *link);
  if (link == NULL) return IDEM_NO_MEMORY;
  int64_t now = clock_ms();
  link->set = set;
  link->node = order->node;
  link->transport.fd = -1;
  link->waiting = order->waits;
  link->heard_ms = now;
  link->until_ms = now + set->settings->connect_timeout_ms;
  STAILQ_INIT(&link->pending);
  STAILQ_INIT(&link->sent);
  enum idem_status status = begin_connect(link, order, now, why);
  if (status == IDEM_OK) status = prepare(link);
  if (status != IDEM_OK) {
    if (status == IDEM_UNAVAILABLE) addresses_turn(&link->node->addresses);
    close_link(link);
    free_link(link);
    return status;
  }
  LIST_INSERT_HEAD(&set->links, link, entry);
  ++*count_of(link);
  set->untidy = true;
  wakeup_at(set->wakeup, link->until_ms);
  *out = link;
  return IDEM_OK;
}

void link_half_close(struct link *link, int64_t now) {
  if (link->state >= LINK_CLOSING) return;
  if (link_opening(link)) {
    link_end(link, NULL);
    return;
  }
  link->state = LINK_CLOSING;
  link->until_ms = now + link->set->settings->command_timeout_ms;
  link->set->untidy = true;
  wakeup_at(link->set->wakeup, link->until_ms);
  outbox_deinit(&link->outbox);
  link->write_wants = STREAM_DONE;
  transport_half_close(&link->transport);
  update_events(link);
}

/* One that is not READY is looked at again when its time is over. */
static void sweep_unready(struct link *link, int64_t now) {
  char why[IDEM_MESSAGE_BYTES];
  if (link->state == LINK_ENDED || link->state == LINK_READY) return;
  if (now >= link->until_ms) {
    link_explain_silence(link, why);
    link_end(link, why);
    return;
  }
  link->set->untidy = true;
  wakeup_at(link->set->wakeup, link->until_ms);
}

void link_sweep(struct link_set *set, int64_t now) {
  unsigned idle = 0;
  set->untidy = false;
  for (struct link *link = LIST_FIRST(&set->links), *next = NULL; link != NULL; link = next) {
    next = LIST_NEXT(link, entry);
    bool idles = link->waiting && link->flights == 0;
    if (idles && ++idle > set->settings->idle_connections) link_end(link, NULL);
    sweep_unready(link, now);
    if (link->state == LINK_ENDED) remove_link(link);
  }
}

void link_set_init(struct link_set *set) { LIST_INIT(&set->links); }

void link_resolve(struct node *node) {
  struct idem_error ignored;
  const struct target *target = &node->target;
  if (target->path == NULL) (void)addresses_resolve(&node->addresses, target, &ignored);
}

void link_set_deinit(struct link_set *set) {
  struct link *link;
  LIST_FOREACH(link, &set->links, entry) link_end(link, NULL);
  link_sweep(set, clock_ms());
}

/* ---- send ---- */

static bool usable(const struct link *link) { return link->state < LINK_CLOSING; }

/* Room for a link to wait on, if need be that of one which leads to another node and is idle. */
static bool have_room_to_wait(struct link_set *set) {
  struct link *link;
  if (set->waiting_links < set->settings->async_waits) return true;
  LIST_FOREACH(link, &set->links, entry) {
    if (link->waiting && link->flights == 0 && link->state != LINK_ENDED) {
      link_end(link, NULL);
      remove_link(link);
      return true;
    }
  }
  return false;
}

static enum idem_status find_waiting(struct link_set *set, const struct link_order *order,
                                     struct link **out, struct idem_error *why) {
  struct link *link;
  LIST_FOREACH(link, &set->links, entry) {
    *out = link;
    if (link->node != order->node) continue;
    if (link->waiting && link->flights == 0 && usable(link)) return IDEM_OK;
  }
  if (!have_room_to_wait(set)) return IDEM_BUSY;
  return open_link(set, order, out, why);
}

/* The one with the least to do; a new one as long as there may be more and all have something. */
static enum idem_status find_shared(struct link_set *set, const struct link_order *order,
                                    struct link **out, struct idem_error *why) {
  struct link *best = NULL, *link;
  LIST_FOREACH(link, &set->links, entry) {
    if (link->node != order->node || link->waiting || !usable(link)) continue;
    if (best == NULL || link->flights < best->flights) best = link;
  }
  *out = best;
  bool enough = order->node->command_links >= set->settings->async_connections;
  if (best != NULL && (best->flights == 0 || enough)) return IDEM_OK;
  enum idem_status status = open_link(set, order, out, why);
  if (status == IDEM_OK || best == NULL) return status;
  *out = best;
  return IDEM_OK;
}

enum idem_status link_send(struct link_set *set, const struct link_order *order,
                           struct link_sent *sent) {
  struct link *link = NULL;
  enum idem_status status = order->waits ? find_waiting(set, order, &link, &sent->why)
                                         : find_shared(set, order, &link, &sent->why);
  if (status != IDEM_OK) return status;
  struct link_flight *flight = create_flight(link, order->call);
  if (flight == NULL) return IDEM_NO_MEMORY;
  int64_t now = clock_ms();
  if (link->flights == 1) link->heard_ms = now;
  if (!flight->reused) STAILQ_INSERT_TAIL(&link->pending, flight, entry);
  if (flight->reused && !depart(flight, order->call, now)) {
    free_flight(flight);
    return IDEM_NO_MEMORY;
  }
  sent->flight = flight;
  return IDEM_OK;
}

void link_forget(struct link_flight *flight) { flight->call = NULL; }
