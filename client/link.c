/*
 * link.c - see link.h.
 *
 * hiredis writes without MSG_NOSIGNAL, so SIGPIPE is held back around its writes. It also ignores a
 * failed allocation of its callback list, after which replies would go to the wrong callers; such a
 * link is ended at once.
 */
#include "client/link.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/clock.h"
#include "client/sigpipe.h"
#include "client/socket.h"
#include "client/tls.h"

/* Between two attempts to resolve the name, which block the loop: this, and RESOLVE_SHARE times as
 * long as the former one took. */
#define RESOLVE_PAUSE_MS 1000
#define RESOLVE_SHARE 9

/* ---- hiredis' view of the loop ---- */

static void set_events(struct link *link, int events) {
  if (link->watch == NULL || link->events == events) return;
  link->events = events;
  link->set->loop->want(link->watch, events);
}

static void add_read(void *data) {
  struct link *link = data;
  set_events(link, link->events | IDEM_READABLE);
}

static void del_read(void *data) {
  struct link *link = data;
  set_events(link, link->events & ~IDEM_READABLE);
}

static void add_write(void *data) {
  struct link *link = data;
  set_events(link, link->events | IDEM_WRITABLE);
}

static void del_write(void *data) {
  struct link *link = data;
  set_events(link, link->events & ~IDEM_WRITABLE);
}

static bool has_stray(const struct link *link) {
  const redisAsyncContext *context = link->context;
  const redisReader *reader = context->c.reader;
  return context->replies.head == NULL && reader->pos < reader->len;
}

/* ---- flights ---- */

/* Why the link ends, as hiredis sees it, unless that was known before. When hiredis 1.x calls its
 * flights back, the link has no context left. */
static void note_end(struct link *link, const redisContext *context) {
  if (link->end_status != IDEM_OK) return;
  const struct settings *settings = link->set->settings;
  link->end_status = reply_limit_explain_end(&link->limit, context, link->why);
  if (link->end_status == IDEM_UNAVAILABLE && settings->tls != NULL && !link->answered)
    link->end_status = tls_explain_end(settings->target.host, link->why);
  if (link->end_status != IDEM_UNAVAILABLE || link->why[0] != '\0') return;
  const char *text = context->err != 0 ? context->errstr : "the connection was closed";
  snprintf(link->why, sizeof link->why, "%.120s", text);
}

static void free_flight(struct link_flight *flight) {
  struct link *link = flight->link;
  link->flights--;
  if (link->waiting) link->set->untidy = true;
  free(flight);
}

/* The end of a flight: its reply, or NULL and why it has none. */
static void arrive(struct link_flight *flight, redisReply *reply, const char *why) {
  struct link *link = flight->link;
  struct idem_call *call = flight->call;
  int64_t now = clock_ms();
  struct outcome_loss loss = {IDEM_UNAVAILABLE, flight->sent, why};
  if (why == NULL) {
    loss.why = link->why;
    if (link->end_status != IDEM_OK) loss.status = link->end_status;
  }
  if (reply != NULL) {
    link->heard_ms = now;
    link->answered = true;
  }
  free_flight(flight);
  if (call == NULL) return;
  if (!link->set->user->arrived(call, reply, &loss, now)) link_end(link, NULL);
}

/* One reply too many, and which of them answers what cannot be told: then this one answers nothing.
 * Here, because hiredis aborts as soon as it reads the next. */
static void on_reply(redisAsyncContext *context, void *reply, void *data) {
  struct link_flight *flight = data;
  struct link *link = flight->link;
  if (reply == NULL) note_end(link, &context->c);
  bool stray = reply != NULL && has_stray(link);
  arrive(flight, stray ? NULL : reply, stray ? "more than one reply to one request" : NULL);
  if (stray) link_end(link, NULL);
}

/* The next address, when this one does not work. */
static void turn_address(struct link_set *set) {
  if (++set->address < set->address_count) return;
  set->address = 0;
  set->addresses_failed = true;
}

static void arrive_pending(struct link *link) {
  for (struct link_flight *flight; (flight = STAILQ_FIRST(&link->pending)) != NULL;) {
    STAILQ_REMOVE_HEAD(&link->pending, entry);
    arrive(flight, NULL, NULL);
  }
}

