/* disk.c - see disk.h. */
#include "tests/crash/disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void *had(void *block) {
  if (block != NULL) return block;
  fprintf(stderr, "disk: out of memory\n");
  exit(2);
}

/* ---- names ---- */

static struct disk_name *names_find(struct disk_names *names, const char *name) {
  for (unsigned i = 0; i < names->count; i++) {
    if (strcmp(names->list[i].name, name) == 0) return &names->list[i];
  }
  return NULL;
}

static void names_set(struct disk_names *names, const char *name, int file) {
  struct disk_name *entry = names_find(names, name);
  if (entry == NULL) {
    assert(names->count < DISK_MOST_NAMES);
    entry = &names->list[names->count++];
    snprintf(entry->name, sizeof entry->name, "%s", name);
  }
  entry->file = file;
}

static void names_drop(struct disk_names *names, const char *name, int file) {
  struct disk_name *entry = names_find(names, name);
  if (entry == NULL || entry->file != file) return;
  *entry = names->list[--names->count];
}

void disk_apply(struct disk_names *names, const struct disk_change *change) {
  if (change->from[0] != '\0') names_drop(names, change->from, change->file);
  if (change->to[0] != '\0') names_set(names, change->to, change->file);
}

int disk_find(const struct disk *disk, const char *name) {
  const struct disk_name *entry = names_find((struct disk_names *)&disk->now, name);
  return entry == NULL ? -ENOENT : entry->file;
}

static void change_is_durable(struct disk *disk, unsigned index) {
  disk_apply(&disk->durable, &disk->changes[index]);
  disk->change_count--;
  memmove(&disk->changes[index], &disk->changes[index + 1],
          (disk->change_count - index) * sizeof disk->changes[0]);
}

static void change(struct disk *disk, const char *from, const char *to, int file) {
  struct disk_change made = {.file = file};
  snprintf(made.from, sizeof made.from, "%s", from);
  snprintf(made.to, sizeof made.to, "%s", to);
  disk_apply(&disk->now, &made);
  if (disk->change_count == DISK_MOST_CHANGES) change_is_durable(disk, 0);
  disk->changes[disk->change_count++] = made;
}

static unsigned count_names(const struct disk_names *names, int file) {
  unsigned count = 0;
  for (unsigned i = 0; i < names->count; i++) count += names->list[i].file == file;
  return count;
}

static bool is_needed(const struct disk *disk, int file) {
  for (unsigned i = 0; i < disk->change_count; i++) {
    if (disk->changes[i].file == file) return true;
  }
  return disk->file[file].opens > 0 || count_names(&disk->now, file) > 0 ||
         count_names(&disk->durable, file) > 0;
}

/* ---- versions of sectors ---- */

static struct disk_version *take_version(struct disk *disk) {
  struct disk_version *version = disk->spare_versions;
  if (version == NULL) return had(malloc(sizeof *version));
  memcpy(&disk->spare_versions, version->bytes, sizeof disk->spare_versions);
  return version;
}

static void give_version(struct disk *disk, struct disk_version *version) {
  memcpy(version->bytes, &disk->spare_versions, sizeof disk->spare_versions);
  disk->spare_versions = version;
}

static void clean(struct disk *disk, struct disk_file *file, unsigned index) {
  struct disk_dirty *dirty = &file->dirty[index];
  for (unsigned i = 0; i < dirty->versions; i++) give_version(disk, dirty->version[i]);
  file->dirty_of[dirty->sector] = 0;
  if (index != --file->dirty_count) {
    *dirty = file->dirty[file->dirty_count];
    file->dirty_of[dirty->sector] = (uint16_t)(index + 1);
  }
}

static void write_sector_back(struct disk *disk, struct disk_file *file, unsigned index) {
  uint64_t at = (uint64_t)file->dirty[index].sector * DISK_SECTOR;
  memcpy(file->durable + at, file->now + at, DISK_SECTOR);
  clean(disk, file, index);
}

static void write_file_back(struct disk *disk, struct disk_file *file) {
  for (unsigned i = file->dirty_count; i-- > 0;) {
    if (!file->dirty[i].abandoned) write_sector_back(disk, file, i);
  }
  file->durable_size = file->size;
  file->size_count = 0;
  file->late = false;
}

