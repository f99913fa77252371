/*
 * layout.h - a record as the bytes of a string, little endian:
 *
 *     ff 69 01 | flags | fp | owner | token 7 | since 6 |                    all
 *              DONE:                  deadline 6 [meta length 4]
 *              else:                  lease 3 [deadline 6] [attempt 4] [stage length 4]
 *     then the bytes of fp, owner, stage or meta, body
 *
 * fp and owner are lengths: one byte each, two with LAYOUT_WIDE; all ones is "absent". DONE has no
 * owner, nor its length. Without LAYOUT_MOVED the deadline is since + lease, without LAYOUT_LATER
 * the attempt is 1. So a fresh claim takes 22 bytes and its texts, and a response 24: with a
 * fingerprint of 32 bytes, the string stays in the allocator's size class of 64 bytes, and one of
 * 100 bytes more in that of 160.
 *
 * LAPSED and UNKNOWN are not written: they follow from a deadline that has passed. Such a record
 * says when its grant ended in the place of the deadline. The layout is also that of idem.lua.
 *
 * Pure; it must not know the host. Invariant: what layout_write wrote, layout_read reads.
 */
#ifndef IDEM_SERVER_MODULE_LAYOUT_H
#define IDEM_SERVER_MODULE_LAYOUT_H

#include "proto/span.h"
#include "server/rules/rules.h"

/* No record has fewer bytes. The text of a number of 64 bits has. */
#define LAYOUT_BYTES_LEAST 22

struct layout_record {
  struct rules_record facts; /* as read: HELD or DONE */
  int64_t ended_ms;          /* LAPSED, UNKNOWN: when the grant ended */
  /* Absent: there is none. */
  struct span fingerprint, owner;
  struct span extra; /* the stage; DONE: the meta */
  struct span body;  /* of DONE */
};

/* False: these are not the bytes of a record. The spans point into bytes. */
bool layout_read(struct span bytes, struct layout_record *record);

/* How many bytes layout_write writes. Not of an ABSENT record. */
size_t layout_bytes(const struct layout_record *record);
void layout_write(const struct layout_record *record, char *to);

#endif
