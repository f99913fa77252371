/*
 * accept.c - connections that come: taken from their listener, given to the loop that has fewest,
 * or refused.
 *
 * Not by libuv's own accept: when a connection cannot be taken for want of memory libuv never
 * listens again, and when descriptors are short it may try for ever within one turn. Here a lack
 * of either refuses connections, or leaves them waiting until the next cron tick, and the listener
 * goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/net/loop.h"

/* Connections taken from one listener in one turn; then the others have theirs. */
#define ACCEPT_PER_TURN 64u

static void log_refusal(struct loop *loop, const char *why) {
  loop_see_time(loop);
  if (log_wants(loop->log, LOG_REFUSED, loop->worker.now_ms))
    log_line(loop->log, LOG_LEVEL_WARNING, "connection refused: %s", why);
}

static void refuse(struct loop *loop, int fd) {
  static const char text[] = "-ERR max number of clients reached\r\n";
  ssize_t told = send(fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)told; /* who cannot be told is closed all the same */
  close(fd);
  loop->worker.counters.connections_refused++;
}

/* ---- taking ---- */

enum taking { TAKEN, NONE_LEFT, SHORT };

static enum taking outcome_of(int error) {
  switch (error) {
    case EAGAIN: return NONE_LEFT;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return SHORT;
    default: return TAKEN; /* it was gone before it was taken: on with the next one */
  }
}

static int next_connection(const struct listener *listener) {
  return accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* To the loop that has fewest; to the listener's own when that one has too many that it has not
 * taken yet. */
static void give(const struct listener *listener, int fd) {
  struct loop *loop = listener->loop, *chosen = server_choose_loop(loop->server);
  loop_count_connection(chosen);
  if (chosen != loop) {
    if (loop_hand(chosen, fd, listener->is_unix)) return;
    loop_forget_connection(chosen);
    loop_count_connection(loop);
  }
  accept_begin(loop, fd, listener->is_unix);
}

static enum taking take_one(const struct listener *listener) {
  struct loop *loop = listener->loop;
  int fd = next_connection(listener);
  if (fd < 0) return outcome_of(errno);
  uint64_t most = (uint64_t)loop->worker.options->maxclients;
  if (atomic_load(&loop->server->connections) < most) {
    give(listener, fd);
  } else {
    refuse(loop, fd);
  }
  return TAKEN;
}

static int open_spare(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

/* Gives the spare descriptor for the connection, to have it out of the queue. */
static enum taking refuse_one(const struct listener *listener) {
  struct server *server = listener->loop->server;
  if (server->spare_fd >= 0) close(server->spare_fd);
  int fd = next_connection(listener);
  enum taking taking = fd >= 0 ? TAKEN : outcome_of(errno);
  if (fd >= 0) refuse(listener->loop, fd);
  server->spare_fd = open_spare();
  return taking;
}

static void on_waiting(uv_poll_t *poll, int status, int events) {
  struct listener *listener = poll->data;
  (void)events;
  loop_begin(listener->loop);
  enum taking taking = status == 0 ? TAKEN : SHORT;
  for (unsigned i = 0; i < ACCEPT_PER_TURN && taking == TAKEN; i++) {
    taking = take_one(listener);
    if (taking != SHORT) continue;
    log_refusal(listener->loop, strerror(errno));
    taking = refuse_one(listener);
  }
  if (taking == SHORT) uv_poll_stop(poll); /* until accept_resume */
}

/* ---- listeners ---- */

int accept_start(struct listener *listener) {
  struct server *server = listener->loop->server;
  if (server->spare_fd < 0) server->spare_fd = open_spare();
  int error = uv_poll_init(&listener->loop->uv, &listener->poll, listener->fd);
  if (error != 0) return error;
  listener->poll.data = listener;
  listener->open = true;
  return uv_poll_start(&listener->poll, UV_READABLE, on_waiting);
}

void accept_end(struct server *server) {
  if (server->spare_fd >= 0) close(server->spare_fd);
  server->spare_fd = -1;
}

void accept_stop(struct listener *listener) {
  if (listener->open) uv_close((uv_handle_t *)&listener->poll, NULL);
  listener->open = false;
}

void accept_resume(struct server *server) {
  for (unsigned i = 0; i < server->listener_count; i++) {
    struct listener *listener = &server->listeners[i];
    if (!listener->open || uv_is_active((const uv_handle_t *)&listener->poll)) continue;
    if (loop_watch(listener->loop, listener->fd))
      uv_poll_start(&listener->poll, UV_READABLE, on_waiting);
  }
}

void accept_begin(struct loop *loop, int fd, bool is_unix) {
  if (conn_begin(loop, fd, is_unix)) return;
  loop_forget_connection(loop);
  log_refusal(loop, "no memory");
  refuse(loop, fd);
}