static struct disk_dirty *dirty_sector(struct disk *disk, struct disk_file *file, uint32_t sector) {
  uint16_t index = file->dirty_of[sector];
  if (index != 0) return &file->dirty[index - 1];
  if (file->dirty_count == DISK_MOST_DIRTY) {
    while (file->dirty_count > 0) write_sector_back(disk, file, file->dirty_count - 1);
  }
  struct disk_dirty *dirty = &file->dirty[file->dirty_count++];
  *dirty = (struct disk_dirty){.sector = sector};
  file->dirty_of[sector] = (uint16_t)file->dirty_count;
  return dirty;
}

/* Within one sector. What changes nothing is not open. */
static void write_part(struct disk *disk, struct disk_file *file, const char *from, size_t count,
                       uint64_t at) {
  uint32_t sector = (uint32_t)(at / DISK_SECTOR);
  uint16_t index = file->dirty_of[sector];
  if (memcmp(file->now + at, from, count) == 0) {
    if (index != 0 && !(disk->lies & DISK_NO_AGAIN)) file->dirty[index - 1].abandoned = false;
    return;
  }
  struct disk_dirty *dirty = dirty_sector(disk, file, sector);
  memcpy(file->now + at, from, count);
  dirty->abandoned = false;
  if (dirty->versions < DISK_MOST_VERSIONS) dirty->version[dirty->versions++] = take_version(disk);
  memcpy(dirty->version[dirty->versions - 1]->bytes, file->now + (uint64_t)sector * DISK_SECTOR,
         DISK_SECTOR);
}

/* ---- files ---- */

static void have_room(struct disk_file *file, uint64_t bytes) {
  if (bytes <= file->room) return;
  uint64_t room = most((bytes + 8191) & ~UINT64_C(8191), file->room * 2);
  uint64_t sectors = room / DISK_SECTOR, had_sectors = file->room / DISK_SECTOR;
  file->durable = had(realloc(file->durable, room));
  file->now = had(realloc(file->now, room));
  file->dirty_of = had(realloc(file->dirty_of, sectors * sizeof *file->dirty_of));
  memset(file->durable + file->room, 0, room - file->room);
  memset(file->now + file->room, 0, room - file->room);
  memset(file->dirty_of + had_sectors, 0, (sectors - had_sectors) * sizeof *file->dirty_of);
  file->room = room;
}

static void set_size(struct disk_file *file, uint64_t size) {
  if (size <= file->size) return;
  have_room(file, size);
  file->size = size;
  if (file->size_count < DISK_MOST_SIZES) file->size_count++;
  file->sizes[file->size_count - 1] = size;
}

static void empty_file(struct disk *disk, struct disk_file *file) {
  while (file->dirty_count > 0) clean(disk, file, file->dirty_count - 1);
  uint64_t used = most(file->size, file->durable_size);
  memset(file->durable, 0, used);
  memset(file->now, 0, used);
  file->size = file->durable_size = file->reserved = 0;
  file->size_count = file->opens = 0;
  file->late = file->used = false;
}

static int new_file(struct disk *disk) {
  int number = -1;
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) {
    if (disk->file[i].used && !is_needed(disk, (int)i)) empty_file(disk, &disk->file[i]);
    if (!disk->file[i].used && number < 0) number = (int)i;
  }
  assert(number >= 0);
  struct disk_file *file = &disk->file[number];
  have_room(file, 8192);
  if (file->dirty == NULL) file->dirty = had(calloc(DISK_MOST_DIRTY, sizeof *file->dirty));
  file->used = true;
  return number;
}

uint64_t disk_used_bytes(const struct disk *disk) {
  uint64_t used = 0;
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) {
    const struct disk_file *file = &disk->file[i];
    if (file->used && (file->opens > 0 || count_names(&disk->now, (int)i) > 0))
      used += file->reserved;
  }
  return used;
}

