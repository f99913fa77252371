/*
 * format.h - the bytes of segment headers and batch headers.
 *
 *     segment   "idemlog1" version:4 header bytes:4 log id:16 first lsn:8 oldest lsn:8 wall_ms:8
 *               checksum:8
 *     batch     magic:4 version:2 flags:2 lsn:8 bytes:4 count:4 engine_ms:8 wall_ms:8 largest_ms:8
 *               durable lsn:8 next token:8 oldest lsn:8 previous:8 payload:8 checksum:8
 *
 * Little endian. Checksums are XXH3-64 with a seed made of the log's id, so that no batch of
 * another log is taken for one of this; a batch also says its own position, so that none of an
 * older use of the file is. Each batch repeats the checksum of the header before it, from the first
 * batch of the log to the last: one that is missing breaks the chain.
 *
 * It must not know files. Reading never trusts a byte: any 64 or 96 bytes may be given.
 */
#ifndef IDEM_SERVER_JOURNAL_FORMAT_H
#define IDEM_SERVER_JOURNAL_FORMAT_H

#include "server/journal/types.h"

#define FORMAT_SEGMENT_BYTES 64u
#define FORMAT_BATCH_BYTES 96u
#define FORMAT_VERSION 1u
#define FORMAT_ALIGNMENT 8u

enum format_flag {
  FORMAT_SEAL = 1,      /* empty: shows that the batch before it is not the torn last one */
  FORMAT_CLEAN = 2,     /* the log was closed after it */
  FORMAT_HEARTBEAT = 4, /* empty: for its moment */
  FORMAT_HEAD = 8,      /* the first of a segment */
  FORMAT_UNSYNCED = 16, /* written by a server that does not await syncs */
};

struct format_segment {
  unsigned char log_id[JOURNAL_ID_BYTES];
  uint64_t first_lsn, oldest_lsn;
  int64_t wall_ms;
};

struct format_batch {
  unsigned flags;        /* enum format_flag */
  uint32_t bytes, count; /* bytes: of the records, before they were padded */
  uint64_t lsn;
  struct journal_moment moment;
  uint64_t durable_lsn; /* all before it was durable when this was written */
  uint64_t oldest_lsn;  /* where the log begins: older segments do not count any more */
  uint64_t previous;    /* checksum of the header before it; 0: the first of the log */
  uint64_t payload;     /* checksum of the records, as format_checksum */
  uint64_t checksum;    /* of the header */
};

enum format_verdict { FORMAT_VALID, FORMAT_INVALID, FORMAT_NEWER };

/* What the records of a batch take in the file. */
static inline uint64_t format_padded(uint64_t bytes) {
  return (bytes + FORMAT_ALIGNMENT - 1) & ~(uint64_t)(FORMAT_ALIGNMENT - 1);
}
static inline uint64_t format_batch_size(const struct format_batch *batch) {
  return FORMAT_BATCH_BYTES + format_padded(batch->bytes);
}

/* The seed of all checksums of a log. */
uint64_t format_key(const unsigned char log_id[JOURNAL_ID_BYTES]);
/* Of padded bytes. */
uint64_t format_checksum(const void *bytes, size_t count, uint64_t key);

void format_put_segment(char to[FORMAT_SEGMENT_BYTES], const struct format_segment *segment);
/* *version: what the bytes claim, when FORMAT_NEWER. */
enum format_verdict format_get_segment(const char from[FORMAT_SEGMENT_BYTES],
                                       struct format_segment *segment, unsigned *version);

/* Sets batch->checksum. */
void format_put_batch(char to[FORMAT_BATCH_BYTES], struct format_batch *batch, uint64_t key);
/* Whether a header of this log stands here: the records after it are not looked at. */
enum format_verdict format_get_batch(const char from[FORMAT_BATCH_BYTES], uint64_t lsn,
                                     uint64_t key, struct format_batch *batch);

#endif
