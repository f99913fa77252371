/* listener.c - see listener.h. */
#include "server/net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/net/address.h"
#include "server/net/bound_socket.h"

/* The acceptor owns the socket, in every case, and closes it with the others. Returns 0 or a libuv
 * error (a negative errno), like all functions here. */
static int listen_on(struct listener *listener, struct handed_socket socket) {
  return accept_add(&listener->acceptor, socket, (int)listener->instance->options->tcp_backlog);
}

static int bound_port(int fd) {
  struct sockaddr_storage storage = {0};
  socklen_t len = sizeof storage;
  if (getsockname(fd, (struct sockaddr *)&storage, &len) != 0) return 0;
  if (storage.ss_family == AF_INET6)
    return ntohs(((const struct sockaddr_in6 *)(const void *)&storage)->sin6_port);
  return ntohs(((const struct sockaddr_in *)(const void *)&storage)->sin_port);
}

static int new_socket(int family) {
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd >= 0 ? fd : -errno;
}

static int listen_tcp(struct listener *listener, const char *text, int port,
                      enum handed_kind kind) {
  int fd = bound_socket_open(text, port);
  if (fd < 0) return fd;
  int error = listen_on(listener, (struct handed_socket){fd, kind});
  if (error == 0 && kind == HANDED_TCP && listener->instance->port == 0)
    listener->instance->port = bound_port(fd);
  return error;
}

/* One with a leading '-' may be missing. */
static bool open_address(struct listener *listener, const char *text, int port,
                         enum handed_kind kind, char error[REFUSAL_BYTES]) {
  bool optional = *text == '-';
  if (optional) text++;
  int result = listen_tcp(listener, text, port, kind);
  if (result == 0 || (optional && bound_socket_is_missing(result))) return true;
  return refusal_write(error, "cannot listen on %s port %d: %s", text, port, uv_strerror(result));
}

/* With port 0 the kernel picks one for the first address; the others follow. */
static bool open_both(struct listener *listener, const char *text, char error[REFUSAL_BYTES]) {
  const struct options *options = listener->instance->options;
  int port = listener->instance->port != 0 ? listener->instance->port : (int)options->port;
  if (options_listen_plain(options) && !open_address(listener, text, port, HANDED_TCP, error))
    return false;
  return options->tls_port == 0 ||
         open_address(listener, text, (int)options->tls_port, HANDED_TLS, error);
}

static bool open_tcp(struct listener *listener, char error[REFUSAL_BYTES]) {
  const struct options *options = listener->instance->options;
  char addresses[OPTIONS_VALUE_BYTES], *rest = addresses;
  snprintf(addresses, sizeof addresses, "%s", options->bind);
  for (char *text; (text = strsep(&rest, " ")) != NULL;) {
    if (*text != '\0' && !open_both(listener, text, error)) return false;
  }
  return true;
}

/* A socket to which no connection can be made was left by a server that died; a live one is not
 * removed. */
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

/* No client can connect between bind and chmod. */
static int bind_unix(struct listener *listener, int fd) {
  const struct options *options = listener->instance->options;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t len = strlen(options->unixsocket);
  if (len >= sizeof address.sun_path) return -ENAMETOOLONG;
  memcpy(address.sun_path, options->unixsocket, len + 1);
  mode_t mask = umask(0777);
  int error = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
  umask(mask);
  if (error != 0) return error;
  listener->unixsocket_bound = true;
  return chmod(options->unixsocket, (mode_t)options->unixsocketperm) == 0 ? 0 : -errno;
}

static int listen_unix(struct listener *listener) {
  int fd = new_socket(AF_UNIX);
  if (fd < 0) return fd;
  int error = bind_unix(listener, fd);
  if (error == 0) return listen_on(listener, (struct handed_socket){fd, HANDED_UNIX});
  close(fd);
  return error;
}

static bool open_unix(struct listener *listener, char error[REFUSAL_BYTES]) {
  const char *path = listener->instance->options->unixsocket;
  if (path[0] == '\0') return true;
  if (!remove_stale(path)) {
    snprintf(error, REFUSAL_BYTES,
             "cannot listen on %s: another process listens there, or it is not a socket", path);
    return false;
  }
  int result = listen_unix(listener);
  if (result != 0) {
    snprintf(error, REFUSAL_BYTES, "cannot listen on %s: %s", path, uv_strerror(result));
    return false;
  }
  return true;
}

void listener_init(struct listener *listener, struct instance *instance, struct loop_set *loops) {
  *listener = (struct listener){.instance = instance};
  accept_init(&listener->acceptor, loops);
}

/* Where connections of load balancers wait for their header. */
static bool open_proxies(struct listener *listener, char error[REFUSAL_BYTES]) {
  struct acceptor *acceptor = &listener->acceptor;
  struct loop_set *loops = acceptor->loops;
  if (listener->instance->options->proxy_protocol[0] == '\0') return true;
  struct proxied *proxied = listener->proxied = proxied_create();
  if (proxied != NULL)
    acceptor->proxies = proxy_room_create(loops->loops[0], proxied, accept_proxied, acceptor);
  if (acceptor->proxies == NULL)
    return refusal_write(error, "cannot set up proxy-protocol: out of memory");
  for (unsigned i = 0; i < loops->count; i++) loops->loops[i]->group.proxied = proxied;
  return true;
}

void listener_deinit(struct listener *listener) {
  proxy_room_destroy(listener->acceptor.proxies);
  proxied_destroy(listener->proxied);
}

bool listener_open(struct listener *listener, char error[REFUSAL_BYTES]) {
  if (!open_proxies(listener, error)) return false;
  if (!open_tcp(listener, error) || !open_unix(listener, error)) return false;
  if (listener->acceptor.count > 0) return true;
  snprintf(error, REFUSAL_BYTES, "no address to listen on is available");
  return false;
}

void listener_announce(const struct listener *listener) {
  const struct acceptor *acceptor = &listener->acceptor;
  struct log *log = listener->instance->log;
  for (unsigned i = 0; i < acceptor->count; i++) {
    const struct accept_socket *socket = &acceptor->sockets[i];
    if (!socket->open) continue;
    struct session_address address = {0};
    bool is_unix = socket->kind == HANDED_UNIX;
    if (!is_unix) address_describe(&address, socket->fd, NULL);
    log_line(log, LOG_LEVEL_NOTICE, "ready to accept connections on %s%s%s", is_unix ? "unix:" : "",
             is_unix ? listener->instance->options->unixsocket : address.local,
             socket->kind == HANDED_TLS ? " (TLS)" : "");
  }
}

void listener_close(struct listener *listener) {
  accept_close(&listener->acceptor);
  if (listener->unixsocket_bound) unlink(listener->instance->options->unixsocket);
  listener->unixsocket_bound = false;
}
