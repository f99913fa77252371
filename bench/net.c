/* Sockets and clocks; see the header. */
#include "bench/net.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { INFO_BYTES_MAX = 64 << 10, SHOWN_BYTES = 96 };

uint64_t net_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void net_sleep_ms(uint64_t ms) {
  struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
  while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
  }
}

void net_raise_file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  /* When it is refused, the connection that does not fit says so. */
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int connect_unix(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t bytes = strlen(path);
  int fd = -1;
  errno = ENAMETOOLONG;
  if (bytes < sizeof address.sun_path) {
    memcpy(address.sun_path, path, bytes + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  }
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    fd = -1;
  }
  if (fd < 0) fprintf(stderr, "idem-bench: connect to %s: %s\n", path, strerror(errno));
  return fd;
}

static int connect_tcp(const char *host, uint16_t port) {
  char service[8];
  snprintf(service, sizeof service, "%u", (unsigned)port);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
  int error = getaddrinfo(host, service, &hints, &found);
  if (error != 0) {
    fprintf(stderr, "idem-bench: %s: %s\n", host, gai_strerror(error));
    return -1;
  }
  int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  if (fd >= 0 && (connect(fd, found->ai_addr, found->ai_addrlen) != 0 ||
                  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)) {
    int saved = errno;
    close(fd);
    errno = saved;
    fd = -1;
  }
  freeaddrinfo(found);
  if (fd < 0)
    fprintf(stderr, "idem-bench: connect to %s port %s: %s\n", host, service, strerror(errno));
  return fd;
}

int net_connect(const struct net_target *target) {
  return target->unix_path != NULL ? connect_unix(target->unix_path)
                                   : connect_tcp(target->host, target->port);
}

int net_send_all(int fd, const char *data, size_t bytes) {
  while (bytes > 0) {
    ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      fprintf(stderr, "idem-bench: send: %s\n", strerror(errno));
      return -1;
    }
    data += sent;
    bytes -= (size_t)sent;
  }
  return 0;
}

ssize_t net_receive(int fd, char *data, size_t room, uint64_t timeout_ms) {
  struct pollfd waiting = {.fd = fd, .events = POLLIN};
  int ready = poll(&waiting, 1, (int)timeout_ms);
  ssize_t got = ready > 0 ? recv(fd, data, room, 0) : -1;
  if (got > 0) return got;
  const char *why = got == 0 ? "the server closed the connection" : strerror(errno);
  fprintf(stderr, "idem-bench: receive: %s\n", ready == 0 ? "no reply in time" : why);
  return -1;
}

/* One bulk reply: "$N", N bytes, CR LF. Returns where its text begins, or NULL. */
static char *receive_bulk(int fd, char *buffer, size_t room, uint64_t timeout_ms) {
  size_t bytes = 0;
  for (;;) {
    ssize_t got = net_receive(fd, buffer + bytes, room - 1 - bytes, timeout_ms);
    if (got < 0) return NULL;
    bytes += (size_t)got;
    buffer[bytes] = '\0';
    char *line_end = strstr(buffer, "\r\n");
    if (line_end == NULL) continue;
    /* "$": RESP2's bulk; "=": the verbatim string that some servers send for INFO in RESP3. */
    if (buffer[0] != '$' && buffer[0] != '=') return NULL;
    size_t header = (size_t)(line_end - buffer) + 2;
    size_t whole = header + strtoull(buffer + 1, NULL, 10) + 2;
    if (whole >= room) return NULL;
    if (bytes >= whole) return buffer + header;
  }
}

bool net_info(int fd, const char *section, const char *field, uint64_t timeout_ms,
              uint64_t *value) {
  char request[96], wanted[64];
  int bytes = snprintf(request, sizeof request, "*2\r\n$4\r\nINFO\r\n$%zu\r\n%s\r\n",
                       strlen(section), section);
  snprintf(wanted, sizeof wanted, "\n%s:", field);
  char *buffer = malloc(INFO_BYTES_MAX);
  char *text = NULL;
  if (buffer != NULL && net_send_all(fd, request, (size_t)bytes) == 0) {
    text = receive_bulk(fd, buffer, INFO_BYTES_MAX, timeout_ms);
  }
  char *at = text != NULL ? strstr(text, wanted) : NULL;
  bool found = at != NULL && sscanf(at + strlen(wanted), "%" SCNu64, value) == 1;
  free(buffer);
  return found;
}

void net_print_bytes(const char *data, size_t bytes) {
  for (size_t i = 0; i < bytes && i < SHOWN_BYTES; i++) {
    unsigned char byte = (unsigned char)data[i];
    if (byte == '\r' || byte == '\n') {
      fprintf(stderr, byte == '\r' ? "\\r" : "\\n");
    } else {
      fprintf(stderr, byte < 32 || byte > 126 || byte == '"' || byte == '\\' ? "\\x%02x" : "%c",
              byte);
    }
  }
  if (bytes > SHOWN_BYTES) fprintf(stderr, "...");
}
