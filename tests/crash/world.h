/*
 * world.h - one life of a journal on a simulated disk: a random but repeatable workload, at every
 * call that changes the disk a look at what a power cut would leave now, and restarts of all kinds.
 *
 * A look: choices of image.h, all of them when there are few; each is opened and recovered by a
 * second journal and held against the history. Then the life goes on, sometimes on a disk that such
 * a power cut has left, so crashes follow crashes, and some happen in journal_start.
 */
#ifndef IDEM_TESTS_CRASH_WORLD_H
#define IDEM_TESTS_CRASH_WORLD_H

#include "tests/crash/history.h"
#include "tests/crash/image.h"

#define WORLD_TEXT_BYTES 2048u

struct world_options {
  uint64_t seed, number;   /* both repeat the world */
  unsigned lies;           /* of the disk */
  bool early;              /* acknowledges before it commits */
  bool failing_syncs;      /* many of them */
  struct disk_fault fault; /* instead of power cuts, kills and other faults */
  bool filling;            /* the disk fills up and is freed, again and again */
  bool sparse;             /* few states at each look */
  unsigned steps;          /* 0: as many as usual */
  bool trace;              /* prints what happens */
};

/* States by what was done with the pieces; and what the lives consisted of. */
struct world_counts {
  uint64_t states, every, drawn, torn, in_start, durable, with_names;
  uint64_t worlds, steps, calls, appends, again, trimmed;
  uint64_t closed, killed, cut, cut_in_start, failed_syncs, refused, no_room;
  uint64_t disk_calls, hit; /* of the disk; to which the fault happened */
};

/* Lives it; adds to counts. False: a promise was broken, `text` says how, and how to repeat it. */
bool world_live(const struct world_options *options, struct world_counts *counts,
                char text[WORLD_TEXT_BYTES]);

#endif
