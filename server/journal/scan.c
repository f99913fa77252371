/* scan.c - see scan.h. */
#include "server/journal/scan.h"

void scan_open(struct scan *scan, struct span file, uint64_t first_lsn, uint64_t key,
               const uint64_t *previous) {
  *scan = (struct scan){
      .bytes = file.data,
      .size = file.len,
      .first_lsn = first_lsn,
      .key = key,
      .at = FORMAT_SEGMENT_BYTES,
      .previous = previous != NULL ? *previous : 0,
      .chained = previous != NULL,
  };
}

static bool reach(struct scan *scan, size_t more) {
  if (scan->source.reach == NULL) return true;
  scan->error = scan->source.reach(scan->source.context, scan->at + more);
  return scan->error == 0;
}

static enum scan_stop look(struct scan *scan, struct format_batch *batch) {
  if (scan->size < scan->at || scan->size - scan->at < FORMAT_BATCH_BYTES) return SCAN_NO_HEADER;
  if (!reach(scan, FORMAT_BATCH_BYTES)) return SCAN_UNREAD;
  const char *here = scan->bytes + scan->at;
  enum format_verdict verdict = format_get_batch(here, scan_lsn(scan), scan->key, batch);
  if (verdict == FORMAT_NEWER) return SCAN_NEWER;
  if (verdict != FORMAT_VALID) return SCAN_NO_HEADER;
  if (scan->chained && batch->previous != scan->previous) return SCAN_CHAIN;
  if (scan->at == FORMAT_SEGMENT_BYTES && !(batch->flags & FORMAT_HEAD)) return SCAN_NO_HEAD;
  size_t padded = (size_t)format_padded(batch->bytes);
  if (scan->size - scan->at - FORMAT_BATCH_BYTES < padded) return SCAN_CUT_SHORT;
  if (!reach(scan, FORMAT_BATCH_BYTES + padded)) return SCAN_UNREAD;
  uint64_t checksum = format_checksum(here + FORMAT_BATCH_BYTES, padded, scan->key);
  return checksum == batch->payload ? SCAN_GOES_ON : SCAN_CHECKSUM;
}

bool scan_next(struct scan *scan, struct format_batch *batch, struct span *records) {
  scan->stop = look(scan, batch);
  if (scan->stop != SCAN_GOES_ON) return false;
  *records = (struct span){scan->bytes + scan->at + FORMAT_BATCH_BYTES, batch->bytes};
  scan->at += format_batch_size(batch);
  scan->previous = batch->checksum;
  scan->chained = true;
  return true;
}

/* The next position after `at` at which a valid header stands; scan->size: there is none. */
static size_t find_header(const struct scan *scan, size_t at, struct format_batch *batch) {
  struct scan probe = *scan;
  for (at += FORMAT_ALIGNMENT; at + FORMAT_BATCH_BYTES <= scan->size; at += FORMAT_ALIGNMENT) {
    probe.at = at;
    enum format_verdict verdict =
        format_get_batch(scan->bytes + at, scan_lsn(&probe), scan->key, batch);
    if (verdict == FORMAT_VALID) return at;
  }
  return scan->size;
}

bool scan_resume(struct scan *scan) {
  struct scan probe = *scan;
  struct format_batch batch;
  probe.chained = false;
  while ((probe.at = find_header(scan, probe.at, &batch)) < scan->size) {
    if (look(&probe, &batch) != SCAN_GOES_ON) continue;
    *scan = probe;
    scan->stop = SCAN_GOES_ON;
    return true;
  }
  return false;
}

bool scan_find_later(const struct scan *scan, struct format_batch *later) {
  size_t at = scan->at;
  while ((at = find_header(scan, at, later)) < scan->size) {
    if (later->durable_lsn > scan_lsn(scan)) return true;
  }
  return false;
}

size_t scan_cut_bytes(const struct scan *scan) {
  struct format_batch batch;
  size_t end = scan->at;
  for (size_t at = scan->at - FORMAT_ALIGNMENT;
       (at = find_header(scan, at, &batch)) < scan->size;) {
    if (at + format_batch_size(&batch) > end) end = at + (size_t)format_batch_size(&batch);
  }
  return (end < scan->size ? end : scan->size) - scan->at;
}

const char *scan_reason(enum scan_stop stop) {
  static const char *const reasons[] = {
      [SCAN_GOES_ON] = "a valid batch",
      [SCAN_NO_HEADER] = "no valid batch header",
      [SCAN_CUT_SHORT] = "the file ends within a batch",
      [SCAN_CHECKSUM] = "the checksum of a batch is wrong",
      [SCAN_CHAIN] = "a batch does not follow the one before it",
      [SCAN_NO_HEAD] = "the first batch is no head",
      [SCAN_NEWER] = "a batch of a newer version than this server reads",
      [SCAN_UNREAD] = "it cannot be read",
  };
  return reasons[stop];
}
