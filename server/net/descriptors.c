/* descriptors.c - see descriptors.h. */
#include "server/net/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/base/allocator.h"

/* As libuv rounds up the number of descriptors that it has room for. */
static int rounded(int fd) {
  int count = 64;
  while (count - 2 <= fd) count *= 2;
  return count - 2;
}

static void on_reached(uv_handle_t *handle) {
  struct descriptors *descriptors = handle->data;
  descriptors->reaching = false;
}

/*
 * libuv keeps an array over all descriptors, doubles it when one comes for which it has no room,
 * and ends the process when it cannot. So it is made to grow here, by watching the descriptor for a
 * moment, after a check that there is memory for it. 0, or a libuv error.
 */
static int reach(struct descriptors *descriptors, uv_loop_t *uv, int fd) {
  int below = rounded(fd);
  if (descriptors->reaching) return UV_EBUSY;
  if (!allocator_has(((size_t)below + 2) * sizeof(void *))) return UV_ENOMEM;
  int error = uv_poll_init(uv, &descriptors->reach, fd);
  if (error != 0) return error;
  error = uv_poll_start(&descriptors->reach, UV_READABLE, NULL);
  if (error == 0) descriptors->below = below;
  descriptors->reach.data = descriptors;
  descriptors->reaching = true;
  uv_close((uv_handle_t *)&descriptors->reach, on_reached);
  return error;
}

int descriptors_reserve(struct descriptors *descriptors, uv_loop_t *uv, int count) {
  int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) return -errno;
  int highest = fcntl(event, F_DUPFD_CLOEXEC, count - 1);
  int error = highest >= 0 ? reach(descriptors, uv, highest) : -errno;
  if (highest >= 0) close(highest);
  close(event);
  return error;
}

/* The room made at start is enough unless maxclients was raised, or many descriptors were
 * inherited. */
bool descriptors_have(struct descriptors *descriptors, uv_loop_t *uv, int fd) {
  return fd < descriptors->below || reach(descriptors, uv, fd) == 0;
}

/* Adds the descriptor to epoll first. libuv then gets EEXIST and modifies the entry, which needs no
 * kernel memory. */
bool descriptors_watch(uv_loop_t *uv, int fd) {
  struct epoll_event none = {.data.fd = fd};
  return epoll_ctl(uv_backend_fd(uv), EPOLL_CTL_ADD, fd, &none) == 0 || errno == EEXIST;
}