/* hiredis is about to free the context. It calls back the flights that it has before (0.14) or
 * after that (1.x). */
static void cleanup(void *data) {
  struct link *link = data;
  if (link->context != NULL) note_end(link, &link->context->c);
  if (!link->connected) turn_address(link->set);
  if (link->watch != NULL) link->set->loop->unwatch(link->watch);
  link->watch = NULL;
  link->context = NULL;
  link->set->untidy = true;
  arrive_pending(link);
}

static void handle_write(redisAsyncContext *context) {
  struct sigpipe sigpipe;
  sigpipe_hold(&sigpipe);
  redisAsyncHandleWrite(context);
  sigpipe_release(&sigpipe);
}

/* Below TLS a read may write as well. */
static void handle_read(const struct link *link) {
  struct sigpipe sigpipe;
  bool encrypted = link->set->settings->tls != NULL;
  if (encrypted) sigpipe_hold(&sigpipe);
  redisAsyncHandleRead(link->context);
  if (encrypted) sigpipe_release(&sigpipe);
}

/* ---- from connected to ready ---- */

/* A command for hiredis. */
struct submission {
  redisCallbackFn *callback;
  void *data;
  bool taken; /* hiredis has the callback, and calls it */
};

/* False: the link is of no further use; hiredis may have the callback all the same (when it is last
 * in its list). */
static bool submit(struct link *link, const char *bytes, size_t len, struct submission *command) {
  int code =
      redisAsyncFormattedCommand(link->context, command->callback, command->data, bytes, len);
  const redisCallback *last = link->context->replies.tail;
  command->taken = last != NULL && last->privdata == command->data;
  return command->taken && code == REDIS_OK && link->context->c.err == 0;
}

/* hiredis wants one piece of bytes; most commands are one. */
static bool submit_frame(struct link *link, const struct wire_frame *frame,
                         struct submission *command) {
  if (frame->count == 1) return submit(link, frame->parts[0].iov_base, frame->size, command);
  char *bytes = malloc(frame->size);
  if (bytes == NULL) return false;
  wire_copy(frame, bytes);
  bool good = submit(link, bytes, frame->size, command);
  free(bytes);
  return good;
}

/* Sends it. False: the link is of no further use; a flight that hiredis does not take arrives when
 * the link ends. */
static bool depart(struct link_flight *flight, struct idem_call *call, int64_t now) {
  struct link *link = flight->link;
  struct wire_frame frame;
  wire_frame(&frame, link->set->user->departs(call, now));
  struct submission command = {.callback = on_reply, .data = flight};
  bool good = submit_frame(link, &frame, &command);
  flight->sent = command.taken;
  if (!flight->sent) STAILQ_INSERT_TAIL(&link->pending, flight, entry);
  if (!good && link->end_status == IDEM_OK) link->end_status = IDEM_NO_MEMORY;
  return good;
}

/* What is no longer wanted is not sent. */
static bool depart_pending(struct link *link, int64_t now) {
  STAILQ_HEAD(, link_flight) waiting = STAILQ_HEAD_INITIALIZER(waiting);
  STAILQ_CONCAT(&waiting, &link->pending);
  bool good = true;
  for (struct link_flight *flight; (flight = STAILQ_FIRST(&waiting)) != NULL;) {
    STAILQ_REMOVE_HEAD(&waiting, entry);
    if (flight->call == NULL) {
      free_flight(flight);
    } else if (good) {
      good = depart(flight, flight->call, now);
    } else {
      STAILQ_INSERT_TAIL(&link->pending, flight, entry);
    }
  }
  return good;
}

static void become_ready(struct link *link) {
  link->state = LINK_READY;
  link->heard_ms = clock_ms();
  if (!depart_pending(link, link->heard_ms)) link_end(link, NULL);
}

/* Nothing is sent before the password was taken: a server that does not want it may be another one
 * than was meant. */
