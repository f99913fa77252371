/* journal_metrics.c - see journal_metrics.h. */
#include "server/commands/journal_metrics.h"

#include "server/ops/prometheus.h"

void journal_metrics_read(const struct instance *instance, struct journal_metrics *figures) {
  *figures = (struct journal_metrics){.write_status = "ok"};
  if (instance->journal == NULL) return;
  const struct journal_figures *journal = &figures->journal;
  journal_figures(instance->journal, &figures->journal);
  figures->enabled = 1;
  if (journal->failed) figures->write_status = "err";
  figures->no_room = journal->failed;
  if (journal->syncs > 0)
    figures->records_per_sync = (double)journal->records / (double)journal->syncs;
  figures->recovered_ms = instance->recovered_ms;
}

#define FIELD(field) METRIC_FIELD(struct journal_metrics, field)
#define OF_FAMILY(field, family) METRIC_FIELD_AS(struct journal_metrics, field, family, NULL)
#define COUNTER METRIC_COUNTER, METRIC_NO_UNIT
#define GAUGE METRIC_GAUGE, METRIC_NO_UNIT
#define BYTES(kind) kind, METRIC_BYTES
#define MICROSECONDS METRIC_GAUGE, METRIC_MICROSECONDS
#define TEXT METRIC_TEXT, METRIC_NO_UNIT

const struct metric journal_metrics_rows[] = {
    {"aof_enabled", GAUGE, "1 with a journal (appendonly).", OF_FAMILY(enabled, "journal_enabled")},
    {"aof_last_write_status", TEXT, "err while there is no room to be made for the journal.",
     FIELD(write_status)},
    {"aof_current_size", BYTES(METRIC_GAUGE), "Bytes of its segments that are written.",
     OF_FAMILY(journal.live_segment_bytes, "journal_used")},
    {"journal_disk_bytes", BYTES(METRIC_GAUGE), "The same with the room that is ready ahead.",
     FIELD(journal.disk_bytes)},
    {"journal_no_room", GAUGE, "1 while there is no room to be made for the journal.",
     FIELD(no_room)},
    {"journal_room_bytes", BYTES(METRIC_GAUGE), "Room that is ready ahead.",
     FIELD(journal.room_bytes)},
    {"journal_segments", GAUGE, "Segments.", FIELD(journal.segments)},
    {"journal_batches", COUNTER, "Batches that were written.", FIELD(journal.batches)},
    {"journal_records", COUNTER, "Records in them.", FIELD(journal.records)},
    {"journal_appended_bytes", BYTES(METRIC_COUNTER), "Bytes of records that were appended.",
     FIELD(journal.appended_bytes)},
    {"journal_again_bytes", BYTES(METRIC_COUNTER),
     "Of them, those that were written again, out of the oldest segment.",
     FIELD(journal.again_bytes)},
    {"journal_syncs", COUNTER, "Times that it was synced.", FIELD(journal.syncs)},
    {"journal_sync_p50_us", TEXT, "Half of the syncs took at most so many microseconds.",
     FIELD(journal.sync_p50_us)},
    {"journal_sync_p99_us", TEXT, "99 of 100 syncs took at most so many microseconds.",
     FIELD(journal.sync_p99_us)},
    {"journal_sync_max_us", MICROSECONDS, "The longest sync.", FIELD(journal.sync_max_us)},
    {"journal_records_per_sync", GAUGE, "Records that share a sync.", FIELD(records_per_sync)},
    {"journal_removed_segments", COUNTER, "Segments that it has let go of.",
     FIELD(journal.removed_segments)},
    {"journal_removed_unread", COUNTER, "Of them, those in which all had ended by itself.",
     FIELD(journal.removed_unread)},
    {"journal_unreadable_segments", COUNTER,
     "Times that a segment could not be read again, so that all was written again from memory.",
     FIELD(journal.unreadable)},
    {"journal_slice_max_us", MICROSECONDS,
     "The longest slice of reading the oldest segment, in time of its thread.",
     FIELD(journal.slice_max_us)},
    {"journal_recovered_records", GAUGE, "Records that the start read.",
     FIELD(journal.recovered_records)},
    {"journal_recovered_ms", METRIC_GAUGE, METRIC_MILLISECONDS, "How long it took for that.",
     OF_FAMILY(recovered_ms, "journal_recovery")},
    {"journal_cut_bytes", BYTES(METRIC_GAUGE), "Bytes of a torn batch that the start cut off.",
     FIELD(journal.cut_bytes)},
    METRIC_END,
};

const struct metric journal_metrics_tables[] = {
    {"journal_sync_duration", METRIC_HISTOGRAM, METRIC_MICROSECONDS, "How long syncs took.",
     METRIC_TABLE(NULL, NULL)},
    METRIC_END,
};

void journal_metrics_put_families(const struct instance *instance, const void *figures,
                                  struct metrics_text *text) {
  /* 16 us to 16.8 s */
  static const struct prometheus_buckets buckets = {.first = 4, .last = 24, .step = 2};
  const struct journal_metrics *metrics = figures;
  (void)instance;
  prometheus_put_head(text, journal_metrics_tables);
  prometheus_put_histogram(text, journal_metrics_tables, NULL, &metrics->journal.sync_us, &buckets);
}
