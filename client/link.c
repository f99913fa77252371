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

/* hiredis is about to free the context, after it has called back every flight. */
static void cleanup(void *data) {
  struct link *link = data;
  const redisAsyncContext *context = link->context;
  struct idem_async *async = link->async;
  if (context != NULL && context->err != 0 && context->errstr != NULL) {
    snprintf(async->trouble, sizeof async->trouble, "%.120s", context->errstr);
  }
  if (link->watch != NULL) async->loop.unwatch(link->watch);
  link->watch = NULL;
  link->context = NULL;
  async->untidy = true;
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

/* The descriptor is ready. */
static void on_ready(void *data, int events) {
  struct link *link = data;
  struct idem_async *async = link->async;
  if (link->context != NULL && !link->checked) {
    link->checked = true;
    if (async->settings.target.path == NULL && connection_is_itself(link->context->c.fd)) {
      snprintf(async->trouble, sizeof async->trouble, "connection refused");
      link_end(link);
    }
  }
  if (link->context != NULL && (events & IDEM_READABLE)) redisAsyncHandleRead(link->context);
  if (link->context != NULL && (events & IDEM_WRITABLE)) handle_write(link->context);
  async_settle(async);
}

/* ---- open and end ---- */

enum idem_status link_resolve(struct idem_async *async, struct idem_error *error) {
  const struct target *target = &async->settings.target;
  if (target->path != NULL) return IDEM_OK;
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
  int code = getaddrinfo(target->host, target->port, &hints, &found);
  if (code != 0) {
    snprintf(error->text, sizeof error->text, "cannot resolve %.70s: %.60s", target->host,
             gai_strerror(code));
    return code == EAI_MEMORY ? IDEM_NO_MEMORY : IDEM_INVALID;
  }
  for (struct addrinfo *each = found; each != NULL && async->address_count < ASYNC_ADDRESSES;
       each = each->ai_next) {
    char *text = async->addresses[async->address_count];
    if (getnameinfo(each->ai_addr, each->ai_addrlen, text, ASYNC_ADDRESS_BYTES, NULL, 0,
                    NI_NUMERICHOST) == 0) {
      async->address_count++;
    }
  }
  freeaddrinfo(found);
  if (async->address_count > 0) return IDEM_OK;
  snprintf(error->text, sizeof error->text, "no address for %.70s", target->host);
  return IDEM_INVALID;
}

static redisAsyncContext *connect_context(struct idem_async *async) {
  const struct target *target = &async->settings.target;
  if (target->path != NULL) return redisAsyncConnectUnix(target->path);
  return redisAsyncConnect(async->addresses[async->address], atoi(target->port));
}

/* The next address, when this one does not work. */
static void turn_address(struct idem_async *async) {
  if (async->address_count > 0) async->address = (async->address + 1) % async->address_count;
}

static enum idem_status prepare_socket(struct link *link) {
  struct idem_async *async = link->async;
  int fd = link->context->c.fd, one = 1;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (async->settings.target.path == NULL) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  }
  struct idem_error error = {""};
  if (async->settings.tls != NULL &&
      !tls_start(async->settings.tls, &link->context->c, async->settings.target.host, &error)) {
    memcpy(async->trouble, error.text, sizeof async->trouble);
    return IDEM_UNAVAILABLE;
  }
  link->watch = async->loop.watch(async->loop.loop, fd, on_ready, link);
  if (link->watch == NULL) return IDEM_NO_MEMORY;
  link->context->ev.data = link;
  link->context->ev.addRead = add_read;
  link->context->ev.delRead = del_read;
  link->context->ev.addWrite = add_write;
  link->context->ev.delWrite = del_write;
  link->context->ev.cleanup = cleanup;
  return IDEM_OK;
}

static void ignore_reply(redisAsyncContext *context, void *reply, void *data) {
  (void)context;
  (void)reply;
  (void)data;
}

/* Gives a frame to hiredis. False: the link is of no use any more. */
static bool submit(struct link *link, const struct wire_request *request, redisCallbackFn *callback,
                   void *data) {
  struct wire_frame frame;
  wire_frame(&frame, request);
  char *bytes = malloc(frame.size);
  if (bytes == NULL) return false;
  wire_copy(&frame, bytes);
  int code = redisAsyncFormattedCommand(link->context, callback, data, bytes, frame.size);
  free(bytes);
  const redisCallback *last = link->context->replies.tail;
  return code == REDIS_OK && link->context->c.err == 0 && last != NULL && last->privdata == data;
}

