/* notify.c - see notify.h. */
#include "server/ops/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t len = strlen(name);
  if ((name[0] != '/' && name[0] != '@') || len >= sizeof address.sun_path) return -1;
  memcpy(address.sun_path, name, len);
  if (name[0] == '@') address.sun_path[0] = '\0';
  /* An abstract name has the length that is given, a path its NUL. */
  len += offsetof(struct sockaddr_un, sun_path) + (name[0] == '/' ? 1 : 0);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (connect(fd, (const struct sockaddr *)&address, (socklen_t)len) == 0) return fd;
  close(fd);
  return -1;
}

void notify_open(struct notify *notify) {
  const char *name = getenv("NOTIFY_SOCKET");
  notify->fd = name != NULL ? connect_to(name) : -1;
}

void notify_close(struct notify *notify) {
  if (notify->fd >= 0) close(notify->fd);
  notify->fd = -1;
}

void notify_send(const struct notify *notify, const char *format, ...) {
  if (notify->fd < 0) return;
  int saved_errno = errno;
  char text[NOTIFY_BYTES];
  va_list arguments;
  va_start(arguments, format);
  int len = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (len > 0 && (size_t)len < sizeof text) {
    ssize_t sent = send(notify->fd, text, (size_t)len, MSG_NOSIGNAL);
    (void)sent; /* there is nobody to tell */
  }
  errno = saved_errno;
}
