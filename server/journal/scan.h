/*
 * scan.h - the batches of a segment that was read into memory, each looked at whole: header, chain,
 * payload. What every reader of the log uses: recovery, the check and the salvage.
 *
 *     scan_open(...); while (scan_next(&scan, &batch, &records)) ...; why it ended: scan.stop
 *
 * Zeros at the end, a file that was cut short and one that was written beyond the last batch end
 * alike: at the first position where no valid batch stands. Whether that is the end of the log or a
 * fault is for the caller to say, by what stands after it (scan_find_later).
 */
#ifndef IDEM_SERVER_JOURNAL_SCAN_H
#define IDEM_SERVER_JOURNAL_SCAN_H

#include "server/journal/format.h"

enum scan_stop {
  SCAN_GOES_ON,
  SCAN_NO_HEADER, /* and no whole header fits in: or the end of the log */
  SCAN_CUT_SHORT, /* the file ends within the records */
  SCAN_CHECKSUM,  /* of the records */
  SCAN_CHAIN,     /* it does not follow the batch before it */
  SCAN_NO_HEAD,   /* the first batch is none */
  SCAN_NEWER,     /* a valid header of a version that is not known */
  SCAN_UNREAD,    /* the source failed: scan.error */
};

/* Reads on, so that the file is in memory up to `end` at least; returns 0 or a negative errno.
 * Without one, all of it is there. */
struct scan_source {
  int (*reach)(void *context, size_t end);
  void *context;
};

struct scan {
  const char *bytes; /* of the file; borrowed */
  size_t size;
  uint64_t first_lsn, key;
  size_t at;         /* the offset of the next batch, in the file */
  uint64_t previous; /* checksum of the last header */
  bool chained;      /* the next has to repeat it */
  enum scan_stop stop;
  struct scan_source source; /* the caller may set it, for scan_next */
  int error;
};

/* previous: NULL when the batch before is not known, as at the beginning of the oldest segment. */
void scan_open(struct scan *scan, struct span file, uint64_t first_lsn, uint64_t key,
               const uint64_t *previous);
bool scan_next(struct scan *scan, struct format_batch *batch, struct span *records);
/* Where the scan is in the log. */
static inline uint64_t scan_lsn(const struct scan *scan) {
  return scan->first_lsn + (scan->at - FORMAT_SEGMENT_BYTES);
}
/* Goes on from the next valid batch after this position, as if nothing were known of the one before
 * it. False: there is none. */
bool scan_resume(struct scan *scan);
/* A header of this log after the scan's position that was written when that position was durable
 * already: what stands here is rotten then, not torn. */
bool scan_find_later(const struct scan *scan, struct format_batch *later);
/* How many bytes of batches stand after the scan's position, as far as a header tells it. */
size_t scan_cut_bytes(const struct scan *scan);
const char *scan_reason(enum scan_stop stop);

#endif
