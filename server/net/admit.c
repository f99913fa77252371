/* admit.c - see admit.h. */
#include "server/net/admit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "server/net/serve.h"
#include "server/net/stream_uv.h"

/* It fills jemalloc's 384; the next size is 448. */
_Static_assert(offsetof(struct conn, stream) + sizeof(struct stream_uv) <= sizeof(uv_tcp_t) + 136,
               "an idle connection got larger");

/* The kernel closes a connection whose client acknowledges nothing, some time after timeouts_check
 * would. */
#define USER_TIMEOUT_MORE_MS 10000

static const struct stream_type ON_SOCKET = {.ops = &STREAM_UV, .events = &SERVE_EVENTS};

static void set_up_tcp(struct conn *conn) {
  const struct options *options = conn->group->worker.options;
  const struct stream_uv_tcp tcp = {
      .keepalive_s = (unsigned)options->tcp_keepalive_s,
      .user_timeout_ms = (unsigned)options->client_output_timeout_ms + USER_TIMEOUT_MORE_MS,
  };
  stream_uv_set_up(&conn->stream, &tcp);
}

void admit_set_up_all(struct conn_group *group) {
  struct list *sessions = &group->worker.sessions;
  for (struct list *node = sessions->next; node != sessions; node = node->next) {
    struct session *session = LIST_ENTRY(node, struct session, link);
    if (!session->local) set_up_tcp(conn_of(session));
  }
}

/* False: memory is short; the socket is still the caller's. */
static bool serve(struct conn_group *group, uv_loop_t *uv, struct handed_socket socket) {
  struct conn *conn = conn_create(group, sizeof(struct stream_uv));
  if (conn == NULL || !stream_uv_open(&conn->stream, &ON_SOCKET, uv, socket.fd)) return false;
  if (!socket.is_unix) set_up_tcp(conn);
  conn_begin(conn, socket.is_unix);
  return true;
}

void admit_refuse(struct conn_group *group, int fd) {
  static const char text[] = "-ERR max number of clients reached\r\n";
  ssize_t sent = send(fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)sent; /* closed even if the error cannot be sent */
  close(fd);
  group->worker.counters.connections_refused++;
}

void admit_log_refusal(struct conn_group *group, const char *why) {
  struct worker *worker = &group->worker;
  conn_group_see_time(group);
  if (log_wants(worker->log, LOG_REFUSED, worker->monotonic_ms))
    log_line(worker->log, LOG_LEVEL_WARNING, "connection refused: %s", why);
}

void admit_socket(struct conn_group *group, uv_loop_t *uv, struct descriptors *descriptors,
                  struct handed_socket socket) {
  if (descriptors_have(descriptors, uv, socket.fd) && descriptors_watch(uv, socket.fd) &&
      serve(group, uv, socket))
    return;
  conn_group_forget(group);
  admit_log_refusal(group, "no memory");
  admit_refuse(group, socket.fd);
}
