/* http_shown.h - what the status page and claims.json show: data only, borrowed. */
#ifndef IDEM_SERVER_NET_HTTP_SHOWN_H
#define IDEM_SERVER_NET_HTTP_SHOWN_H

#include "server/commands/overview.h"
#include "server/commands/rates.h"

struct http_shown {
  const struct overview *overview;
  const struct rates *rates;
  const char *state; /* "serving", "draining", "recovering" */
  int64_t unix_ms;
  uint64_t seed;  /* random, the same while the process lives */
  bool whole;     /* keys and stages */
  int only;       /* enum overview_state; -1: all */
  unsigned limit; /* claims of each state */
};

#endif
