/* format.c - see format.h. */
#include "server/journal/format.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SEGMENT_MAGIC "idemlog1"
#define BATCH_MAGIC 0x6d656469u /* "idem" */

/* As they lie in the file: proto/span.h asserts that the machine is little endian. */
struct segment_bytes {
  char magic[8];
  uint32_t version, header_bytes;
  unsigned char log_id[JOURNAL_ID_BYTES];
  uint64_t first_lsn, oldest_lsn;
  int64_t wall_ms;
  uint64_t checksum;
};
_Static_assert(sizeof(struct segment_bytes) == FORMAT_SEGMENT_BYTES, "no holes");

struct batch_bytes {
  uint32_t magic;
  uint16_t version, flags;
  uint64_t lsn;
  uint32_t bytes, count;
  int64_t engine_ms, wall_ms, largest_ms;
  uint64_t durable_lsn, next_token, oldest_lsn, previous, payload, checksum;
};
_Static_assert(sizeof(struct batch_bytes) == FORMAT_BATCH_BYTES, "no holes");

uint64_t format_checksum(const void *bytes, size_t count, uint64_t key) {
  return XXH3_64bits_withSeed(bytes, count, key);
}

uint64_t format_key(const unsigned char log_id[JOURNAL_ID_BYTES]) {
  return format_checksum(log_id, JOURNAL_ID_BYTES, 0);
}

/* The checksum stands last, and covers all before it. */
static uint64_t segment_checksum(const struct segment_bytes *bytes) {
  return format_checksum(bytes, sizeof *bytes - sizeof bytes->checksum, format_key(bytes->log_id));
}

static uint64_t batch_checksum(const struct batch_bytes *bytes, uint64_t key) {
  return format_checksum(bytes, sizeof *bytes - sizeof bytes->checksum, key);
}

void format_put_segment(char to[FORMAT_SEGMENT_BYTES], const struct format_segment *segment) {
  struct segment_bytes bytes = {
      .version = FORMAT_VERSION,
      .header_bytes = FORMAT_SEGMENT_BYTES,
      .first_lsn = segment->first_lsn,
      .oldest_lsn = segment->oldest_lsn,
      .wall_ms = segment->wall_ms,
  };
  memcpy(bytes.magic, SEGMENT_MAGIC, sizeof bytes.magic);
  memcpy(bytes.log_id, segment->log_id, sizeof bytes.log_id);
  bytes.checksum = segment_checksum(&bytes);
  memcpy(to, &bytes, sizeof bytes);
}

enum format_verdict format_get_segment(const char from[FORMAT_SEGMENT_BYTES],
                                       struct format_segment *segment, unsigned *version) {
  struct segment_bytes bytes;
  memcpy(&bytes, from, sizeof bytes);
  if (memcmp(bytes.magic, SEGMENT_MAGIC, sizeof bytes.magic) != 0) return FORMAT_INVALID;
  *version = bytes.version;
  if (bytes.version > FORMAT_VERSION) return FORMAT_NEWER; /* where its checksum is, who knows */
  if (bytes.version != FORMAT_VERSION || bytes.header_bytes != FORMAT_SEGMENT_BYTES ||
      bytes.checksum != segment_checksum(&bytes)) {
    return FORMAT_INVALID;
  }
  memcpy(segment->log_id, bytes.log_id, sizeof bytes.log_id);
  segment->first_lsn = bytes.first_lsn;
  segment->oldest_lsn = bytes.oldest_lsn;
  segment->wall_ms = bytes.wall_ms;
  return FORMAT_VALID;
}

void format_put_batch(char to[FORMAT_BATCH_BYTES], struct format_batch *batch, uint64_t key) {
  struct batch_bytes bytes = {
      .magic = BATCH_MAGIC,
      .version = FORMAT_VERSION,
      .flags = (uint16_t)batch->flags,
      .lsn = batch->lsn,
      .bytes = batch->bytes,
      .count = batch->count,
      .engine_ms = batch->moment.engine_ms,
      .wall_ms = batch->moment.wall_ms,
      .largest_ms = batch->moment.largest_ms,
      .durable_lsn = batch->durable_lsn,
      .next_token = batch->moment.next_token,
      .oldest_lsn = batch->oldest_lsn,
      .previous = batch->previous,
      .payload = batch->payload,
  };
  bytes.checksum = batch_checksum(&bytes, key);
  batch->checksum = bytes.checksum;
  memcpy(to, &bytes, sizeof bytes);
}

enum format_verdict format_get_batch(const char from[FORMAT_BATCH_BYTES], uint64_t lsn,
                                     uint64_t key, struct format_batch *batch) {
  struct batch_bytes bytes;
  memcpy(&bytes, from, sizeof bytes);
  if (bytes.magic != BATCH_MAGIC || bytes.lsn != lsn) return FORMAT_INVALID;
  if (bytes.checksum != batch_checksum(&bytes, key)) return FORMAT_INVALID;
  if (bytes.version > FORMAT_VERSION) return FORMAT_NEWER;
  *batch = (struct format_batch){
      .flags = bytes.flags,
      .bytes = bytes.bytes,
      .count = bytes.count,
      .lsn = bytes.lsn,
      .moment = {.engine_ms = bytes.engine_ms,
                 .wall_ms = bytes.wall_ms,
                 .largest_ms = bytes.largest_ms,
                 .next_token = bytes.next_token},
      .durable_lsn = bytes.durable_lsn,
      .oldest_lsn = bytes.oldest_lsn,
      .previous = bytes.previous,
      .payload = bytes.payload,
      .checksum = bytes.checksum,
  };
  return FORMAT_VALID;
}
