/*
 * rot.c - a log that is torn at each byte, rotten in each bit, and directories in which something
 * is missing, left over or foreign.
 *
 *     rot [--seed N]
 *
 * Bytes are changed under the journal's feet, then it opens and recovers. What a power cut can do
 * is recovered; what it cannot is CORRUPT; nothing is ever taken for an empty log, and nothing is
 * changed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/crash/lab.h"

#define TORN_BYTES 65536u
#define ROTTEN_LOGS 20u
#define ROTTEN_BATCHES 50u

static bool failed(const struct lab *lab, const char *what, uint64_t at) {
  printf("FAILED: %s at %llu: %s %s\n", what, (unsigned long long)at, lab->error,
         lab->recovery.why);
  return false;
}

/* ---- torn ---- */

struct torn {
  struct lab lab;
  struct disk_file *file;
  uint64_t ends[HISTORY_MOST_ENTRIES], head_end; /* where each append ends in the file */
  uint64_t counts[3];
};

/* The appends that lie whole before this byte have to be there, and no other. */
static bool check_torn(struct torn *torn, uint64_t at, const char *how) {
  struct lab *lab = &torn->lab;
  uint32_t whole = 0;
  while (whole < lab->history->count && torn->ends[whole] <= at) whole++;
  lab->history->acked = lab->history->committed = whole;
  lab->history->acked_moment = (struct journal_moment){0};
  enum journal_result result = lab_recover(lab);
  torn->counts[result]++;
  if (at < torn->head_end) return result == JOURNAL_CORRUPT || failed(lab, how, at);
  if (result != JOURNAL_OK || lab->recovery.why[0] != '\0') return failed(lab, how, at);
  return lab->recovery.upto == whole || failed(lab, "more than the whole batches", at);
}

static bool cut_off(struct torn *torn, uint64_t end) {
  uint64_t size = torn->file->size;
  bool fine = true;
  for (uint64_t at = end + 1; at-- > 0 && fine;) {
    torn->file->size = at;
    fine = check_torn(torn, at, "cut off");
  }
  torn->file->size = size;
  return fine;
}

/* From the end to the beginning: zeros, or what an older use of the file has left. */
static bool overwrite(struct torn *torn, uint64_t end, const unsigned char *with, const char *how) {
  bool fine = true;
  for (uint64_t at = end; at-- > 0 && fine;) {
    unsigned char was = torn->file->now[at];
    torn->file->now[at] = with == NULL ? 0 : with[at];
    /* A byte that is the same is not torn off. */
    if (was != torn->file->now[at]) fine = check_torn(torn, at, how);
  }
  return fine;
}

static void make_torn(struct torn *torn, uint64_t seed) {
  struct lab *lab = &torn->lab;
  char names[LAB_MOST_NAMES][DISK_NAME_BYTES];
  lab_begin(lab, 2 * TORN_BYTES, seed);
  lab_start(lab);
  torn->head_end = lab_end_offset(lab);
  while (lab_end_offset(lab) < TORN_BYTES) {
    lab_append(lab, random_below(&lab->random, random_once(&lab->random, 4) ? 3000 : 300));
    torn->ends[lab->history->count - 1] = lab_end_offset(lab);
  }
  torn->ends[lab->history->count] = lab_end_offset(lab);
  lab_kill(lab);
  lab_segments(lab, names);
  torn->file = lab_file(lab, names[0]);
}

static bool tear_each_byte(uint64_t seed) {
  static struct torn torn;
  make_torn(&torn, seed);
  uint64_t end = torn.ends[torn.lab.history->count];
  unsigned char *whole = malloc(end), *older = malloc(end);
  memcpy(whole, torn.file->now, end);
  for (uint64_t i = 0; i < end; i++)
    older[i] = (unsigned char)(whole[(i + 4096) % end] ^ (i % 7 == 0));
  bool fine = cut_off(&torn, end);
  fine = fine && overwrite(&torn, end, NULL, "zeros");
  memcpy(torn.file->now, whole, end);
  fine = fine && overwrite(&torn, end, older, "older bytes");
  printf(
      "  torn at each of %llu bytes, cut off, zeros and older bytes: %llu recovered, %llu corrupt "
      "(within the head), %llu refused\n",
      (unsigned long long)end, (unsigned long long)torn.counts[JOURNAL_OK],
      (unsigned long long)torn.counts[JOURNAL_CORRUPT],
      (unsigned long long)torn.counts[JOURNAL_REFUSED]);
  lab_end(&torn.lab);
  free(whole);
  free(older);
  return fine;
}

/* ---- rotten ---- */

struct flips {
  uint64_t tried, found, harmless, torn;
};

