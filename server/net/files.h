/*
 * files.h - how many connections fit under the system's limit of open files, which is raised if
 * need be, as far as the system allows.
 */
#ifndef IDEM_SERVER_NET_FILES_H
#define IDEM_SERVER_NET_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "server/ops/options.h"

struct files {
  unsigned loops;
  unsigned others; /* descriptors of rooms beside: not connections, not the loops' */
  int count;    /* limit of descriptors: connections and others */
  int64_t fits; /* connections that certainly fit */
};

/* Returns how many of the wanted connections fit, at least one. `others` is set before. */
int64_t files_init(struct files *files, int64_t wanted, unsigned loops);
/* Whether so many fit too. False with the reason in error. */
bool files_allow(struct files *files, int64_t wanted, char error[REFUSAL_BYTES]);

#endif
