/* state.c - see state.h. */
#include "server/journal/state.h"

#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static bool make_locks(struct journal *journal) {
  pthread_condattr_t monotonic;
  if (pthread_mutex_init(&journal->lock, NULL) != 0) return false;
  if (pthread_condattr_init(&monotonic) != 0) return false;
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  bool fine = pthread_cond_init(&journal->changed, NULL) == 0 &&
              pthread_cond_init(&journal->wanted, &monotonic) == 0;
  pthread_condattr_destroy(&monotonic);
  return fine;
}

struct journal *state_create(const struct journal_options *options) {
  struct journal *journal = calloc(1, sizeof *journal);
  if (journal == NULL) return NULL;
  journal->options = *options;
  journal->files = options->files;
  journal->growth_bytes = least(JOURNAL_GROWTH_BYTES, options->segment_bytes / 2);
  journal->last_bytes = least(JOURNAL_LAST_BYTES, options->segment_bytes / 8);
  journal->head_as_of_ms = INT64_MIN;
  bool fine = pending_init(&journal->pending);
  fine = pending_init(&journal->taken) && fine;
  if (make_locks(journal) && fine) return journal;
  state_destroy(journal);
  return NULL;
}

int state_open_file(const struct journal *journal, const char *name, bool create,
                    struct log_file **opened) {
  struct journal_files *files = journal->files;
  struct log_file *file = malloc(sizeof *file);
  if (file == NULL) return -ENOMEM;
  *file = (struct log_file){.file = files->open(files->context, name, create)};
  int error = file->file < 0 ? file->file : 0;
  if (error == 0) {
    file->ahead = files->open(files->context, name, false);
    error = file->ahead < 0 ? file->ahead : 0;
    if (error != 0) files->close(files->context, file->file);
  }
  if (error != 0) {
    free(file);
    return error;
  }
  *opened = file;
  return 0;
}

void state_close_file(const struct journal *journal, struct log_file *file) {
  if (file == NULL) return;
  journal->files->close(journal->files->context, file->file);
  journal->files->close(journal->files->context, file->ahead);
  free(file);
}

void state_destroy(struct journal *journal) {
  if (journal == NULL) return;
  state_close_file(journal, journal->active);
  state_close_file(journal, journal->spare);
  while (journal->retired != NULL) {
    struct log_file *file = journal->retired;
    journal->retired = file->next;
    state_close_file(journal, file);
  }
  if (journal->reading.open) journal->files->close(journal->files->context, journal->reading.file);
  free(journal->reading.bytes);
  free(journal->found.lsns);
  free(journal->found.tail);
  pending_deinit(&journal->pending);
  pending_deinit(&journal->taken);
  free(journal->segments);
  pthread_cond_destroy(&journal->wanted);
  pthread_cond_destroy(&journal->changed);
  pthread_mutex_destroy(&journal->lock);
  free(journal);
}

void state_take_role(struct journal *journal, bool *role) {
  while (*role) pthread_cond_wait(&journal->changed, &journal->lock);
  *role = true;
}

void state_give_role(struct journal *journal, bool *role) {
  *role = false;
  pthread_cond_broadcast(&journal->changed);
}

void state_fail(struct journal *journal, const char *file, const char *what, int error) {
  char text[JOURNAL_ERROR_BYTES];
  state_lock(journal);
  bool first = !journal->dead;
  journal->dead = true;
  atomic_store(&journal->progress.appended, UINT64_MAX);
  atomic_store(&journal->progress.room, 0);
  pthread_cond_broadcast(&journal->changed);
  state_unlock(journal);
  if (!first) return;
  snprintf(text, sizeof text, "journal: %s/%s: %s: %s", journal->files->directory, file, what,
           strerror(error < 0 ? -error : error));
  journal->options.hooks.failed(journal->options.hooks.context, text);
}

bool state_reserve_segment(struct journal *journal) {
  if (journal->segment_count < journal->segment_capacity) return true;
  size_t capacity = journal->segment_capacity * 2 + 16;
  struct segment *grown = realloc(journal->segments, capacity * sizeof *grown);
  if (grown == NULL) return false;
  journal->segments = grown;
  journal->segment_capacity = capacity;
  return true;
}

void state_note_durable(struct journal *journal, uint64_t lsn, uint64_t appended) {
  if (lsn > journal->durable_lsn) journal->durable_lsn = lsn;
  if (appended > journal->durable_appended) journal->durable_appended = appended;
  if (journal->durable_lsn >= journal->carried_end_lsn) {
    journal->durable_oldest_lsn = journal->carried_oldest_lsn;
  }
}
