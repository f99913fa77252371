/*
 * descriptors.h - the room that libuv has for descriptors, and the kernel for watching them. libuv
 * ends the process when either is short, so both are ensured before libuv gets a descriptor.
 *
 * Belongs to the thread of the loop.
 */
#ifndef IDEM_SERVER_NET_DESCRIPTORS_H
#define IDEM_SERVER_NET_DESCRIPTORS_H

#include <uv.h>

#include <stdbool.h>

/* Zero-filled: libuv has no room yet. */
struct descriptors {
  uv_poll_t reach; /* of libuv, see descriptors.c; closed with the loop's other handles */
  int below;       /* libuv has room for those below it */
  bool reaching;   /* libuv has the handle */
};

/* Makes room for so many. 0, or a libuv error. */
int descriptors_reserve(struct descriptors *descriptors, uv_loop_t *uv, int count);
/* Whether libuv has room for the descriptor; makes some if need be. */
bool descriptors_have(struct descriptors *descriptors, uv_loop_t *uv, int fd);
/* Has the kernel watch the descriptor for this loop. False: it has no memory for that. */
bool descriptors_watch(uv_loop_t *uv, int fd);

#endif