/* Up to where there is room, if the file may not reach `end`. */
static uint64_t reserve(struct disk *disk, struct disk_file *file, uint64_t end) {
  end = (end + DISK_SECTOR - 1) / DISK_SECTOR * DISK_SECTOR;
  if (end <= file->reserved) return end;
  uint64_t used = disk_used_bytes(disk);
  uint64_t left = disk->limit_bytes > used ? disk->limit_bytes - used : 0;
  left -= left % DISK_SECTOR;
  file->reserved += least(end - file->reserved, left);
  return file->reserved;
}

/* ---- calls ---- */

static bool can_fail(enum disk_call call, enum disk_failure failure) {
  switch (failure) {
    case DISK_EIO: return call != DISK_CLOSE;
    case DISK_ENOSPC:
      return call == DISK_WRITE || call == DISK_ALLOCATE || call == DISK_OPEN ||
             call == DISK_RENAME;
    case DISK_EINTR:
    case DISK_SHORT: return call == DISK_READ || call == DISK_WRITE;
    default: return false;
  }
}

static bool changes(enum disk_call call) {
  return call == DISK_WRITE || call == DISK_ALLOCATE || call == DISK_SYNC || call == DISK_RENAME ||
         call == DISK_REMOVE || call == DISK_SYNC_DIRECTORY;
}

/* 0, or the failure of this call; DISK_SHORT is told by *is_short. */
static int enter(struct disk *disk, enum disk_call call, bool *is_short) {
  *is_short = false;
  if (disk->watch != NULL && changes(call)) disk->watch(disk->watch_context, call);
  if (disk->dead) return -EIO;
  const struct disk_fault *fault = &disk->fault;
  disk->calls++;
  disk->changed += changes(call);
  if (disk->calls < fault->first || disk->calls > fault->last) return 0;
  if (!can_fail(call, fault->failure)) return 0;
  disk->failed++;
  disk->last_failed = call;
  switch (fault->failure) {
    case DISK_EIO: return -EIO;
    case DISK_ENOSPC: return -ENOSPC;
    case DISK_EINTR: return -EINTR;
    default: *is_short = true; return 0;
  }
}

static int call_list(void *context, files_visitor *visit, void *visit_context) {
  struct disk *disk = context;
  bool is_short;
  int error = enter(disk, DISK_LIST, &is_short);
  if (error != 0) return error;
  for (unsigned i = 0; i < disk->now.count; i++) visit(visit_context, disk->now.list[i].name);
  return 0;
}

static int call_open(void *context, const char *name, bool create) {
  struct disk *disk = context;
  bool is_short;
  int error = enter(disk, DISK_OPEN, &is_short), file = disk_find(disk, name);
  if (error == -ENOSPC && (!create || file >= 0)) error = 0;
  if (error != 0) return error;
  if (file < 0 && !create) return -ENOENT;
  if (file < 0 && disk->names_full) return -ENOSPC;
  if (file < 0) {
    file = new_file(disk);
    change(disk, "", name, file);
    disk->changed++;
  }
  disk->file[file].opens++;
  return file;
}

static int call_close(void *context, int file) {
  struct disk *disk = context;
  bool is_short;
  enter(disk, DISK_CLOSE, &is_short);
  assert(disk->file[file].opens > 0);
  disk->file[file].opens--;
  return 0;
}

static int64_t call_size(void *context, int file) {
  struct disk *disk = context;
  bool is_short;
  int error = enter(disk, DISK_SIZE, &is_short);
  assert(disk->file[file].opens > 0);
  return error != 0 ? error : (int64_t)disk->file[file].size;
}

static int64_t call_read(void *context, int number, void *to, size_t count, uint64_t at) {
  struct disk *disk = context;
  const struct disk_file *file = &disk->file[number];
  bool is_short;
  int error = enter(disk, DISK_READ, &is_short);
  assert(file->opens > 0);
  if (error != 0) return error;
  if (at >= file->size) return 0;
  count = least(count, file->size - at);
  if (is_short) count = (count + 1) / 2;
  memcpy(to, file->now + at, count);
  return (int64_t)count;
}

