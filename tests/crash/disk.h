/*
 * disk.h - a disk in memory under the journal's files, that knows what a power cut may leave.
 *
 * A write changes what is read at once. What a power cut leaves of it is open until the file is
 * synced: of each sector (512 bytes) what it held before, or after any of the writes since, or the
 * first bytes of one and the rest of the one before; of the size the old or a newer one; bytes that
 * were never written read as zeros. Creating, renaming and removing a name is each kept or lost by
 * itself until the directory is synced. A file that was synced may have no name, and a file with a
 * name may be empty.
 *
 * What it leaves is chosen and read with image.h. It must not know what a journal is. One thread.
 */
#ifndef IDEM_TESTS_CRASH_DISK_H
#define IDEM_TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/journal/files.h"

#define DISK_SECTOR 512u
#define DISK_MOST_FILES 64u
#define DISK_MOST_NAMES 48u
#define DISK_NAME_BYTES 48u
#define DISK_MOST_CHANGES 24u /* unsynced, of names; the oldest is written back by itself */
#define DISK_MOST_SIZES 6u    /* unsynced, of one file; the last one is replaced */
#define DISK_MOST_VERSIONS 4u /* unsynced, of one sector; the last one is replaced */
#define DISK_MOST_DIRTY 1024u /* unsynced sectors of a file; more: all are written back */

enum disk_call {
  DISK_LIST,
  DISK_OPEN,
  DISK_CLOSE,
  DISK_SIZE,
  DISK_READ,
  DISK_WRITE,
  DISK_ALLOCATE,
  DISK_SYNC,
  DISK_LINKS,
  DISK_RENAME,
  DISK_REMOVE,
  DISK_SYNC_DIRECTORY,
  DISK_CALLS
};

enum disk_failure {
  DISK_FINE,
  DISK_EIO,    /* any call but close; a sync drops what it should have written */
  DISK_ENOSPC, /* write, allocate, a create, rename */
  DISK_EINTR,  /* read and write */
  DISK_SHORT,  /* read and write: half of it, at least a byte */
  DISK_FAILURES
};

/* Calls number first to last (the first call is 1) fail, if they are of a kind that can. */
struct disk_fault {
  uint64_t first, last;
  enum disk_failure failure;
};

/* Lies of a disk, and of a journal that forgets a step: the explorer has to find each. */
enum disk_lie {
  DISK_HONEST = 0,
  DISK_NO_SYNC = 1 << 0,           /* sync of a file does nothing */
  DISK_NO_FIRST_SYNC = 1 << 1,     /* nor of one whose name is not durable */
  DISK_NO_LATER_SYNC = 1 << 2,     /* only of one whose name is durable does nothing */
  DISK_LATE_SYNC = 1 << 3,         /* a sync happens with the next one of any file */
  DISK_NO_SYNC_NEW_NAMES = 1 << 4, /* sync of the directory leaves out names that came, */
  DISK_NO_SYNC_OLD_NAMES = 1 << 5, /* that went */
  DISK_NO_AGAIN = 1 << 6,          /* bytes that are written over the same bytes are not written */
};

/* The content of a sector after a write. */
struct disk_version {
  unsigned char bytes[DISK_SECTOR];
};

struct disk_dirty {
  uint32_t sector;
  uint8_t versions;
  bool abandoned; /* a sync of it failed: later syncs leave it alone until it is written again */
  struct disk_version *version[DISK_MOST_VERSIONS];
};

struct disk_file {
  unsigned char *durable, *now; /* `room` bytes each; zeros after what was written */
  uint64_t room, durable_size, size, reserved;
  uint64_t sizes[DISK_MOST_SIZES];
  unsigned size_count, dirty_count, opens;
  bool used, late;
  struct disk_dirty *dirty; /* DISK_MOST_DIRTY */
  uint16_t *dirty_of;       /* sector -> 1 + index in dirty; 0: clean */
};

struct disk_name {
  char name[DISK_NAME_BYTES];
  int file;
};

struct disk_names {
  unsigned count;
  struct disk_name list[DISK_MOST_NAMES];
};

/* `to` is given to the file, `from` is taken from it; each may be empty. */
struct disk_change {
  char from[DISK_NAME_BYTES], to[DISK_NAME_BYTES];
  int file;
};

/* Called before a call that changes something: the state is that after all calls before. */
typedef void disk_watcher(void *context, enum disk_call call);

struct disk {
  struct journal_files files; /* what a journal is given */
  struct disk_file file[DISK_MOST_FILES];
  struct disk_names now, durable;
  struct disk_change changes[DISK_MOST_CHANGES];
  unsigned change_count;
  struct disk_version *spare_versions; /* linked through their first bytes */

  bool allocates;       /* else allocate says -EOPNOTSUPP */
  uint64_t limit_bytes; /* of all files together; UINT64_MAX: none */
  bool names_full;      /* the directory has no room for one more name */
  unsigned lies;
  bool dead; /* the process was killed: nothing happens any more */
  struct disk_fault fault;
  disk_watcher *watch; /* or NULL */
  void *watch_context;

  uint64_t changed;       /* calls that changed something */
  uint64_t calls, failed; /* failed: calls to which the fault happened */
  enum disk_call last_failed;
};

struct disk *disk_create(void);
void disk_destroy(struct disk *disk); /* takes NULL */
/* All files gone, all settings as after disk_create. */
void disk_clear(struct disk *disk);

/* All files gone; settings stay. */
void disk_empty(struct disk *disk);
/* For what builds on it. */
void disk_apply(struct disk_names *names, const struct disk_change *change);

/* A file of zeros without a name, a name for a file (another one: a hard link), away with a name, a
 * file with bytes: durable at once. */
int disk_new(struct disk *disk, uint64_t size);
void disk_name(struct disk *disk, const char *name, int file);
void disk_unname(struct disk *disk, const char *name);
void disk_put(struct disk *disk, const char *name, const void *bytes, size_t count);
int disk_find(const struct disk *disk, const char *name);
/* A process that had files open is gone; what it wrote stays in the cache. */
void disk_abandon(struct disk *disk);
uint64_t disk_used_bytes(const struct disk *disk);
unsigned disk_open_files(const struct disk *disk);
/* Of names and bytes as they are read. */
uint64_t disk_checksum(const struct disk *disk);
/* A copy of what is read now, all of it durable; settings stay those of `to`. */
void disk_copy(struct disk *to, const struct disk *from);

/* Whether nothing is open: a power cut can leave only one state. */
bool disk_is_durable(const struct disk *disk);
/* The kernel writes back by itself: each unsynced sector with a chance of chance/256, and as many
 * of the changes of names. */
void disk_write_back(struct disk *disk, uint64_t random, unsigned chance);

#endif