/* What the server says to the password is not waited for: a wrong one makes the commands behind it
 * fail with NOAUTH. */
static bool authenticate(struct link *link) {
  const struct target *target = &link->async->settings.target;
  if (target->password == NULL) return true;
  struct wire_request request = {
      .verb = WIRE_AUTH, .key = idem_text(target->password), .owner = idem_text(target->user)};
  return submit(link, &request, ignore_reply, link);
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
  link->context = connect_context(async);
  enum idem_status status = link->context == NULL ? IDEM_NO_MEMORY : IDEM_OK;
  if (status == IDEM_OK && link->context->err != 0) {
    snprintf(async->trouble, sizeof async->trouble, "%.120s", link->context->errstr);
    turn_address(async);
    status = IDEM_UNAVAILABLE;
  }
  if (status == IDEM_OK) status = prepare_socket(link);
  if (status == IDEM_OK && !authenticate(link)) status = IDEM_NO_MEMORY;
  if (status != IDEM_OK) {
    if (link->context != NULL) redisAsyncFree(link->context);
    free(link);
    return status;
  }
  link->next = async->links;
  async->links = link;
  (*(waiting ? &async->waiting_links : &async->command_links))++;
  *out = link;
  return IDEM_OK;
}

void link_end(struct link *link) {
  if (link->context == NULL) return;
  if (!(link->context->c.flags & REDIS_CONNECTED)) turn_address(link->async);
  redisAsyncFree(link->context);
}

void link_half_close(struct link *link, int64_t now) {
  if (link->context == NULL) return;
  if (!(link->context->c.flags & REDIS_CONNECTED) || link->async->settings.tls != NULL) {
    link_end(link);
    return;
  }
  link->closing = true;
  link->closing_until_ms = now + link->async->settings.command_timeout_ms;
  async_wake_at(link->async, link->closing_until_ms);
  shutdown(link->context->c.fd, SHUT_WR);
}

void link_sweep(struct idem_async *async, int64_t now) {
  unsigned idle = 0;
  async->untidy = false;
  for (struct link *link = async->links, *next = NULL; link != NULL; link = next) {
    next = link->next;
    bool spare = link->waiting && link->flights == 0 && ++idle > async->settings.idle_connections;
    if (spare || (link->closing && now >= link->closing_until_ms)) link_end(link);
    if (link->closing && link->context != NULL) async->untidy = true;
    if (link->context == NULL) unlink_link(async, link);
  }
}

/* ---- send ---- */

static bool usable(const struct link *link) {
  return link->context != NULL && !link->closing &&
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

static void on_reply(redisAsyncContext *context, void *reply, void *data) {
  (void)context;
  struct flight *flight = data;
  struct link *link = flight->link;
  struct idem_call *call = flight->call;
  int64_t now = clock_ms();
  link->flights--;
  if (reply != NULL) link->heard_ms = now;
  free(flight);
  if (link->waiting) link->async->untidy = true;
  if (call == NULL) return;
  call->flight = NULL;
  if (async_answered(call, reply, now)) return;
  link->closing = link->async->untidy = true;
  link->closing_until_ms = now;
}

enum idem_status link_send(struct idem_call *call, int64_t now) {
  struct link *link = NULL;
  struct idem_async *async = call->async;
  enum idem_status status =
      call->waits ? find_waiting(async, now, &link) : find_shared(async, now, &link);
  if (status != IDEM_OK) return status;
  struct flight *flight = malloc(sizeof *flight);
  if (flight == NULL) return IDEM_NO_MEMORY;
  *flight = (struct flight){link, NULL};
  link->flights++;
  if (link->flights == 1) link->heard_ms = now;
  if (submit(link, &call->request, on_reply, flight)) {
    flight->call = call;
    call->flight = flight;
    return IDEM_OK;
  }
  /* Whether hiredis has the flight decides who frees it: when it is last in the list, its callback
   * comes. */
  const redisCallback *last = link->context->replies.tail;
  if (last == NULL || last->privdata != flight) {
    link->flights--;
    free(flight);
  }
  link_end(link);
  return IDEM_NO_MEMORY;
}
