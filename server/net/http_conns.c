/* http_conns.c - see http_conns.h. */
#include "server/net/http_conns.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#define PER_TURN 8u

void http_conns_move(struct http *http, struct http_conn *conn, enum http_phase phase,
                     int64_t now_ms) {
  conn->phase = phase;
  conn->moved = ++http->moves;
  conn->deadline_ms = now_ms + HTTP_TIMEOUT_MS;
}

/* ---- the library ---- */

void http_conns_run(struct http *http) {
  MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
  MHD_run(http->daemon);
  http->more = MHD_get_timeout(http->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0;
}

/* It may call for this only when it runs next, or never, if it has no memory. */
void http_conns_opened(struct http *http, struct MHD_Connection *connection, void **context) {
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  *context = NULL;
  for (struct http_conn *conn = http->conns; conn < http->conns + HTTP_CONNECTIONS; conn++) {
    if (conn->phase == HTTP_FREE || conn->fd != info->connect_fd) continue;
    conn->connection = connection;
    *context = conn;
  }
}

void http_conns_closed(struct http *http, struct http_conn *conn) {
  if (conn->phase == HTTP_WAITS) list_remove(&conn->link);
  *conn = (struct http_conn){.phase = HTTP_FREE, .fd = -1};
  http->open--;
}

void http_conns_resume(struct http *http, struct http_conn *conn, const struct http_cached *answer,
                       int64_t now_ms) {
  list_remove(&conn->link);
  http_conns_move(http, conn, HTTP_SENDS, now_ms);
  conn->answer = answer;
  conn->resumed = true;
  MHD_resume_connection(conn->connection);
}

/* ---- those that are late, or make room ---- */

/* The library finds its end, and closes it. One that it never had is gone already. */
static void end(struct http *http, struct http_conn *conn) {
  if (conn->connection != NULL) {
    shutdown(conn->fd, SHUT_RDWR);
  } else {
    http_conns_closed(http, conn);
  }
}

static struct http_conn *longest_read(struct http *http) {
  struct http_conn *longest = NULL;
  for (struct http_conn *conn = http->conns; conn < http->conns + HTTP_CONNECTIONS; conn++) {
    if (conn->phase != HTTP_READS) continue;
    if (longest == NULL || conn->moved < longest->moved) longest = conn;
  }
  return longest;
}

static bool make_room(struct http *http) {
  if (http->open < HTTP_CONNECTIONS) return true;
  struct http_conn *conn = longest_read(http);
  if (conn == NULL) return false;
  http->count.evicted++;
  end(http, conn);
  http_conns_run(http);
  return http->open < HTTP_CONNECTIONS;
}

/* Whether the client has closed its side, and no byte of a request is left. The library does not
 * look again when it was told of that while the connection was suspended; what it has read itself
 * it runs at once (http.more). */
static bool has_ended(const struct http *http, const struct http_conn *conn) {
  char byte;
  return conn->phase == HTTP_READS && !http->more && conn->deadline_ms != INT64_MAX &&
         recv(conn->fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void http_conns_check(struct http *http, int64_t now_ms) {
  bool any = false;
  for (struct http_conn *conn = http->conns; conn < http->conns + HTTP_CONNECTIONS; conn++) {
    if (has_ended(http, conn)) {
      conn->deadline_ms = INT64_MAX;
      end(http, conn);
      any = true;
      continue;
    }
    if (conn->phase == HTTP_FREE || now_ms < conn->deadline_ms) continue;
    if (conn->phase == HTTP_WAITS) http_conns_resume(http, conn, NULL, now_ms);
    http->count.late++;
    conn->deadline_ms = INT64_MAX;
    end(http, conn);
    any = true;
  }
  if (any) http_conns_run(http);
}

/* ---- taking ---- */

static struct http_conn *free_slot(struct http *http) {
  struct http_conn *conn = http->conns;
  while (conn->phase != HTTP_FREE) conn++;
  return conn;
}

/* The library had no memory for a connection, and closed it: its number is another's now. */
static void forget_descriptor(struct http *http, int fd) {
  for (struct http_conn *conn = http->conns; conn < http->conns + HTTP_CONNECTIONS; conn++)
    if (conn->phase != HTTP_FREE && conn->fd == fd) http_conns_closed(http, conn);
}

static void take(struct http *http, int fd, const struct sockaddr_storage *address, socklen_t len,
                 int64_t now_ms) {
  int on = 1;
  forget_descriptor(http, fd);
  struct http_conn *conn = free_slot(http);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  *conn = (struct http_conn){.fd = fd, .local = http_sockets_is_loopback(address)};
  http_conns_move(http, conn, HTTP_READS, now_ms);
  http->open++;
  http->count.connections++;
  if (MHD_add_connection(http->daemon, fd, (const struct sockaddr *)address, len) == MHD_YES)
    return;
  if (conn->phase != HTTP_FREE) http_conns_closed(http, conn);
}

/* Asked first, so that no connection is closed for one that does not come. */
static bool is_wanted(int socket) {
  struct pollfd asked = {.fd = socket, .events = POLLIN};
  return poll(&asked, 1, 0) == 1;
}

bool http_conns_accept(struct http *http, int socket, int64_t now_ms) {
  for (unsigned i = 0; i < PER_TURN; i++) {
    if (!is_wanted(socket)) return true;
    if (!make_room(http)) return false;
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    int fd = accept4(socket, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM;
    take(http, fd, &address, len, now_ms);
    http_conns_run(http);
  }
  return true;
}
