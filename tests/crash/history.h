/*
 * history.h - what was appended to a journal and what was acknowledged of it; and whether what a
 * crash left is what may be left. The oracle of all tests here.
 *
 * Appends are numbered. A record is an image of one key (with its end), a tombstone, or moves the
 * end of the image. The promise, after any crash:
 *
 *  - what is recovered are appends f, f + 1, ... u - 1, whole, in order, byte by byte, so nothing
 * was invented, torn or left out in the middle; u is at least the number that was acknowledged;
 *  - before f stands no image that counts: of a key, the newest before u, whose end is later than
 *    the time up to which the newest recovered head counts what has ended;
 *  - if u is less than the number that was committed, the journal says that it may have lost some;
 *  - heads are some that were given, in order, and the newest batch's moment is at least that of
 * the newest append that was acknowledged.
 *
 * It must not know files.
 */
#ifndef IDEM_TESTS_CRASH_HISTORY_H
#define IDEM_TESTS_CRASH_HISTORY_H

#include "server/journal/journal.h"
#include "tests/crash/random.h"

#define HISTORY_KEYS 12u
#define HISTORY_NONE UINT32_MAX
#define HISTORY_ARENA_BYTES (3u << 20)
#define HISTORY_MOST_ENTRIES 4096u
#define HISTORY_MOST_HEADS 2048u
#define HISTORY_HEAD_BYTES 640u /* at most */

struct history_key {
  uint32_t image; /* the append that has it, or HISTORY_NONE */
  int64_t end_ms; /* INT64_MAX: never; else without what ends were delayed by */
};

struct history_entry {
  uint32_t at, len; /* in the arena, where appends stand one after the other */
  unsigned count;
  struct journal_ends ends; /* without the delay */
  struct journal_moment moment;
  struct history_key keys[HISTORY_KEYS]; /* after it */
};

struct history_head {
  int64_t as_of_ms;
  uint32_t len;
  char bytes[HISTORY_HEAD_BYTES];
};

struct history {
  char *arena;
  struct history_entry *entries;
  struct history_head *heads;
  uint32_t count;     /* of entries */
  uint32_t committed; /* a commit has returned */
  uint32_t acked;     /* nothing may lose them */
  uint32_t head_count;
  bool begun; /* a log that was begun may not be new again */
  int64_t delayed_ms;
  uint64_t nonce;
  struct journal_moment moment, acked_moment; /* the newest; the newest that may not be lost */
};

struct history *history_create(void);
void history_destroy(struct history *history); /* takes NULL */
void history_begin(struct history *history);
bool history_is_full(const struct history *history);

/* A new append of about so many bytes, at the history's moment. Borrowed until the history ends. */
struct journal_append history_append(struct history *history, struct random *random, size_t bytes);
/* As the visitor of journal_trim: false if this record does not count any more. */
bool history_again(struct history *history, struct span record, struct journal_append *append);
/* The next head. */
struct span history_head(struct history *history, struct random *random, int64_t *as_of_ms);
void history_delay(struct history *history, int64_t by_ms);
/* What counts now, in the log. */
uint64_t history_live_bytes(const struct history *history);
/* All that was committed can not be lost any more. */
void history_acknowledge(struct history *history);

#define HISTORY_WHY_BYTES 256u
/* What is being recovered. */
struct history_recovery {
  const struct history *history;
  uint32_t first, next; /* of the appends that were recovered; equal: none */
  uint32_t upto;        /* after history_check: the number of appends that there are then */
  uint32_t heads, last_head;
  bool any;
  char why[HISTORY_WHY_BYTES]; /* what is wrong; empty: nothing */
};

/* A journal_restorer; context: struct history_recovery. */
bool history_restore(void *context, const struct journal_batch *batch, struct journal_ends *ends);
/* Recovers the journal that was opened; false: see why. */
bool history_check(struct history_recovery *recovery, const struct history *history,
                   struct journal *journal);
/* The crash has happened: what was not recovered was never appended. */
void history_cut(struct history *history, const struct history_recovery *recovery);

#endif