/* last: what is after this byte may be taken for torn. */
static bool flip_bits(struct lab *lab, struct disk_file *file, uint64_t end, uint64_t last,
                      struct flips *flips) {
  uint32_t count = lab->history->count;
  for (uint64_t bit = 0; bit < end * 8; bit++) {
    file->now[bit / 8] ^= (unsigned char)(1u << bit % 8);
    enum journal_result result = lab_recover(lab);
    flips->tried++;
    if (result == JOURNAL_CORRUPT) {
      flips->found++;
    } else if (result == JOURNAL_OK && lab->recovery.why[0] == '\0' &&
               lab->recovery.upto == count) {
      flips->harmless++;
    } else if (result == JOURNAL_OK && bit / 8 >= last && lab->recovery.upto + 1 == count) {
      flips->torn++;
    } else {
      return failed(lab, "a flipped bit loses something", bit);
    }
    file->now[bit / 8] ^= (unsigned char)(1u << bit % 8);
  }
  return true;
}

static void print_flips(const char *what, const struct flips *flips) {
  printf("  %s: %llu bits flipped, %llu found, %llu lose nothing, %llu taken for torn\n", what,
         (unsigned long long)flips->tried, (unsigned long long)flips->found,
         (unsigned long long)flips->harmless, (unsigned long long)flips->torn);
}

static bool rot_log(uint64_t seed, bool sealed, unsigned batches, struct flips *flips) {
  struct lab lab;
  char names[LAB_MOST_NAMES][DISK_NAME_BYTES];
  uint64_t last = 0;
  lab_begin(&lab, 65536, seed);
  lab_start(&lab);
  for (unsigned i = 0; i < batches; i++) {
    last = lab_end_offset(&lab);
    lab_append(&lab, random_below(&lab.random, 64));
  }
  if (sealed) lab_seal(&lab);
  if (sealed) last = UINT64_MAX;
  uint64_t end = lab_end_offset(&lab);
  lab_kill(&lab);
  lab_segments(&lab, names);
  if (!sealed) lab.history->acked = lab.history->committed = lab.history->count - 1;
  lab.history->acked_moment = (struct journal_moment){0};
  bool fine = flip_bits(&lab, lab_file(&lab, names[0]), end, last, flips);
  lab_end(&lab);
  return fine;
}

/* A log of several segments: the newest is sound. */
static bool rot_older(uint64_t seed, struct flips *flips) {
  struct lab lab;
  char names[LAB_MOST_NAMES][DISK_NAME_BYTES];
  bool fine = true;
  lab_begin(&lab, 4096, seed);
  lab_start(&lab);
  for (unsigned i = 0; i < 40; i++) lab_append(&lab, random_below(&lab.random, 400));
  lab_kill(&lab);
  unsigned count = lab_segments(&lab, names);
  for (unsigned i = 0; i + 1 < count && fine; i++) {
    struct disk_file *file = lab_file(&lab, names[i]);
    fine = flip_bits(&lab, file, file->size, UINT64_MAX, flips);
  }
  lab_end(&lab);
  return fine && count > 2;
}

static bool rot_each_bit(uint64_t seed) {
  struct flips sealed = {0}, unsealed = {0}, older = {0};
  bool fine = true;
  for (unsigned i = 0; i < ROTTEN_LOGS && fine; i++)
    fine = rot_log(seed + i, true, ROTTEN_BATCHES, &sealed);
  print_flips("1,000 batches with a seal", &sealed);
  for (unsigned i = 0; i < 10 && fine; i++) fine = rot_log(seed + i, false, 10, &unsealed);
  print_flips("100 batches without one", &unsealed);
  fine = fine && rot_older(seed, &older);
  print_flips("older segments", &older);
  return fine;
}

/* ---- directories ---- */

struct room {
  struct lab lab;
  char names[LAB_MOST_NAMES][DISK_NAME_BYTES];
  unsigned count;
};

static bool is_corrupt(struct room *room) { return lab_recover(&room->lab) == JOURNAL_CORRUPT; }
static bool is_refused(struct room *room) { return lab_recover(&room->lab) == JOURNAL_REFUSED; }

static bool oldest_missing(struct room *room) {
  disk_unname(room->lab.disk, room->names[0]);
  return is_corrupt(room);
}

static bool middle_missing(struct room *room) {
  disk_unname(room->lab.disk, room->names[room->count / 2]);
  return is_corrupt(room);
}

/* Nothing in the others says that there was one more; but it is never an empty log. */
static bool newest_missing(struct room *room) {
  disk_unname(room->lab.disk, room->names[room->count - 1]);
  enum journal_result result = lab_recover(&room->lab);
  return result == JOURNAL_CORRUPT ||
         strncmp(room->lab.recovery.why, "lost: acknowledged", 18) == 0;
}