static int64_t call_write(void *context, int number, const void *from, size_t count, uint64_t at) {
  struct disk *disk = context;
  struct disk_file *file = &disk->file[number];
  bool is_short;
  int error = enter(disk, DISK_WRITE, &is_short);
  assert(file->opens > 0);
  if (error != 0) return error;
  if (is_short) count = (count + 1) / 2;
  uint64_t there = reserve(disk, file, at + count);
  if (there <= at && count > 0) return -ENOSPC;
  count = least(count, there - at);
  have_room(file, at + count);
  for (size_t done = 0; done < count;) {
    size_t part = least(count - done, DISK_SECTOR - (at + done) % DISK_SECTOR);
    write_part(disk, file, (const char *)from + done, part, at + done);
    done += part;
  }
  set_size(file, at + count);
  return (int64_t)count;
}

static int call_allocate(void *context, int number, uint64_t at, uint64_t count) {
  struct disk *disk = context;
  struct disk_file *file = &disk->file[number];
  bool is_short;
  int error = enter(disk, DISK_ALLOCATE, &is_short);
  assert(file->opens > 0);
  if (error != 0) return error;
  if (!disk->allocates) return -EOPNOTSUPP;
  uint64_t before = file->reserved;
  if (reserve(disk, file, at + count) < at + count) {
    file->reserved = before;
    return -ENOSPC;
  }
  set_size(file, at + count);
  return 0;
}

static void late_syncs(struct disk *disk) {
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) {
    if (disk->file[i].late) write_file_back(disk, &disk->file[i]);
  }
}

static bool lies_about(const struct disk *disk, int number) {
  bool named = count_names(&disk->durable, number) > 0;
  return (disk->lies & DISK_NO_SYNC) || (named && disk->lies & DISK_NO_LATER_SYNC) ||
         (!named && disk->lies & DISK_NO_FIRST_SYNC);
}

static int call_sync(void *context, int number) {
  struct disk *disk = context;
  struct disk_file *file = &disk->file[number];
  bool is_short;
  int error = enter(disk, DISK_SYNC, &is_short);
  assert(file->opens > 0);
  if (disk->dead) return error;
  late_syncs(disk);
  if (error == 0 && lies_about(disk, number)) return 0;
  if (disk->lies & DISK_LATE_SYNC) {
    file->late = true;
    return 0;
  }
  for (unsigned i = 0; i < file->dirty_count && error != 0; i++) file->dirty[i].abandoned = true;
  if (error == 0) write_file_back(disk, file);
  return error;
}

static int call_links(void *context, int file) {
  struct disk *disk = context;
  bool is_short;
  int error = enter(disk, DISK_LINKS, &is_short);
  return error != 0 ? error : (int)count_names(&disk->now, file);
}

static int call_rename(void *context, const char *from, const char *to) {
  struct disk *disk = context;
  bool is_short;
  int error = enter(disk, DISK_RENAME, &is_short), file = disk_find(disk, from);
  if (error != 0) return error;
  if (file < 0) return file;
  if (disk->names_full && disk_find(disk, to) < 0) return -ENOSPC;
  if (disk_find(disk, to) != file) change(disk, from, to, file);
  return 0;
}

static int call_remove(void *context, const char *name) {
  struct disk *disk = context;
  bool is_short;
  int error = enter(disk, DISK_REMOVE, &is_short), file = disk_find(disk, name);
  if (error != 0) return error;
  if (file < 0) return file;
  change(disk, name, "", file);
  return 0;
}

static int call_sync_directory(void *context) {
  struct disk *disk = context;
  bool is_short;
  int error = enter(disk, DISK_SYNC_DIRECTORY, &is_short);
  if (error != 0) return error;
  for (unsigned i = 0; i < disk->change_count;) {
    enum disk_lie lie =
        disk->changes[i].to[0] != '\0' ? DISK_NO_SYNC_NEW_NAMES : DISK_NO_SYNC_OLD_NAMES;
    if (disk->lies & lie) {
      i++;
    } else {
      change_is_durable(disk, i);
    }
  }
  return 0;
}

/* ---- the disk ---- */

struct disk *disk_create(void) {
  struct disk *disk = had(calloc(1, sizeof *disk));
  disk->files = (struct journal_files){
      .context = disk,
      .directory = "disk",
      .list = call_list,
      .open = call_open,
      .close = call_close,
      .size = call_size,
      .read = call_read,
      .write = call_write,
      .allocate = call_allocate,
      .sync = call_sync,
      .links = call_links,
      .rename = call_rename,
      .remove = call_remove,
      .sync_directory = call_sync_directory,
  };
  disk_clear(disk);
  return disk;
}

