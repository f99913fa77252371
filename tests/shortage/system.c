/* system.c - see system.h. */
#include "tests/shortage/system.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <uv.h>

static struct {
  _Atomic long live, count;
  _Atomic long first, end; /* allocations first to end - 1 fail */
  _Atomic long period;     /* and every period-th one; 0: none */
  _Atomic int errors[SYSTEM_CALLS];
  _Atomic long failures[SYSTEM_CALLS];
} state;

/* Calls of this thread never fail. */
static _Thread_local bool spared;

void system_fail_memory(long first, long count) {
  state.count = 0;
  state.end = first + count;
  state.first = first;
}

void system_fail_every(long period) {
  state.count = 0;
  state.period = period;
}

bool system_has_failed(void) { return state.count + 1 >= state.end; }

long system_recover(void) {
  state.first = state.end = state.period = 0;
  return state.count;
}

void system_fail_call(enum system_call call, int error) {
  state.failures[call] = 0;
  state.errors[call] = error;
}

long system_failures(enum system_call call) { return state.failures[call]; }

void system_ask_for_test(void) { spared = true; }
void system_ask_for_server(void) { spared = false; }

long system_live(void) { return state.live; }

/* ---- memory ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t most);
void __real_free(void *piece);
FILE *__real_open_memstream(char **text, size_t *len);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t most);
void __wrap_free(void *piece);
FILE *__wrap_open_memstream(char **text, size_t *len);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);

static bool fails(void) {
  if (spared) return false;
  long number = atomic_fetch_add(&state.count, 1) + 1;
  long period = state.period;
  bool fails =
      (number >= state.first && number < state.end) || (period != 0 && number % period == 0);
  if (fails) errno = ENOMEM;
  return fails;
}

static void *counted(void *piece) {
  if (piece != NULL) atomic_fetch_add(&state.live, 1);
  return piece;
}

void *__wrap_malloc(size_t size) { return fails() ? NULL : counted(__real_malloc(size)); }

void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size) {
  if (fails()) return NULL;
  void *piece = __real_realloc(old, size);
  return old == NULL ? counted(piece) : piece;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
  return fails() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

char *__wrap_strdup(const char *text) { return fails() ? NULL : counted(__real_strdup(text)); }

char *__wrap_strndup(const char *text, size_t most) {
  return fails() ? NULL : counted(__real_strndup(text, most));
}

void __wrap_free(void *piece) {
  if (piece != NULL) atomic_fetch_sub(&state.live, 1);
  __real_free(piece);
}

/* Its text is allocated within libc, and freed by us. */
FILE *__wrap_open_memstream(char **text, size_t *len) {
  return fails() ? NULL : counted(__real_open_memstream(text, len));
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
  return fails() ? MAP_FAILED : __real_mmap(at, size, protection, flags, fd, offset);
}

/* ---- libuv's start ---- */

/* libuv ends the process when a new loop gets no memory for its first descriptors. At that time
 * there is no server yet, so that cannot be helped, and these calls are spared. The server makes
 * libuv's array of descriptors larger only after it has checked that there is memory for it. */
int __real_uv_loop_init(uv_loop_t *loop);
int __real_uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback);
int __wrap_uv_loop_init(uv_loop_t *loop);
int __wrap_uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback);

int __wrap_uv_loop_init(uv_loop_t *loop) {
  bool before = spared;
  spared = true;
  int error = __real_uv_loop_init(loop);
  spared = before;
  return error;
}

int __wrap_uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback) {
  bool before = spared;
  spared = true;
  int error = __real_uv_poll_start(poll, events, callback);
  spared = before;
  return error;
}

/* ---- descriptors ---- */

int __real_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);

static bool call_fails(enum system_call call) {
  int error = state.errors[call];
  if (error == 0) return false;
  atomic_fetch_add(&state.failures[call], 1);
  errno = error;
  return true;
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags) {
  return call_fails(SYSTEM_ACCEPT) ? -1 : __real_accept4(fd, address, len, flags);
}

/* As in the kernel, a descriptor that is watched already is an EEXIST, even without memory. */
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
  if (operation == EPOLL_CTL_ADD && state.errors[SYSTEM_WATCH] != 0) {
    struct epoll_event same = *event;
    if (__real_epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &same) == 0) {
      errno = EEXIST;
      return -1;
    }
    if (call_fails(SYSTEM_WATCH)) return -1;
  }
  return __real_epoll_ctl(epoll, operation, fd, event);
}
