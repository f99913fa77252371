/* admit.c - see admit.h. */
#include "server/net/admit.h"

#include <stdlib.h>
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
static const struct stream_type ON_TLS = {.ops = &STREAM_TLS, .events = &SERVE_EVENTS};
static const struct stream_type BELOW_TLS = {.ops = &STREAM_UV, .events = &STREAM_TLS_BELOW};

static void set_up_tcp(struct conn *conn) {
  const struct options *options = conn->group->worker.options;
  const struct stream_uv_tcp tcp = {
      .keepalive_s = (unsigned)options->tcp_keepalive_s,
      .user_timeout_ms = (unsigned)options->client_output_timeout_ms + USER_TIMEOUT_MORE_MS,
  };
  stream_uv_set_up((int)stream_ask(&conn->stream, STREAM_DESCRIPTOR), &tcp);
}

void admit_set_up_all(struct conn_group *group) {
  struct list *sessions = &group->worker.sessions;
  for (struct list *node = sessions->next; node != sessions; node = node->next) {
    struct session *session = LIST_ENTRY(node, struct session, link);
    if (!session->local) set_up_tcp(conn_of(session));
  }
}

/* These two return NULL when memory is short; the socket is still the caller's. */
static struct conn *make_plain(const struct admit_place *place, int fd) {
  struct conn *conn = conn_create(place->group, sizeof(struct stream_uv));
  if (conn == NULL) return NULL;
  return stream_uv_open(&conn->stream, &ON_SOCKET, place->uv, fd) ? conn : NULL;
}

static struct conn *make_secret(const struct admit_place *place, int fd) {
  struct conn *conn =
      conn_create(place->group, offsetof(struct stream_tls, below) + sizeof(struct stream_uv));
  if (conn == NULL) return NULL;
  struct stream_tls *stream = (struct stream_tls *)(void *)&conn->stream;
  if (!stream_tls_open(stream, &ON_TLS, &place->tls->group, place->tls->tls->context)) {
    conn_destroy(conn);
    return NULL;
  }
  return stream_uv_open(&stream->below, &BELOW_TLS, place->uv, fd) ? conn : NULL;
}

/* Without its address it would be taken for the load balancer. */
static void remember(struct conn *conn, struct session_proxied *proxied) {
  struct session_details *details =
      conn->phase != CONN_CLOSED ? session_details(&conn->session) : NULL;
  if (details != NULL) {
    details->proxied = proxied;
    return;
  }
  free(proxied);
  conn_close(conn);
}

/* False: memory is short; the socket is still the caller's. */
static bool serve(const struct admit_place *place, struct handed_socket socket,
                  struct session_proxied *proxied) {
  struct conn *conn =
      socket.kind == HANDED_TLS ? make_secret(place, socket.fd) : make_plain(place, socket.fd);
  if (conn == NULL) return false;
  if (socket.kind != HANDED_UNIX) set_up_tcp(conn);
  conn_begin(conn, socket.kind);
  if (proxied != NULL) remember(conn, proxied);
  return true;
}

/* Over TLS an alert, internal_error: an error in clear text would be one more riddle. */
void admit_refuse(struct conn_group *group, struct handed_socket socket) {
  static const char text[] = "-ERR max number of clients reached\r\n";
  static const char alert[] = {21, 3, 1, 0, 2, 2, 80};
  bool tls = socket.kind == HANDED_TLS;
  ssize_t sent = send(socket.fd, tls ? alert : text, tls ? sizeof alert : sizeof text - 1,
                      MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)sent; /* closed even if the error cannot be sent */
  close(socket.fd);
  group->worker.counters.connections_refused++;
}

void admit_log_refusal(struct conn_group *group, const char *why) {
  struct worker *worker = &group->worker;
  conn_group_see_time(group);
  if (log_wants(worker->log, LOG_REFUSED, worker->monotonic_ms))
    log_line(worker->log, LOG_LEVEL_WARNING, "connection refused: %s", why);
}

void admit_socket(const struct admit_place *place, struct handed_socket socket) {
  /* In every case: the next connection with this number is another one. */
  struct session_proxied *proxied = proxied_take(place->group->proxied, socket.fd);
  if (descriptors_have(place->descriptors, place->uv, socket.fd) &&
      descriptors_watch(place->uv, socket.fd) && serve(place, socket, proxied))
    return;
  free(proxied);
  conn_group_forget(place->group);
  admit_log_refusal(place->group, "no memory");
  admit_refuse(place->group, socket);
}
