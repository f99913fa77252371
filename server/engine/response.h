/*
 * response.h - what a STORE left under a key, with its parts at hand.
 *
 * A part of at least RESPONSE_BLOB_BYTES is a blob of its own, and the response keeps its address;
 * smaller ones lie in the response log. Knows neither log nor engine.
 */
#ifndef IDEM_SERVER_ENGINE_RESPONSE_H
#define IDEM_SERVER_ENGINE_RESPONSE_H

#include "server/engine/blob.h"
#include "server/engine/key.h"

#define RESPONSE_BLOB_BYTES 8192u

struct response_ref; /* where a response lies in the log */

struct response {
  struct key key;
  struct span fingerprint, body, meta; /* fingerprint and meta may be absent */
  struct blob *body_blob, *meta_blob;  /* those that hold body and meta; as read from the log,
                                          parts of the response_ref where there are none */
  uint64_t token;
  int64_t since_ms, deadline_ms;
};

/* Blobs of body and meta, where there are none yet. false: memory is short, and those that it had
 * are gone too. */
bool response_make_blobs(struct memory *memory, struct response *response);
void response_drop_blobs(struct memory *memory, struct response *response);

#endif