static void on_auth(redisAsyncContext *context, void *reply, void *data) {
  struct link *link = data;
  struct idem_error error = {""};
  if (reply == NULL) {
    note_end(link, &context->c);
    return;
  }
  bool stray = has_stray(link);
  link->answered = true;
  enum idem_status status = stray ? IDEM_UNAVAILABLE : wire_parse_auth(reply, &error);
  if (status == IDEM_OK) {
    become_ready(link);
    return;
  }
  link->end_status = status;
  link_end(link, stray ? "more than one reply to one request" : error.text);
}

static bool authenticate(struct link *link) {
  const struct settings *settings = link->set->settings;
  const struct target *target = &settings->target;
  struct wire_request request = {
      .verb = WIRE_AUTH, .key = idem_text(target->password), .owner = idem_text(target->user)};
  struct wire_frame frame;
  struct submission command = {.callback = on_auth, .data = link};
  wire_frame(&frame, &request);
  bool good = submit_frame(link, &frame, &command);
  if (!good) link->end_status = IDEM_NO_MEMORY;
  link->until_ms = clock_ms() + settings->command_timeout_ms;
  wakeup_at(link->set->wakeup, link->until_ms);
  return good;
}

/* The connection stands. */
static void greet(struct link *link) {
  const struct target *target = &link->set->settings->target;
  if (target->path == NULL && socket_is_itself(link->context->c.fd)) {
    link_end(link, "connection refused");
    return;
  }
  link->connected = true;
  link->set->addresses_failed = false;
  if (target->password == NULL) {
    become_ready(link);
  } else if (!authenticate(link)) {
    link_end(link, NULL);
  }
}

/* ---- events ---- */

/* Input that was not asked for ends the link: hiredis aborts on it. So does the end of input. */
static void take_input(struct link *link) {
  redisAsyncContext *context = link->context;
  if (context->replies.head == NULL) {
    link_end(link, NULL);
    return;
  }
  handle_read(link);
  if (link->context != NULL && reply_limit_exceeded(&link->limit, context->c.reader))
    link_end(link, NULL);
}

/* A connection that does not stand yet is completed by a write, which reads nothing. */
static void take_events(struct link *link, int events) {
  if (link->set->settings->tls != NULL) tls_expect_errors();
  if (link->context != NULL && (!link->connected || (events & IDEM_WRITABLE)))
    handle_write(link->context);
  if (link->context != NULL && !link->connected && (link->context->c.flags & REDIS_CONNECTED))
    greet(link);
  if (link->context != NULL && link->connected && (events & IDEM_READABLE)) take_input(link);
}

/* The descriptor is ready. */
static void on_ready(void *data, int events) {
  struct link *link = data;
  struct link_set *set = link->set;
  take_events(link, events);
  set->user->settle(set->context);
}

bool link_read(struct link *link) {
  if (link->context == NULL || !socket_readable(link->context->c.fd)) return false;
  take_events(link, IDEM_READABLE);
  return true;
}

/* ---- open and end ---- */

static void keep_addresses(struct link_set *set, const struct addrinfo *found) {
  set->address_count = set->address = 0;
  for (; found != NULL && set->address_count < LINK_ADDRESSES; found = found->ai_next) {
    char *text = set->addresses[set->address_count];
    if (getnameinfo(found->ai_addr, found->ai_addrlen, text, LINK_ADDRESS_BYTES, NULL, 0,
                    NI_NUMERICHOST) == 0) {
      set->address_count++;
    }
  }
}

/* Blocks. OK; else why says it. */
static enum idem_status resolve(struct link_set *set, struct idem_error *why) {
  const struct target *target = &set->settings->target;
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
  int64_t start_ms = clock_ms();
  int code = getaddrinfo(target->host, target->port, &hints, &found);
  int64_t now = clock_ms();
  set->resolve_ms = now + RESOLVE_PAUSE_MS + RESOLVE_SHARE * (now - start_ms);
  if (code != 0) {
    snprintf(why->text, sizeof why->text, "cannot resolve %.70s: %.60s", target->host,
             gai_strerror(code));
    return code == EAI_MEMORY ? IDEM_NO_MEMORY : IDEM_UNAVAILABLE;
  }
  keep_addresses(set, found);
  freeaddrinfo(found);
  set->addresses_failed = false;
  return IDEM_OK;
}