void disk_destroy(struct disk *disk) {
  if (disk == NULL) return;
  disk_clear(disk);
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) {
    free(disk->file[i].durable);
    free(disk->file[i].now);
    free(disk->file[i].dirty);
    free(disk->file[i].dirty_of);
  }
  while (disk->spare_versions != NULL) free(take_version(disk));
  free(disk);
}

void disk_empty(struct disk *disk) {
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) {
    if (disk->file[i].used) empty_file(disk, &disk->file[i]);
  }
  disk->now.count = disk->durable.count = disk->change_count = 0;
}

void disk_clear(struct disk *disk) {
  disk_empty(disk);
  disk->allocates = true;
  disk->limit_bytes = UINT64_MAX;
  disk->names_full = false;
  disk->lies = DISK_HONEST;
  disk->dead = false;
  disk->fault = (struct disk_fault){0};
  disk->watch = NULL;
  disk->calls = disk->failed = 0;
}

int disk_new(struct disk *disk, uint64_t size) {
  int number = new_file(disk);
  struct disk_file *file = &disk->file[number];
  have_room(file, size);
  file->size = file->durable_size = size;
  file->reserved = (size + DISK_SECTOR - 1) / DISK_SECTOR * DISK_SECTOR;
  return number;
}

void disk_name(struct disk *disk, const char *name, int file) {
  names_set(&disk->now, name, file);
  names_set(&disk->durable, name, file);
}

void disk_unname(struct disk *disk, const char *name) {
  int file = disk_find(disk, name);
  if (file < 0) return;
  names_drop(&disk->now, name, file);
  names_drop(&disk->durable, name, file);
}

void disk_put(struct disk *disk, const char *name, const void *bytes, size_t count) {
  int number = disk_new(disk, count);
  memcpy(disk->file[number].now, bytes, count);
  memcpy(disk->file[number].durable, bytes, count);
  disk_name(disk, name, number);
}

unsigned disk_open_files(const struct disk *disk) {
  unsigned opens = 0;
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) opens += disk->file[i].opens;
  return opens;
}

uint64_t disk_checksum(const struct disk *disk) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < disk->now.count; i++) {
    const struct disk_name *name = &disk->now.list[i];
    const struct disk_file *file = &disk->file[name->file];
    uint64_t seed = XXH3_64bits(name->name, strlen(name->name));
    sum += XXH3_64bits_withSeed(file->now, file->size, seed) + file->size;
  }
  return sum;
}

void disk_copy(struct disk *to, const struct disk *from) {
  int copied[DISK_MOST_FILES];
  memset(copied, -1, sizeof copied);
  disk_empty(to);
  for (unsigned i = 0; i < from->now.count; i++) {
    const struct disk_name *name = &from->now.list[i];
    const struct disk_file *file = &from->file[name->file];
    int *number = &copied[name->file];
    if (*number < 0) {
      *number = disk_new(to, file->size);
      memcpy(to->file[*number].now, file->now, file->size);
      memcpy(to->file[*number].durable, file->now, file->size);
    }
    disk_name(to, name->name, *number);
  }
}

bool disk_is_durable(const struct disk *disk) {
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) {
    const struct disk_file *file = &disk->file[i];
    if (file->used && (file->dirty_count > 0 || file->size_count > 0)) return false;
  }
  return disk->change_count == 0;
}

void disk_abandon(struct disk *disk) {
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) disk->file[i].opens = 0;
}

void disk_write_back(struct disk *disk, uint64_t random, unsigned chance) {
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) {
    struct disk_file *file = &disk->file[i];
    for (unsigned d = file->used ? file->dirty_count : 0; d-- > 0;) {
      random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
      if ((random >> 40) % 256 < chance) write_sector_back(disk, file, d);
    }
  }
  random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  if ((random >> 40) % 256 < chance && disk->change_count > 0) change_is_durable(disk, 0);
}
