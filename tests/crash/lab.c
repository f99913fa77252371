/* lab.c - see lab.h. */
#include "tests/crash/lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned char LOG_ID[JOURNAL_ID_BYTES] = "laboratory log!";

static void need(bool fine, const char *what, const char *error) {
  if (fine) return;
  printf("FAILED: %s: %s\n", what, error);
  exit(1);
}

static void on_failed(void *context, const char *text) {
  const struct lab *lab = context;
  need(lab->disk->dead, "the journal is dead", text);
}

static struct span on_head(void *context, void *caller, int64_t *as_of_ms) {
  struct lab *lab = context;
  (void)caller;
  return history_head(lab->history, &lab->random, as_of_ms);
}

void lab_begin(struct lab *lab, uint64_t segment_bytes, uint64_t seed) {
  *lab = (struct lab){
      .disk = disk_create(), .history = history_create(), .random = random_begin(seed, 0)};
  lab->options = (struct journal_options){
      .files = &lab->disk->files,
      .sync = JOURNAL_SYNC_ALWAYS,
      .segment_bytes = segment_bytes,
      .log_id = LOG_ID,
      .hooks = {.context = lab, .failed = on_failed, .head = on_head},
  };
}

void lab_end(struct lab *lab) {
  journal_close(lab->journal);
  disk_destroy(lab->disk);
  history_destroy(lab->history);
}

void lab_start(struct lab *lab) {
  char error[JOURNAL_ERROR_BYTES] = "";
  enum journal_result result = journal_open(&lab->options, &lab->journal, error);
  need(result == JOURNAL_OK, "journal_open", error);
  bool fine = history_check(&lab->recovery, lab->history, lab->journal);
  need(fine, "recovered", lab->recovery.why);
  result = journal_start(lab->journal, lab, &lab->history->moment, error);
  need(result == JOURNAL_OK, "journal_start", error);
  lab->history->begun = true;
}

void lab_append(struct lab *lab, size_t bytes) {
  need(journal_room(lab->journal, bytes + 256) == JOURNAL_ROOM_ENOUGH, "journal_room", "none");
  struct journal_append made = history_append(lab->history, &lab->random, bytes);
  journal_append(lab->journal, &made);
  need(journal_commit(lab->journal, lab), "journal_commit", "false");
  lab->history->committed = lab->history->count;
  history_acknowledge(lab->history);
}

void lab_seal(struct lab *lab) {
  for (int i = 0; i < 2; i++) {
    lab->now_ns += 100000000;
    need(journal_beat(lab->journal, lab, &lab->history->moment, false, lab->now_ns), "beat", "");
  }
}

static bool visit(void *caller, uint64_t segment, struct span record) {
  struct lab *lab = caller;
  struct journal_append made;
  (void)segment;
  if (!history_again(lab->history, record, &made)) return true;
  need(journal_room(lab->journal, record.len) == JOURNAL_ROOM_ENOUGH, "journal_room", "none");
  journal_append(lab->journal, &made);
  return true;
}

void lab_trim(struct lab *lab) {
  lab->history->moment.engine_ms += 1000000;
  for (int i = 0; i < 20 && journal_trim(lab->journal, 0, visit, lab); i++) {
    need(journal_commit(lab->journal, lab), "journal_commit", "false");
    lab->history->committed = lab->history->count;
    history_acknowledge(lab->history);
  }
  while (journal_help(lab->journal)) continue;
}

uint64_t lab_end_offset(const struct lab *lab) {
  struct journal_figures figures;
  char names[LAB_MOST_NAMES][DISK_NAME_BYTES];
  unsigned count = lab_segments(lab, names);
  journal_figures(lab->journal, &figures);
  return 64 + figures.lsn - strtoull(names[count - 1] + 5, NULL, 16);
}

void lab_kill(struct lab *lab) {
  lab->disk->dead = true;
  journal_close(lab->journal);
  lab->journal = NULL;
  lab->disk->dead = false;
  disk_write_back(lab->disk, 1, 256);
}

enum journal_result lab_recover(struct lab *lab) {
  struct journal *journal;
  uint64_t changed = lab->disk->changed;
  lab->error[0] = '\0';
  enum journal_result result = journal_open(&lab->options, &journal, lab->error);
  lab->recovery.why[0] = '\0';
  if (result != JOURNAL_OK) return result;
  bool fine = history_check(&lab->recovery, lab->history, journal);
  journal_close(journal);
  need(lab->disk->changed == changed, "recovering", "something was changed");
  need(disk_open_files(lab->disk) == 0, "recovering", "files are left open");
  const char *why = lab->recovery.why;
  if (fine || strncmp(why, "journal_recover", 15) != 0) return JOURNAL_OK;
  snprintf(lab->error, sizeof lab->error, "%.200s", why);
  return strstr(why, "CORRUPT") != NULL ? JOURNAL_CORRUPT : JOURNAL_REFUSED;
}

bool lab_goes_on(struct lab *lab) {
  if (lab_recover(lab) != JOURNAL_OK || lab->recovery.why[0] != '\0') return false;
  lab_start(lab);
  history_cut(lab->history, &lab->recovery);
  for (int i = 0; i < 20; i++) lab_append(lab, 300);
  journal_close(lab->journal);
  lab->journal = NULL;
  return lab_recover(lab) == JOURNAL_OK && lab->recovery.why[0] == '\0';
}

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

unsigned lab_segments(const struct lab *lab, char names[LAB_MOST_NAMES][DISK_NAME_BYTES]) {
  unsigned count = 0;
  for (unsigned i = 0; i < lab->disk->now.count && count < LAB_MOST_NAMES; i++) {
    const char *name = lab->disk->now.list[i].name;
    if (strlen(name) == 25 && strncmp(name, "idem-", 5) == 0)
      memcpy(names[count++], name, DISK_NAME_BYTES);
  }
  qsort(names, count, DISK_NAME_BYTES, by_name);
  return count;
}

struct disk_file *lab_file(struct lab *lab, const char *name) {
  int file = disk_find(lab->disk, name);
  need(file >= 0, "a file is missing", name);
  return &lab->disk->file[file];
}
