/* queued_owners_state.h - the layout of the owners who wait, for state.h. queued_owners.h says what
 * they are. */
#ifndef IDEM_SERVER_ENGINE_QUEUED_OWNERS_STATE_H
#define IDEM_SERVER_ENGINE_QUEUED_OWNERS_STATE_H

#include "server/base/table.h"

struct queued_owners {
  struct table table; /* struct waiter.by_owner; made when the first waiter comes */
  bool made;
};

#endif
