/* proxy_room.c - see proxy_room.h. */
#include "server/net/proxy_room.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/net/address.h"
#include "server/net/proxy_header.h"

/* Takes at most so many bytes off a socket that is refused, so that closing it does not reset it
 * before the reason is read. */
#define DISCARDED_BYTES 4096

struct proxy_guest {
  uv_poll_t poll;
  struct list link; /* in room.waiting */
  struct proxy_room *room;
  int fd;
  enum handed_kind kind;
  int64_t since_ms; /* monotonic */
  size_t got;
  char bytes[PROXY_HEADER_BYTES];
};

/* ---- leaving ---- */

static void on_closed(uv_handle_t *handle) { free(handle->data); }

/* The socket is the caller's. */
static int leave(struct proxy_guest *guest) {
  struct proxy_room *room = guest->room;
  list_remove(&guest->link);
  room->count--;
  conn_group_forget(&room->loop->group);
  uv_close((uv_handle_t *)&guest->poll, on_closed);
  return guest->fd;
}

static void refuse(struct proxy_guest *guest, enum proxy_header_verdict verdict) {
  struct worker *worker = &guest->room->loop->group.worker;
  char text[128], rest[DISCARDED_BYTES];
  const char *reason = proxy_header_reason(verdict);
  int len = snprintf(text, sizeof text, "-ERR Protocol error: %s\r\n", reason);
  bool clear = guest->kind != HANDED_TLS; /* else it would be one more riddle */
  int fd = leave(guest);
  worker->counters.proxy_errors++;
  if (log_wants(worker->log, LOG_PROXY, worker->monotonic_ms))
    log_line(worker->log, LOG_LEVEL_WARNING, "load balancer's connection closed: %s", reason);
  ssize_t sent = clear ? send(fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
  ssize_t got = recv(fd, rest, sizeof rest, MSG_DONTWAIT);
  (void)sent;
  (void)got; /* closed in any case */
  close(fd);
}

/* Its memory is the room's until it has been put; false: there is none. */
static bool keep_addresses(struct proxy_room *room, int fd, const struct proxy_header *header) {
  if (!header->addressed) return true;
  struct session_proxied *addresses = calloc(1, sizeof *addresses);
  if (addresses == NULL) return false;
  address_write(&header->peer, addresses->peer);
  address_write(&header->local, addresses->local);
  if (proxied_put(room->proxied, fd, addresses)) return true;
  free(addresses);
  return false;
}

static void pass_on(struct proxy_guest *guest, const struct proxy_header *header) {
  struct proxy_room *room = guest->room;
  enum handed_kind kind = guest->kind;
  int fd = leave(guest);
  if (keep_addresses(room, fd, header)) {
    room->ready(room->context, fd, kind);
  } else {
    close(fd);
  }
}

/* ---- waiting ---- */

/* One that ends before its header is a balancer's look whether somebody listens: no error. */
static void on_readable(uv_poll_t *poll, int status, int events) {
  struct proxy_guest *guest = poll->data;
  struct proxy_header header;
  (void)status;
  (void)events;
  gate_enter(&guest->room->loop->gate);
  conn_group_see_time(&guest->room->loop->group);
  for (;;) {
    enum proxy_header_verdict verdict =
        proxy_header_read((struct span){guest->bytes, guest->got}, &header);
    if (verdict == PROXY_HEADER_WHOLE) {
      pass_on(guest, &header);
      return;
    }
    if (verdict != PROXY_HEADER_MORE) {
      refuse(guest, verdict);
      return;
    }
    ssize_t got =
        recv(guest->fd, guest->bytes + guest->got, header.bytes - guest->got, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      close(leave(guest));
      return;
    }
    guest->got += (size_t)got;
  }
}

static struct proxy_guest *oldest_of(const struct proxy_room *room) {
  return list_empty(&room->waiting) ? NULL
                                    : LIST_ENTRY(room->waiting.next, struct proxy_guest, link);
}

/* False: memory is short. */
static bool watch(struct proxy_guest *guest) {
  struct loop *loop = guest->room->loop;
  if (!descriptors_have(&loop->descriptors, &loop->uv, guest->fd) ||
      !descriptors_watch(&loop->uv, guest->fd) ||
      uv_poll_init(&loop->uv, &guest->poll, guest->fd) != 0)
    return false;
  guest->poll.data = guest;
  return true;
}

void proxy_room_enter(struct proxy_room *room, int fd, enum handed_kind kind) {
  struct proxy_guest *guest = calloc(1, sizeof *guest);
  if (guest != NULL) {
    conn_group_see_time(&room->loop->group);
    *guest = (struct proxy_guest){.room = room, .fd = fd, .kind = kind};
    guest->since_ms = room->loop->group.worker.monotonic_ms;
  }
  if (guest == NULL || !watch(guest)) {
    free(guest);
    close(fd);
    return;
  }
  if (room->count == PROXY_ROOM_MAX) refuse(oldest_of(room), PROXY_HEADER_MORE);
  conn_group_count(&room->loop->group);
  list_append(&room->waiting, &guest->link);
  room->count++;
  if (uv_poll_start(&guest->poll, UV_READABLE, on_readable) != 0) close(leave(guest));
}

void proxy_room_review(struct proxy_room *room) {
  struct proxy_guest *oldest;
  if (room == NULL) return;
  int64_t now_ms = room->loop->group.worker.monotonic_ms;
  while ((oldest = oldest_of(room)) != NULL && now_ms - oldest->since_ms >= PROXY_ROOM_MS)
    refuse(oldest, PROXY_HEADER_MORE);
}

/* ---- life ---- */

struct proxy_room *proxy_room_create(struct loop *loop, struct proxied *proxied,
                                     void (*ready)(void *context, int fd, enum handed_kind kind),
                                     void *context) {
  struct proxy_room *room = calloc(1, sizeof *room);
  if (room == NULL) return NULL;
  *room = (struct proxy_room){.loop = loop, .proxied = proxied, .ready = ready, .context = context};
  list_init(&room->waiting);
  return room;
}

void proxy_room_close_all(struct proxy_room *room) {
  if (room == NULL) return;
  while (!list_empty(&room->waiting)) close(leave(oldest_of(room)));
}

void proxy_room_destroy(struct proxy_room *room) {
  proxy_room_close_all(room);
  free(room);
}
