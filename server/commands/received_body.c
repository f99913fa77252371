/* received_body.c - see received_body.h. */
#include "server/commands/received_body.h"

#include <stdlib.h>

#include "server/commands/access.h"
#include "server/engine/pin.h"

void received_body_release(struct worker *worker, struct received_body *body) {
  if (body->adopted.taken == NULL) {
    free(body->adopted.bytes);
  } else {
    int64_t now_ms = worker->now_ms;
    pin_release(access_lock(worker, body->shard, &now_ms), body->adopted.taken);
    access_unlock(worker, body->shard);
  }
  *body = (struct received_body){0};
}
