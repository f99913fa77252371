/* tls_kept.c - see tls_kept.h. */
#include "server/net/tls_kept.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static bool is_queued(const struct stream_tls *tls) { return !list_empty(&tls->ready); }

void tls_kept_leave_queue(struct stream_tls *tls) {
  if (!is_queued(tls)) return;
  list_remove(&tls->ready);
  if (tls->state == STREAM_TLS_SHAKES) atomic_fetch_sub(tls->group->handshake_count, 1);
}

void tls_kept_join_queue(struct stream_tls *tls) {
  if (is_queued(tls)) return;
  bool shakes = tls->state == STREAM_TLS_SHAKES;
  list_append(shakes ? &tls->group->handshakes : &tls->group->readers, &tls->ready);
  if (shakes) atomic_fetch_add(tls->group->handshake_count, 1);
}

void tls_kept_forget(struct stream_tls *tls) {
  free(tls->kept);
  tls->kept = NULL;
  tls->kept_len = 0;
}

bool tls_kept_keep(struct stream_tls *tls) {
  const struct stream_tls_source *source = &tls->group->source;
  char *to = tls->kept;
  if (to == NULL) to = malloc(source->len);
  if (to == NULL) return false;
  memmove(to, source->data, source->len);
  tls->kept = to;
  tls->kept_len = (uint32_t)source->len;
  return true;
}

void tls_kept_note_half(struct stream_tls *tls, bool anew) {
  bool is_half = tls->state == STREAM_TLS_OPEN && tls->reads && SSL_has_pending(tls->ssl) == 1;
  if (anew || !is_half) list_remove(&tls->half);
  if (!is_half || !list_empty(&tls->half)) return;
  tls->half_since_ms = tls->group->now_ms;
  list_append(&tls->group->halves, &tls->half);
}
