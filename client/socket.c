/* socket.c - see socket.h. */
#include "client/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES 3

/* Another descriptor in the place of one of the first three. */
static int move(int descriptor) {
  if (descriptor < 0 || descriptor > STDERR_FILENO) return descriptor;
  int other = fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int error = errno;
  close(descriptor);
  errno = error;
  return other;
}

int socket_connect(const struct sockaddr *address, socklen_t len, int *error) {
  int fd = move(socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  *error = fd < 0 ? errno : 0;
  if (fd < 0) return -1;
  if (connect(fd, address, len) != 0) *error = errno == EINTR ? EINPROGRESS : errno;
  /* EAGAIN is a unix socket whose backlog is full: nothing is under way. */
  if (*error == 0 || *error == EINPROGRESS) return fd;
  close(fd);
  return -1;
}

int socket_connect_path(const char *path, int *error) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t len = strlen(path);
  *error = ENAMETOOLONG;
  if (len >= sizeof address.sun_path) return -1;
  memcpy(address.sun_path, path, len + 1);
  return socket_connect((const struct sockaddr *)&address, sizeof address, error);
}

static void set_option(int descriptor, int level, int name, int value) {
  setsockopt(descriptor, level, name, &value, sizeof value);
}

static void set_tcp_options(int descriptor) {
  set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
}

int socket_connected(int descriptor) {
  struct sockaddr_storage here, there;
  memset(&here, 0, sizeof here);
  memset(&there, 0, sizeof there);
  socklen_t here_len = sizeof here, there_len = sizeof there;
  int error = 0;
  socklen_t len = sizeof error;
  if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &len) != 0) return errno;
  if (error != 0) return error;
  if (getsockname(descriptor, (struct sockaddr *)&here, &here_len) != 0) return errno;
  if (here.ss_family == AF_UNIX) return 0;
  if (getpeername(descriptor, (struct sockaddr *)&there, &there_len) != 0) return errno;
  if (here_len == there_len && memcmp(&here, &there, here_len) == 0) return ECONNREFUSED;
  set_tcp_options(descriptor);
  return 0;
}

int socket_set_blocking(int descriptor) {
  int flags = fcntl(descriptor, F_GETFL);
  return flags < 0 || fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) != 0 ? errno : 0;
}

bool socket_readable(int descriptor) {
  struct pollfd wanted = {.fd = descriptor, .events = POLLIN};
  return poll(&wanted, 1, 0) > 0;
}
