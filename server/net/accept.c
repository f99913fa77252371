/* accept.c - see accept.h. */
#include "server/net/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/net/address.h"
#include "server/net/admit.h"
#include "server/ops/options_networks.h"

/* Connections taken from one socket in one turn; then the others have theirs. */
#define PER_TURN 64u

enum taking { TAKEN, NONE_LEFT, SHORT };

static struct loop *loop_of(const struct acceptor *acceptor) { return acceptor->loops->loops[0]; }

/* ---- taking ---- */

static enum taking outcome_of(int error) {
  switch (error) {
    case EAGAIN: return NONE_LEFT;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return SHORT;
    default: return TAKEN; /* closed before it was accepted: take the next one */
  }
}

static int next_connection(const struct accept_socket *from) {
  return accept4(from->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* Gives it to the loop that has the fewest; to the first loop when too many are on their way
 * there. */
static void give(struct acceptor *acceptor, struct handed_socket socket) {
  struct loop *loop = loop_of(acceptor), *chosen = loop_set_fewest(acceptor->loops);
  conn_group_count(&chosen->group);
  if (chosen != loop) {
    if (loop_hand(chosen, socket)) return;
    conn_group_forget(&chosen->group);
    conn_group_count(&loop->group);
  }
  loop_adopt(loop, socket);
}

void accept_proxied(void *context, int fd, enum handed_kind kind) {
  give(context, (struct handed_socket){fd, kind});
}

/* Whether it comes from a load balancer, whose PROXY header is awaited first. */
static bool is_proxied(const struct accept_socket *from, int fd) {
  struct in6_addr address;
  const struct acceptor *acceptor = from->acceptor;
  if (acceptor->proxies == NULL || from->kind == HANDED_UNIX || !address_of_peer(fd, &address)) return false;
  const struct options *options = loop_of(acceptor)->group.worker.options;
  return options_networks_have(options->proxy_protocol, &address);
}

static enum taking take_one(const struct accept_socket *from) {
  struct acceptor *acceptor = from->acceptor;
  struct conn_group *group = &loop_of(acceptor)->group;
  int fd = next_connection(from);
  if (fd < 0) return outcome_of(errno);
  uint64_t most = (uint64_t)group->worker.options->maxclients;
  if (atomic_load(&acceptor->loops->connections) >= most) {
    admit_refuse(group, (struct handed_socket){fd, from->kind});
  } else if (is_proxied(from, fd)) {
    proxy_room_enter(acceptor->proxies, fd, from->kind);
  } else {
    give(acceptor, (struct handed_socket){fd, from->kind});
  }
  return TAKEN;
}

static int open_spare(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

static void close_spare(struct acceptor *acceptor) {
  if (acceptor->spare_fd >= 0) close(acceptor->spare_fd);
  acceptor->spare_fd = -1;
}

/* Closes the spare descriptor, so that the connection can be accepted and refused: otherwise it
 * stays in the queue. */
static enum taking refuse_one(const struct accept_socket *from) {
  struct acceptor *acceptor = from->acceptor;
  close_spare(acceptor);
  int fd = next_connection(from);
  enum taking taking = fd >= 0 ? TAKEN : outcome_of(errno);
  if (fd >= 0) admit_refuse(&loop_of(acceptor)->group, (struct handed_socket){fd, from->kind});
  acceptor->spare_fd = open_spare();
  return taking;
}

static bool has_to_wait(const struct accept_socket *from) {
  const struct tls *tls = from->acceptor->loops->tls;
  return from->kind == HANDED_TLS && atomic_load(&tls->figures->handshakes) >= ACCEPT_HANDSHAKES;
}

static void on_waiting(uv_poll_t *poll, int status, int events) {
  struct accept_socket *from = poll->data;
  struct loop *loop = loop_of(from->acceptor);
  (void)events;
  gate_enter(&loop->gate);
  enum taking taking = status == 0 && !has_to_wait(from) ? TAKEN : SHORT;
  for (unsigned i = 0; i < PER_TURN && taking == TAKEN; i++) {
    taking = take_one(from);
    if (taking != SHORT) continue;
    admit_log_refusal(&loop->group, strerror(errno));
    taking = refuse_one(from);
  }
  if (taking == SHORT) uv_poll_stop(poll); /* until accept_resume */
}

/* ---- sockets ---- */

void accept_init(struct acceptor *acceptor, struct loop_set *loops) {
  *acceptor = (struct acceptor){.loops = loops, .spare_fd = -1};
}

int accept_add(struct acceptor *acceptor, struct handed_socket socket, int backlog) {
  struct accept_socket *added = &acceptor->sockets[acceptor->count++];
  *added = (struct accept_socket){.acceptor = acceptor, .fd = socket.fd, .kind = socket.kind};
  if (listen(added->fd, backlog) != 0) return -errno;
  if (acceptor->spare_fd < 0) acceptor->spare_fd = open_spare();
  int error = uv_poll_init(&loop_of(acceptor)->uv, &added->poll, added->fd);
  if (error != 0) return error;
  added->poll.data = added;
  added->open = true;
  return uv_poll_start(&added->poll, UV_READABLE, on_waiting);
}

void accept_close(struct acceptor *acceptor) {
  proxy_room_close_all(acceptor->proxies);
  while (acceptor->count > 0) {
    struct accept_socket *socket = &acceptor->sockets[--acceptor->count];
    if (socket->open) uv_close((uv_handle_t *)&socket->poll, NULL);
    socket->open = false;
    close(socket->fd);
  }
  close_spare(acceptor);
}

void accept_resume(struct acceptor *acceptor) {
  proxy_room_review(acceptor->proxies);
  for (unsigned i = 0; i < acceptor->count; i++) {
    struct accept_socket *socket = &acceptor->sockets[i];
    if (!socket->open || uv_is_active((const uv_handle_t *)&socket->poll)) continue;
    if (has_to_wait(socket)) continue;
    if (descriptors_watch(&loop_of(acceptor)->uv, socket->fd))
      uv_poll_start(&socket->poll, UV_READABLE, on_waiting);
  }
}
