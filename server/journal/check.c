/* check.c - see check.h. */
#include "server/journal/check.h"

#include <inttypes.h>
#include <string.h>

#include "server/journal/load.h"
#include "server/journal/recover.h"

struct sums {
  FILE *out;
  uint64_t batches, records, bytes;
};

static bool count_batch(void *context, const struct journal_batch *batch,
                        struct journal_ends *ends) {
  struct sums *sums = context;
  ends->last_ms = INT64_MIN;
  sums->batches += batch->count > 0;
  if (!batch->head) sums->records += batch->count;
  sums->bytes += batch->records.len;
  return true;
}

static void print_segments(const struct journal *journal, FILE *out) {
  char name[SEGMENT_NAME_BYTES];
  for (size_t i = 0; i < journal->segment_count; i++) {
    const struct segment *segment = &journal->segments[i];
    segment_name(segment->first_lsn, name);
    fprintf(out, "%s: %" PRIu64 " bytes\n", name, segment_used(segment));
  }
  for (size_t i = 0; i < journal->found.leftover_count; i++) {
    segment_name(journal->found.lsns[i], name);
    fprintf(out, "%s: does not count any more, the next start removes it\n", name);
  }
}

static void print_sums(const struct journal *journal, const struct sums *sums) {
  const struct format_batch *newest = &journal->found.newest;
  fprintf(sums->out,
          "segments %zu, batches %" PRIu64 ", records %" PRIu64 ", bytes of records %" PRIu64 "\n",
          journal->segment_count, sums->batches, sums->records, sums->bytes);
  fprintf(sums->out, "newest batch: unix time %" PRId64 " ms, next token %" PRIu64 ", end %s\n",
          newest->moment.wall_ms, newest->moment.next_token,
          newest->flags & FORMAT_CLEAN ? "clean" : "not clean (a crash, or it is in use)");
}

enum journal_result check_journal(struct journal_files *files, FILE *out) {
  char error[JOURNAL_ERROR_BYTES] = "";
  struct journal_options options = {.files = files, .segment_bytes = JOURNAL_SEGMENT_BYTES};
  struct sums sums = {.out = out};
  struct journal *journal = state_create(&options);
  if (journal == NULL) return load_refused(error, files, "no memory");
  enum journal_result result = recover_look(journal, error);
  if (result == JOURNAL_OK) result = recover_batches(journal, count_batch, &sums, error);
  if (journal->segment_count > 0) {
    print_segments(journal, out);
    print_sums(journal, &sums);
  }
  fprintf(out, "%s\n",
          result != JOURNAL_OK          ? error
          : journal->segment_count == 0 ? "there is no log"
                                        : "fine");
  state_destroy(journal);
  return result;
}
