/*
 * image.h - what a power cut may leave of a disk: all that is open at a moment, one choice of it,
 * and a directory to be read that is made of the choice without copying a byte.
 *
 * A piece is an unsynced sector, the size of a file, or a change of a name. Each has a newest state
 * and older ones, down to 0, which is durable. Any choice may happen.
 */
#ifndef IDEM_TESTS_CRASH_IMAGE_H
#define IDEM_TESTS_CRASH_IMAGE_H

#include "tests/crash/disk.h"

#define IMAGE_MOST_PIECES 8192u

struct image_pieces {
  unsigned count, names; /* the last `names` of them are the changes of names, in order */
  unsigned sectors;
  uint16_t first[DISK_MOST_FILES]; /* of a file: its sectors, then its size */
  uint8_t most[IMAGE_MOST_PIECES]; /* the newest state */
  uint8_t choice[IMAGE_MOST_PIECES];
  /* The first so many bytes are those of the choice, the rest of the state before it; DISK_SECTOR:
   * all. Of sectors only. */
  uint16_t torn[IMAGE_MOST_PIECES];
};

/* All that is open now; chosen: the newest of each, whole. */
void image_pieces(const struct disk *disk, struct image_pieces *pieces);
/* How many choices there are without torn sectors; at most `most`. */
uint64_t image_choices(const struct image_pieces *pieces, uint64_t most);
/* The next choice in counting order; false: that was the last, now all are 0. */
bool image_next(struct image_pieces *pieces);

/* Valid while neither disk nor pieces change. Only to be read: everything else counts in `written`
 * and fails. */
struct image {
  struct journal_files files; /* what a journal is given */
  const struct disk *disk;
  const struct image_pieces *pieces;
  struct disk_names names;
  uint64_t size[DISK_MOST_FILES];
  bool plain[DISK_MOST_FILES]; /* durable bytes only */
  unsigned written;
  int opens;
};

void image_make(struct image *image, const struct disk *disk, const struct image_pieces *pieces);
/* The disk after the power cut: all of it durable. Settings stay those of `to`. */
void image_restart(struct disk *to, const struct image *image);

#endif
