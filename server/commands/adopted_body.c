/* adopted_body.c - see adopted_body.h. */
#include "server/commands/adopted_body.h"

#include <stdlib.h>

#include "server/commands/access.h"

void adopted_body_release(struct worker *worker, struct adopted_body *body) {
  if (body->piece.taken == NULL) {
    free(body->piece.bytes);
  } else {
    int64_t now_ms = worker->now_ms;
    engine_unpin(access_lock(worker, body->keeper, &now_ms), body->piece.taken);
    access_unlock(worker, body->keeper);
  }
  *body = (struct adopted_body){0};
}
