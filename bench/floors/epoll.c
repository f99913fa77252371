/* bench-epoll: the same floors as bench-uv without libuv: read, write, epoll_wait
 * and nothing between. It shows what libuv costs, and its relay is a bare loop of writes.
 *
 *   bench-epoll echo  --request-bytes N --reply-bytes N
 *   bench-epoll relay --reply-bytes N
 */
#include "bench/floors/floor.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 1024 };

struct connection {
  int fd;
  bool waits_to_write;
  struct floor_line line;
  size_t pending_bytes;    /* echo: of a request that is not whole yet */
  size_t owed_bytes;       /* what the socket did not take at once */
  struct connection *next; /* of those to be freed after this turn */
};

struct server {
  struct floor_options options;
  bool relay;
  int listener, epoll_fd;
  char *input;
  struct floor_output output;
  struct connection **waiters;
  size_t waiter_count;
  struct connection
      *dropped; /* freed after the turn: an event of theirs may still be in the list */
};

static void drop(struct server *server, struct connection *connection) {
  if (connection->fd < 0) return;
  for (size_t i = 0; i < server->waiter_count; i++) {
    if (server->waiters[i] == connection)
      server->waiters[i--] = server->waiters[--server->waiter_count];
  }
  close(connection->fd);
  connection->fd = -1;
  connection->next = server->dropped;
  server->dropped = connection;
}

static void flush(struct server *server, struct connection *connection) {
  while (connection->fd >= 0 && connection->owed_bytes > 0) {
    size_t part;
    char *data = floor_output_next(&server->output, connection->owed_bytes, &part);
    ssize_t sent = write(connection->fd, data, part);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) {
      drop(server, connection);
      return;
    }
    connection->owed_bytes -= (size_t)sent;
  }
  bool waits = connection->owed_bytes > 0;
  if (connection->fd < 0 || waits == connection->waits_to_write) return;
  connection->waits_to_write = waits;
  struct epoll_event event = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN,
                              .data.ptr = connection};
  epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

static void write_count(struct server *server, struct connection *connection, size_t count) {
  char text[FLOOR_COUNT_BYTES];
  size_t bytes = floor_count(text, count);
  if (write(connection->fd, text, bytes) != (ssize_t)bytes)
    drop(server, connection);
}

static void wake_all(struct server *server, struct connection *connection) {
  size_t count = server->waiter_count;
  server->waiter_count = 0;
  for (size_t i = 0; i < count; i++) {
    server->waiters[i]->owed_bytes += server->options.reply_bytes;
    flush(server, server->waiters[i]);
  }
  write_count(server, connection, count);
}

static void take_lines(struct server *server, struct connection *connection, size_t bytes) {
  const char *at = server->input, *end = at + bytes;
  for (char word; connection->fd >= 0 && (word = floor_next(&connection->line, &at, end)) != 0;) {
    if (word == 'W' && server->waiter_count < FLOOR_WAITERS_MAX) {
      server->waiters[server->waiter_count++] = connection;
    } else if (word == 'S') {
      wake_all(server, connection);
    } else if (word == 'P') {
      write_count(server, connection, server->waiter_count);
    }
  }
}

static void receive(struct server *server, struct connection *connection) {
  ssize_t got = read(connection->fd, server->input, FLOOR_READ_BYTES);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    drop(server, connection);
    return;
  }
  if (server->relay) {
    take_lines(server, connection, (size_t)got);
    return;
  }
  connection->pending_bytes += (size_t)got;
  size_t requests = connection->pending_bytes / server->options.request_bytes;
  connection->pending_bytes -= requests * server->options.request_bytes;
  connection->owed_bytes += requests * server->options.reply_bytes;
  flush(server, connection);
}

static void accept_one(struct server *server) {
  int on = 1, fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  struct connection *connection = calloc(1, sizeof *connection);
  if (connection == NULL) {
    close(fd);
    return;
  }
  connection->fd = fd;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  bool tcp = server->options.unix_path == NULL;
  if ((tcp && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) ||
      epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
    drop(server, connection);
}

static int turn(struct server *server) {
  struct epoll_event events[EVENTS_PER_WAIT];
  int count = epoll_wait(server->epoll_fd, events, EVENTS_PER_WAIT, -1);
  if (count < 0) return errno == EINTR ? 0 : -1;
  for (int i = 0; i < count; i++) {
    struct connection *connection = events[i].data.ptr;
    if (connection == NULL) {
      accept_one(server);
      continue;
    }
    if (connection->fd >= 0 && (events[i].events & EPOLLOUT)) flush(server, connection);
    if (connection->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT))
      receive(server, connection);
  }
  for (struct connection *connection; (connection = server->dropped) != NULL;) {
    server->dropped = connection->next;
    free(connection);
  }
  return 0;
}

static int bind_tcp(struct server *server) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)server->options.port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof address;
  int on = 1;
  server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (server->listener < 0 ||
      setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(server->listener, (struct sockaddr *)&address, bytes) != 0 ||
      getsockname(server->listener, (struct sockaddr *)&address, &bytes) != 0)
    return -1;
  server->options.port = ntohs(address.sin_port);
  return 0;
}

static int bind_unix(struct server *server) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t bytes = strlen(server->options.unix_path);
  if (bytes >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(address.sun_path, server->options.unix_path, bytes + 1);
  server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (server->listener < 0) return -1;
  return bind(server->listener, (struct sockaddr *)&address, sizeof address);
}

static int listen_on(struct server *server) {
  int error = server->options.unix_path == NULL ? bind_tcp(server) : bind_unix(server);
  server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  if (error != 0 || server->epoll_fd < 0 || listen(server->listener, FLOOR_BACKLOG) != 0 ||
      epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listener, &event) != 0)
    return -1;
  floor_ready(server->options.port);
  return 0;
}

static int usage(FILE *stream) {
  fprintf(stream,
          "usage: bench-epoll echo --request-bytes N --reply-bytes N [--bodies N]\n"
          "         [--port N | --unix PATH]\n"
          "       bench-epoll relay --reply-bytes N [--port N | --unix PATH]\n"
          "As bench-uv, without libuv.\n");
  return stream == stdout ? EXIT_SUCCESS : FLOOR_EXIT_USAGE;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(stdout);
  struct server server = {.relay = argc > 1 && strcmp(argv[1], "relay") == 0};
  if (argc < 2 || (!server.relay && strcmp(argv[1], "echo") != 0)) return usage(stderr);
  if (!floor_parse(&server.options, "bench-epoll", server.relay, argc - 1, argv + 1))
    return usage(stderr);
  signal(SIGPIPE, SIG_IGN);
  server.input = malloc(FLOOR_READ_BYTES);
  server.waiters = calloc(FLOOR_WAITERS_MAX, sizeof(struct connection *));
  if (server.input == NULL || server.waiters == NULL ||
      !floor_output_init(&server.output, &server.options) || listen_on(&server) != 0) {
    fprintf(stderr, "bench-epoll: %s\n", strerror(errno));
    return EXIT_FAILURE;
  }
  while (turn(&server) == 0) {
  }
  fprintf(stderr, "bench-epoll: epoll_wait: %s\n", strerror(errno));
  return EXIT_FAILURE;
}
