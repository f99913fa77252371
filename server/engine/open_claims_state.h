/* open_claims_state.h - the layout of the open claims of an engine, for state.h. open_claims.h says
 * what they are. */
#ifndef IDEM_SERVER_ENGINE_OPEN_CLAIMS_STATE_H
#define IDEM_SERVER_ENGINE_OPEN_CLAIMS_STATE_H

#include <stdint.h>

#include "server/base/list.h"

struct memory;
struct record;

struct open_claims_anchor {
  uint64_t token;        /* of the record; of a hole: between those of its neighbours */
  struct record *record; /* NULL: a hole */
};

struct open_claims {
  struct memory *memory;
  struct list by_token;               /* struct record.open */
  struct list *held, *unknown;        /* no record before it is in that phase */
  struct open_claims_anchor *anchors; /* tokens do not fall; NULL: there are none */
  uint32_t count, capacity, holes;    /* of anchors; count with the holes */
  uint32_t thinned;                   /* the anchor after which the next ones are thinned out */
  uint32_t since_anchor;              /* records appended since the last anchor was added */
};

#endif