static bool newer_version(struct room *room) {
  for (unsigned i = 0; i < room->count; i += room->count - 1) {
    unsigned char *version = &lab_file(&room->lab, room->names[i])->now[8];
    *version = 2;
    if (!is_corrupt(room) || strstr(room->lab.error, "newer") == NULL) return false;
    *version = 1;
  }
  return true;
}

static bool foreign_file(struct room *room) {
  disk_put(room->lab.disk, "notes.txt", "hello", 5);
  disk_put(room->lab.disk, "idem-0000000000000000.log~", "hello", 5);
  return lab_goes_on(&room->lab) && disk_find(room->lab.disk, "notes.txt") >= 0 &&
         disk_find(room->lab.disk, "idem-0000000000000000.log~") >= 0;
}

static bool foreign_segment(struct room *room) {
  disk_put(room->lab.disk, "idem-0000000000ffffff.log", "hello", 5);
  return is_corrupt(room);
}

static bool other_log(struct room *room) {
  struct lab other;
  static const unsigned char id[JOURNAL_ID_BYTES] = "another log id!";
  lab_begin(&other, 4096, 99);
  other.options.log_id = id;
  lab_start(&other);
  lab_append(&other, 100);
  lab_kill(&other);
  const struct disk_file *file = lab_file(&other, "idem-0000000000000000.log");
  disk_unname(room->lab.disk, room->names[0]);
  disk_put(room->lab.disk, room->names[0], file->now, file->size);
  lab_end(&other);
  return is_corrupt(room);
}

static bool zero_padded(struct room *room) {
  struct lab *lab = &room->lab;
  struct disk_file *tail = lab_file(lab, room->names[room->count - 1]);
  unsigned char *padded = calloc(1, tail->size + 100003);
  memcpy(padded, tail->now, tail->size);
  uint64_t size = tail->size + 100003;
  disk_unname(lab->disk, room->names[room->count - 1]);
  disk_put(lab->disk, room->names[room->count - 1], padded, size);
  free(padded);
  return lab_goes_on(lab);
}

/* As a copy without the zeros at the end. */
static bool shortened(struct room *room) {
  for (unsigned i = 0; i < room->count; i++) {
    struct disk_file *file = lab_file(&room->lab, room->names[i]);
    uint64_t size = file->size;
    while (size > 0 && file->now[size - 1] == 0) size--;
    file->size = file->durable_size = (size + 7) / 8 * 8;
  }
  return lab_goes_on(&room->lab);
}

static bool spare_left(struct room *room) {
  const struct disk_file *file = lab_file(&room->lab, room->names[0]);
  disk_unname(room->lab.disk, "spare");
  disk_put(room->lab.disk, "spare", file->now, file->size);
  return lab_goes_on(&room->lab);
}

/* It has its header, and not its name. */
static bool half_made(struct room *room) {
  const struct disk_file *file = lab_file(&room->lab, room->names[room->count - 1]);
  disk_unname(room->lab.disk, "spare");
  disk_put(room->lab.disk, "spare", file->now, 100);
  return lab_goes_on(&room->lab);
}

static bool only_spare(struct room *room) {
  disk_empty(room->lab.disk);
  disk_put(room->lab.disk, "spare", "half", 4);
  history_begin(room->lab.history);
  return lab_goes_on(&room->lab);
}

static bool unreadable(struct room *room) {
  struct disk *disk = room->lab.disk;
  bool fine = true;
  for (unsigned call = 1; call < 12; call++) {
    disk->fault = (struct disk_fault){disk->calls + call, UINT64_MAX, DISK_EIO};
    uint64_t before = disk->failed, sum = disk_checksum(disk);
    enum journal_result result = lab_recover(&room->lab);
    fine =
        fine && (result == JOURNAL_REFUSED || disk->failed == before) && disk_checksum(disk) == sum;
  }
  disk->fault = (struct disk_fault){0};
  return fine && lab_goes_on(&room->lab);
}

static bool segments_renamed(struct room *room) {
  for (unsigned i = 0; i < room->count; i++) {
    char name[DISK_NAME_BYTES + 8];
    snprintf(name, sizeof name, "%.25s.bak", room->names[i]);
    disk_name(room->lab.disk, name, disk_find(room->lab.disk, room->names[i]));
    disk_unname(room->lab.disk, room->names[i]);
  }
  return is_refused(&*room);
}

static struct span no_memory(void *context, void *caller, int64_t *as_of_ms) {
  (void)context, (void)caller, (void)as_of_ms;
  return SPAN_ABSENT;
}

