/*
 * lab.h - one log on a simulated disk, made step by step, damaged by hand and recovered: what the
 * tests of rot.c and others are made of. A step that fails when nothing is damaged ends the
 * program.
 */
#ifndef IDEM_TESTS_CRASH_LAB_H
#define IDEM_TESTS_CRASH_LAB_H

#include "tests/crash/disk.h"
#include "tests/crash/history.h"

#define LAB_MOST_NAMES 32u

struct lab {
  struct disk *disk;
  struct history *history;
  struct random random;
  struct journal_options options;
  struct journal *journal;
  struct history_recovery recovery;
  int64_t now_ns;
  char error[JOURNAL_ERROR_BYTES]; /* of the last lab_recover */
};

void lab_begin(struct lab *lab, uint64_t segment_bytes, uint64_t seed);
void lab_end(struct lab *lab);

/* Opens, recovers and starts. */
void lab_start(struct lab *lab);
/* One record in a batch of its own, committed. Images have no end. */
void lab_append(struct lab *lab, size_t bytes);
/* A seal after what was appended. */
void lab_seal(struct lab *lab);
/* Time passes, so that all but what has no end has ended; removes what may go. */
void lab_trim(struct lab *lab);
/* In the file of the newest segment. */
uint64_t lab_end_offset(const struct lab *lab);
/* As kill -9 does; all that was written is durable. */
void lab_kill(struct lab *lab);

/* Opens and recovers; changes nothing, or the program ends. JOURNAL_OK: see recovery, of which
 * nothing is wrong; or lab->recovery.why says what. */
enum journal_result lab_recover(struct lab *lab);
/* Recovers, starts, appends, closes, recovers: all is there. */
bool lab_goes_on(struct lab *lab);

/* Segments, oldest first. */
unsigned lab_segments(const struct lab *lab, char names[LAB_MOST_NAMES][DISK_NAME_BYTES]);
struct disk_file *lab_file(struct lab *lab, const char *name);

#endif
