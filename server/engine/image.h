/*
 * image.h - what the journal keeps of a change: the state of a key after it, as bytes.
 *
 *     [u32 bytes | kind | phase, key form | flags | token | since | deadline | lease | attempt |
 *      lengths: key, fingerprint, owner or body, stage or meta | the four, one after the other]
 *
 * 56 bytes and the parts, little endian, a multiple of 8. The last image of a key counts, and none
 * refers to another, but for IMAGE_END: so any older one may go once it has ended or has been
 * written again. Bytes are not compressed: a key or a body can be found by eye.
 *
 * It knows no engine. Any thread may call.
 */
#ifndef IDEM_SERVER_ENGINE_IMAGE_H
#define IDEM_SERVER_ENGINE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/engine/key.h"

#define IMAGE_HEAD_BYTES 56u
#define IMAGE_ALIGNMENT 8u

enum image_kind {
  IMAGE_RECORD = 1, /* HELD, LAPSED or UNKNOWN: all but body and meta */
  IMAGE_RESPONSE,   /* DONE: key, token, since, deadline, fingerprint, body, meta */
  IMAGE_VALUE,      /* a plain string: key, since, deadline, body; token: which SET it was */
  IMAGE_ABSENT,     /* key: there is none any more, other than by time */
  IMAGE_END,        /* key, deadline: that of its response or value was moved */
  IMAGE_FLUSH,      /* all keys are absent, since then */
  /* These stand at the head of a segment. */
  IMAGE_KEYSPACE, /* body: the hash secret, and what the server adds; since: when the memory of
                     requests began */
  IMAGE_HORIZON,  /* of `token` slots from `slot` on: body, 8 bytes each, or since for all of them;
                     the whole table has 2^lg_slots */
};

struct image {
  enum image_kind kind;
  uint8_t phase; /* enum rules_phase, of a record */
  bool hold, bind, nobody;
  uint16_t user; /* of a record: for whom it counts; 0, as in older journals: nobody */
  uint64_t token;
  int64_t since_ms, deadline_ms; /* RULES_NEVER: no end */
  union {
    struct {
      uint32_t lease_ms, attempt;
    };
    struct {
      uint32_t lg_slots, slot;
    };
  };
  struct key key;
  struct span fingerprint;
  union { /* absent: it has none */
    struct span owner, body;
  };
  union {
    struct span stage, meta;
  };
};

/* The bytes that it takes; a multiple of IMAGE_ALIGNMENT. */
size_t image_size(const struct image *image);
/* Returns what follows. */
char *image_write(const struct image *image, char *to);
/* Spans are borrowed from the bytes. Returns its size; 0: it is malformed. */
size_t image_read(struct span bytes, struct image *image);

#endif