/* There is no former head to be written again. */
static bool no_first_head(struct room *room) {
  struct lab *lab = &room->lab;
  struct journal *journal;
  disk_empty(lab->disk);
  history_begin(lab->history);
  struct journal_options options = lab->options;
  options.hooks.head = no_memory;
  if (journal_open(&options, &journal, lab->error) != JOURNAL_OK) return false;
  bool fine = history_check(&lab->recovery, lab->history, journal) &&
              journal_start(journal, lab, &lab->history->moment, lab->error) == JOURNAL_REFUSED;
  journal_close(journal);
  return fine && lab_goes_on(lab);
}

/* As cp -al makes it: what has another name is not written over when the log lets go of it. */
static bool hard_links(struct room *room) {
  struct lab *lab = &room->lab;
  uint64_t sums[LAB_MOST_NAMES], sizes[LAB_MOST_NAMES];
  char name[DISK_NAME_BYTES];
  lab_start(lab);
  unsigned closed = room->count - 1; /* the newest is still written to, at its end */
  for (unsigned i = 0; i < closed; i++) {
    struct disk_file *file = lab_file(lab, room->names[i]);
    snprintf(name, sizeof name, "backup-%u", i);
    disk_name(lab->disk, name, disk_find(lab->disk, room->names[i]));
    sizes[i] = file->size;
    sums[i] = 0;
    for (uint64_t b = 0; b < file->size; b++) sums[i] = sums[i] * 31 + file->now[b];
  }
  for (unsigned round = 0; round < 6; round++) {
    for (int i = 0; i < 20; i++) lab_append(lab, 300);
    lab_trim(lab);
  }
  if (disk_find(lab->disk, room->names[0]) >= 0) return false; /* not let go of */
  for (unsigned i = 0; i < closed; i++) {
    snprintf(name, sizeof name, "backup-%u", i);
    const struct disk_file *file = lab_file(lab, name);
    uint64_t sum = 0;
    for (uint64_t b = 0; b < file->size; b++) sum = sum * 31 + file->now[b];
    if (sum != sums[i] || file->size != sizes[i]) return false;
  }
  return true;
}

struct scene {
  bool (*play)(struct room *room);
  const char *name;
};

static const struct scene SCENES[] = {
    {oldest_missing, "the oldest segment is missing: corrupt"},
    {middle_missing, "one in the middle is missing: corrupt"},
    {newest_missing, "the newest is missing: found, or what is before it"},
    {newer_version, "a newer version: corrupt, and says so"},
    {foreign_file, "foreign files: left alone"},
    {foreign_segment, "a foreign file with the name of a segment: corrupt"},
    {other_log, "a segment of another log: corrupt"},
    {zero_padded, "zeros after the newest segment: nothing is lost"},
    {shortened, "without the zeros at the end: nothing is lost"},
    {spare_left, "an old segment as the next one: nothing is lost"},
    {half_made, "a next one that is half made: nothing is lost"},
    {only_spare, "no segment but a half-made one: a new log"},
    {unreadable, "a file that cannot be read: refused, nothing is changed"},
    {segments_renamed, "segments under other names: refused"},
    {no_first_head, "no memory for the first head: refused, and a new log later"},
    {hard_links, "hard links: not written over"},
};

static bool play(const struct scene *scene, uint64_t seed) {
  struct room room;
  lab_begin(&room.lab, 4096, seed);
  lab_start(&room.lab);
  for (unsigned i = 0; i < 45; i++) lab_append(&room.lab, random_below(&room.lab.random, 500));
  while (journal_help(room.lab.journal)) continue;
  lab_kill(&room.lab);
  room.count = lab_segments(&room.lab, room.names);
  bool fine = room.count >= 4 && scene->play(&room);
  if (!fine) printf("FAILED: %s: %s %s\n", scene->name, room.lab.error, room.lab.recovery.why);
  lab_end(&room.lab);
  return fine;
}

static bool play_all(uint64_t seed) {
  unsigned count = 0;
  for (size_t i = 0; i < sizeof SCENES / sizeof SCENES[0]; i++) count += play(&SCENES[i], seed);
  printf("  %u of %zu scenes of a damaged directory end as they should\n", count,
         sizeof SCENES / sizeof SCENES[0]);
  return count == sizeof SCENES / sizeof SCENES[0];
}

int main(int argc, char **argv) {
  uint64_t seed = argc == 3 && strcmp(argv[1], "--seed") == 0 ? strtoull(argv[2], NULL, 10) : 1;
  bool fine = play_all(seed);
  fine = tear_each_byte(seed) && fine;
  fine = rot_each_bit(seed) && fine;
  printf("crash rot: %s\n", fine ? "what is damaged is found, what is torn is cut" : "FAILED");
  return fine ? 0 : 1;
}
