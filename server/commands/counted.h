/*
 * counted.h - the first member of bytes from malloc that several outputs of one worker refer to:
 * they are freed with the last reference. Not thread-safe: all of them are the same thread's.
 */
#ifndef IDEM_SERVER_COMMANDS_COUNTED_H
#define IDEM_SERVER_COMMANDS_COUNTED_H

#include <stdlib.h>

struct counted {
  unsigned references;
};

static inline void counted_release(struct counted *counted) {
  if (--counted->references == 0) free(counted);
}

#endif
