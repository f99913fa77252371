/*
 * link.c - the connections of idem_async: hiredis' asynchronous contexts in the user's loop. See
 * async.h.
 *
 * hiredis writes without MSG_NOSIGNAL, so SIGPIPE is held back around its writes. It also ignores a
 * failed allocation of its callback list, after which replies would go to the wrong callers; such a
 * link is ended at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/async.h"
#include "client/clock.h"
#include "client/connection.h"

/* ---- hiredis' view of the loop ---- */

static void set_events(struct link *link, int events) {
  if (link->watch == NULL || link->events == events) return;
  link->events = events;
  link->async->loop.want(link->watch, events);
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

/* When a link ends because of what the server said, not of how it can be reached. The context is
 * not the link's any more when hiredis 1.x calls its flights back. */
static void note_refusal(struct link *link, const redisContext *context) {
  if (link->refused) return;
  if (reply_limit_exceeded(&link->limit, context->reader)) {
    snprintf(link->why, sizeof link->why, "a reply over %zu bytes or %d fields",
             link->limit.bytes_max, REPLY_ELEMENTS_MAX);
  } else if (context->err == REDIS_ERR_PROTOCOL) {
    snprintf(link->why, sizeof link->why, "this is no idem server: %.120s", context->errstr);
  } else {
    return;
  }
  link->refused = true;
}

/* The end of a flight: its reply, or NULL. */
static void come_back(struct flight *flight, redisReply *reply) {
  struct link *link = flight->link;
  struct idem_call *call = flight->call;
  int64_t now = clock_ms();
  link->flights--;
  if (reply != NULL) link->heard_ms = now;
  if (link->waiting) link->async->untidy = true;
  free(flight);
  if (call == NULL) return;
  call->flight = NULL;
  if (reply == NULL && link->refused) {
    async_refused(call, link->why, now);
  } else if (!async_answered(call, reply, now)) {
    link_end(link);
  }
}

/* One reply too many, and nobody can say which of them answers what: then this one answers nothing.
 * Here, because hiredis aborts as soon as it reads the next. */
static void on_reply(redisAsyncContext *context, void *reply, void *data) {
  struct flight *flight = data;
  struct link *link = flight->link;
  if (reply == NULL) note_refusal(link, &context->c);
  bool stray = reply != NULL && has_stray(link);
  come_back(flight, stray ? NULL : reply);
  if (stray) link_end(link);
}

/* hiredis is about to free the context. It calls back the flights that it has before (0.14) or
 * after that (1.x). */
static void cleanup(void *data) {
  struct link *link = data;
  const redisAsyncContext *context = link->context;
  struct idem_async *async = link->async;
  if (context != NULL && context->err != 0 && context->errstr != NULL) {
    snprintf(async->trouble, sizeof async->trouble, "%.120s", context->errstr);
  }
  if (context != NULL) note_refusal(link, &context->c);
  if (link->watch != NULL) async->loop.unwatch(link->watch);
  link->watch = NULL;
  link->context = NULL;
  async->untidy = true;
  while (link->pending != NULL) {
    struct flight *flight = link->pending;
    link->pending = flight->next;
    come_back(flight, NULL);
  }
}

static void handle_write(redisAsyncContext *context) {
  sigset_t pipe_only, before, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  redisAsyncHandleWrite(context);
  if (!sigismember(&pending, SIGPIPE)) {
    struct timespec none = {0, 0};
    while (sigtimedwait(&pipe_only, NULL, &none) < 0 && errno == EINTR) continue;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- from connected to ready ---- */

static void push_pending(struct link *link, struct flight *flight) {
  flight->next = NULL;
  *(link->pending != NULL ? link->pending_end : &link->pending) = flight;
  link->pending_end = &flight->next;
}

/* Gives a command to hiredis. False: the link is of no use any more; *taken says whether hiredis
 * has the callback all the same (when it is last in its list), and then calls it. */
static bool submit(struct link *link, const char *bytes, size_t len, redisCallbackFn *callback,
                   void *data, bool *taken) {
  int code = redisAsyncFormattedCommand(link->context, callback, data, bytes, len);
  const redisCallback *last = link->context->replies.tail;
  *taken = last != NULL && last->privdata == data;
  return *taken && code == REDIS_OK && link->context->c.err == 0;
}

/* A flight that hiredis does not take comes back when the link ends. */
static bool submit_flight(struct link *link, struct flight *flight) {
  bool taken = false;
  bool good = submit(link, flight->bytes, flight->len, on_reply, flight, &taken);
  if (!taken) push_pending(link, flight);
  return good;
}

static void become_ready(struct link *link) {
  struct flight *flight = link->pending;
  link->pending = NULL;
  link->state = LINK_READY;
  link->heard_ms = clock_ms();
  bool good = true;
  for (struct flight *next = NULL; flight != NULL; flight = next) {
    next = flight->next;
    if (good) {
      good = submit_flight(link, flight);
    } else {
      push_pending(link, flight);
    }
  }
  if (!good) link_end(link);
}

/* Nothing is sent before the password was taken: a server that does not want it may be another one
 * than was meant. */
static void on_auth(redisAsyncContext *context, void *reply, void *data) {
  struct link *link = data;
  struct idem_error error = {""};
  (void)context;
  if (reply == NULL) return;
  enum idem_status status = has_stray(link) ? IDEM_UNAVAILABLE : wire_judge_auth(reply, &error);
  if (status == IDEM_OK) {
    become_ready(link);
    return;
  }
  link->refused = status == IDEM_REFUSED;
  memcpy(link->why, error.text, sizeof link->why);
  memcpy(link->async->trouble, error.text, sizeof link->async->trouble);
  link_end(link);
}

static bool authenticate(struct link *link) {
  const struct target *target = &link->async->settings.target;
  struct wire_request request = {
      .verb = WIRE_AUTH, .key = idem_text(target->password), .owner = idem_text(target->user)};
  struct wire_frame frame;
  bool taken = false;
  wire_frame(&frame, &request);
  char *bytes = malloc(frame.size);
  if (bytes == NULL) return false;
  wire_copy(&frame, bytes);
  bool good = submit(link, bytes, frame.size, on_auth, link, &taken);
  free(bytes);
  return good;
}

/* The connection stands. */
static void greet(struct link *link) {
  struct idem_async *async = link->async;
  const struct target *target = &async->settings.target;
  link->greeted = true;
  if (target->path == NULL && connection_is_itself(link->context->c.fd)) {
    snprintf(async->trouble, sizeof async->trouble, "connection refused");
    link_end(link);
    return;
  }
  async->addresses_failed = false;
  if (target->password == NULL) {
    become_ready(link);
  } else if (!authenticate(link)) {
    link_end(link);
  }
}

/* ---- events ---- */

/* Input that nobody asked for ends the link: hiredis aborts on it. So does the end of input. */
static void take_input(struct link *link) {
  redisAsyncContext *context = link->context;
  if (context->replies.head == NULL) {
    link_end(link);
    return;
  }
  redisAsyncHandleRead(context);
  if (link->context != NULL && reply_limit_exceeded(&link->limit, context->c.reader))
    link_end(link);
}

/* A connection that does not stand yet is completed by a write, which reads nothing. */
static void take_events(struct link *link, int events) {
  if (link->context != NULL && (!link->greeted || (events & IDEM_WRITABLE)))
    handle_write(link->context);
  if (link->context != NULL && !link->greeted && (link->context->c.flags & REDIS_CONNECTED))
    greet(link);
  if (link->context != NULL && link->greeted && (events & IDEM_READABLE)) take_input(link);
}

/* The descriptor is ready. */
static void on_ready(void *data, int events) {
  struct link *link = data;
  struct idem_async *async = link->async;
  take_events(link, events);
  async_settle(async);
}

void link_read_for(struct idem_call *call) {
  for (int i = 0; i < ASYNC_LATE_READS_MAX && call->flight != NULL; i++) {
    struct link *link = call->flight->link;
    if (link->context == NULL) return;
    struct pollfd wanted = {.fd = link->context->c.fd, .events = POLLIN};
    if (poll(&wanted, 1, 0) <= 0) return;
    take_events(link, IDEM_READABLE);
  }
}

/* ---- open and end ---- */

static void keep_addresses(struct idem_async *async, const struct addrinfo *found) {
  async->address_count = async->address = 0;
  for (; found != NULL && async->address_count < ASYNC_ADDRESSES; found = found->ai_next) {
    char *text = async->addresses[async->address_count];
    if (getnameinfo(found->ai_addr, found->ai_addrlen, text, ASYNC_ADDRESS_BYTES, NULL, 0,
                    NI_NUMERICHOST) == 0) {
      async->address_count++;
    }
  }
}

bool link_resolve(struct idem_async *async) {
  const struct target *target = &async->settings.target;
  if (target->path != NULL) return true;
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
  int64_t start = clock_ms();
  int code = getaddrinfo(target->host, target->port, &hints, &found);
  int64_t now = clock_ms();
  async->resolve_ms = now + ASYNC_RESOLVE_PAUSE_MS + ASYNC_RESOLVE_SHARE * (now - start);
  if (code != 0) {
    snprintf(async->trouble, sizeof async->trouble, "cannot resolve %.70s: %.60s", target->host,
             gai_strerror(code));
    return false;
  }
  keep_addresses(async, found);
  freeaddrinfo(found);
  async->addresses_failed = false;
  return async->address_count > 0;
}

/* Begins to connect. IDEM_OK, UNAVAILABLE (trouble says why) or NO_MEMORY. */
static enum idem_status connect_link(struct link *link, int64_t now) {
  struct idem_async *async = link->async;
  const struct target *target = &async->settings.target;
  if (target->path != NULL) {
    link->context = redisAsyncConnectUnix(target->path);
  } else {
    bool wanting = async->address_count == 0 || async->addresses_failed;
    if (wanting && now >= async->resolve_ms) link_resolve(async);
    if (async->address_count == 0) {
      if (async->trouble[0] == '\0')
        snprintf(async->trouble, sizeof async->trouble, "no address for %.70s", target->host);
      return IDEM_UNAVAILABLE;
    }
    link->context = redisAsyncConnect(async->addresses[async->address], atoi(target->port));
  }
  if (link->context == NULL) return IDEM_NO_MEMORY;
  if (link->context->err == 0) return IDEM_OK;
  snprintf(async->trouble, sizeof async->trouble, "%.120s", link->context->errstr);
  return IDEM_UNAVAILABLE;
}

/* The next address, when this one does not work. */
static void turn_address(struct idem_async *async) {
  if (++async->address < async->address_count) return;
  async->address = 0;
  async->addresses_failed = true;
}

/* Close-on-exec, not stdin, stdout or stderr, and the options of every connection. */
static bool prepare_socket(struct link *link) {
  redisContext *context = &link->context->c;
  int one = 1;
  context->fd = connection_move_descriptor(context->fd);
  if (context->fd < 0) return false;
  fcntl(context->fd, F_SETFD, FD_CLOEXEC);
  if (link->async->settings.target.path != NULL) return true;
  setsockopt(context->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(context->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  return true;
}

static enum idem_status prepare_context(struct link *link) {
  struct idem_async *async = link->async;
  redisAsyncContext *context = link->context;
  if (!prepare_socket(link)) {
    snprintf(async->trouble, sizeof async->trouble, "no descriptor");
    return IDEM_UNAVAILABLE;
  }
  reply_limit_init(&link->limit, context->c.reader, async->settings.reply_limit_bytes);
  struct idem_error error = {""};
  enum idem_status status = IDEM_OK;
  if (async->settings.tls != NULL)
    status = tls_start(async->settings.tls, &context->c, async->settings.target.host, &error);
  if (status != IDEM_OK) {
    memcpy(async->trouble, error.text, sizeof async->trouble);
    return status;
  }
  link->watch = async->loop.watch(async->loop.loop, context->c.fd, on_ready, link);
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

static void unlink_link(struct idem_async *async, struct link *link) {
  struct link **at = &async->links;
  while (*at != link) at = &(*at)->next;
  *at = link->next;
  (*(link->waiting ? &async->waiting_links : &async->command_links))--;
  free(link);
}

static enum idem_status open_link(struct idem_async *async, bool waiting, int64_t now,
                                  struct link **out) {
  struct link *link = calloc(1, sizeof *link);
  if (link == NULL) return IDEM_NO_MEMORY;
  link->async = async;
  link->waiting = waiting;
  link->heard_ms = now;
  link->until_ms = now + async->settings.connect_timeout_ms;
  enum idem_status status = connect_link(link, now);
  if (status == IDEM_OK) status = prepare_context(link);
  if (status != IDEM_OK) {
    if (status == IDEM_UNAVAILABLE) turn_address(async);
    if (link->context != NULL) redisAsyncFree(link->context);
    free(link);
    return status;
  }
  link->next = async->links;
  async->links = link;
  (*(waiting ? &async->waiting_links : &async->command_links))++;
  async->untidy = true;
  async_wake_at(async, link->until_ms);
  *out = link;
  return IDEM_OK;
}

void link_end(struct link *link) {
  if (link->context == NULL) return;
  if (!(link->context->c.flags & REDIS_CONNECTED)) turn_address(link->async);
  redisAsyncFree(link->context);
}

void link_half_close(struct link *link, int64_t now) {
  if (link->context == NULL || link->state == LINK_CLOSING) return;
  if (link->state == LINK_OPENING || link->async->settings.tls != NULL) {
    link_end(link);
    return;
  }
  link->state = LINK_CLOSING;
  link->until_ms = now + link->async->settings.command_timeout_ms;
  link->async->untidy = true;
  async_wake_at(link->async, link->until_ms);
  shutdown(link->context->c.fd, SHUT_WR);
}

/* The time to open it, or to hear its last words, is over. */
static void give_up(struct link *link) {
  struct idem_async *async = link->async;
  if (link->state == LINK_OPENING) {
    snprintf(async->trouble, sizeof async->trouble, "no connection to %.70s in time",
             async->settings.target.name);
  }
  link_end(link);
}

void link_sweep(struct idem_async *async, int64_t now) {
  unsigned idle = 0;
  async->untidy = false;
  for (struct link *link = async->links, *next = NULL; link != NULL; link = next) {
    next = link->next;
    bool spare = link->waiting && link->flights == 0 && ++idle > async->settings.idle_connections;
    if (spare) link_end(link);
    if (link->context != NULL && link->state != LINK_READY && now >= link->until_ms) give_up(link);
    if (link->context != NULL && link->state != LINK_READY) {
      async->untidy = true;
      async_wake_at(async, link->until_ms);
    }
    if (link->context == NULL) unlink_link(async, link);
  }
}

/* ---- send ---- */

static bool usable(const struct link *link) {
  return link->context != NULL && link->state != LINK_CLOSING &&
         !(link->context->c.flags & (REDIS_DISCONNECTING | REDIS_FREEING));
}

static enum idem_status find_waiting(struct idem_async *async, int64_t now, struct link **out) {
  for (struct link *link = async->links; link != NULL; link = link->next) {
    *out = link;
    if (link->waiting && link->flights == 0 && usable(link)) return IDEM_OK;
  }
  if (async->waiting_links >= async->settings.async_waits) return IDEM_BUSY;
  return open_link(async, true, now, out);
}

/* The one with the least to do; a new one as long as there may be more and all have something. */
static enum idem_status find_shared(struct idem_async *async, int64_t now, struct link **out) {
  struct link *best = NULL;
  for (struct link *link = async->links; link != NULL; link = link->next) {
    if (link->waiting || !usable(link)) continue;
    if (best == NULL || link->flights < best->flights) best = link;
  }
  *out = best;
  if (best != NULL &&
      (best->flights == 0 || async->command_links >= async->settings.async_connections)) {
    return IDEM_OK;
  }
  enum idem_status status = open_link(async, false, now, out);
  if (status == IDEM_OK || best == NULL) return status;
  *out = best;
  return IDEM_OK;
}

static struct flight *create_flight(struct link *link, const struct wire_request *request) {
  struct wire_frame frame;
  wire_frame(&frame, request);
  struct flight *flight = malloc(sizeof *flight + frame.size);
  if (flight == NULL) return NULL;
  *flight = (struct flight){.link = link, .len = frame.size};
  wire_copy(&frame, flight->bytes);
  return flight;
}

enum idem_status link_send(struct idem_call *call, int64_t now) {
  struct link *link = NULL;
  struct idem_async *async = call->async;
  enum idem_status status =
      call->waits ? find_waiting(async, now, &link) : find_shared(async, now, &link);
  if (status != IDEM_OK) return status;
  struct flight *flight = create_flight(link, &call->request);
  if (flight == NULL) return IDEM_NO_MEMORY;
  link->flights++;
  if (link->flights == 1) link->heard_ms = now;
  bool good = true;
  if (link->state == LINK_OPENING) {
    push_pending(link, flight);
  } else {
    good = submit_flight(link, flight);
  }
  if (good) { /* only now: what fails at once is no answer to the call */
    flight->call = call;
    call->flight = flight;
    return IDEM_OK;
  }
  link_end(link);
  return IDEM_NO_MEMORY;
}