/* An address to use. When there is none, or none works, the name is resolved again now and then. */
static enum idem_status find_address(struct link_set *set, int64_t now, struct idem_error *why) {
  bool wanting = set->address_count == 0 || set->addresses_failed;
  snprintf(why->text, sizeof why->text, "cannot resolve %.70s", set->settings->target.host);
  if (wanting && now >= set->resolve_ms) {
    enum idem_status status = resolve(set, why);
    if (status != IDEM_OK && set->address_count == 0) return status;
  }
  return set->address_count > 0 ? IDEM_OK : IDEM_UNAVAILABLE;
}

/* Begins to connect. */
static enum idem_status begin_connect(struct link *link, int64_t now, struct idem_error *why) {
  struct link_set *set = link->set;
  const struct target *target = &set->settings->target;
  if (target->path != NULL) {
    link->context = redisAsyncConnectUnix(target->path);
  } else {
    enum idem_status status = find_address(set, now, why);
    if (status != IDEM_OK) return status;
    link->context = redisAsyncConnect(set->addresses[set->address], atoi(target->port));
  }
  if (link->context == NULL || link->context->err == REDIS_ERR_OOM) return IDEM_NO_MEMORY;
  if (link->context->err == 0) return IDEM_OK;
  snprintf(why->text, sizeof why->text, "%.120s", link->context->errstr);
  return IDEM_UNAVAILABLE;
}

/* Close-on-exec, not stdin, stdout or stderr, and the options of every connection. */
static bool prepare_socket(struct link *link) {
  redisContext *context = &link->context->c;
  context->fd = socket_move(context->fd);
  if (context->fd < 0) return false;
  fcntl(context->fd, F_SETFD, FD_CLOEXEC);
  if (link->set->settings->target.path == NULL) socket_set_tcp_options(context->fd);
  return true;
}

static enum idem_status prepare_context(struct link *link, struct idem_error *why) {
  const struct settings *settings = link->set->settings;
  const struct idem_loop *loop = link->set->loop;
  redisAsyncContext *context = link->context;
  if (!prepare_socket(link)) {
    snprintf(why->text, sizeof why->text, "no descriptor");
    return IDEM_UNAVAILABLE;
  }
  reply_limit_init(&link->limit, context->c.reader, settings->reply_limit_bytes);
  enum idem_status status = IDEM_OK;
  if (settings->tls != NULL)
    status = tls_start(settings->tls, &context->c, settings->target.host, why);
  if (status != IDEM_OK) return status;
  link->watch = loop->watch(loop->loop, context->c.fd, on_ready, link);
  if (link->watch == NULL) return IDEM_NO_MEMORY;
  context->ev.data = link;
  context->ev.addRead = add_read;
  context->ev.delRead = del_read;
  context->ev.addWrite = add_write;
  context->ev.delWrite = del_write;
  context->ev.cleanup = cleanup;
  add_write(link); /* which tells when it is connected */
  return IDEM_OK;
}

static unsigned *count_of(struct link *link) {
  return link->waiting ? &link->set->waiting_links : &link->set->command_links;
}

static void remove_link(struct link *link) {
  LIST_REMOVE(link, entry);
  --*count_of(link);
  free(link);
}

static enum idem_status open_link(struct link_set *set, bool waiting, struct link **out,
                                  struct idem_error *why) {
  struct link *link = calloc(1, sizeof *link);
  if (link == NULL) return IDEM_NO_MEMORY;
  int64_t now = clock_ms();
  link->set = set;
  link->waiting = waiting;
  link->heard_ms = now;
  link->until_ms = now + set->settings->connect_timeout_ms;
  STAILQ_INIT(&link->pending);
  enum idem_status status = begin_connect(link, now, why);
  if (status == IDEM_OK) status = prepare_context(link, why);
  if (status != IDEM_OK) {
    if (status == IDEM_UNAVAILABLE) turn_address(set);
    if (link->context != NULL) redisAsyncFree(link->context);
    free(link);
    return status;
  }
  LIST_INSERT_HEAD(&set->links, link, entry);
  ++*count_of(link);
  set->untidy = true;
  wakeup_at(set->wakeup, link->until_ms);
  *out = link;
  return IDEM_OK;
}

