/* image.c - see image.h. */
#include "tests/crash/image.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---- pieces ---- */

static void add_piece(struct image_pieces *pieces, unsigned most) {
  assert(pieces->count < IMAGE_MOST_PIECES);
  pieces->most[pieces->count] = pieces->choice[pieces->count] = (uint8_t)most;
  pieces->torn[pieces->count++] = DISK_SECTOR;
}

void image_pieces(const struct disk *disk, struct image_pieces *pieces) {
  pieces->count = pieces->sectors = 0;
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) {
    const struct disk_file *file = &disk->file[i];
    pieces->first[i] = (uint16_t)pieces->count;
    if (!file->used) continue;
    for (unsigned d = 0; d < file->dirty_count; d++) add_piece(pieces, file->dirty[d].versions);
    pieces->sectors += file->dirty_count;
    add_piece(pieces, file->size_count);
  }
  pieces->names = disk->change_count;
  for (unsigned i = 0; i < disk->change_count; i++) add_piece(pieces, 1);
}

uint64_t image_choices(const struct image_pieces *pieces, uint64_t most) {
  uint64_t choices = 1;
  for (unsigned i = 0; i < pieces->count && choices < most; i++) choices *= pieces->most[i] + 1u;
  return least(choices, most);
}

bool image_next(struct image_pieces *pieces) {
  for (unsigned i = 0; i < pieces->count; i++) {
    if (pieces->choice[i] < pieces->most[i]) {
      pieces->choice[i]++;
      return true;
    }
    pieces->choice[i] = 0;
  }
  return false;
}

/* ---- reading ---- */

static int image_list(void *context, files_visitor *visit, void *visit_context) {
  const struct image *image = context;
  for (unsigned i = 0; i < image->names.count; i++) visit(visit_context, image->names.list[i].name);
  return 0;
}

static int image_open(void *context, const char *name, bool create) {
  struct image *image = context;
  for (unsigned i = 0; i < image->names.count; i++) {
    if (strcmp(image->names.list[i].name, name) != 0) continue;
    image->opens++;
    return image->names.list[i].file;
  }
  if (create) image->written++;
  return -ENOENT;
}

static int image_close(void *context, int file) {
  struct image *image = context;
  (void)file;
  image->opens--;
  return 0;
}

static int64_t image_size(void *context, int file) {
  const struct image *image = context;
  return (int64_t)image->size[file];
}

/* The part of one sector that lies in [at, at + count). */
static void patch(const struct disk_dirty *dirty, unsigned choice, unsigned torn, char *to,
                  size_t count, uint64_t at) {
  uint64_t begin = (uint64_t)dirty->sector * DISK_SECTOR, end = begin + DISK_SECTOR;
  const unsigned char *newer = dirty->version[choice - 1]->bytes;
  const unsigned char *older = choice > 1 ? dirty->version[choice - 2]->bytes : NULL;
  uint64_t low = begin > at ? begin : at, high = least(end, at + count), tear = begin + torn;
  if (low >= high) return;
  if (tear > low) memcpy(to + (low - at), newer + (low - begin), least(high, tear) - low);
  if (older == NULL || tear >= high) return;
  uint64_t rest = tear > low ? tear : low;
  memcpy(to + (rest - at), older + (rest - begin), high - rest);
}

static int64_t image_read(void *context, int number, void *to, size_t count, uint64_t at) {
  const struct image *image = context;
  const struct disk_file *file = &image->disk->file[number];
  if (at >= image->size[number]) return 0;
  count = least(count, image->size[number] - at);
  memcpy(to, file->durable + at, count);
  if (image->plain[number]) return (int64_t)count;
  unsigned first = image->pieces->first[number];
  for (unsigned d = 0; d < file->dirty_count; d++) {
    unsigned choice = image->pieces->choice[first + d];
    if (choice > 0) patch(&file->dirty[d], choice, image->pieces->torn[first + d], to, count, at);
  }
  return (int64_t)count;
}

static int image_links(void *context, int file) {
  const struct image *image = context;
  int links = 0;
  for (unsigned i = 0; i < image->names.count; i++) links += image->names.list[i].file == file;
  return links;
}

/* ---- writing: not here ---- */

static int refuse(void *context) {
  struct image *image = context;
  image->written++;
  return -EROFS;
}

static int64_t image_write(void *context, int file, const void *from, size_t count, uint64_t at) {
  (void)file, (void)from, (void)count, (void)at;
  return refuse(context);
}
static int image_allocate(void *context, int file, uint64_t at, uint64_t count) {
  (void)file, (void)at, (void)count;
  return refuse(context);
}
static int image_sync(void *context, int file) { return (void)file, refuse(context); }
static int image_rename(void *context, const char *from, const char *to) {
  (void)from, (void)to;
  return refuse(context);
}
static int image_remove(void *context, const char *name) { return (void)name, refuse(context); }
static int image_sync_directory(void *context) { return refuse(context); }

static const struct journal_files READER = {
    .directory = "image",
    .list = image_list,
    .open = image_open,
    .close = image_close,
    .size = image_size,
    .read = image_read,
    .write = image_write,
    .allocate = image_allocate,
    .sync = image_sync,
    .links = image_links,
    .rename = image_rename,
    .remove = image_remove,
    .sync_directory = image_sync_directory,
};

/* ---- images ---- */

static void choose_file(struct image *image, unsigned number) {
  const struct disk_file *file = &image->disk->file[number];
  const struct image_pieces *pieces = image->pieces;
  if (!file->used) return;
  unsigned first = pieces->first[number];
  unsigned size = pieces->choice[first + file->dirty_count];
  image->size[number] = size == 0 ? file->durable_size : file->sizes[size - 1];
  image->plain[number] = true;
  for (unsigned d = 0; d < file->dirty_count; d++) {
    if (pieces->choice[first + d] > 0) image->plain[number] = false;
  }
}

void image_make(struct image *image, const struct disk *disk, const struct image_pieces *pieces) {
  image->files = READER;
  image->files.context = image;
  image->disk = disk;
  image->pieces = pieces;
  image->written = 0;
  image->opens = 0;
  image->names.count = disk->durable.count;
  memcpy(image->names.list, disk->durable.list, disk->durable.count * sizeof disk->durable.list[0]);
  for (unsigned i = 0; i < DISK_MOST_FILES; i++) choose_file(image, i);
  unsigned first = pieces->count - pieces->names;
  for (unsigned i = 0; i < pieces->names; i++) {
    if (pieces->choice[first + i] > 0) disk_apply(&image->names, &disk->changes[i]);
  }
}

void image_restart(struct disk *to, const struct image *image) {
  int copied[DISK_MOST_FILES];
  memset(copied, -1, sizeof copied);
  disk_empty(to);
  for (unsigned i = 0; i < image->names.count; i++) {
    const struct disk_name *name = &image->names.list[i];
    int *number = &copied[name->file];
    if (*number < 0) {
      uint64_t size = image->size[name->file];
      *number = disk_new(to, size);
      image_read((void *)image, name->file, to->file[*number].now, size, 0);
      memcpy(to->file[*number].durable, to->file[*number].now, size);
    }
    disk_name(to, name->name, *number);
  }
}
