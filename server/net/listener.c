/* listener.c - addresses to listen on: TCP v4 and v6, and a unix socket. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/net/loop.h"

static void on_connection(uv_stream_t *stream, int status) {
  struct listener *listener = stream->data;
  loop_begin(listener->loop);
  if (status == 0) peer_accept(listener->loop, listener);
}

static struct listener *next_listener(struct server *server) {
  struct listener *listener = &server->listeners[server->listener_count];
  listener->loop = server->loops[0];
  return listener;
}

static void accept_from(struct listener *listener) {
  listener->uv.handle.data = listener;
  listener->open = true;
  listener->loop->server->listener_count++;
}

static int bound_port(const struct listener *listener) {
  struct sockaddr_storage storage = {0};
  int len = sizeof storage;
  if (uv_tcp_getsockname(&listener->uv.tcp, (struct sockaddr *)&storage, &len) != 0) return 0;
  if (storage.ss_family == AF_INET6)
    return ntohs(((const struct sockaddr_in6 *)(const void *)&storage)->sin6_port);
  return ntohs(((const struct sockaddr_in *)(const void *)&storage)->sin_port);
}

static int parse_address(const char *text, int port, struct sockaddr_storage *address) {
  if (strcmp(text, "*") == 0) text = "0.0.0.0";
  if (strcmp(text, "::*") == 0) text = "::";
  if (strchr(text, ':') != NULL)
    return uv_ip6_addr(text, port, (struct sockaddr_in6 *)(void *)address);
  return uv_ip4_addr(text, port, (struct sockaddr_in *)(void *)address);
}

/* Returns 0 or a libuv error. */
static int listen_tcp(struct server *server, const char *text, int port) {
  struct sockaddr_storage address = {0};
  int error = parse_address(text, port, &address);
  if (error != 0) return error;
  struct listener *listener = next_listener(server);
  error = uv_tcp_init(&server->loops[0]->uv, &listener->uv.tcp);
  if (error != 0) return error;
  accept_from(listener); /* from here on it is closed with the others */
  bool v6 = address.ss_family == AF_INET6;
  error =
      uv_tcp_bind(&listener->uv.tcp, (const struct sockaddr *)&address, v6 ? UV_TCP_IPV6ONLY : 0);
  if (error == 0)
    error =
        uv_listen(&listener->uv.stream, (int)server->shared.options->tcp_backlog, on_connection);
  if (error != 0) return error;
  if (server->shared.port == 0) server->shared.port = bound_port(listener);
  log_line(server->log, LOG_LEVEL_NOTICE,
           v6 ? "ready to accept connections on [%s]:%d" : "ready to accept connections on %s:%d",
           text, server->shared.port);
  return 0;
}

/* With port 0 the kernel picks one for the first address; the others follow. */
static bool open_tcp(struct server *server, char error[OPTIONS_ERROR_BYTES]) {
  const struct options *options = server->shared.options;
  char addresses[OPTIONS_TEXT_BYTES], *rest = addresses;
  snprintf(addresses, sizeof addresses, "%s", options->bind);
  for (char *text; (text = strsep(&rest, " ")) != NULL;) {
    if (*text == '\0') continue;
    bool optional = *text == '-';
    if (optional) text++;
    int port = server->shared.port != 0 ? server->shared.port : (int)options->port;
    int result = listen_tcp(server, text, port);
    if (result == 0) continue;
    if (optional &&
        (result == UV_EADDRNOTAVAIL || result == UV_EAFNOSUPPORT || result == UV_EINVAL))
      continue;
    snprintf(error, OPTIONS_ERROR_BYTES, "cannot listen on %s port %d: %s", text, port,
             uv_strerror(result));
    return false;
  }
  return true;
}

/* A socket that nobody listens on any more was left by a server that died; a live one is not taken
 * away. */
static bool remove_stale(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct stat file;
  if (lstat(path, &file) != 0) return errno == ENOENT;
  if (!S_ISSOCK(file.st_mode) || strlen(path) >= sizeof address.sun_path) return false;
  memcpy(address.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  bool dead =
      connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 && errno == ECONNREFUSED;
  close(fd);
  return dead && unlink(path) == 0;
}

static int listen_unix(struct server *server, const char *path) {
  const struct options *options = server->shared.options;
  struct listener *listener = next_listener(server);
  int error = uv_pipe_init(&server->loops[0]->uv, &listener->uv.pipe, 0);
  if (error != 0) return error;
  accept_from(listener);
  /* Nobody may connect between bind and chmod. */
  mode_t mask = umask(0777);
  error = uv_pipe_bind(&listener->uv.pipe, path);
  int system_error = errno;
  umask(mask);
  /* libuv calls a directory that is not there a matter of permission. */
  if (error != 0) return system_error == ENOENT ? UV_ENOENT : error;
  server->unixsocket = strdup(path);
  if (chmod(path, (mode_t)options->unixsocketperm) != 0) return uv_translate_sys_error(errno);
  return uv_listen(&listener->uv.stream, (int)options->tcp_backlog, on_connection);
}

static bool open_unix(struct server *server, char error[OPTIONS_ERROR_BYTES]) {
  const char *path = server->shared.options->unixsocket;
  if (path[0] == '\0') return true;
  if (!remove_stale(path)) {
    snprintf(error, OPTIONS_ERROR_BYTES,
             "cannot listen on %s: somebody else listens there, or it is not a socket", path);
    return false;
  }
  int result = listen_unix(server, path);
  if (result != 0) {
    snprintf(error, OPTIONS_ERROR_BYTES, "cannot listen on %s: %s", path, uv_strerror(result));
    return false;
  }
  log_line(server->log, LOG_LEVEL_NOTICE, "ready to accept connections on unix:%s", path);
  return true;
}

bool listeners_open(struct server *server, char error[OPTIONS_ERROR_BYTES]) {
  if (!open_tcp(server, error) || !open_unix(server, error)) return false;
  if (server->shared.port != 0 || server->unixsocket != NULL) return true;
  snprintf(error, OPTIONS_ERROR_BYTES, "no address to listen on is available");
  return false;
}

void listeners_close(struct server *server) {
  for (unsigned i = 0; i < server->listener_count; i++) {
    struct listener *listener = &server->listeners[i];
    if (!listener->open) continue;
    listener->open = false;
    uv_close(&listener->uv.handle, NULL);
  }
  if (server->unixsocket == NULL) return;
  unlink(server->unixsocket);
  free(server->unixsocket);
  server->unixsocket = NULL;
}