void link_end(struct link *link, const char *why) {
  if (link->context == NULL) return;
  if (why != NULL) {
    snprintf(link->why, sizeof link->why, "%s", why);
    if (link->end_status == IDEM_OK) link->end_status = IDEM_UNAVAILABLE;
  }
  redisAsyncFree(link->context);
}

void link_half_close(struct link *link, int64_t now) {
  if (link->context == NULL || link->state == LINK_CLOSING) return;
  if (link->state == LINK_OPENING || link->set->settings->tls != NULL) {
    link_end(link, NULL);
    return;
  }
  link->state = LINK_CLOSING;
  link->until_ms = now + link->set->settings->command_timeout_ms;
  link->set->untidy = true;
  wakeup_at(link->set->wakeup, link->until_ms);
  shutdown(link->context->c.fd, SHUT_WR);
}

/* The time to open it, or to hear its last words, is over. */
static void give_up(struct link *link) {
  char why[IDEM_MESSAGE_BYTES];
  snprintf(why, sizeof why, "no connection to %.70s in time", link->set->settings->target.name);
  link_end(link, link->state == LINK_OPENING ? why : "no answer in time");
}

/* One that is not READY is looked at again when its time is over. */
static void sweep_unready(struct link *link, int64_t now) {
  if (link->context == NULL || link->state == LINK_READY) return;
  if (now >= link->until_ms) {
    give_up(link);
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
    if (link->context == NULL) remove_link(link);
  }
}

void link_set_init(struct link_set *set) {
  struct idem_error ignored;
  LIST_INIT(&set->links);
  if (set->settings->target.path == NULL) (void)resolve(set, &ignored);
}

void link_set_deinit(struct link_set *set) {
  struct link *link;
  LIST_FOREACH(link, &set->links, entry) link_end(link, NULL);
  link_sweep(set, clock_ms());
}

/* ---- send ---- */

static bool usable(const struct link *link) {
  return link->context != NULL && link->state != LINK_CLOSING &&
         !(link->context->c.flags & (REDIS_DISCONNECTING | REDIS_FREEING));
}

static enum idem_status find_waiting(struct link_set *set, struct link **out,
                                     struct idem_error *why) {
  struct link *link;
  LIST_FOREACH(link, &set->links, entry) {
    *out = link;
    if (link->waiting && link->flights == 0 && usable(link)) return IDEM_OK;
  }
  if (set->waiting_links >= set->settings->async_waits) return IDEM_BUSY;
  return open_link(set, true, out, why);
}

/* The one with the least to do; a new one as long as there may be more and all have something. */
static enum idem_status find_shared(struct link_set *set, struct link **out,
                                    struct idem_error *why) {
  struct link *best = NULL, *link;
  LIST_FOREACH(link, &set->links, entry) {
    if (link->waiting || !usable(link)) continue;
    if (best == NULL || link->flights < best->flights) best = link;
  }
  *out = best;
  bool enough = set->command_links >= set->settings->async_connections;
  if (best != NULL && (best->flights == 0 || enough)) return IDEM_OK;
  enum idem_status status = open_link(set, false, out, why);
  if (status == IDEM_OK || best == NULL) return status;
  *out = best;
  return IDEM_OK;
}

enum idem_status link_send(struct link_set *set, struct idem_call *call, bool waits,
                           struct link_sent *sent) {
  struct link *link = NULL;
  enum idem_status status =
      waits ? find_waiting(set, &link, &sent->why) : find_shared(set, &link, &sent->why);
  if (status != IDEM_OK) return status;
  struct link_flight *flight = malloc(sizeof *flight);
  if (flight == NULL) return IDEM_NO_MEMORY;
  bool ready = link->state == LINK_READY;
  int64_t now = clock_ms();
  *flight = (struct link_flight){.link = link, .reused = ready};
  link->flights++;
  if (link->flights == 1) link->heard_ms = now;
  if (!ready) STAILQ_INSERT_TAIL(&link->pending, flight, entry);
  if (ready && !depart(flight, call, now)) {
    link_end(link, NULL);
    return IDEM_NO_MEMORY;
  }
  flight->call = call; /* only now: what fails at once is no answer to the call */
  sent->flight = flight;
  return IDEM_OK;
}

void link_forget(struct link_flight *flight) { flight->call = NULL; }
