/*
 * response.h - a response that STORE has left under a key, as separate parts.
 *
 * A part of at least RESPONSE_BLOB_BYTES is a blob of its own, and the response keeps its address;
 * smaller ones lie in the response log. Knows neither log nor engine.
 */
#ifndef IDEM_SERVER_ENGINE_RESPONSE_H
#define IDEM_SERVER_ENGINE_RESPONSE_H

#include "server/engine/blob.h"
#include "server/engine/fingerprint.h"
#include "server/engine/key.h"

#define RESPONSE_BLOB_BYTES 8192u

struct response_ref; /* where a response lies in the log */

struct response {
  struct key key;
  struct fingerprint fingerprint; /* may be absent, as meta may */
  struct span body, meta;
  struct blob *body_blob, *meta_blob; /* the blobs that hold body and meta; read from the log, parts
                                         of the response_ref if there are none */
  uint64_t token;
  int64_t since_ms, deadline_ms;
};

/* Makes blobs of body and meta, where there are none yet. false: memory is short, and the blobs
 * that it had are released too. */
bool response_make_blobs(struct memory *memory, struct response *response);
void response_drop_blobs(struct memory *memory, struct response *response);

#endif
